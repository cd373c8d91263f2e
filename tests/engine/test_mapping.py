"""mmap, munmap, brk: which check comes first, which flags come out, what a failure leaves."""

from __future__ import annotations

import pytest
from drawing import BASE, PAGE, at, draw, new_mm, strip, vma

from vmatrace import abi
from vmatrace.engine.limits import Limits
from vmatrace.engine.mm import Mm
from vmatrace.engine.syscalls.heap import brk
from vmatrace.engine.syscalls.mapping import mmap, munmap
from vmatrace.engine.vmfile import VmFile

NONE, R, W, X = abi.PROT_NONE, abi.PROT_READ, abi.PROT_WRITE, abi.PROT_EXEC
RW = R | W
PRIVATE, SHARED, FIXED = abi.MAP_PRIVATE, abi.MAP_SHARED, abi.MAP_FIXED
ANONYMOUS, HUGE = abi.MAP_ANONYMOUS, abi.MAP_HUGETLB
ANON = ANONYMOUS | PRIVATE
BIG = abi.TASK_SIZE + PAGE


def file(mode: str = "rw", fs: str = "ext4") -> VmFile:
    return VmFile("/f", fs, "mmap_prepare", readable="r" in mode, writable="w" in mode)


def codes(
    prot: int, flags: int, backing: VmFile | None = None, kernel: str = "post-patch", **sysctl: int
) -> str:
    mm = new_mm(kernel, **sysctl)
    start = mmap(mm, 0, PAGE, prot, flags, backing, 0)
    assert start > 0
    found = mm.vmas.at(start)
    assert found is not None
    return " ".join(abi.vm_flag_codes(found.flags))


# --- errno, in the order of the kernel's checks --------------------------------------------------


