"""mremap: both orders of its checks, growth, moves, and what becomes of anon_vmas and offsets."""

from __future__ import annotations

import pytest
from drawing import BASE, KINDS, PAGE, at, draw, forked, new_mm, same_anon, strip, vma

from vmatrace import abi
from vmatrace.engine.mm import Mm
from vmatrace.engine.syscalls.mapping import mmap
from vmatrace.engine.syscalls.remapping import mremap
from vmatrace.engine.vma import Vma
from vmatrace.engine.vmfile import VmFile

MAYMOVE, FIXED, DONTUNMAP = abi.MREMAP_MAYMOVE, abi.MREMAP_FIXED, abi.MREMAP_DONTUNMAP
TO = MAYMOVE | FIXED
OLD, NEW = "6.12.117", "6.18.44"
TOO_LONG = abi.TASK_SIZE + PAGE


def resize(mm: Mm, start: int, old: int, new: int, flags: int = 0) -> int:
    return mremap(mm, at(start), old * PAGE, new * PAGE, flags)


def move(mm: Mm, start: int, old: int, to: int, new: int | None = None, flags: int = TO) -> int:
    size = old if new is None else new
    return mremap(mm, at(start), old * PAGE, size * PAGE, flags, at(to))


# --- checks: before 6.17 and since ---------------------------------------------------------------


@pytest.mark.parametrize("kernel", [OLD, "6.16", "6.17", NEW])
@pytest.mark.parametrize(
    ("addr", "old", "new", "flags", "target", "error"),
    [
        (at(0), PAGE, PAGE, 8, 0, abi.EINVAL),
        (at(0), PAGE, PAGE, FIXED, at(50), abi.EINVAL),
        (at(0), PAGE, PAGE, DONTUNMAP, at(50), abi.EINVAL),
        (at(0), PAGE, 2 * PAGE, MAYMOVE | DONTUNMAP, 0, abi.EINVAL),
        (at(0) + 1, PAGE, PAGE, 0, 0, abi.EINVAL),
        (at(0), PAGE, 0, 0, 0, abi.EINVAL),
        (at(0), PAGE, PAGE, TO, at(50) + 1, abi.EINVAL),
        (at(0), PAGE, PAGE, TO, abi.TASK_SIZE, abi.EINVAL),
        (at(0), 2 * PAGE, 2 * PAGE, TO, at(1), abi.EINVAL),
        (at(1), PAGE, 2 * PAGE, TO, at(0), abi.EINVAL),
        (at(0), 0, PAGE, MAYMOVE, 0, abi.EINVAL),
        (at(9), PAGE, PAGE, 0, 0, abi.EFAULT),
        (at(9), PAGE, PAGE, TO, at(50), abi.EFAULT),
        (at(2), 4 * PAGE, 8 * PAGE, MAYMOVE, 0, abi.EFAULT),
        (at(1), PAGE, 2 * PAGE, 0, 0, abi.ENOMEM),
    ],
)
def test_what_every_release_refuses_without_changing_anything(
    kernel: str, addr: int, old: int, new: int, flags: int, target: int, error: int
) -> None:
    mm = draw("wwww|rr", kernel)
    assert mremap(mm, addr, old, new, flags, target) == -error
    assert strip(mm) == "wwww|rr"


def test_too_long_is_enomem_before_6_17_and_einval_since() -> None:
    for kernel, error in ((OLD, abi.ENOMEM), (NEW, abi.EINVAL)):
        assert mremap(draw("ww", kernel), at(0), PAGE, TOO_LONG, MAYMOVE) == -error


def test_a_bad_target_without_a_source_is_efault_before_6_17_and_einval_since() -> None:
    for kernel, error in ((OLD, abi.EFAULT), (NEW, abi.EINVAL)):
        assert mremap(draw("ww", kernel), at(9), PAGE, PAGE, TO, at(50) + 1) == -error


def test_a_source_that_is_too_short_costs_the_target_before_6_17() -> None:
    for kernel, after in ((OLD, "ww"), (NEW, "ww....rrrrrrrr")):
        mm = draw("ww....rrrrrrrr", kernel)
        assert move(mm, 0, 4, 6, 8) == -abi.EFAULT
        assert strip(mm) == after


def test_a_shrinking_move_over_two_vmas_costs_the_tail_before_6_17() -> None:
    for kernel, after in ((OLD, "www|rrr"), (NEW, "www|rrrrr")):
        mm = draw("www|rrrrr", kernel)
        assert move(mm, 0, 8, 20, 6) == -abi.EFAULT
        assert strip(mm) == after


