"""The operations on an address space, drawn before and after.

The eight placements of a changed range are those of the kernel's tools/testing/vma; what becomes
of anon_vmas is what 6.12.117 and 6.18.44 did.
"""

from __future__ import annotations

import pytest
from drawing import BASE, KINDS, PAGE, at, draw, forked, new_mm, same_anon, strip, vma

from vmatrace import abi
from vmatrace.engine.mm import Mm
from vmatrace.engine.region import brk_region, map_region, unmap
from vmatrace.engine.vma import Vma
from vmatrace.engine.vmfile import VmFile
from vmatrace.replayer.processes import fork


def change(mm: Mm, start: int, end: int, kind: str) -> Vma | int:
    return mm.modify(vma(mm, start), at(start), at(end), KINDS[kind], None)


# --- modify: the eight placements, and what happens without a partner ----------------------------


@pytest.mark.parametrize(
    ("before", "start", "end", "after"),
    [
        ("rr|ww|rrrrrr", 4, 7, "rr|wwwww|rrr"),  # 1: left, the first part of the VMA
        ("wwww|rrr|x", 4, 7, "wwwwwww|x"),  # 2: left, the whole VMA
        ("rrrrrr|www", 3, 6, "rrr|wwwwww"),  # 3: right, the last part of the VMA
        ("x|rrr|wwww", 1, 4, "x|wwwwwww"),  # 4: right, the whole VMA
        ("www|rrr|www", 3, 6, "wwwwwwwww"),  # 5: both sides
        ("rrrrrrrrr", 3, 6, "rrr|www|rrr"),  # 6: in the middle, so two splits
        ("rrrrrr", 0, 3, "www|rrr"),  # 7: at the start, nothing before
        ("rrrrrr", 3, 6, "rrr|www"),  # 8: at the end, nothing behind
        ("xxx|rrr|xxx", 3, 6, "xxx|www|xxx"),  # the whole VMA, both sides unlike
        ("www.rrr.www", 4, 7, "www.www.www"),  # the whole VMA, neither side touches
        ("www|rrr|xxx", 4, 5, "www|r|w|r|xxx"),  # neighbours are not looked at from the middle
    ],
)
def test_a_changed_range_joins_or_splits(before: str, start: int, end: int, after: str) -> None:
    mm = draw(before)
    changed = change(mm, start, end, "w")
    mm.vmas.check()
    assert strip(mm) == after
    assert isinstance(changed, Vma)
    assert changed.start <= at(start)
    assert changed.end >= at(end)


def test_all_reasons_aside_the_map_stays_sound_and_counts_its_vmas() -> None:
    mm = draw("www|rrr|www")
    change(mm, 3, 6, "w")
    assert mm.vmas.count == 1
    assert mm.vmas.first is mm.vmas.last


@pytest.mark.parametrize(
    ("before", "old", "new"),
    [
        ("ww|XX", "ww|WW", "WWWW"),  # unwritten, written
        ("WW|xx", "WWWW", "WWWW"),  # written, unwritten
        ("xx|WW", "WWWW", "WWWW"),
        ("XX|ww", "WW|ww", "WWWW"),
        ("WW|XX", "WW|WW", "WW|WW"),  # two anon_vmas
    ],
)
def test_which_pairs_a_changed_vma_joins_depends_on_who_was_written(
    before: str, old: str, new: str
) -> None:
    for kernel, after in (("6.12", old), ("post-patch", new)):
        mm = draw(before, kernel)
        start = 0 if before[0] in "xX" else 2
        change(mm, start, start + 2, "w")
        assert strip(mm) == after, kernel


def test_unwritten_written_unwritten_is_three_vmas_before_6_16_and_one_since() -> None:
    for kernel, after in (("6.12", "ww|WW|ww"), ("6.18.44", "WWWWWW")):
        mm = draw("ww|XX|ww", kernel)
        change(mm, 2, 4, "w")
        assert strip(mm) == after


def test_between_two_anon_vmas_the_left_one_wins() -> None:
    mm = draw("WW|xx|WW")
    change(mm, 2, 4, "w")
    assert strip(mm) == "WWWW|WW"


def test_between_two_parts_of_one_anon_vma_everything_joins() -> None:
    mm = draw("WW|xx|WW")
    same_anon(mm, 0, 4)
    change(mm, 2, 4, "w")
    assert strip(mm) == "WWWWWW"


def test_the_first_part_of_a_written_vma_hands_its_anon_vma_to_the_left() -> None:
    mm = draw("ww|XXXX")
    anon = vma(mm, 2).anon
    change(mm, 2, 4, "w")
    assert strip(mm) == "WWWW|XX"
    assert vma(mm, 0).anon == anon == vma(mm, 4).anon


