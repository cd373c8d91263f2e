"""The plot in characters: both areas can be told apart, peaks stay, everything fits."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmatrace.commands.report import plot
from vmatrace.commands.report.curve import Curve
from vmatrace.render.paper import Paper

NAMES = ("before", "after")


def curve(*pairs: tuple[int, int]) -> Curve:
    made = Curve()
    for at, (a, b) in enumerate(pairs):
        made.add(at, a, b)
    return made


def drawn(points: Curve, limit: int = 65530, encoding: str = "utf-8", width: int = 80) -> list[str]:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    last = max(p.at for p in points)
    plot.write(Paper(stream, width), points, last, limit, NAMES)
    stream.flush()
    return raw.getvalue().decode(encoding).splitlines()


counts = st.lists(st.tuples(st.integers(0, 80_000), st.integers(0, 80_000)), min_size=1)
many = st.lists(st.tuples(st.integers(0, 80_000), st.integers(0, 80_000)), min_size=5)


@given(many, st.sampled_from(["utf-8", "ascii"]), st.integers(40, 120))
def test_every_line_fits_the_paper(pairs: list[tuple[int, int]], encoding: str, width: int) -> None:
    *lines, legend = drawn(curve(*pairs), encoding=encoding, width=width)
    assert max(len(line) for line in lines) <= width
    assert len(lines) == plot.ROWS + 2
    assert "after" in legend


@given(counts, st.integers(1, 60))
def test_no_column_hides_a_peak(pairs: list[tuple[int, int]], columns: int) -> None:
    made = plot.plan(curve(*pairs), len(pairs) - 1, columns, 65530)
    known = [pair for pair in made.heights if pair is not None]
    for side in (0, 1):
        assert max(pair[side] for pair in known) == max(pair[side] for pair in pairs)


@given(st.integers(1, 10**9))
def test_ticks_are_round_few_and_reach_the_top(highest: int) -> None:
    step, top = plot.scale(highest)
    assert str(step).rstrip("0") in ("1", "2", "5")
    assert top % step == 0
    assert highest <= top < highest + step
    assert top // step <= 4


def test_without_colour_and_unicode_the_areas_differ_in_their_characters() -> None:
    lines = drawn(curve(*[(4, 1)] * 3, *[(1, 4)] * 3), encoding="ascii", width=48)
    body = lines[: plot.ROWS]
    assert "#" in body[-1]
    assert ":" not in body[-1]
    assert ":" in body[0]
    assert "|" in body[0].split("+", 1)[1]
    assert lines[-1].split("   ")[-2:] == [
        ":: what before has on top", "|| where it has more than before",
    ]  # fmt: skip


def test_equal_curves_are_one_area_and_said_to_be() -> None:
    *_, legend = drawn(curve(*[(3, 3), (5, 5)] * 3), encoding="ascii")
    assert legend.strip() == "## after and before: the same"


@pytest.mark.parametrize(("encoding", "arrow"), [("utf-8", " → "), ("ascii", " -> ")])
def test_of_a_few_events_the_numbers_are_written(encoding: str, arrow: str) -> None:
    lines = drawn(curve((0, 0), (10, 1), (2, 1)), encoding=encoding)
    assert [line.split(maxsplit=1) for line in lines] == [
        ["before", f"0{arrow}10{arrow}2"], ["after", f"0{arrow}1{arrow}1"],
    ]  # fmt: skip
    assert len(drawn(curve((7, 7)))) == 2


def bits(cell: str) -> int:
    return ord(cell) - 0x2800 if "\u2800" <= cell <= "\u28ff" else 0


def column(lines: list[str], at: int) -> list[bool]:
    """The dots of the left half of a column of cells, the lowest first."""
    found = []
    for line in reversed(lines[: plot.ROWS]):
        cell = bits(line[line.index("┤" if "┤" in line else "│") + 1 + at :][:1] or " ")
        found += [bool(cell & dot) for dot in (0x40, 0x04, 0x02, 0x01)]
    return found


@given(st.integers(50, 130), st.integers(1, 100))
def test_the_limit_is_to_the_scale_of_the_areas(limit: int, other: int) -> None:
    """Its dot is where the edge of an area as high as it would be, before the areas and in them."""
    lines = drawn(curve(*[(0, 0)] * 5, *[(100, 100)] * 5, (other, other)), limit=limit)
    _, top = plot.scale(max(100, limit))
    there = max(round(limit * plot.ROWS * 4 / top), 1) - 1
    blank, full = column(lines, 0), column(lines, 50)
    assert [i for i, dot in enumerate(blank) if dot] == [there]
    height = round(100 * plot.ROWS * 4 / top)
    assert [i for i, dot in enumerate(full) if dot] == sorted({*range(height)} ^ {there})


@pytest.mark.parametrize(("encoding", "rule"), [("utf-8", "⠂⠂"), ("ascii", "--")])
def test_the_limit_is_drawn_where_it_is_in_range(encoding: str, rule: str) -> None:
    near = drawn(curve(*[(0, 0)] * 5, (60, 1)), limit=97, encoding=encoding)
    far = drawn(curve(*[(0, 0)] * 5, (40, 1)), limit=97, encoding=encoding)
    assert near[-1].endswith(f"{rule} max_map_count 97")
    assert "max_map_count" not in far[-1]
    marked = [line for line in near[: plot.ROWS] if line[10:40].strip()]
    assert len(marked) == 1
    assert not [line for line in far[: plot.ROWS] if line[10:40].strip()]


def test_the_limit_has_its_number_at_the_axis() -> None:
    lines = drawn(curve(*[(0, 0)] * 5, (64_023, 1)))
    (at,) = (line for line in lines if "65530 ┤" in line)
    assert lines.index(at) == plot.ROWS - 10


def test_the_axes_have_numbers() -> None:
    lines = drawn(curve(*((i, 0) for i in range(101))))
    assert [line.split()[0] for line in lines if "┤" in line] == ["100", "50"]
    assert lines[plot.ROWS].split()[0] == "0"
    assert lines[plot.ROWS + 1].split() == ["0", "50", "100", "events"]


@given(st.integers(0, 10**6), st.integers(5, 10**6), st.integers(30, 120))
def test_every_number_of_events_stands_below_its_mark(first: int, more: int, width: int) -> None:
    made = Curve()
    for at in range(first, first + more + 1, max(more // 6, 1)):
        made.add(at, 1, 1)
    raw = io.StringIO()
    plot.write(Paper(raw, width), made, first + more, 65530, NAMES)
    axis, numbers = raw.getvalue().splitlines()[plot.ROWS : plot.ROWS + 2]
    assert len(numbers) <= width
    assert numbers.endswith(f"{first + more} events")
    for match in re.finditer(r"[0-9]+(?! events|[0-9])", numbers):
        event = int(match[0])
        assert first <= event < first + more
        assert "┬" in axis[match.start() : match.end()]
        cells = len(axis) - axis.index("└") - 1
        mark = axis.index("└") + 1 + (event - first) * cells // (more + 1)
        assert axis[mark] == "┬"
