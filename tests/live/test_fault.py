"""The pseudo-call fault: a real access, page by page, that ends at the first failure."""

from __future__ import annotations

import os

import pytest

from vmatrace import abi
from vmatrace.event import File
from vmatrace.oracle import Sandbox

PAGE = os.sysconf("SC_PAGE_SIZE")
BASE = 0x100_0000_0000
READ, WRITE, EXEC = abi.PROT_READ, abi.PROT_WRITE, abi.PROT_EXEC
ANON = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED


def map_pages(sandbox: Sandbox, page: int, count: int, prot: int, flags: int = ANON) -> None:
    address = BASE + page * PAGE
    assert sandbox.call("mmap", (address, count * PAGE, prot, flags, -1, 0)) == address


def fault(sandbox: Sandbox, page: int, count: int, access: int) -> int:
    return sandbox.call("fault", (BASE + page * PAGE, count * PAGE, access))


def anonymous_bytes(sandbox: Sandbox, page: int) -> int:
    """Of the mapping that starts at *page*, by smaps."""
    with open(f"/proc/{sandbox.kernel_pid()}/smaps") as smaps:
        record = smaps.read().split(f"{BASE + page * PAGE:x}-", 1)[1]
    return int(record.split("Anonymous:", 1)[1].split()[0]) << 10


@pytest.mark.parametrize(
    ("prot", "access", "result"),
    [
        (READ, READ, 0),
        (READ, WRITE, -abi.EFAULT),
        (READ, EXEC, -abi.EFAULT),
        (READ | WRITE, WRITE, 0),
        (READ | WRITE, READ | WRITE, 0),
        (READ | WRITE, EXEC, -abi.EFAULT),
        (READ | EXEC, EXEC, 0),
        (READ | EXEC, READ | EXEC, 0),
        (READ | EXEC, WRITE | EXEC, -abi.EFAULT),
        (0, READ, -abi.EFAULT),
        (0, WRITE, -abi.EFAULT),
        (0, EXEC, -abi.EFAULT),
    ],
)
def test_an_access_needs_its_permission(
    sandbox: Sandbox, prot: int, access: int, result: int
) -> None:
    map_pages(sandbox, 0, 3, prot)
    assert fault(sandbox, 0, 3, access) == result
    assert sandbox.call("munmap", (BASE, PAGE)) == 0


@pytest.mark.parametrize("access", [READ, WRITE, EXEC])
@pytest.mark.parametrize("address", [0, BASE, abi.TASK_SIZE, 1 << 63, (1 << 64) - PAGE])
def test_nothing_is_there_to_be_accessed(sandbox: Sandbox, address: int, access: int) -> None:
    assert sandbox.call("fault", (address, PAGE, access)) == -abi.EFAULT
    map_pages(sandbox, 0, 1, READ)


def test_pages_before_the_failing_one_are_touched_and_none_behind_it(sandbox: Sandbox) -> None:
    map_pages(sandbox, 0, 2, READ | WRITE)
    map_pages(sandbox, 2, 1, READ)
    map_pages(sandbox, 3, 2, READ | WRITE)
    assert fault(sandbox, 0, 5, WRITE) == -abi.EFAULT
    assert anonymous_bytes(sandbox, 0) == 2 * PAGE
    assert anonymous_bytes(sandbox, 3) == 0


def test_every_page_that_the_range_meets_is_touched(sandbox: Sandbox) -> None:
    map_pages(sandbox, 0, 4, READ | WRITE)
    assert sandbox.call("fault", (BASE + PAGE - 1, 2, WRITE)) == 0
    assert anonymous_bytes(sandbox, 0) == 2 * PAGE
    assert sandbox.call("fault", (BASE + 3 * PAGE, 0, WRITE)) == 0
    assert anonymous_bytes(sandbox, 0) == 2 * PAGE


def test_a_read_fault_gives_no_page_of_its_own(sandbox: Sandbox) -> None:
    map_pages(sandbox, 0, 1, READ | WRITE)
    assert fault(sandbox, 0, 1, READ) == 0
    assert anonymous_bytes(sandbox, 0) == 0


def test_executing_zeros_changes_nothing(sandbox: Sandbox) -> None:
    map_pages(sandbox, 0, 1, READ | WRITE | EXEC)
    before = sandbox.layout()
    assert fault(sandbox, 0, 1, EXEC) == 0
    assert sandbox.layout() == before
    assert anonymous_bytes(sandbox, 0) == 0


def test_behind_the_end_of_a_file_every_access_fails() -> None:
    with Sandbox({3: File("/memfd:f (deleted)", "tmpfs", size=PAGE)}) as sandbox:
        flags = abi.MAP_SHARED | abi.MAP_FIXED
        sandbox.call("mmap", (BASE, 2 * PAGE, READ | WRITE | EXEC, flags, 3, 0))
        for access in (READ, WRITE, EXEC):
            assert fault(sandbox, 0, 1, access) == 0
            assert fault(sandbox, 1, 1, access) == -abi.EFAULT


def test_a_store_leaves_the_content_alone(sandbox: Sandbox) -> None:
    map_pages(sandbox, 0, 1, READ | WRITE)
    with open(f"/proc/{sandbox.kernel_pid()}/mem", "r+b", buffering=0) as memory:
        memory.seek(BASE)
        memory.write(b"content")
        before = fault(sandbox, 0, 1, WRITE)
        memory.seek(BASE)
        content = memory.read(7)
    # On arm64 the store writes a zero byte: see arch.py.
    assert (before, content[1:]) == (0, b"ontent")


def test_a_stack_grows_by_a_fault(sandbox: Sandbox) -> None:
    map_pages(sandbox, 1000, 1, READ | WRITE, ANON | abi.MAP_GROWSDOWN)
    assert fault(sandbox, 990, 1, WRITE) == 0
    grown = [m for m in sandbox.layout() if m.end == BASE + 1001 * PAGE]
    assert [m.start for m in grown] == [BASE + 990 * PAGE]