@pytest.mark.parametrize(
    ("why", "addr", "length", "flags", "backing", "offset", "error"),
    [
        ("offset before a bad descriptor", 0, 0, PRIVATE, None, 1, abi.EINVAL),
        ("offset even when anonymous", 0, PAGE, ANON, None, 1, abi.EINVAL),
        ("bad descriptor before a length of 0", 0, 0, PRIVATE, None, 0, abi.EBADF),
        ("huge pages of an ordinary file", 0, PAGE, PRIVATE | HUGE, file(), 0, abi.EINVAL),
        ("length 0", 0, 0, ANON, None, 0, abi.EINVAL),
        ("length that rounds up to nothing", 0, abi.ULONG_MAX, ANON, None, 0, abi.ENOMEM),
        ("longer than the task", 0, BIG, ANON, None, 0, abi.ENOMEM),
        ("fixed: length before alignment", 1, BIG, ANON | FIXED, None, 0, abi.ENOMEM),
        ("fixed: end above the task", abi.TASK_SIZE, PAGE, ANON | FIXED, None, 0, abi.ENOMEM),
        ("fixed: unaligned", BASE + 1, PAGE, ANON | FIXED, None, 0, abi.EINVAL),
        ("no type", 0, PAGE, abi.MAP_ANONYMOUS, None, 0, abi.EINVAL),
        ("an unknown type", 0, PAGE, abi.MAP_ANONYMOUS | 4, None, 0, abi.EINVAL),
        ("anonymous and validated", 0, PAGE, abi.MAP_ANONYMOUS | 3, None, 0, abi.EINVAL),
        ("shared stack", 0, PAGE, ANONYMOUS | SHARED | abi.MAP_GROWSDOWN, None, 0, abi.EINVAL),
        ("droppable with a file", 0, PAGE, abi.MAP_DROPPABLE, file(), 0, abi.EINVAL),
        ("droppable and locked", 0, PAGE, ANONYMOUS | 8 | abi.MAP_LOCKED, None, 0, abi.EINVAL),
        ("shared, written, opened to read", 0, PAGE, SHARED, file("r"), 0, abi.EACCES),
        ("private, opened to write only", 0, PAGE, PRIVATE, file("w"), 0, abi.EACCES),
        ("a stack in a file", 0, PAGE, PRIVATE | abi.MAP_GROWSDOWN, file(), 0, abi.EINVAL),
        ("write-only before stack", 0, PAGE, PRIVATE | abi.MAP_GROWSDOWN, file("w"), 0, abi.EACCES),
        ("validated, unknown flag", 0, PAGE, 3 | 0x800000, file(), 0, abi.EOPNOTSUPP),
        ("validated before opened to read", 0, PAGE, 3 | 0x800000, file("r"), 0, abi.EOPNOTSUPP),
        ("synchronous without dax", 0, PAGE, SHARED | abi.MAP_SYNC, file(), 0, abi.EOPNOTSUPP),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_mmap_fails_as_the_first_check_that_does_not_pass_says(
    why: str, addr: int, length: int, flags: int, backing: VmFile | None, offset: int, error: int
) -> None:
    mm = new_mm()
    assert mmap(mm, addr, length, RW, flags, backing, offset) == -error
    assert mm.vmas.count == 0


def on(fs: str, mode: str = "rw") -> VmFile:
    return VmFile("/x", fs, "mmap_prepare", writable="w" in mode)


def test_synchronous_is_unknown_to_most_file_systems_and_known_to_two() -> None:
    """file_operations.fop_flags: FOP_MMAP_SYNC."""
    flags = abi.MAP_SHARED_VALIDATE | abi.MAP_SYNC
    assert mmap(new_mm(), 0, PAGE, RW, flags, on("tmpfs", "r"), 0) == -abi.EOPNOTSUPP
    assert mmap(new_mm(), 0, PAGE, RW, flags, on("xfs", "r"), 0) == -abi.EACCES


def test_secret_memory_is_shared_or_nothing() -> None:
    """secretmem_mmap() and its heir."""
    assert mmap(new_mm(), 0, PAGE, RW, PRIVATE, on("secretmem"), 0) == -abi.EINVAL
    assert mmap(new_mm(), 0, PAGE, RW, SHARED, on("secretmem"), 0) > 0


def test_noreplace_refuses_any_overlap_and_nothing_else() -> None:
    mm = draw("ww..")
    flags = ANON | abi.MAP_FIXED_NOREPLACE
    assert mmap(mm, at(1), 2 * PAGE, RW, flags, None, 0) == -abi.EEXIST
    assert mmap(mm, at(2), 2 * PAGE, RW, flags, None, 0) == at(2)
    assert strip(mm) == "wwww"


def test_noreplace_comes_before_the_type_is_looked_at() -> None:
    mm = draw("ww")
    flags = abi.MAP_ANONYMOUS | abi.MAP_FIXED_NOREPLACE
    assert mmap(mm, at(0), PAGE, RW, flags, None, 0) == -abi.EEXIST


def test_unknown_bits_of_prot_and_flags_are_ignored() -> None:
    assert codes(0xFF, ANON | 0x800000) == "rd wr ex mr mw me ac"
    assert codes(8, ANON | abi.MAP_DENYWRITE | abi.MAP_EXECUTABLE) == "mr mw me"


def test_a_map_may_hold_one_vma_more_than_max_map_count() -> None:
    mm = draw("ww|rr", max_map_count=2)
    assert mmap(mm, at(3), PAGE, RW, ANON | FIXED, None, 0) == at(3)
    assert mm.vmas.count == 3
    assert mmap(mm, at(2), PAGE, RW, ANON | FIXED, None, 0) == -abi.ENOMEM
    assert strip(mm) == "ww|r|w"


def test_a_hole_in_a_vma_needs_a_free_slot() -> None:
    mm = draw("rrr", max_map_count=1)
    assert mmap(mm, at(1), PAGE, RW, ANON | FIXED, None, 0) == -abi.ENOMEM
    assert strip(mm) == "rrr"


def test_a_sealed_vma_cannot_be_replaced() -> None:
    mm = draw("ss")
    assert mmap(mm, at(0), PAGE, RW, ANON | FIXED, None, 0) == -abi.EPERM


def test_a_driver_that_fails_leaves_a_hole() -> None:
    mm = draw("wwww")
    flags = SHARED | abi.MAP_SYNC | FIXED
    assert mmap(mm, at(1), 2 * PAGE, RW, flags, file(), 0) == -abi.EOPNOTSUPP
    assert strip(mm) == "w..w"


def test_refused_to_write_and_execute_is_eacces_and_leaves_the_old_mapping() -> None:
    mm = draw("ww")
    mm.mdwe = 1
    assert mmap(mm, at(0), PAGE, RW | X, ANON | FIXED, None, 0) == -abi.EACCES
    assert strip(mm) == "ww"


# --- vm_flags ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prot", "flags", "expected"),
    [
        (RW, ANON, "rd wr mr mw me ac"),
        (R, ANON, "rd mr mw me"),
        (NONE, ANON, "mr mw me"),
        (W, ANON, "wr mr mw me ac"),
        (X, ANON, "ex mr mw me"),
        (RW, abi.MAP_ANONYMOUS | SHARED, "rd wr sh mr mw me ms"),
        (RW, ANON | abi.MAP_NORESERVE, "rd wr mr mw me nr"),
        (R, ANON | abi.MAP_NORESERVE, "rd mr mw me nr"),
        (RW, abi.MAP_ANONYMOUS | abi.MAP_DROPPABLE, "rd wr mr mw me nr wf dd dp"),
        (RW, ANON | abi.MAP_GROWSDOWN, "rd wr mr mw me gd ac"),
        (RW, ANON | abi.MAP_STACK, "rd wr mr mw me ac nh"),
        (RW, ANON | abi.MAP_LOCKED, "rd wr mr mw me lo ac"),
        (RW, ANON | abi.MAP_SYNC, "rd wr mr mw me ac sf"),
    ],
)
def test_the_flags_of_anonymous_memory(prot: int, flags: int, expected: str) -> None:
    assert codes(prot, flags) == expected


@pytest.mark.parametrize(
    ("mode", "prot", "flags", "expected"),
    [
        ("rw", RW, PRIVATE, "rd wr mr mw me ac"),
        ("r", RW, PRIVATE, "rd wr mr mw me ac"),
        ("rw", RW, SHARED, "rd wr sh mr mw me ms"),
        ("r", R, SHARED, "rd mr me ms"),
        ("r", R, PRIVATE, "rd mr mw me"),
    ],
)
def test_the_flags_of_a_file_mapping(mode: str, prot: int, flags: int, expected: str) -> None:
    assert codes(prot, flags, file(mode)) == expected


def test_under_strict_overcommit_noreserve_is_ignored() -> None:
    assert codes(RW, ANON | abi.MAP_NORESERVE, overcommit_memory=2) == "rd wr mr mw me ac"
    assert codes(RW, ANON | abi.MAP_NORESERVE, overcommit_memory=1) == "rd wr mr mw me nr"


def test_what_a_release_does_not_know() -> None:
    assert codes(RW, ANON | abi.MAP_STACK, kernel="6.6") == "rd wr mr mw me ac"
    droppable = abi.MAP_ANONYMOUS | abi.MAP_DROPPABLE
    assert mmap(new_mm("6.10"), 0, PAGE, RW, droppable, None, 0) == -abi.EINVAL


def test_locks_of_the_future_are_set_except_on_what_cannot_be_locked() -> None:
    mm = new_mm("6.18.44")
    mm.def_flags = abi.VM_LOCKED | abi.VM_LOCKONFAULT
    mmap(mm, at(0), PAGE, RW, ANON | FIXED, None, 0)
    mmap(mm, at(1), PAGE, RW, abi.MAP_ANONYMOUS | abi.MAP_DROPPABLE | FIXED, None, 0)
    # Without its flags it is populated at once, MCL_ONFAULT or not (as 6.18.44 does).
    assert strip(mm) == "o|Y"


# --- merging by identity -------------------------------------------------------------------------


def test_two_shared_anonymous_mappings_are_two_files() -> None:
    mm = new_mm()
    for page in (0, 2):
        mmap(mm, at(page), 2 * PAGE, RW, abi.MAP_ANONYMOUS | SHARED | FIXED, None, 0)
    assert mm.vmas.count == 2


@pytest.mark.parametrize(("second", "vmas"), [(2, 1), (0, 2), (3, 2)])
def test_one_file_merges_where_its_offsets_go_on(second: int, vmas: int) -> None:
    mm = new_mm()
    backing = file()
    for page, offset in ((0, 0), (2, second)):
        mmap(mm, at(page), 2 * PAGE, R, PRIVATE | FIXED, backing, offset * PAGE)
    assert mm.vmas.count == vmas


def test_a_file_opened_twice_is_two_files_and_private_is_not_shared() -> None:
    mm = new_mm()
    mmap(mm, at(0), PAGE, R, PRIVATE | FIXED, file(), 0)
    backing = file()
    mmap(mm, at(1), PAGE, R, PRIVATE | FIXED, backing, PAGE)
    mmap(mm, at(2), PAGE, R, SHARED | FIXED, backing, 2 * PAGE)
    assert mm.vmas.count == 3


# --- population ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prot", "flags", "written"),
    [
        (RW, abi.MAP_POPULATE, True),
        (RW, abi.MAP_LOCKED, True),
        (RW, abi.MAP_POPULATE | abi.MAP_NONBLOCK, False),
        (R, abi.MAP_POPULATE, False),
        (RW, 0, False),
    ],
)
def test_populating_writable_private_memory_gives_it_an_anon_vma(
    prot: int, flags: int, written: bool
) -> None:
    mm = new_mm()
    mmap(mm, at(0), PAGE, prot, ANON | FIXED | flags, None, 0)
    assert bool(vma(mm, 0).anon) is written


