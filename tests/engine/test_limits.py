"""Resource limits: what counts as data, what is locked, and when growing is too much."""

from __future__ import annotations

import pytest
from drawing import KINDS, PAGE, at, draw, new_mm

from vmatrace import abi
from vmatrace.engine.limits import UNLIMITED, Limits, is_data, locked, overlap
from vmatrace.engine.syscalls.heap import brk

SHARED = KINDS["r"] | abi.VM_WRITE | abi.VM_SHARED


@pytest.mark.parametrize(
    ("flags", "data"),
    [
        (KINDS["w"], True), (KINDS["x"], True), (KINDS["n"], True), (KINDS["r"], False),
        (KINDS["a"], False), (KINDS["g"], False), (SHARED, False),
    ],
)  # fmt: skip
def test_data_is_private_writable_memory_that_is_no_stack(flags: int, data: bool) -> None:
    assert is_data(flags) is data


@pytest.mark.parametrize(("more", "fits"), [(2, True), (3, False)])
def test_the_address_space_counts_every_vma(more: int, fits: bool) -> None:
    mm = draw("ww..rr")
    limits = Limits(address_space=6 * PAGE)
    assert limits.may_expand(mm.vmas, KINDS["r"], more * PAGE) is fits


@pytest.mark.parametrize(
    ("kind", "more", "fits"), [("w", 2, True), ("w", 3, False), ("r", 99, True), ("g", 99, True)]
)
def test_the_data_limit_counts_data_and_stops_only_data(kind: str, more: int, fits: bool) -> None:
    limits = Limits(data=4 * PAGE)
    assert limits.may_expand(draw("ww..rr").vmas, KINDS[kind], more * PAGE) is fits


@pytest.mark.parametrize(("more", "fits"), [(1, True), (2, False)])
def test_the_lock_limit_counts_what_is_locked(more: int, fits: bool) -> None:
    mm = draw("ll|ww|oo")
    assert locked(mm.vmas) == 4 * PAGE
    assert Limits(memlock=5 * PAGE).may_lock(mm.vmas, more * PAGE) is fits


def test_without_limits_everything_fits() -> None:
    mm = draw("ww")
    assert UNLIMITED.may_expand(mm.vmas, KINDS["w"], abi.TASK_SIZE)
    assert UNLIMITED.may_lock(mm.vmas, abi.TASK_SIZE)


def test_the_heap_may_reach_the_data_limit_and_not_pass_it_by_a_byte() -> None:
    """check_data_rlimit(), include/linux/mm.h; the data of the program file is not modelled."""
    mm = new_mm()
    start = mm.start_brk = mm.brk
    mm.limits = Limits(data=4 * PAGE)
    assert brk(mm, start + 4 * PAGE + 1) == start
    assert brk(mm, start + 4 * PAGE) == start + 4 * PAGE
    assert brk(mm, start + 4 * PAGE + 1) == start + 4 * PAGE


@pytest.mark.parametrize(
    ("start", "end", "pages"), [(0, 8, 4), (1, 5, 2), (2, 4, 0), (0, 1, 1), (8, 9, 0)]
)
def test_what_a_range_replaces_is_what_is_mapped_in_it(start: int, end: int, pages: int) -> None:
    assert overlap(draw("ww..rr").vmas, at(start), at(end)) == pages * PAGE
