"""Files of a trace are real files of their file system, and leave nothing behind."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from vmatrace import abi
from vmatrace.event import Fd, File
from vmatrace.oracle import RunningKernel, Sandbox, Unsupported

PAGE = os.sysconf("SC_PAGE_SIZE")
BASE = 0x100_0000_0000
PRIVATE, SHARED = abi.MAP_PRIVATE | abi.MAP_FIXED, abi.MAP_SHARED | abi.MAP_FIXED
READ, RW = abi.PROT_READ, abi.PROT_READ | abi.PROT_WRITE
MEMFD = File("/memfd:f (deleted)", "tmpfs")


def seen(sandbox: Sandbox, pid: str = "main") -> list[tuple[int, int, int, str]]:
    """(first page, page behind the last, offset in pages, name) of what is mapped from BASE on."""
    return [
        ((m.start - BASE) // PAGE, (m.end - BASE) // PAGE, m.offset // PAGE, m.name)
        for m in sandbox.layout(pid)
        if BASE <= m.start < 2 * BASE
    ]


def map_file(
    sandbox: Sandbox, page: int, count: int, fd: int | Fd, offset: int = 0, *, prot: int = RW,
    flags: int = SHARED, pid: str = "main",
) -> int:  # fmt: skip
    return sandbox.call(
        "mmap", (BASE + page * PAGE, count * PAGE, prot, flags, fd, offset * PAGE), pid
    )


@pytest.mark.parametrize(
    "file",
    [
        MEMFD,
        File("/dev/shm/ring", "tmpfs"),
        File("/dev/zero", "legacy"),
        File("/somewhere/file", RunningKernel().filesystem()),
    ],
)
def test_a_mapping_bears_the_name_that_the_trace_gives_its_file(file: File) -> None:
    with Sandbox({3: file}) as sandbox:
        map_file(sandbox, 0, 2, 3, 5, flags=PRIVATE)
        assert seen(sandbox) == [(0, 2, 5, file.path)]


def test_numbers_and_names_are_descriptors_of_one_process() -> None:
    files: dict[int | str, File] = {
        3: MEMFD,
        "ring": File("/dev/shm/ring", "tmpfs"),
        250: File("/dev/zero", "legacy"),
    }
    with Sandbox(files) as sandbox:
        map_file(sandbox, 0, 1, 3)
        map_file(sandbox, 1, 1, Fd("ring"))
        map_file(sandbox, 2, 1, Fd(3, "/memfd:f"), flags=PRIVATE)
        assert [name for *_, name in seen(sandbox)] == [MEMFD.path, "/dev/shm/ring", MEMFD.path]
        assert sandbox.call("mmap", (0, PAGE, READ, abi.MAP_PRIVATE, 4, 0)) == -abi.EBADF


def test_the_child_has_no_other_descriptors() -> None:
    kept = os.open("/dev/null", os.O_RDONLY)
    try:
        os.set_inheritable(kept, True)
        with Sandbox({3: MEMFD, "x": File("/dev/zero", "legacy")}) as sandbox:
            open_ones = os.listdir(f"/proc/{sandbox.kernel_pid()}/fd")
        assert len(open_ones) == 2
    finally:
        os.close(kept)


def test_processes_share_an_open_file_so_that_its_mappings_merge() -> None:
    with Sandbox({3: MEMFD}) as sandbox:
        map_file(sandbox, 0, 1, 3)
        sandbox.call("fork", child="child")
        map_file(sandbox, 1, 1, 3, 1, pid="child")
        assert seen(sandbox, "child") == [(0, 2, 0, MEMFD.path)]


def test_two_descriptors_of_one_path_are_one_file_opened_twice() -> None:
    with Sandbox({3: MEMFD, 4: MEMFD}) as sandbox:
        map_file(sandbox, 0, 1, 3)
        map_file(sandbox, 1, 1, 4, 1)
        inodes = {m.inode for m in sandbox.layout() if BASE <= m.start < 2 * BASE}
        assert (len(seen(sandbox)), len(inodes)) == (2, 1)


def test_a_file_keeps_to_its_mode() -> None:
    with Sandbox({3: File("/dev/shm/r", "tmpfs", "r"), 4: File("/dev/shm/w", "tmpfs", "w")}) as s:
        assert map_file(s, 0, 1, 3) == -abi.EACCES
        assert map_file(s, 0, 1, 3, prot=READ) == BASE
        assert map_file(s, 1, 1, 4, prot=READ) == -abi.EACCES


def test_an_unknown_file_system_is_named_in_the_refusal() -> None:
    with pytest.raises(Unsupported, match="zonefs"):
        Sandbox({3: File("/zone", "zonefs")})
    with pytest.raises(Unsupported, match="/dev/example"):
        Sandbox({3: File("/dev/example", "legacy")})


def test_nothing_is_left_in_the_temporary_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Sandbox({3: File("/file", RunningKernel().filesystem(), size=3 * PAGE)}) as sandbox:
        map_file(sandbox, 0, 3, 3)
        assert sandbox.call("fault", (BASE, 3 * PAGE, RW)) == 0
        assert list(tmp_path.iterdir()) == []


def test_a_system_v_segment_is_attached_and_vanishes() -> None:
    def count() -> int:
        """Segments that this process made; others make some meanwhile."""
        with open("/proc/sysvipc/shm") as table:
            return [line.split()[4] for line in table].count(str(os.getpid()))

    before = count()
    with Sandbox() as sandbox:
        assert sandbox.call("shmat", (Fd("ring"), BASE, abi.SHM_RDONLY)) == BASE
        assert count() == before + 1
        assert [name.split()[0] for *_, name in seen(sandbox)] == ["/SYSV00000000"]
        assert sandbox.call("shmdt", (BASE,)) == 0
        assert seen(sandbox) == []
    assert count() == before
