"""mprotect: order of checks, partial effects, accounting. Measured on both recorded kernels."""

from __future__ import annotations

import pytest
from drawing import BASE, KINDS, PAGE, at, draw, new_mm, same_anon, strip, vma

from vmatrace import abi
from vmatrace.engine.mm import Mm
from vmatrace.engine.syscalls.protection import mprotect
from vmatrace.engine.vma import Vma
from vmatrace.engine.vmfile import VmFile

NONE, R, W, X = abi.PROT_NONE, abi.PROT_READ, abi.PROT_WRITE, abi.PROT_EXEC
RW = R | W
DOWN, UP = abi.PROT_GROWSDOWN, abi.PROT_GROWSUP


def protect(mm: Mm, start: int, end: int, prot: int) -> int:
    return mprotect(mm, at(start), (end - start) * PAGE, prot)


@pytest.mark.parametrize(
    ("why", "addr", "length", "prot", "result"),
    [
        ("both directions of growth", at(0) + 1, 0, DOWN | UP, -abi.EINVAL),
        ("unaligned before length 0", at(0) + 1, 0, R, -abi.EINVAL),
        ("length 0 before the protection", at(0), 0, 0xFFF, 0),
        ("a length that wraps before the protection", at(0), abi.ULONG_MAX, 0x10, -abi.ENOMEM),
        ("an unknown protection", at(0), PAGE, 0x10, -abi.EINVAL),
        ("an unknown protection before a hole", at(9), PAGE, 0x10, -abi.EINVAL),
        ("PROT_SEM is known", at(0), PAGE, RW | abi.PROT_SEM, 0),
        ("nothing there", at(9), PAGE, R, -abi.ENOMEM),
        ("a hole first", at(2), 2 * PAGE, R, -abi.ENOMEM),
        ("PROT_GROWSDOWN of an ordinary VMA", at(0), PAGE, R | DOWN, -abi.EINVAL),
        ("PROT_GROWSUP", at(0), PAGE, R | UP, -abi.EINVAL),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_checks_come_in_the_kernels_order_and_change_nothing(
    why: str, addr: int, length: int, prot: int, result: int
) -> None:
    mm = draw("ww.ww")
    assert mprotect(mm, addr, length, prot) == result
    assert strip(mm) == "ww.ww"


def test_what_lies_before_a_hole_stays_changed() -> None:
    mm = draw("ww|xx..ww")
    assert protect(mm, 1, 8, R) == -abi.ENOMEM
    assert strip(mm) == "w|rrr..ww"


def test_a_range_that_ends_in_a_hole_is_enomem_with_everything_changed() -> None:
    mm = draw("ww..")
    assert protect(mm, 0, 4, R) == -abi.ENOMEM
    assert strip(mm) == "rr"


def test_a_sealed_vma_refuses_even_what_it_has_and_what_lies_before_stays_changed() -> None:
    mm = draw("ww|ss")
    assert protect(mm, 2, 4, RW) == -abi.EPERM
    assert protect(mm, 0, 4, R) == -abi.EPERM
    assert strip(mm) == "rr|ss"


def test_a_permission_the_file_does_not_give_is_eacces() -> None:
    mm = new_mm()
    flags = abi.VM_READ | abi.VM_MAYREAD | abi.VM_MAYEXEC | abi.VM_MAYSHARE
    mm.insert(Vma(at(0), at(1), flags, -BASE, VmFile("/f", "ext4", "mmap_prepare")), None)
    assert protect(mm, 0, 1, RW) == -abi.EACCES
    assert protect(mm, 0, 1, R | X) == 0


@pytest.mark.parametrize(("prot", "result"), [(R | X, -abi.EACCES), (RW, 0), (R, 0)])
def test_mdwe_refuses_to_gain_execution(prot: int, result: int) -> None:
    mm = draw("ww")
    mm.mdwe = 1
    assert protect(mm, 0, 2, prot) == result


def test_one_call_turns_a_row_of_different_protections_into_one_vma() -> None:
    mm = draw("ww|rr|xx")
    assert protect(mm, 0, 6, RW) == 0
    assert strip(mm) == "wwwwww"


def test_a_change_and_its_undoing_leave_what_was_there() -> None:
    mm = draw("wwwwww")
    protect(mm, 2, 4, R)
    assert strip(mm) == "ww|rr|ww"
    protect(mm, 2, 4, RW)
    assert strip(mm) == "wwwwww"


def test_only_a_real_change_merges_equal_neighbours() -> None:
    mm = draw("ww|ww")
    protect(mm, 0, 4, RW)
    assert strip(mm) == "ww|ww"
    protect(mm, 2, 4, R)
    protect(mm, 2, 4, RW)
    assert strip(mm) == "wwww"


# --- accounting ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "prot", "after"),
    [
        ("ww", R, "rr"),  # unwritten memory gives its accounting back
        ("WW", R, "AA"),  # written memory keeps it
        ("rr", RW, "ww"),  # becoming writable charges
        ("nn", RW, "nn"),  # not without reservation
        ("aa", RW, "ww"),
        ("pp", RW, "ww"),
    ],
)
def test_accounting_follows_writability(before: str, prot: int, after: str) -> None:
    mm = draw(before)
    assert protect(mm, 0, 2, prot) == 0
    assert strip(mm) == after


def test_accounting_that_was_kept_keeps_neighbours_apart() -> None:
    mm = draw("WW|ww")
    protect(mm, 0, 4, R)
    assert strip(mm) == "AA|rr"


def test_before_6_7_accounting_is_never_given_back() -> None:
    for kernel, after in (("6.6", "aa"), ("6.7", "rr")):
        mm = draw("ww", kernel)
        protect(mm, 0, 2, R)
        assert strip(mm) == after


def test_a_private_file_mapping_keeps_its_accounting() -> None:
    mm = new_mm()
    mm.insert(Vma(at(0), at(1), KINDS["w"], -BASE, VmFile("/f", "ext4", "mmap_prepare")), None)
    protect(mm, 0, 1, R)
    assert vma(mm, 0).flags & abi.VM_ACCOUNT


# --- the rest ------------------------------------------------------------------------------------


def test_growsdown_reaches_down_to_the_start_of_the_stack() -> None:
    mm = draw("gggg")
    assert protect(mm, 2, 3, R | DOWN) == 0
    assert [(v.start, v.end, abi.perms(v.flags)) for v in mm.vmas] == [
        (at(0), at(3), "r--p"),
        (at(3), at(4), "rw-p"),
    ]


def test_growsdown_starts_in_the_hole_below_a_stack_that_the_range_reaches() -> None:
    mm = draw("..gggg")
    assert protect(mm, 0, 2, R | DOWN) == -abi.ENOMEM
    assert protect(mm, 0, 6, R | DOWN) == 0


def test_locked_memory_that_becomes_writable_is_populated() -> None:
    mm = draw("ll")
    protect(mm, 0, 2, R)
    assert not vma(mm, 0).anon
    protect(mm, 0, 2, RW)
    assert strip(mm) == "LL"


def test_under_ksm_reserved_memory_is_committed_step_by_step_as_one_vma() -> None:
    for kernel in ("pre-patch", "post-patch"):
        mm = draw("pppppppp", kernel)
        mm.set_mergeable()
        for page in (0, 2, 4, 6):
            protect(mm, page, page + 2, RW)
        assert strip(mm) == "mmmmmmmm"


@pytest.mark.parametrize(
    ("before", "old", "new"),
    [
        ("wwww|XXXX", "wwww|WWWW", "WWWWWWWW"),
        ("XXXX|wwww", "WWWW|wwww", "WWWWWWWW"),
        ("WWWW|xxxx", "WWWWWWWW", "WWWWWWWW"),
    ],
)
def test_which_way_written_and_unwritten_neighbours_merge(before: str, old: str, new: str) -> None:
    for kernel, after in (("6.12.117", old), ("6.18.44", new)):
        mm = draw(before, kernel)
        start = 0 if before[0] == "X" else 4
        protect(mm, start, start + 4, RW)
        assert strip(mm) == after


def test_written_parts_of_one_vma_find_each_other_again() -> None:
    mm = draw("ww|XX|XX")
    same_anon(mm, 2, 4)
    protect(mm, 2, 4, RW)
    assert strip(mm) == "WWWW|XX"
    protect(mm, 4, 6, RW)
    assert strip(mm) == "WWWWWW"
