"""mbind: arguments, holes, and policies that keep neighbours apart."""

from __future__ import annotations

from pathlib import Path

import pytest
from drawing import PAGE, at, draw, strip, vma

from vmatrace import abi
from vmatrace.engine.mm import Mm
from vmatrace.engine.syscalls.policy import mbind, set_home_node

#: What Linux 6.18.44 said, on a machine with node 0 alone, of pages 0, 1 and 3 at BASE: address,
#: length, mode, maxnode, flags, the mask and the result of each mbind().
MEASURED = (Path(__file__).parent / "mbind.txt").read_text(encoding="utf-8").splitlines()
#: The same of set_mempolicy_home_node() where page 0 has a policy of that mode.
HOMES = """
0 0x10000000 0x1000 0 0 = ENOENT
2 0x10000000 0x1000 0 0 = 0
1 0x10000000 0x1000 0 0 = EOPNOTSUPP
3 0x10000000 0x1000 0 0 = EOPNOTSUPP
5 0x10000000 0x1000 0 0 = 0
2 0x10000000 0x1000 1 0 = EINVAL
2 0x10000000 0x1000 0 1 = EINVAL
2 0x10000001 0x1000 0 0 = EINVAL
2 0x10000000 0x0 0 0 = 0
2 0x10000000 0x4000 0 0 = 0
2 0x10002000 0x1000 0 0 = ENOENT
2 0x10000000 0xfffffffffffff000 0 0 = EINVAL
2 0x10000000 0xffffffffffffffff 0 0 = 0
4 0x10000000 0x1000 0 0 = EOPNOTSUPP
""".strip().splitlines()
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


def errno(result: str) -> int:
    return 0 if result == "0" else -abi.ERRNO[result]


@pytest.mark.parametrize("line", MEASURED)
def test_mbind_answers_as_linux_did(line: str) -> None:
    call, _, result = line.rpartition(" = ")
    addr, length, mode, most, flags, mask = call.split(" ", 5)
    nodes = mask if "[" in mask else int(mask)
    mm = draw("ww.w", "6.18.44")
    got = mbind(mm, int(addr, 0), int(length, 0), int(mode, 0), nodes, int(most), int(flags))
    assert got == errno(result)


@pytest.mark.parametrize("line", HOMES)
def test_a_home_node_is_set_as_linux_did(line: str) -> None:
    call, _, result = line.rpartition(" = ")
    mode, addr, length, node, flags = (int(word, 0) for word in call.split())
    mm = draw("ww.w", "6.18.44")
    if mode:
        local = mode == abi.MPOL_LOCAL
        assert mbind(mm, at(0), PAGE, mode, 0 if local else "[0x1]", 0 if local else 2, 0) == 0
    assert set_home_node(mm, addr, length, node, flags) == errno(result)
