"""prctl and mseal: arguments, answers and effects."""

from __future__ import annotations

import pytest
from drawing import PAGE, at, draw, new_mm, strip, vma

from vmatrace import abi
from vmatrace.engine.mm import Mm
from vmatrace.engine.syscalls.control import mseal, prctl
from vmatrace.engine.vma import Vma
from vmatrace.engine.vmfile import VmFile
from vmatrace.kernels import KSM, get_kernel

SET, GET = abi.PR_SET_MEMORY_MERGE, abi.PR_GET_MEMORY_MERGE


# --- KSM by default ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "result"),
    [
        ((SET, 1), 0), ((SET, 5), 0), ((SET, 0), 0),
        ((SET, 1, 1), -abi.EINVAL), ((SET, 1, 0, 1), -abi.EINVAL), ((SET, 0, 0, 0, 1), -abi.EINVAL),
        ((GET,), 0), ((GET, 1), -abi.EINVAL), ((GET, 0, 1), -abi.EINVAL),
        ((GET, 0, 0, 1), -abi.EINVAL), ((GET, 0, 0, 0, 1), -abi.EINVAL),
    ],
)  # fmt: skip
def test_unused_arguments_must_be_0_and_any_value_is_on(args: tuple[int, ...], result: int) -> None:
    mm = draw("ww")
    assert prctl(mm, *args) == result
    assert mm.merge_any is (result == 0 and args[0] == SET and args[1] != 0)


def test_a_kernel_without_ksm_refuses_both() -> None:
    mm = new_mm()
    mm.world.kernel = get_kernel("6.18").with_features([], [KSM.name])
    assert prctl(mm, SET, 1) == prctl(mm, GET) == -abi.EINVAL


def test_on_marks_what_is_there_off_unmarks_it_and_neither_merges() -> None:
    mm = draw("ww|mm|yy")
    prctl(mm, SET, 1)
    assert prctl(mm, GET) == 1
    assert strip(mm) == "mm|mm|yy"
    prctl(mm, SET, 0)
    assert prctl(mm, GET) == 0
    assert strip(mm) == "ww|ww|yy"
    assert mm.world.decisions == []


def test_on_when_on_and_off_when_off_do_nothing() -> None:
    mm = draw("mm|ww")
    prctl(mm, SET, 0)
    assert strip(mm) == "mm|ww"
    mm.merge_any = True
    prctl(mm, SET, 1)
    assert strip(mm) == "mm|ww"


# --- names ---------------------------------------------------------------------------------------


def name(mm: Mm, start: int, end: int, text: str | int) -> int:
    return prctl(mm, abi.PR_SET_VMA, 0, at(start), (end - start) * PAGE, text)


def test_names_split_merge_and_are_compared_by_content() -> None:
    mm = draw("wwwwww")
    assert name(mm, 2, 4, "a") == 0
    assert mm.vmas.count == 3
    name(mm, 0, 2, "a")
    assert mm.vmas.count == 2
    name(mm, 4, 6, "b")
    assert mm.vmas.count == 2
    name(mm, 0, 6, 0)
    assert strip(mm) == "wwwwww"


@pytest.mark.parametrize("text", ["a" * 80, "a[", "a]", "$", "\\", "`", "\t", "ä"])
def test_names_that_the_kernel_refuses(text: str) -> None:
    assert name(draw("ww"), 0, 2, text) == -abi.EINVAL


def test_the_longest_name_has_79_characters() -> None:
    assert name(draw("ww"), 0, 2, "a" * 79) == 0


def test_a_file_has_no_name_and_a_hole_is_enomem_at_the_end() -> None:
    mm = draw("ww..ww")
    mm.insert(Vma(at(9), at(10), abi.VM_READ, 0, VmFile("/f", "ext4", "legacy")), mm.vmas.last)
    assert name(mm, 9, 10, "a") == -abi.EBADF
    assert name(mm, 0, 6, "a") == -abi.ENOMEM
    assert [v.extra is not None for v in mm.vmas] == [True, True, False]


@pytest.mark.parametrize("kernel", ["6.12.117-anon-vma-name", "6.18.44-anon-vma-name"])
def test_kernels_without_anon_vma_names_refuse_them(kernel: str) -> None:
    assert name(draw("ww", kernel), 0, 2, "a") == -abi.EINVAL


# --- other options -------------------------------------------------------------------------------


def test_write_xor_execute_cannot_be_taken_back() -> None:
    mm = new_mm()
    assert prctl(mm, abi.PR_SET_MDWE, 4) == -abi.EINVAL
    assert prctl(mm, abi.PR_SET_MDWE, 2) == -abi.EINVAL
    assert prctl(mm, abi.PR_SET_MDWE, 1) == 0
    assert prctl(mm, abi.PR_GET_MDWE) == 1
    assert prctl(mm, abi.PR_SET_MDWE, 0) == -abi.EPERM
    assert prctl(mm, abi.PR_SET_MDWE, 1) == 0


def test_huge_pages_except_where_advised_is_known_since_6_18() -> None:
    for kernel, result, then in (("6.17", -abi.EINVAL, 0), ("6.18", 0, 3)):
        mm = new_mm(kernel)
        assert prctl(mm, abi.PR_SET_THP_DISABLE, 1, 2) == result
        assert prctl(mm, abi.PR_GET_THP_DISABLE) == then


# --- mseal ---------------------------------------------------------------------------------------


def seal(mm: Mm, start: int, end: int) -> int:
    return mseal(mm, at(start), (end - start) * PAGE, 0)


@pytest.mark.parametrize(
    ("addr", "length", "flags", "result"),
    [
        (at(0), PAGE, 1, -abi.EINVAL),
        (at(0) + 1, PAGE, 0, -abi.EINVAL),
        (at(0), abi.ULONG_MAX - PAGE, 0, -abi.EINVAL),
        (at(0), 0, 0, 0),
        (at(1), 3 * PAGE, 0, -abi.ENOMEM),
        (at(3), PAGE, 0, -abi.ENOMEM),
    ],
)
def test_mseal_checks_everything_before_it_changes_anything(
    addr: int, length: int, flags: int, result: int
) -> None:
    mm = draw("ww..ww")
    assert mseal(mm, addr, length, flags) == result
    assert strip(mm) == "ww..ww"


def test_sealed_ranges_split_off_and_merge_with_sealed_neighbours() -> None:
    mm = draw("wwwwww")
    seal(mm, 2, 4)
    assert strip(mm) == "ww|ss|ww"
    assert seal(mm, 2, 4) == 0
    seal(mm, 0, 2)
    assert strip(mm) == "ssss|ww"
    seal(mm, 0, 6)
    assert strip(mm) == "ssssss"
    assert vma(mm, 0).flags & abi.VM_SEALED


def test_mseal_came_with_6_10() -> None:
    assert seal(draw("ww", "6.9"), 0, 2) == -abi.ENOSYS
    assert seal(draw("ww", "6.10"), 0, 2) == 0
