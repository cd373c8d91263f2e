"""audit of a real process, of which it is known what keeps its neighbours apart."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from program import RunProgram

# Three groups far from each other: two written to separately and joined by mremap(); three pages of
# one file through two open files; one that is split by nothing.
_CHILD = """
import ctypes, os, sys, tempfile
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
libc.mremap.argtypes = [ctypes.c_void_p] + [ctypes.c_size_t] * 2 + [ctypes.c_int, ctypes.c_void_p]
P, BASE = os.sysconf("SC_PAGE_SIZE"), 0x10000000000
PRIVATE, SHARED, FIXED, ANON = 2, 1, 0x10, 0x20
def mmap(at, flags=PRIVATE | ANON, fd=-1, offset=0):
    assert libc.mmap(at, P, 3, flags | FIXED, fd, offset) == at
def write(at):
    ctypes.memset(at, 1, 1)
mmap(BASE); write(BASE)
mmap(BASE + 16 * P); write(BASE + 16 * P)
assert libc.mremap(BASE + 16 * P, P, P, 3, BASE + P) == BASE + P
name = tempfile.mktemp(); fd = os.open(name, os.O_RDWR | os.O_CREAT); os.ftruncate(fd, 3 * P)
again = os.open(name, os.O_RDWR); os.unlink(name)
mmap(BASE + 32 * P, SHARED, fd); mmap(BASE + 33 * P, SHARED, again, P)
mmap(BASE + 64 * P)
print(BASE, P, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def child() -> Iterator[tuple[int, int, int]]:
    """Its pid, the address of its first group, its page size."""
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        base, page = map(int, process.stdout.readline().split())
        yield process.pid, base, page
        process.communicate()


def test_known_neighbours_of_a_real_process_are_found_with_their_causes(
    child: tuple[int, int, int], run: RunProgram
) -> None:
    pid, base, page = child
    done = run("audit", str(pid), "--format", "json")
    assert done.status == 1
    told = json.loads(done.out)
    mine = {r["start"]: r for r in told["runs"] if base <= r["start"] < base + 128 * page}
    assert set(mine) == {base, base + 32 * page}
    likely = {
        start: {c["cause"] for c in r["causes"] if c["confidence"] == "likely"}
        for start, r in mine.items()
    }
    assert likely == {base: {"faulted-apart"}, base + 32 * page: {"opened-twice"}}
    assert "page-offset" in {c["cause"] for c in mine[base]["causes"]}
    with open("/proc/sys/vm/max_map_count", encoding="ascii") as limit:
        assert told["max_map_count"] == int(limit.read())
    assert told["max_map_count_assumed"] is False
    assert told["kernel"] is not None


def test_the_audit_of_a_real_process_is_readable(
    child: tuple[int, int, int], run: RunProgram
) -> None:
    out = run("audit", str(child[0]), columns=80).out
    assert out.startswith(f"/proc/{child[0]}/smaps  kernel ")
    assert "10000000000-10000002000" in out
    assert "each was written to while they were apart" in out
