"""How calls of a trace are put to the kernel."""

from __future__ import annotations

import pytest

from vmatrace import abi
from vmatrace.oracle.calls import arguments
from vmatrace.oracle.errors import Unsupported

ADDRESS = 0x1234


class Memory:
    """Remembers what was written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def __call__(self, data: bytes) -> int:
        self.written.append(data)
        return ADDRESS


def test_arguments_left_out_are_zero() -> None:
    assert arguments("prctl", [abi.PR_GET_MEMORY_MERGE], Memory())[1] == [68, 0, 0, 0, 0]
    assert arguments("mremap", [1, 2, 3, 1], Memory())[1] == [1, 2, 3, 1, 0]


def test_a_name_is_passed_by_address() -> None:
    memory = Memory()
    args: list[int | str] = [abi.PR_SET_VMA, abi.PR_SET_VMA_ANON_NAME, 1, 2, '"heap"']
    assert arguments("prctl", args, memory)[1][4] == ADDRESS
    assert memory.written == [b"heap\0"]


@pytest.mark.parametrize(
    ("nodemask", "written"), [("[0x1]", [b"\1" + bytes(7)]), ("NULL", []), (0, [])]
)
def test_a_nodemask_is_passed_by_address(nodemask: str | int, written: list[bytes]) -> None:
    memory = Memory()
    _, args = arguments("mbind", [0, 4096, abi.MPOL_BIND, nodemask, 64, 0], memory)
    assert memory.written == written
    assert args[3] == (ADDRESS if written else 0)


def test_an_iovec_is_passed_by_address() -> None:
    memory = Memory()
    vector = "[{iov_base=0x1000, iov_len=4096}, {iov_base=NULL, iov_len=0x10}]"
    arguments("process_madvise", [5, vector, 2, abi.MADV_COLD, 0], memory)
    (data,) = memory.written
    assert [int.from_bytes(data[i : i + 8], "little") for i in range(0, 32, 8)] == [
        0x1000, 4096, 0, 16,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "args", "shared"),
    [
        ("fork", [], False),
        ("vfork", [], True),
        ("clone", ["child_stack=NULL", "flags=CLONE_CHILD_CLEARTID|SIGCHLD"], False),
        ("clone", ["child_stack=0x7f00", "flags=CLONE_VM|CLONE_FS|CLONE_THREAD"], True),
        ("clone3", ["{flags=CLONE_VM|CLONE_VFORK, exit_signal=SIGCHLD}", 88], True),
        ("clone3", ["{flags=0, exit_signal=SIGCHLD}", 88], False),
        ("clone", [abi.CLONE_VM | 17], True),
        ("clone", [17, abi.CLONE_VM], False),
    ],
)
def test_of_a_birth_only_the_sharing_of_memory_matters(
    name: str, args: list[int | str], shared: bool
) -> None:
    call, numbers = arguments(name, args, Memory())
    assert call == "clone"
    assert bool(numbers[0] & abi.CLONE_VM) == shared
    assert not numbers[0] & abi.CLONE_VFORK


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("mmap", ["?", 1, 1, 1, 1, 1]),
        ("prctl", [22, 1]),
        ("madvise", [0, 4096, abi.MADV_HWPOISON]),
        ("process_madvise", [5, "[{iov_base=0x1000, iov_len=4096}]", 1, abi.MADV_HWPOISON, 0]),
        ("process_madvise", [5, "???", 1, abi.MADV_COLD, 0]),
    ],
)
def test_what_cannot_be_passed_is_refused(name: str, args: list[int | str]) -> None:
    with pytest.raises(Unsupported):
        arguments(name, args, Memory())