# --- a recorded address --------------------------------------------------------------------------


def test_a_recorded_address_is_taken_where_the_kernel_was_free_to_choose() -> None:
    mm = draw("ww")
    assert mmap(mm, 0, PAGE, RW, ANON, None, 0, recorded=at(2)) == at(2)
    assert mmap(mm, at(8), PAGE, RW, ANON, None, 0, recorded=at(4)) == at(4)
    taken = mmap(mm, 0, PAGE, RW, ANON, None, 0, recorded=at(0))
    assert taken == mm.mmap_base - PAGE
    assert mmap(mm, at(6), PAGE, RW, ANON | FIXED, None, 0, recorded=at(9)) == at(6)


# --- munmap --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("addr", "length", "result"),
    [
        (at(0) + 1, PAGE, -abi.EINVAL),
        (at(0), 0, -abi.EINVAL),
        (abi.TASK_SIZE + PAGE, PAGE, -abi.EINVAL),
        (at(0), abi.TASK_SIZE, -abi.EINVAL),
        (at(100), PAGE, 0),
        (at(0), 1, 0),
    ],
)
def test_munmap_checks_alignment_and_bounds_and_accepts_nothing_there(
    addr: int, length: int, result: int
) -> None:
    assert munmap(draw("ww"), addr, length) == result


