"""Counts are folds over decisions, and nothing else counts."""

from __future__ import annotations

from drawing import at, draw, new_mm

from vmatrace import abi
from vmatrace.engine import merge
from vmatrace.engine.merge import MergeDecision, Side
from vmatrace.engine.mm import Mm
from vmatrace.engine.syscalls.mapping import mmap
from vmatrace.layout import Mapping
from vmatrace.replayer.result import ProcessResult, Result
from vmatrace.replayer.tally import Tally

RW = abi.PROT_READ | abi.PROT_WRITE
ANON = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED
NOTHING = merge.attributes(0, 0, None, 0, 0, None)


def made(left: int, right: int, flags: int = 0, other: int = 0) -> MergeDecision:
    """A decision with these blockers; neighbours that stayed apart have the flags *other*."""
    side = Side(0, 1, NOTHING._replace(flags=other))
    return MergeDecision(
        "new", 1, 2, left, right, 1, 2, NOTHING._replace(flags=flags),
        side if left and not left & merge.NOTHING_THERE else None,
        side if right and not right & merge.NOTHING_THERE else None,
    )  # fmt: skip


def tally(*decisions: MergeDecision) -> Tally:
    total = Tally()
    for decision in decisions:
        total.add(decision)
    return total


def test_merges_are_counted_by_kind() -> None:
    away = merge.NO_NEIGHBOUR
    counted = tally(made(0, away), made(0, away), made(away, 0), made(0, 0), made(away, away))
    assert counted.merges == {"prev": 2, "next": 1, "both": 1}
    assert counted.total == 4


def test_a_side_counts_under_each_of_its_reasons_and_once_as_a_side() -> None:
    counted = tally(
        made(merge.FLAGS | merge.PGOFF, merge.FLAGS, flags=abi.VM_WRITE),
        made(merge.NOT_ADJACENT, merge.NO_NEIGHBOUR),
        made(merge.NOT_AT_BORDER, merge.NOT_CONSIDERED),
    )
    assert counted.blocked == {"flags": 2, "pgoff": 1}
    assert counted.blocked_sides == 2


def test_mergeable_alone_is_counted_per_side_and_only_when_alone() -> None:
    away, mergeable = merge.NO_NEIGHBOUR, abi.VM_MERGEABLE
    counted = tally(
        made(merge.FLAGS, away, 0, mergeable),
        made(away, merge.FLAGS, mergeable, 0),
        made(merge.FLAGS, merge.FLAGS, 0, mergeable),
        made(merge.FLAGS, away, 0, mergeable | abi.VM_WRITE),
        made(merge.FLAGS | merge.PGOFF, away, 0, mergeable),
        made(0, away, mergeable, mergeable),
    )
    assert counted.only_mergeable == 4


def test_the_order_of_decisions_does_not_matter_and_tallies_of_the_same_are_the_same() -> None:
    decisions = [made(0, 1), made(merge.FLAGS, merge.PGOFF), made(1, 0), made(merge.FILE, 0)]
    there, back = tally(*decisions), tally(*reversed(decisions))
    assert (there.merges, there.blocked, there.blocked_sides) == (
        back.merges, back.blocked, back.blocked_sides,
    )  # fmt: skip


def test_every_attempt_of_the_engine_is_one_decision() -> None:
    mm: Mm = new_mm()
    for page in (0, 4, 2):
        mmap(mm, at(page), 2 * 4096, RW, ANON, None, 0)
    assert [d.kind for d in mm.world.decisions] == [None, None, "both"]


def test_the_series_headline_is_the_number_of_mappings_it_would_have_merged() -> None:
    for kernel, blocked in (("pre-patch", 2), ("post-patch", 0)):
        mm = draw("mm..mm", kernel)
        mm.merge_any = True
        mmap(mm, at(2), 2 * 4096, RW, ANON, None, 0)
        assert tally(*mm.world.decisions).only_mergeable == blocked


def test_totals_are_sums_over_processes_and_the_peak_is_the_largest_one() -> None:
    marked, plain = Mapping(0, 1, abi.VM_MERGEABLE), Mapping(1, 2, 0)
    result = Result("t", "t.yaml", "6.18", 4096, 65530)
    assert (result.vmas, result.mergeable, result.peak_vmas) == (0, 0, 0)
    result.processes = [ProcessResult("main", [marked, plain], 9), ProcessResult("p", [marked], 3)]
    assert (result.vmas, result.mergeable, result.peak_vmas) == (3, 2, 9)
