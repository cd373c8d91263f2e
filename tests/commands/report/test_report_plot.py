"""The plot in characters: both areas can be told apart, peaks stay, everything fits."""

from __future__ import annotations

import io

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


@given(counts, st.sampled_from(["utf-8", "ascii"]), st.integers(40, 120))
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
    lines = drawn(curve((4, 1), (4, 1), (1, 4), (1, 4)), encoding="ascii", width=48)
    body = lines[: plot.ROWS]
    assert "#" in body[-1]
    assert ":" not in body[-1]
    assert ":" in body[0]
    assert "|" in body[0].split("+", 1)[1]
    assert lines[-1].split("   ")[-2:] == [
        ":: what before has on top", "|| where it has more than before",
    ]  # fmt: skip


def test_equal_curves_are_one_area_and_said_to_be() -> None:
    *_, legend = drawn(curve((3, 3), (5, 5)), encoding="ascii")
    assert legend.strip() == "## after and before: the same"


@pytest.mark.parametrize(("encoding", "rule"), [("utf-8", "╌"), ("ascii", "-")])
def test_the_limit_is_drawn_where_it_is_in_range(encoding: str, rule: str) -> None:
    near = drawn(curve((0, 0), (60, 1)), limit=100, encoding=encoding)
    assert sum(rule * 30 in line for line in near[: plot.ROWS]) == 1
    assert near[-1].endswith(f"{rule}{rule} max_map_count 100")
    far = drawn(curve((0, 0), (40, 1)), limit=100, encoding=encoding)
    assert not any(rule * 30 in line for line in far[: plot.ROWS])


def test_the_axes_have_numbers() -> None:
    lines = drawn(curve(*((i, 0) for i in range(101))))
    assert [line.split()[0] for line in lines if "┤" in line] == ["100", "50"]
    assert lines[plot.ROWS].split()[0] == "0"
    assert lines[plot.ROWS + 1].split() == ["0", "events", "100"]