def test_a_shrinking_move_whose_kept_part_is_one_vma_succeeds() -> None:
    for kernel in (OLD, NEW):
        mm = draw("ww|rr", kernel)
        assert move(mm, 0, 4, 20, 2) == at(20)
        assert strip(mm) == "." * 20 + "ww"


@pytest.mark.parametrize("kernel", [OLD, NEW])
def test_a_sealed_vma_is_not_remapped_not_even_to_itself(kernel: str) -> None:
    mm = draw("ss", kernel)
    assert resize(mm, 0, 2, 2) == -abi.EPERM
    assert resize(mm, 0, 2, 1) == -abi.EPERM
    assert move(mm, 0, 2, 20) == -abi.EPERM


@pytest.mark.parametrize("kernel", [OLD, NEW])
def test_a_sealed_target_is_refused_and_its_split_neighbour_stays_split(kernel: str) -> None:
    mm = draw("ww..rr|ss", kernel)
    assert move(mm, 0, 2, 5) == -abi.EPERM
    assert strip(mm) == "ww..r|r|ss"


def test_a_move_needs_room_for_more_vmas_than_it_makes() -> None:
    for limit, result in ((6, -abi.ENOMEM), (7, at(20))):
        mm = draw("ww", max_map_count=limit)
        assert move(mm, 0, 2, 20) == result


# --- in place ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [OLD, NEW])
@pytest.mark.parametrize(
    ("before", "start", "old", "new", "after"),
    [
        ("wwww", 0, 4, 4, "wwww"),
        ("ww|rr..", 0, 6, 6, "ww|rr"),  # equal sizes: whatever the range spans
        ("wwww", 0, 4, 2, "ww"),
        ("ww|rr..xx", 0, 8, 1, "w"),  # a shrink may cut others and holes
        ("ww..", 0, 2, 4, "wwww"),
        ("ww..rr", 0, 2, 4, "wwww|rr"),
        ("ww..ww", 0, 2, 4, "wwwwww"),
        ("ww..WW", 0, 2, 4, "WWWWWW"),
        ("WW..WW", 0, 2, 4, "WWWW|WW"),
        ("w.ww", 0, 1, 2, "wwww"),
        ("www.", 1, 2, 3, "wwww"),
    ],
)
def test_in_place(kernel: str, before: str, start: int, old: int, new: int, after: str) -> None:
    mm = draw(before, kernel)
    assert resize(mm, start, old, new) == at(start)
    mm.vmas.check()
    assert strip(mm) == after


def test_written_memory_that_grows_up_to_unwritten_memory_merges_since_6_16() -> None:
    for kernel, after in ((OLD, "WWWW|ww"), (NEW, "WWWWWW")):
        mm = draw("WW..ww", kernel)
        resize(mm, 0, 2, 4)
        assert strip(mm) == after


def test_what_a_fork_shares_can_still_grow_and_even_take_in_the_next() -> None:
    for kernel, after in ((OLD, "WWWW|ww"), (NEW, "WWWWWW")):
        mm = draw("WW..ww", kernel)
        forked(mm, 0)
        resize(mm, 0, 2, 4)
        assert strip(mm) == after


def test_without_room_it_is_enomem_unless_it_may_move() -> None:
    mm = draw("ww|rr")
    assert resize(mm, 0, 2, 3) == -abi.ENOMEM
    assert resize(mm, 0, 2, 3, MAYMOVE) == mm.mmap_base - 3 * PAGE
    assert [v.start for v in mm.vmas] == [at(2), mm.mmap_base - 3 * PAGE]


def test_the_front_part_of_a_vma_moves_when_it_grows() -> None:
    mm = draw("wwww....")
    assert resize(mm, 0, 2, 4) == -abi.ENOMEM
    assert resize(mm, 0, 2, 4, MAYMOVE) == mm.mmap_base - 4 * PAGE


# --- moves ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [OLD, "pre-patch", NEW])
@pytest.mark.parametrize(
    ("before", "start", "old", "to", "new", "after"),
    [
        ("ww......", 0, 2, 4, 2, "....ww"),
        ("wwww....", 1, 2, 6, 2, "w..w..ww"),
        ("ww......", 0, 2, 4, 3, "....www"),
        ("ww..rrrr", 0, 2, 5, 2, "....r|ww|r"),
        ("ww..ww..", 0, 2, 6, 2, "....wwww"),
        ("wwww....", 0, 2, 4, 2, "..wwww"),  # unwritten: slides along itself
        ("WWWW....", 0, 2, 4, 2, "..WW|WW"),  # written: its offset stays behind
        ("WW..ww..", 0, 2, 6, 2, "....ww|WW"),
        ("ww..WW..", 0, 2, 6, 2, "....WWWW"),
    ],
)
def test_a_move_copies_merges_at_its_target_and_unmaps(
    kernel: str, before: str, start: int, old: int, to: int, new: int, after: str
) -> None:
    mm = draw(before, kernel)
    assert move(mm, start, old, to, new) == at(to)
    mm.vmas.check()
    assert strip(mm) == after