def test_munmap_rounds_the_length_up() -> None:
    mm = draw("wwww")
    assert munmap(mm, at(1), PAGE + 1) == 0
    assert strip(mm) == "w..w"


# --- brk -----------------------------------------------------------------------------------------


def heap(drawing: str = "", kernel: str = "post-patch") -> Mm:
    mm = draw(drawing, kernel)
    mm.start_brk = mm.brk = at(0)
    return mm


def test_brk_grows_shrinks_and_reports_the_break() -> None:
    mm = heap()
    assert brk(mm, 0) == at(0)
    assert brk(mm, at(4)) == at(4)
    assert brk(mm, at(4) + 1) == at(4) + 1
    assert strip(mm) == "wwwww"
    assert brk(mm, at(2)) == at(2)
    assert strip(mm) == "ww"


def test_brk_below_its_start_keeps_the_break() -> None:
    mm = heap()
    brk(mm, at(2))
    assert brk(mm, at(0) - PAGE) == at(2)


@pytest.mark.parametrize(("to", "grows"), [(4, False), (3, True)])
def test_brk_leaves_one_free_page_below_the_next_vma(to: int, grows: bool) -> None:
    mm = heap("....w")
    assert brk(mm, at(to)) == at(to if grows else 0)


def test_brk_leaves_the_guard_gap_below_a_stack() -> None:
    mm = heap("." * 300 + "g")
    assert brk(mm, at(44)) == at(0)
    assert brk(mm, at(43)) == at(43)


