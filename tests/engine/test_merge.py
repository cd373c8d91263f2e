"""Every reason why neighbours stay apart, by name, and what a decision says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from drawing import at, draw, forked, same_anon, vma

from vmatrace import abi
from vmatrace.engine import merge
from vmatrace.engine.merge import Blocker, MergeDecision
from vmatrace.engine.mm import Mm
from vmatrace.engine.syscalls import protection
from vmatrace.engine.vma import Extra, Vma
from vmatrace.engine.vmfile import VmFile

RW = abi.VM_READ | abi.VM_WRITE | abi.VM_MAY_ALL | abi.VM_ACCOUNT


def fill(
    mm: Mm, start: int, end: int, flags: int = RW, file: VmFile | None = None, op: str = "new"
) -> MergeDecision:
    """Offer a new range of these pages to the neighbours; what was decided."""
    source = merge.attributes(flags, 0, file, 0, 0, None)
    following = mm.vmas.find(at(start))
    prev = following.prev if following is not None else mm.vmas.last
    mm.merge_new(op, at(start), at(end), source, prev, following)
    return mm.world.decisions.pop()


def modify(mm: Mm, page: int, start: int, end: int, flags: int) -> MergeDecision:
    mm.modify(vma(mm, page), at(start), at(end), flags, None)
    return mm.world.decisions.pop()


def with_extra(extra: Extra) -> MergeDecision:
    mm = draw("ww..")
    vma(mm, 0).extra = extra
    return fill(mm, 2, 4)


def different_file() -> MergeDecision:
    mm = draw("ww..")
    return fill(mm, 2, 4, file=VmFile("/a", "ext4", "mmap_prepare"))


def displaced() -> MergeDecision:
    mm = draw("WW..")
    vma(mm, 0).skew = 0x5000
    return fill(mm, 2, 4)


def after_fork() -> MergeDecision:
    mm = draw("WW..")
    forked(mm, 0)
    return fill(mm, 2, 4)


def two_anon_vmas() -> MergeDecision:
    return modify(draw("WW|XX"), 2, 2, 4, RW)


def unfaulted_target() -> MergeDecision:
    return modify(draw("ww|XX", "6.12"), 2, 2, 4, RW)


def close_hook() -> MergeDecision:
    mm = draw("")
    shm = VmFile("/SYSV00000000", "tmpfs", "legacy", close=True)
    for i, flags in enumerate((RW, RW & ~abi.VM_WRITE)):
        mm.insert(Vma(at(i), at(i + 1), flags, 0, shm), mm.vmas.last)
    return modify(mm, 1, 1, 2, RW)


LEFT: dict[Blocker, Callable[[], MergeDecision]] = {
    Blocker.NO_NEIGHBOUR: lambda: fill(draw(""), 2, 4),
    Blocker.NOT_ADJACENT: lambda: fill(draw("w..."), 2, 4),
    Blocker.NOT_AT_BORDER: lambda: modify(draw("wwww"), 0, 2, 4, RW | abi.VM_DONTCOPY),
    Blocker.SPECIAL: lambda: fill(draw("ww"), 2, 4, RW | abi.VM_DONTEXPAND),
    Blocker.FLAGS: lambda: fill(draw("nn.."), 2, 4),
    Blocker.FILE: different_file,
    Blocker.PGOFF: displaced,
    Blocker.ANON_VMA: two_anon_vmas,
    Blocker.FORKED: after_fork,
    Blocker.POLICY: lambda: with_extra(Extra(policy=("bind", 0))),
    Blocker.UFFD: lambda: with_extra(Extra(uffd=1)),
    Blocker.NAME: lambda: with_extra(Extra(name="arena")),
    Blocker.ANON_PGOFF: lambda: with_extra(Extra(displaced=0x1000)),
    Blocker.CLOSE: close_hook,
}
RIGHT: dict[Blocker, Callable[[], MergeDecision]] = {
    Blocker.NOT_CONSIDERED: lambda: fill(draw("ww..ww"), 2, 4, op="brk"),
    Blocker.OTHER_SIDE: lambda: fill(draw("WW..WW"), 2, 4),
}


@pytest.mark.parametrize("blocker", Blocker, ids=lambda b: b.code)
def test_each_blocker_has_a_way_to_come_about(blocker: Blocker) -> None:
    if blocker in LEFT:
        found = LEFT[blocker]().left
    else:
        found = RIGHT[blocker]().right
    assert blocker in merge.blockers(found), list(merge.blockers(found))


def test_reasons_are_all_named_and_not_only_the_first() -> None:
    mm = draw("NN..")
    vma(mm, 0).skew = 0x1000
    forked(mm, 0)
    decision = fill(mm, 2, 4)
    assert set(merge.blockers(decision.left)) == {Blocker.FLAGS, Blocker.PGOFF, Blocker.FORKED}


def test_codes_are_the_names_in_lower_case() -> None:
    assert Blocker.ANON_VMA.code == "anon-vma"
    assert Blocker.NO_NEIGHBOUR.code == "no-neighbour"
    assert len({b.code for b in Blocker}) == len(Blocker)


# --- anon_vma compatibility: which side has one, and since when --------------------------------


@pytest.mark.parametrize(
    ("drawing", "old", "new"),
    [
        ("ww|xx", "prev", "prev"),  # neither
        ("WW|xx", "prev", "prev"),  # the neighbour has one
        ("ww|XX", None, "prev"),  # only the range has one: since 6.16
        ("WW|XX", None, None),  # two different ones
    ],
)
def test_who_may_bring_an_anon_vma_into_a_merge(
    drawing: str, old: str | None, new: str | None
) -> None:
    for kernel, expected in (("6.12", old), ("6.15", old), ("6.16", new), ("6.18.44", new)):
        assert modify(draw(drawing, kernel), 2, 2, 4, RW).kind == expected, kernel


def test_parts_of_one_split_vma_merge_whatever_fork_did() -> None:
    mm = draw("WW|XX")
    forked(mm, 0)
    same_anon(mm, 0, 2)
    assert modify(mm, 2, 2, 4, RW).kind == "prev"


def test_what_a_fork_left_with_a_long_chain_does_not_hand_it_to_an_unfaulted_vma() -> None:
    mm = draw("ww|XX")
    forked(mm, 2)
    decision = modify(mm, 2, 2, 4, RW)
    assert list(merge.blockers(decision.left)) == [Blocker.FORKED]


# --- decisions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("drawing", "kind", "merged"),
    [
        ("ww..ww", "both", (0, 6)),
        ("ww..nn", "prev", (0, 4)),
        ("nn..ww", "next", (2, 6)),
        ("nn..nn", None, (2, 4)),
        (".......", None, (2, 4)),
    ],
)
def test_a_decision_says_with_whom_and_into_what(
    drawing: str, kind: str | None, merged: tuple[int, int]
) -> None:
    decision = fill(draw(drawing), 2, 4)
    assert decision.kind == kind
    assert (decision.merged_start, decision.merged_end) == (at(merged[0]), at(merged[1]))


def test_a_decision_keeps_the_neighbours_that_stayed_apart_as_they_were() -> None:
    mm = draw("nn..ww")
    decision = fill(mm, 2, 4)
    vma(mm, 0).flags = 0
    assert decision.next is None
    assert decision.prev is not None
    assert decision.prev[:2] == (at(0), at(2))
    assert decision.flag_difference(decision.prev) == abi.VM_NORESERVE | abi.VM_ACCOUNT
    assert [(side, mask) for side, _, mask in decision.blocked()] == [("prev", merge.FLAGS)]


def test_the_headline_is_mergeable_alone_and_nothing_besides() -> None:
    def only(drawing: str, flags: int) -> list[bool]:
        decision = fill(draw(drawing), 2, 4, flags)
        return [merge.only_mergeable(decision.proposed, side) for _, side, _ in decision.blocked()]

    assert only("mm..", RW) == [True]
    assert only("ww..", RW | abi.VM_MERGEABLE) == [True]
    assert only("mm..mm", RW) == [True, True]
    assert only("nn..", RW | abi.VM_MERGEABLE) == [False]
    assert only("nn..", RW) == [False]


@pytest.mark.parametrize("flag", [abi.VM_MAYBE_GUARD, abi.VM_SOFTDIRTY])
def test_soft_dirty_and_guard_marks_do_not_keep_neighbours_apart(flag: int) -> None:
    assert fill(draw("ww.."), 2, 4, RW | flag).kind == "prev"


def test_an_operation_that_changes_nothing_attempts_no_merge() -> None:
    mm = draw("ww|ww")
    assert protection.mprotect(mm, at(0), 4 * 4096, abi.PROT_READ | abi.PROT_WRITE) == 0
    assert mm.world.decisions == []
    assert mm.vmas.count == 2


def test_rules_are_all_named() -> None:
    asked = {name for name in vars(merge.Rules) if not name.startswith("_")}
    assert set(merge.RULES) == asked