def test_written_memory_that_comes_back_merges_again_with_its_other_half() -> None:
    mm = draw("WWWW")
    move(mm, 2, 2, 20)
    assert vma(mm, 20).skew == -18 * PAGE
    move(mm, 20, 2, 2)
    assert strip(mm) == "WWWW"


def test_two_written_neighbours_moved_by_the_same_distance_merge_there() -> None:
    mm = draw("WW|WW")
    same_anon(mm, 0, 2)
    move(mm, 2, 2, 22)
    move(mm, 0, 2, 20)
    assert strip(mm) == "." * 20 + "WWWW"


@pytest.mark.parametrize(
    ("kernel", "after"), [("6.12", "ww|WW"), ("6.17", "wwww"), ("6.18.44", "WWWW")]
)
def test_written_memory_back_beside_unwritten_memory(kernel: str, after: str) -> None:
    # 6.16 to 6.18 merged without handing the anon_vma on, a bug that 6.19 and stables mended.
    mm = draw("..WW", kernel)
    move(mm, 2, 2, 20)
    mmap(mm, at(0), 2 * PAGE, 3, abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED, None, 0)
    move(mm, 20, 2, 2)
    assert strip(mm) == after


def test_what_a_fork_shares_moved_back_beside_unwritten_memory() -> None:
    for kernel, vmas in ((OLD, 2), ("6.17", 1), (NEW, 2)):
        mm = draw("..WW", kernel)
        forked(mm, 2)
        move(mm, 2, 2, 20)
        mmap(mm, at(0), 2 * PAGE, 3, abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED, None, 0)
        move(mm, 20, 2, 2)
        assert mm.vmas.count == vmas, kernel


def test_a_moved_file_mapping_keeps_its_offset() -> None:
    mm = new_mm()
    file = VmFile("/f", "ext4", "mmap_prepare")
    mmap(mm, at(0), 4 * PAGE, abi.PROT_READ, abi.MAP_PRIVATE | abi.MAP_FIXED, file, 8 * PAGE)
    move(mm, 2, 2, 20)
    assert vma(mm, 20).start + vma(mm, 20).skew == 10 * PAGE
    assert vma(mm, 20).file is file


def test_ksm_marks_travel_so_moves_merge_before_the_series_too() -> None:
    for kernel in ("pre-patch", "post-patch"):
        mm = draw("mm......mm", kernel)
        mm.merge_any = True
        move(mm, 8, 2, 2)
        assert strip(mm) == "mmmm"


# --- several VMAs --------------------------------------------------------------------------------


def test_several_vmas_and_their_gaps_move_at_once_since_6_17() -> None:
    mm = draw("ww|r..xx", NEW)
    assert move(mm, 0, 7, 20) == at(20)
    assert strip(mm) == "." * 20 + "ww|r..xx"


def test_before_6_17_that_is_efault_when_the_target_is_gone_already() -> None:
    mm = draw("ww|rr....xxxx", OLD)
    assert move(mm, 0, 4, 8) == -abi.EFAULT
    assert strip(mm) == "ww|rr"


def test_nothing_is_unmapped_under_the_gaps() -> None:
    mm = draw("w.w..xxx", NEW)
    move(mm, 0, 3, 5)
    assert strip(mm) == ".....w|x|w"


def test_an_error_stops_behind_the_pieces_that_moved() -> None:
    mm = draw("w|s|w", NEW)
    assert move(mm, 0, 3, 20) == -abi.EPERM
    assert strip(mm) == ".s|w" + "." * 17 + "w"


def test_the_first_vma_must_be_there() -> None:
    mm = draw(".ww", NEW)
    assert move(mm, 0, 3, 20) == -abi.EFAULT


# --- the special forms ---------------------------------------------------------------------------


def shared(kernel: str = NEW) -> Mm:
    mm = new_mm(kernel)
    flags = KINDS["r"] | abi.VM_WRITE | abi.VM_SHARED | abi.VM_MAYSHARE
    file = VmFile("/dev/zero (deleted)", "tmpfs", "shmem")
    mm.insert(Vma(at(0), at(4), flags, -BASE, file), None)
    return mm


