"""mlock and its kin: flags, population, partial effects. Measured on both recorded kernels."""

from __future__ import annotations

import pytest
from drawing import BASE, KINDS, PAGE, at, draw, new_mm, strip, vma

from vmatrace import abi
from vmatrace.engine.mm import Mm
from vmatrace.engine.syscalls.locking import mlock, mlock2, mlockall, munlock, munlockall
from vmatrace.engine.syscalls.mapping import mmap
from vmatrace.engine.vma import Vma
from vmatrace.engine.vmfile import VmFile

CURRENT, FUTURE, ONFAULT = abi.MCL_CURRENT, abi.MCL_FUTURE, abi.MCL_ONFAULT


def lock(mm: Mm, start: int, end: int) -> int:
    return mlock(mm, at(start), (end - start) * PAGE)


def unlock(mm: Mm, start: int, end: int) -> int:
    return munlock(mm, at(start), (end - start) * PAGE)


def test_locking_writable_private_memory_populates_it_and_on_fault_does_not() -> None:
    mm = draw("wwwwww")
    assert lock(mm, 0, 2) == 0
    assert mlock2(mm, at(4), 2 * PAGE, abi.MLOCK_ONFAULT) == 0
    assert strip(mm) == "LL|ww|oo"


def test_a_plain_lock_over_an_on_fault_lock_makes_it_plain() -> None:
    mm = draw("oo")
    assert lock(mm, 0, 2) == 0
    assert strip(mm) == "LL"


def test_locked_and_unlocked_in_the_middle_it_heals_only_since_6_16() -> None:
    for kernel, after in (("6.12.117", "ww|WW|ww"), ("6.18.44", "WWWWWW")):
        mm = draw("wwwwww", kernel)
        lock(mm, 2, 4)
        unlock(mm, 2, 4)
        assert strip(mm) == after


def test_one_byte_locks_its_page() -> None:
    mm = draw("wwww")
    assert mlock(mm, at(1) + 4095, 1) == 0
    assert strip(mm) == "w|L|ww"
    mm = draw("wwww")
    assert mlock(mm, at(1) + 4095, 2) == 0
    assert strip(mm) == "w|LL|w"


@pytest.mark.parametrize(("length", "result"), [(0, 0), (abi.ULONG_MAX, 0)])
def test_a_length_of_nothing_is_success(length: int, result: int) -> None:
    mm = draw("ww")
    assert mlock(mm, at(0), length) == result
    assert munlock(mm, at(9), length) == result
    assert strip(mm) == "ww"


def test_a_hole_is_enomem_and_what_lies_before_it_stays_locked() -> None:
    mm = draw("ww..ww")
    assert lock(mm, 0, 6) == -abi.ENOMEM
    assert strip(mm) == "ll..ww"
    assert lock(mm, 2, 6) == -abi.ENOMEM
    assert unlock(mm, 0, 6) == -abi.ENOMEM
    assert strip(mm) == "ww..ww"


def test_inaccessible_memory_is_enomem_and_locked_all_the_same() -> None:
    mm = draw("pp")
    assert lock(mm, 0, 2) == -abi.ENOMEM
    assert vma(mm, 0).flags == KINDS["p"] | abi.VM_LOCKED


@pytest.mark.parametrize("flags", [2, 3, abi.ULONG_MAX])
def test_mlock2_knows_one_flag(flags: int) -> None:
    assert mlock2(draw("ww"), at(0), PAGE, flags) == -abi.EINVAL


@pytest.mark.parametrize(
    ("flags", "file"),
    [
        (KINDS["w"] | abi.VM_IO, None),
        (KINDS["w"] | abi.VM_DONTEXPAND, None),
        (KINDS["w"] | abi.VM_HUGETLB, None),
        (KINDS["y"], None),
        (KINDS["w"], VmFile("/pmem", "dax", "legacy")),
    ],
)
def test_what_cannot_be_locked_is_passed_over_in_silence(flags: int, file: VmFile | None) -> None:
    mm = new_mm()
    mm.insert(Vma(at(0), at(1), flags, -BASE, file), None)
    assert lock(mm, 0, 1) == 0
    assert not vma(mm, 0).flags & abi.VM_LOCKED_MASK


# --- all of it -----------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [0, ONFAULT, 8, CURRENT | 16])
def test_mlockall_refuses_no_unknown_and_only_on_fault(flags: int) -> None:
    assert mlockall(draw("ww"), flags) == -abi.EINVAL


def test_mlockall_locks_each_vma_and_merges_from_left_to_right() -> None:
    mm = draw("ll|oo|rr")
    assert mlockall(mm, CURRENT) == 0
    assert mm.vmas.count == 2
    assert all(v.flags & abi.VM_LOCKED for v in mm.vmas)


def test_locks_of_the_future_cover_new_mappings_until_a_call_without_it() -> None:
    mm = new_mm()
    args = (abi.PROT_READ | abi.PROT_WRITE, abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED)
    mlockall(mm, FUTURE | ONFAULT)
    mmap(mm, at(0), PAGE, *args, None, 0)
    mlockall(mm, FUTURE)
    mmap(mm, at(2), PAGE, *args, None, 0)
    mlockall(mm, CURRENT)
    mmap(mm, at(4), PAGE, *args, None, 0)
    assert mm.def_flags == 0
    assert strip(mm) == "L.L.w"


def test_munlockall_clears_every_lock_and_merges() -> None:
    mm = draw("ll|oo|ww")
    mm.def_flags = abi.VM_LOCKED
    assert munlockall(mm) == 0
    assert strip(mm) == "wwwwww"
    assert mm.def_flags == 0


@pytest.mark.parametrize("flags", [0, abi.MLOCK_ONFAULT])
def test_memory_that_the_kernel_may_not_touch_cannot_be_locked(flags: int) -> None:
    """check_vma_flags() refuses secretmem; measured on 6.18.44."""
    mm = new_mm()
    secret = VmFile("/secretmem (deleted)", "secretmem", "mmap_prepare")
    mm.insert(Vma(at(0), at(1), KINDS["w"] | abi.VM_SHARED, -BASE, secret), None)
    assert mlock2(mm, at(0), PAGE, flags) == -abi.ENOMEM
    assert not vma(mm, 0).flags & abi.VM_LOCKED_MASK