def test_the_last_part_of_a_written_vma_hands_its_anon_vma_to_the_right() -> None:
    mm = draw("XXXX|ww")
    anon = vma(mm, 0).anon
    change(mm, 2, 4, "w")
    assert strip(mm) == "XX|WWWW"
    assert vma(mm, 4).anon == anon


def test_a_close_hook_keeps_the_vma_that_would_vanish() -> None:
    mm = new_mm()
    shm = VmFile("/SYSV00000000", "tmpfs", "legacy", close=True)
    for i, kind in enumerate("wrw"):
        mm.insert(Vma(at(i), at(i + 1), KINDS[kind], -BASE, shm), mm.vmas.last)
    change(mm, 1, 2, "w")
    assert mm.vmas.count == 3


def test_a_close_hook_does_not_mind_a_border_that_moves() -> None:
    mm = new_mm()
    shm = VmFile("/SYSV00000000", "tmpfs", "legacy", close=True)
    mm.insert(Vma(at(0), at(1), KINDS["w"], -BASE, shm), None)
    mm.insert(Vma(at(1), at(3), KINDS["r"], -BASE, shm), mm.vmas.last)
    change(mm, 1, 2, "w")
    assert [(v.start, v.end) for v in mm.vmas] == [(at(0), at(2)), (at(2), at(3))]


# --- max_map_count -------------------------------------------------------------------------------


def test_a_split_at_the_limit_is_refused_and_a_first_split_stays() -> None:
    mm = draw("rrrrrr", max_map_count=2)
    assert change(mm, 2, 4, "w") == -abi.ENOMEM
    assert strip(mm) == "rr|rrrr"


def test_at_the_limit_a_merge_is_still_possible() -> None:
    mm = draw("ww|rr", max_map_count=2)
    change(mm, 2, 3, "w")
    assert strip(mm) == "www|r"


def test_at_the_limit_edges_can_be_unmapped_but_no_hole_made() -> None:
    mm = draw("wwwww", max_map_count=1)
    assert unmap(mm, at(2), at(3)) == -abi.ENOMEM
    assert strip(mm) == "wwwww"
    assert unmap(mm, at(4), at(5)) == 0
    assert unmap(mm, at(0), at(1)) == 0
    assert strip(mm) == ".www"


# --- unmap ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "start", "end", "after"),
    [
        ("wwww", 1, 3, "w..w"),
        ("wwww", 0, 2, "..ww"),
        ("wwww", 2, 4, "ww"),
        ("ww|rr|xx", 1, 5, "w....x"),
        ("ww..rr", 0, 6, ""),
        ("ww..rr", 2, 4, "ww..rr"),
        ("WWWW", 1, 3, "W..W"),
    ],
)
def test_unmapping_cuts_and_never_merges(before: str, start: int, end: int, after: str) -> None:
    mm = draw(before)
    assert unmap(mm, at(start), at(end)) == 0
    mm.vmas.check()
    assert strip(mm) == after


def test_a_sealed_vma_stops_an_unmap_but_a_split_before_it_stays() -> None:
    mm = draw("wwww|ss")
    assert unmap(mm, at(2), at(5)) == -abi.EPERM
    assert strip(mm) == "ww|ww|ss"


def test_a_sealed_first_vma_is_not_even_split() -> None:
    mm = draw("ssss")
    assert unmap(mm, at(1), at(2)) == -abi.EPERM
    assert strip(mm) == "ssss"


# --- new ranges ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("ww..ww", "wwwwww"),
        ("WW..ww", "WWWWWW"),
        ("ww..WW", "WWWWWW"),
        ("WW..WW", "WWWW|WW"),
        ("rr..ww", "rr|wwww"),
        ("rr..rr", "rr|ww|rr"),
        ("rrrrrr", "rr|ww|rr"),
        ("wwwwww", "wwwwww"),
        ("WWWWWW", "WWWWWW"),
    ],
)
def test_a_new_range_joins_what_fits_left_first(before: str, after: str) -> None:
    for kernel in ("6.12", "pre-patch", "post-patch", "6.18.44"):
        mm = draw(before, kernel)
        map_region(mm, at(2), at(4), KINDS["w"], 0, None, mm.vmas.find(at(2)))
        mm.vmas.check()
        assert strip(mm) == after, kernel


def test_a_new_range_never_joins_what_a_fork_left_with_a_long_chain() -> None:
    mm = draw("WW..")
    forked(mm, 0)
    map_region(mm, at(2), at(4), KINDS["w"], 0, None, None)
    assert strip(mm) == "WW|ww"


@pytest.mark.parametrize(
    ("before", "pre", "post"),
    [
        ("mm..mm", "mm|mm|mm", "mmmmmm"),
        ("MM..", "MM|mm", "MMMM"),
        ("ww..", "wwww", "ww|mm"),  # beside an unmarked neighbour: merged and unmarked, before
        ("ww..ww", "wwwwww", "ww|mm|ww"),
        ("mm..ww", "mm|wwww", "mmmm|ww"),
    ],
)
def test_under_ksm_by_default_a_new_range_is_marked_before_or_after_it_merges(
    before: str, pre: str, post: str
) -> None:
    for kernel, after in (("pre-patch", pre), ("post-patch", post)):
        mm = draw(before, kernel)
        mm.merge_any = True
        map_region(mm, at(2), at(4), KINDS["w"], 0, None, mm.vmas.find(at(2)))
        assert strip(mm) == after, kernel