def test_an_old_size_of_0_makes_a_second_mapping_of_shared_memory() -> None:
    for kernel in (OLD, NEW):
        mm = shared(kernel)
        assert mremap(mm, at(1), 0, 2 * PAGE, 0) == -abi.ENOMEM
        assert mremap(mm, at(1), 0, 2 * PAGE, TO, at(20)) == at(20)
        assert mm.vmas.count == 2
        copy = vma(mm, 20)
        assert (copy.start, copy.end, copy.start + copy.skew) == (at(20), at(22), PAGE)
        assert copy.file is vma(mm, 0).file


def test_dontunmap_leaves_an_emptied_unlocked_source() -> None:
    mm = draw("LL", NEW)
    assert move(mm, 0, 2, 20, flags=TO | DONTUNMAP) == at(20)
    assert strip(mm) == "ww" + "." * 18 + "LL"


def test_dontunmap_of_unwritten_memory_beside_itself() -> None:
    for kernel, after in ((NEW, "wwww"), (OLD, "ww|ww")):
        mm = draw("ww", kernel)
        move(mm, 0, 2, 2, flags=TO | DONTUNMAP)
        assert strip(mm) == after


def test_dontunmap_of_a_part_of_locked_memory() -> None:
    for kernel, source in ((NEW, "wwwww"), (OLD, "l|www|l")):
        mm = draw("lllll", kernel)
        move(mm, 1, 3, 20, flags=TO | DONTUNMAP)
        assert strip(mm) == source + "." * 15 + "lll"


def test_dontunmap_unaccounts_the_source_in_6_17_only() -> None:
    for kernel, after in (("6.14", "w"), ("6.17", ""), ("6.18", "w")):
        mm = draw("ww", kernel)
        move(mm, 0, 2, 20, flags=TO | DONTUNMAP)
        accounted = bool(vma(mm, 0).flags & abi.VM_ACCOUNT)
        assert accounted is (after == "w"), kernel


@pytest.mark.parametrize("flag", [abi.VM_DONTEXPAND, abi.VM_PFNMAP])
def test_what_may_not_grow_neither_grows_nor_leaves_a_copy(flag: int) -> None:
    mm = new_mm()
    mm.insert(Vma(at(0), at(2), KINDS["r"] | flag), None)
    assert resize(mm, 0, 2, 4) == -abi.EFAULT
    assert move(mm, 0, 2, 20, flags=TO | DONTUNMAP) == -abi.EINVAL
    assert resize(mm, 0, 2, 1) == at(0)


def test_a_recorded_new_address_is_taken_when_the_kernel_was_free_to_choose() -> None:
    mm = draw("ww|rr")
    assert mremap(mm, at(0), 2 * PAGE, 3 * PAGE, MAYMOVE, 0, recorded=at(40)) == at(40)


def test_a_driver_that_chooses_addresses_stops_a_move_of_several_vmas() -> None:
    zero = VmFile("/dev/zero", "legacy", "legacy", anonymous=True)
    mm = draw("w", NEW)
    first = mm.vmas.at(at(0))
    mm.insert(Vma(at(1), at(2), KINDS["w"], -at(1), zero), first)
    assert move(mm, 0, 2, 20) == -abi.EFAULT
    assert mm.vmas.at(at(20)) is not None, "the piece before it has moved"
    assert vma(mm, 1).file is zero


@pytest.mark.parametrize("kernel", ["6.12", "6.16", "6.18"])
def test_lengths_in_huge_pages_are_rounded_up_to_whole_ones(kernel: str) -> None:
    """As 6.12.117, 6.18.44 and 7.3.4 do (align_hugetlb())."""
    huge, base = 2 << 20, 0x100_0000_0000
    mm = new_mm(kernel)
    flags = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_HUGETLB | abi.MAP_NORESERVE
    rw = abi.PROT_READ | abi.PROT_WRITE
    assert mmap(mm, base, PAGE, rw, flags | abi.MAP_FIXED, None, 0) == base
    moving = abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED
    assert mremap(mm, base, PAGE, PAGE, moving, base + 2 * huge) == base + 2 * huge
    assert [(v.start, v.end) for v in mm.vmas] == [(base + 2 * huge, base + 3 * huge)]
    assert mremap(mm, base + 2 * huge, PAGE, huge + PAGE, abi.MREMAP_MAYMOVE) == -abi.EINVAL
