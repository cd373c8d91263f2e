"""mbind: arguments, holes, and policies that keep neighbours apart."""

from __future__ import annotations

import pytest
from drawing import PAGE, at, draw, strip, vma

from vmatrace import abi
from vmatrace.engine.mm import Mm
from vmatrace.engine.syscalls.policy import mbind

BIND, DEFAULT, INTERLEAVE = abi.MPOL_BIND, abi.MPOL_DEFAULT, abi.MPOL_INTERLEAVE


def bind(mm: Mm, start: int, end: int, mode: int = BIND, nodes: int | str = "[0x1]") -> int:
    return mbind(mm, at(start), (end - start) * PAGE, mode, nodes, 64, 0)


@pytest.mark.parametrize(
    ("addr", "length", "mode", "flags", "result"),
    [
        (at(0) + 1, PAGE, BIND, 0, -abi.EINVAL),
        (at(0), PAGE, 99, 0, -abi.EINVAL),
        (at(0), PAGE, BIND, 8, -abi.EINVAL),
        (at(0), 0, BIND, 0, 0),
        (at(0), 3 * PAGE, BIND, 0, -abi.EFAULT),
        (at(9), PAGE, BIND, 0, -abi.EFAULT),
    ],
)
def test_arguments_and_holes_are_checked_before_anything_changes(
    addr: int, length: int, mode: int, flags: int, result: int
) -> None:
    mm = draw("ww")
    assert mbind(mm, addr, length, mode, "[0x1]", 64, flags) == result
    assert strip(mm) == "ww"
    assert vma(mm, 0).extra is None


def test_a_policy_needs_a_node_that_exists_and_the_default_has_none() -> None:
    assert bind(draw("ww"), 0, 2, BIND, 0) == -abi.EINVAL
    assert bind(draw("ww"), 0, 2, BIND, "[0x2]") == -abi.EINVAL
    assert bind(draw("ww"), 0, 2, DEFAULT, "[0x1]") == -abi.EINVAL
    assert bind(draw("ww"), 0, 2, DEFAULT, 0) == 0


def test_equal_policies_merge_and_others_do_not() -> None:
    mm = draw("wwwwww")
    bind(mm, 0, 2)
    assert strip(mm) == "ww|wwww"
    bind(mm, 2, 4, INTERLEAVE)
    assert strip(mm) == "ww|ww|ww"
    bind(mm, 2, 4)
    assert strip(mm) == "wwww|ww"
    bind(mm, 0, 6, DEFAULT, 0)
    assert strip(mm) == "wwwwww"


def test_the_default_policy_passes_over_holes() -> None:
    mm = draw("ww..ww")
    bind(mm, 0, 2)
    assert bind(mm, 0, 6, DEFAULT, 0) == 0
    assert vma(mm, 0).extra is None
