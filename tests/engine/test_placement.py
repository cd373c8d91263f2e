"""Where the kernel puts what it may place. Values: measured on 6.12.117 and 6.18.44."""

from __future__ import annotations

import pytest
from drawing import KINDS, PAGE, at, draw, new_mm

from vmatrace import abi
from vmatrace.engine import placement
from vmatrace.engine.mm import Mm
from vmatrace.engine.region import unmap
from vmatrace.engine.syscalls.mapping import mmap
from vmatrace.engine.vma import Vma
from vmatrace.engine.vmfile import VmFile

RW = abi.PROT_READ | abi.PROT_WRITE
ANON = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS
HUGE = 2 << 20


def place(mm: Mm, length: int, hint: int = 0, flags: int = ANON) -> int:
    return mmap(mm, hint, length, RW, flags, None, 0)


def test_mappings_are_packed_downwards_from_mmap_base() -> None:
    mm = new_mm()
    assert place(mm, 4 * PAGE) == mm.mmap_base - 4 * PAGE
    assert place(mm, PAGE) == mm.mmap_base - 5 * PAGE
    assert mm.vmas.count == 1


def test_the_highest_hole_that_is_large_enough_is_taken() -> None:
    mm = new_mm()
    top = place(mm, 16 * PAGE)
    for page, length in ((14, 1), (8, 3), (2, 3)):
        unmap(mm, top + page * PAGE, top + (page + length) * PAGE)
    assert place(mm, 2 * PAGE) == top + 9 * PAGE
    assert place(mm, PAGE) == top + 14 * PAGE
    assert place(mm, 3 * PAGE) == top + 2 * PAGE
    assert place(mm, 3 * PAGE) == top - 3 * PAGE


def test_without_room_below_the_base_the_search_goes_on_above() -> None:
    mm = new_mm(min_addr=PAGE)
    mm.insert(Vma(PAGE, mm.mmap_base, KINDS["p"]), None)
    assert place(mm, PAGE) == mm.mmap_base


def test_without_any_room_there_is_enomem() -> None:
    mm = new_mm(min_addr=PAGE)
    mm.insert(Vma(PAGE, abi.TASK_SIZE, KINDS["p"]), None)
    assert place(mm, PAGE) == -abi.ENOMEM


# --- hints ---------------------------------------------------------------------------------------


def test_a_free_hint_is_taken_even_between_two_neighbours() -> None:
    assert place(draw("ww..ww"), 2 * PAGE, at(2)) == at(2)


def test_an_unaligned_hint_is_rounded_down() -> None:
    assert place(draw("ww.."), PAGE, at(3) + 100) == at(3)


def test_an_occupied_hint_falls_back_to_the_search() -> None:
    mm = draw("ww..ww")
    assert place(mm, 3 * PAGE, at(2)) == mm.mmap_base - 3 * PAGE


def test_a_hint_below_mmap_min_addr_is_raised_to_it() -> None:
    assert place(new_mm(), PAGE, PAGE) == 65536


def test_a_hint_that_ends_above_the_task_falls_back_to_the_search() -> None:
    mm = new_mm()
    assert place(mm, 2 * PAGE, abi.TASK_SIZE - PAGE) == mm.mmap_base - 2 * PAGE


@pytest.mark.parametrize(("gap", "taken"), [(255, False), (256, True)])
def test_a_hint_must_leave_the_stack_guard_gap(gap: int, taken: bool) -> None:
    mm = draw("." * 300 + "gg")
    assert (place(mm, PAGE, at(300 - gap - 1)) == at(300 - gap - 1)) is taken


def test_the_search_leaves_the_stack_guard_gap_too() -> None:
    mm = new_mm()
    stack = mm.mmap_base - 4 * PAGE
    mm.insert(Vma(stack, mm.mmap_base, KINDS["g"]), None)
    assert place(mm, PAGE) == stack - 257 * PAGE


def test_map_fixed_ignores_the_guard_gap() -> None:
    mm = draw("..gg")
    assert place(mm, 2 * PAGE, at(0), ANON | abi.MAP_FIXED) == at(0)


# --- huge pages ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "length", "aligned"),
    [
        ("6.4", HUGE, False), ("6.6", HUGE, False),
        ("6.7", HUGE, True), ("6.7", HUGE + PAGE, True), ("6.7", HUGE - 2 * PAGE, False),
        ("6.12", HUGE, True), ("6.12", HUGE + PAGE, False), ("6.12", 2 * HUGE, True),
        ("6.18.44", HUGE, True), ("6.18.44", 3 * HUGE // 2, False),
    ],
)  # fmt: skip
def test_which_anonymous_mappings_are_aligned_to_huge_pages(
    kernel: str, length: int, aligned: bool
) -> None:
    assert (place(new_mm(kernel), length) % HUGE == 0) is aligned


def test_alignment_leaves_a_gap_above_and_then_packs_tightly() -> None:
    mm = new_mm()
    place(mm, PAGE)
    first = place(mm, HUGE)
    assert first == (mm.mmap_base - PAGE - HUGE) // HUGE * HUGE
    assert place(mm, HUGE) == first - HUGE


def test_a_hint_switches_alignment_off_since_6_13() -> None:
    for kernel, aligned in (("6.12", True), ("6.13", False), ("6.12.117", False)):
        mm = draw("ww", kernel)
        assert (place(mm, HUGE, at(0)) % HUGE == 0) is aligned, kernel


def test_shared_anonymous_memory_is_placed_plainly() -> None:
    mm = new_mm()
    found = place(mm, HUGE, flags=abi.MAP_SHARED | abi.MAP_ANONYMOUS)
    assert found == mm.mmap_base - HUGE


@pytest.mark.parametrize(
    ("length", "offset", "congruent"), [(2 * HUGE, 0, True), (3 << 20, PAGE, False)]
)
def test_ext4_files_are_congruent_to_their_offset_when_a_huge_page_fits(
    length: int, offset: int, congruent: bool
) -> None:
    mm = new_mm()
    file = VmFile("/f", "ext4", "mmap_prepare")
    found = mmap(mm, 0, length, abi.PROT_READ, abi.MAP_PRIVATE, file, offset)
    if congruent:
        assert (found - offset) % HUGE == 0
    else:
        assert found == mm.mmap_base - length


@pytest.mark.parametrize(
    ("length", "offset", "fits"),
    [(HUGE, 0, True), (HUGE - PAGE, 0, False), (HUGE, PAGE, False), (2 * HUGE, PAGE, True)],
)
def test_alignment_needs_a_whole_huge_page_of_the_backing(
    length: int, offset: int, fits: bool
) -> None:
    assert placement.huge_alignable(length, offset) is fits


# --- 32 bits -------------------------------------------------------------------------------------


def test_map_32bit_is_placed_bottom_up_between_one_and_two_gigabytes() -> None:
    mm = new_mm()
    assert place(mm, PAGE, flags=ANON | abi.MAP_32BIT) == 0x40000000
    assert place(mm, PAGE, flags=ANON | abi.MAP_32BIT) == 0x40001000


def test_map_32bit_is_enomem_when_that_window_is_full() -> None:
    mm = new_mm()
    mm.insert(Vma(0x40000000, 0x80000000, KINDS["p"]), None)
    assert place(mm, PAGE, flags=ANON | abi.MAP_32BIT) == -abi.ENOMEM
