"""`audit --compare`: each VMA that is not as it was is in one change, and they add up."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from program import RunProgram
from test_groups import layouts

from vmatrace import abi
from vmatrace.commands.audit.compare import question, words
from vmatrace.commands.audit.compare.question import KINDS, MapComparison, compare
from vmatrace.commands.audit.question import audit
from vmatrace.commands.audit.snapshot import Snapshot
from vmatrace.commands.audit.watch.samples import About, Samples
from vmatrace.layout import Layout, Mapping, maps_text


def compared(before: Layout, after: Layout) -> MapComparison:
    return compare(*(audit(Snapshot(x, True, True), None, 65530) for x in (before, after)))


def pages(*ranges: tuple[int, int], flags: int = 3) -> Layout:
    return [Mapping(a << 12, b << 12, flags) for a, b in ranges]


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        (pages((0, 4)), pages((0, 4)), {}),
        (pages((0, 4)), [], {"went": (1, -1)}),
        ([], pages((0, 4)), {"came": (1, 1)}),
        (pages((0, 4)), pages((0, 1), (1, 3), (3, 4)), {"split": (1, 2)}),
        (pages((0, 4)), pages((0, 1), (2, 4)), {"split": (1, 1)}),
        (pages((0, 1), (1, 3)), pages((0, 4)), {"merged": (1, -1)}),
        (pages((0, 4)), pages((0, 3)), {"resized": (1, 0)}),
        (pages((0, 4)), pages((0, 4), flags=1), {"changed": (1, 0)}),
        (pages((0, 4)), pages((0, 4), flags=3 | abi.VM_DONTCOPY), {"changed": (1, 0)}),
        (pages((0, 2), (2, 4)), pages((0, 1), (1, 4)), {"reshaped": (1, 0)}),
        (pages((0, 2)), pages((2, 4)), {"came": (1, 1), "went": (1, -1)}),
        (pages((0, 2), (4, 6)), pages((0, 1), (1, 2), (4, 6)), {"split": (1, 1)}),
    ],
)
def test_what_became_of_vmas(
    before: Layout, after: Layout, kinds: dict[str, tuple[int, int]]
) -> None:
    assert compared(before, after).kinds == kinds


@given(layouts(), layouts())
def test_changes_add_up_and_have_each_vma_that_differs_once(before: Layout, after: Layout) -> None:
    found = compared(before, after)
    assert sum(change.grown for change in found.changes) == len(after) - len(before)
    assert sum(more for _, more in found.kinds.values()) == len(after) - len(before)
    assert sum(now - was for _, was, now in found.patterns) == len(after) - len(before)
    for side, layout in ((0, before), (1, after)):
        mine = Counter(m.start for c in found.changes for m in (c.before, c.after)[side])
        assert set(mine.values()) <= {1}
        other = {m.key() for m in (after, before)[side]}
        assert {m.start for m in layout if m.key() not in other} <= set(mine)
    starts = [change.start for change in found.changes]
    assert starts == sorted(starts)
    assert all(a.end <= b.start for a, b in zip(found.changes, found.changes[1:], strict=False))


@given(layouts())
def test_what_is_equal_has_no_changes_and_the_way_back_is_the_reverse(layout: Layout) -> None:
    assert compared(layout, layout).changes == []
    halved = layout[::2]
    there, back = compared(layout, halved), compared(halved, layout)
    assert [(c.start, c.grown) for c in there.changes] == [
        (c.start, -c.grown) for c in back.changes
    ]


def test_every_kind_has_its_words() -> None:
    assert set(words.KINDS) == set(KINDS) == set(question.KINDS)


# --- on the command line ------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path: Path) -> tuple[str, str]:
    files = (tmp_path / "a", tmp_path / "b")
    files[0].write_text(maps_text(pages((16, 48), (64, 65))))
    files[1].write_text(maps_text([*pages((16, 17)), *pages((17, 18), flags=0), *pages((18, 48))]))
    return str(files[0]), str(files[1])


def test_a_comparison_is_printed_within_80_columns(two: tuple[str, str], run: RunProgram) -> None:
    done = run("audit", *two, "--compare", columns=80)
    assert (done.status, done.err) == (1, "")
    flat = " ".join(done.out.split())
    assert "2 VMAs, then 3: +1" in flat
    assert "1 +2 split: one became several" in flat
    assert "1 -1 went: unmapped" in flat
    assert "00010000-00030000 split 1 → 3" in flat
    assert max(map(len, done.out.splitlines()[1:])) <= 80
    assert run("audit", two[0], two[0], "--compare").out.endswith("\nNothing differs.\n")


def test_json_and_csv_have_every_change(two: tuple[str, str], run: RunProgram) -> None:
    told = json.loads(run("audit", *two, "--compare", "--format", "json").out)
    assert [(c["kind"], len(c["before"]), len(c["after"])) for c in told["changes"]] == [
        ("split", 1, 3), ("went", 1, 0),
    ]  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(run("audit", *two, "--compare", "--format=csv").out)))
    assert [(row["kind"], row["start"], row["vmas_after"]) for row in rows] == [
        ("split", "0x10000", "3"), ("went", "0x40000", "0"),
    ]  # fmt: skip


def test_of_samples_the_first_is_compared_with_the_last(tmp_path: Path, run: RunProgram) -> None:
    path = str(tmp_path / "x")
    with Samples(path, About(1, "x", 1, "6.18")) as samples:
        for layout in (pages((1, 9)), pages((1, 2)), pages((1, 2), (5, 9))):
            samples.add(Snapshot(layout, True, True), 0.0, 0.0, 65530)
    done = run("audit", path, "--compare", "--format", "json")
    assert json.loads(done.out)["kinds"] == {"split": {"times": 1, "vmas": 1}}


def test_two_processes_are_told_from_one(tmp_path: Path, run: RunProgram) -> None:
    for name, first in (("a", 16), ("b", 160)):
        many = pages(*((first + 2 * i, first + 2 * i + 1) for i in range(9)))
        (tmp_path / name).write_text(maps_text(many))
    done = run("audit", str(tmp_path / "a"), str(tmp_path / "b"), "--compare")
    assert "Hardly an address is in both snapshots" in " ".join(done.out.split())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--compare", "--every", "1s"], "--compare does not go with --every"),
        (["--compare", "--all"], "--compare does not go with --all"),
        (["--every", "1s", "--all"], "--every does not go with --all"),
        (["--compare", "--format", "prometheus"], "has no --format prometheus"),
        (["--compare", "x", __file__], "x: error: no file, process or control group"),
        (["--compare", __file__], "not a line of /proc/PID/maps"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    two: tuple[str, str], more: list[str], said: str, run: RunProgram
) -> None:
    done = run("audit", two[0], *more)
    assert (done.status, done.out) == (2, "")
    assert said in " ".join(done.err.split())


def test_one_or_three_are_not_compared(two: tuple[str, str], run: RunProgram) -> None:
    for sources in (two[:1], (*two, "1")):
        done = run("audit", *sources, "--compare")
        assert (done.status, done.out) == (2, "")
        assert "two snapshots are compared, before and after" in " ".join(done.err.split())