def test_brk_shrinks_over_foreign_mappings_and_fails_over_a_hole() -> None:
    mm = heap()
    brk(mm, at(6))
    mmap(mm, at(2), PAGE, R, ANON | FIXED, None, 0)
    assert brk(mm, at(2)) == at(2)
    assert strip(mm) == "ww"
    brk(mm, at(4))
    munmap(mm, at(2), 2 * PAGE)
    assert brk(mm, at(2)) == at(4)


def test_after_the_last_heap_page_was_protected_a_second_heap_vma_starts() -> None:
    mm = heap()
    brk(mm, at(4))
    mm.modify(vma(mm, 3), at(3), at(4), vma(mm, 3).flags & ~abi.VM_WRITE, None)
    brk(mm, at(6))
    assert strip(mm) == "www|a|ww"


def test_a_droppable_mapping_loses_its_lock_only_after_the_merge_attempt() -> None:
    # Found by random programs on 6.18.44: equal in the end, and still two VMAs.
    for kernel, locked in (("6.18.44", False), ("6.18", True)):
        mm = new_mm(kernel)
        kind = abi.MAP_DROPPABLE | abi.MAP_ANONYMOUS | abi.MAP_FIXED
        mmap(mm, at(0), PAGE, abi.PROT_READ, kind, None, 0)
        mm.def_flags = abi.VM_LOCKED
        mmap(mm, at(1), PAGE, abi.PROT_READ, kind, None, 0)
        assert len(mm.vmas) == 2
        assert bool(vma(mm, 1).flags & abi.VM_LOCKED) is locked


def test_the_right_to_lock_is_asked_for_before_the_kind_of_mapping() -> None:
    mm = new_mm()
    mm.limits = Limits(memlock=0)
    kind = abi.MAP_DROPPABLE | abi.MAP_ANONYMOUS | abi.MAP_LOCKED
    assert mmap(mm, 0, PAGE, RW, kind, None, 0) == -abi.EPERM


def test_huge_pages_that_are_not_there_are_missed_when_the_old_mappings_are_gone() -> None:
    """A real 6.12.117, 6.18.44 and 7.3.4: hugetlb reserves in its .mmap() hook."""
    huge_page, flags = 2 << 20, ANON | HUGE | FIXED
    mm = new_mm("6.18")
    for place in (BASE, BASE + huge_page):
        assert mmap(mm, place, PAGE, RW, SHARED | ANONYMOUS | FIXED, None, 0) == place
    assert mmap(mm, BASE, huge_page + PAGE, RW, flags, None, 0) == -abi.ENOMEM
    assert mm.vmas.count == 0


def test_a_hugetlb_file_is_mapped_from_a_huge_page_on() -> None:
    mm = draw("w")
    flags = SHARED | FIXED | abi.MAP_NORESERVE
    backing = VmFile("/huge", "hugetlbfs", "legacy", close=True, sets=abi.VM_HUGETLB)
    assert mmap(mm, BASE, PAGE, RW, flags, backing, PAGE) == -abi.EINVAL
    assert mm.vmas.count == 0