def test_a_driver_that_forbids_ksm_in_its_hook_is_asked_after_it_except_in_the_posted_series() -> (
    None
):
    flags = {}
    for kernel in ("pre-patch", "post-patch", "series-v2"):
        mm = new_mm(kernel)
        mm.merge_any = True
        huge = abi.VM_HUGETLB | abi.VM_DONTEXPAND
        file = VmFile("/huge", "hugetlbfs", "legacy", close=True, sets=huge)
        flags[kernel] = map_region(mm, at(0), at(512), KINDS["r"], -BASE, file, None).flags
    assert not flags["pre-patch"] & abi.VM_MERGEABLE
    assert not flags["post-patch"] & abi.VM_MERGEABLE
    assert flags["series-v2"] & abi.VM_MERGEABLE


def test_an_overlay_file_never_merges_at_mmap() -> None:
    for kernel in ("6.12", "6.18"):
        mm = new_mm(kernel)
        file = VmFile("/o", "overlay", "legacy", fresh=True)
        for page in (0, 2):
            map_region(mm, at(page), at(page + 2), KINDS["r"], -BASE, file, None)
        assert mm.vmas.count == 2


@pytest.mark.parametrize(
    ("kernel", "ksm", "vmas"),
    [("pre-patch", True, 3), ("post-patch", True, 1), ("pre-patch", False, 1)],
)
def test_the_heap_grows_as_one_vma_unless_ksm_is_set_late(
    kernel: str, ksm: bool, vmas: int
) -> None:
    mm = new_mm(kernel)
    mm.start_brk = mm.brk = at(0)
    mm.merge_any = ksm
    for page in (0, 4, 8):
        brk_region(mm, at(page), at(page + 4), KINDS["w"])
    assert mm.vmas.count == vmas


def test_the_heap_never_merges_with_what_lies_behind() -> None:
    mm = draw("....ww")
    mm.start_brk = mm.brk = at(0)
    brk_region(mm, at(0), at(4), KINDS["w"])
    assert strip(mm) == "wwww|ww"


# --- anon_vmas -----------------------------------------------------------------------------------


def test_the_parts_of_a_written_vma_share_its_anon_vma() -> None:
    mm = draw("WWWW")
    mm.split(vma(mm, 0), at(2))
    assert vma(mm, 0).anon == vma(mm, 2).anon


# --- fork ----------------------------------------------------------------------------------------


def test_a_child_has_anon_vmas_of_its_own_that_were_never_singular() -> None:
    mm = draw("ww|RR|WW")
    same_anon(mm, 2, 4)
    child = fork(mm)
    assert strip(child) == "ww|RR|WW"
    anons = [v.anon for v in child.vmas]
    assert anons[0] == 0
    assert len({*anons, vma(mm, 2).anon}) == 4
    assert [v.chain for v in child.vmas] == [0, 2, 2]
    assert [v.chain for v in mm.vmas] == [0, 1, 1]


def test_fork_drops_locks_and_what_dontfork_and_wipeonfork_say_and_merges_nothing() -> None:
    mm = draw("ww|ll|oo|cc|FF")
    child = fork(mm)
    assert strip(child) == "ww|ww|ww..ff"
    child.vmas.check()


def test_a_child_inherits_ksm_by_default_and_not_the_locks_of_the_future() -> None:
    mm = draw("ww")
    mm.set_mergeable()
    mm.def_flags = abi.VM_LOCKED
    child = fork(mm)
    assert child.merge_any
    assert child.def_flags == 0
    assert strip(child) == "mm"
    child.clear_mergeable()
    assert strip(mm) == "mm"


# --- KSM on and off ------------------------------------------------------------------------------


def test_setting_and_clearing_ksm_marks_vmas_and_merges_none() -> None:
    mm = draw("ww|mm|yy")
    mm.set_mergeable()
    assert strip(mm) == "mm|mm|yy"
    mm.clear_mergeable()
    assert strip(mm) == "ww|ww|yy"


def test_the_three_pages_of_the_kernels_own_test_make_two_vmas() -> None:
    mm = new_mm()
    for start in (0x300000, 0x250000, 0x303000, 0x24D000):
        overlap = mm.vmas.find(start)
        map_region(mm, start, start + 3 * PAGE, KINDS["w"], 0, None, overlap)
    assert [(v.start, v.end) for v in mm.vmas] == [(0x24D000, 0x253000), (0x300000, 0x306000)]
