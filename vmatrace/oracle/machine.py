"""A kernel that sandboxes live on: what a sandbox and its questions need of the machine around it.

``RunningKernel`` is the one this program runs on. Knows nothing of traces.
"""

from __future__ import annotations

import contextlib
import os
import resource
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

from vmatrace.oracle import arch as archs
from vmatrace.oracle import spawn
from vmatrace.oracle.arch import Arch
from vmatrace.oracle.ptrace import CallRun, Tracee
from vmatrace.oracle.segments import LocalSegments, Segments
from vmatrace.oracle.smaps import LayoutReader, MappingCache, SmapsReader


class Pinned(Protocol):
    """Keeps the calling thread on one processor until ``release``."""

    def release(self) -> None:
        """Let the thread run where it might before. The same thread must call it."""


_M = TypeVar("_M", bound="Machine")


class Machine(ABC):
    """A kernel and its user space; a context manager.

    ``page`` is the page size in bytes, ``release`` what uname(2) says, ``privileged`` whether the
    processes of sandboxes are root's. ``known_as`` is how the kernel is spoken of. ``is_distant``:
    to ask it and to be answered takes longer than what it is asked for.
    """

    arch: Arch
    page: int
    release: str
    privileged: bool
    known_as: str
    is_distant = False

    def __enter__(self: _M) -> _M:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Leave the machine, with every sandbox on it. May be called again."""

    @abstractmethod
    def spawn(self) -> Tracee:
        """A new process that runs ``arch.image``, stopped before its first instruction.

        Raises Unavailable.
        """

    @abstractmethod
    def reader(self, tracee: Tracee, cache: MappingCache) -> LayoutReader:
        """What reads the layout of *tracee*."""

    @abstractmethod
    def segments(self) -> Segments:
        """A new set of System V segments."""

    @abstractmethod
    def limit(self, pid: int, kind: int) -> tuple[int, int]:
        """The soft and the hard limit RLIMIT *kind* of process *pid*.

        0 is the process that sandboxes inherit from.
        """

    @abstractmethod
    def set_limit(self, pid: int, kind: int, soft: int, hard: int) -> None:
        """Set a limit of process *pid*."""

    @abstractmethod
    def directories(self, fs: str) -> Iterator[str]:
        """Writable directories on file system *fs*, the temporary directory first."""

    @abstractmethod
    def filesystem(self) -> str:
        """The type of the file system that holds the temporary directory."""

    @abstractmethod
    def is_noexec(self, path: str) -> bool:
        """Whether *path* is on a mount that does not allow PROT_EXEC (path_noexec())."""

    @abstractmethod
    def read(self, path: str) -> str:
        """The content of a file in /proc or /sys; self is who sandboxes inherit from.

        Raises OSError.
        """

    @abstractmethod
    def ready(self) -> None:
        """Be there for a new sandbox: a kernel that has died is booted anew. Raises KernelDied."""

    @abstractmethod
    def set_sysctl(self, name: str, value: int) -> None:
        """Set vm.*name* if that may be; restore_sysctls() takes it back."""

    @abstractmethod
    def restore_sysctls(self) -> None:
        """Give what set_sysctl() changed its old value."""

    @abstractmethod
    def foresee(self, runs: Sequence[CallRun]) -> None:
        """Begin with *runs*, which the tracees will be told to make, in this order.

        The layout is read after each. For a machine that ``is_distant``.
        """

    @abstractmethod
    def forget(self) -> None:
        """Let be what was foreseen and not done: the processes are about to be ended."""

    @abstractmethod
    def pin(self) -> Pinned:
        """Keep the thread that is to use a sandbox where it is, if that helps."""


class RunningKernel(Machine):
    """The kernel that this program runs on. Raises Unavailable on a processor without an image.

    Its sysctls are not ours to change: others on the machine depend on them.
    """

    known_as = "the running kernel"

    def __init__(self) -> None:
        self.arch = archs.native()
        self.page = os.sysconf("SC_PAGE_SIZE")
        self.release = os.uname().release
        self.privileged = os.geteuid() == 0

    def foresee(self, runs: Sequence[CallRun]) -> None:
        """It is asked when the time comes."""

    def forget(self) -> None:
        """Nothing was foreseen."""

    def close(self) -> None:
        """There is nothing to end."""

    def ready(self) -> None:
        """It is always there."""

    def set_sysctl(self, name: str, value: int) -> None:
        """Not here."""

    def restore_sysctls(self) -> None:
        """Nothing was changed."""

    def spawn(self) -> Tracee:
        return spawn.spawn(self.arch)

    def reader(self, tracee: Tracee, cache: MappingCache) -> LayoutReader:
        return SmapsReader(tracee.pid, cache)

    def segments(self) -> Segments:
        return LocalSegments()

    def limit(self, pid: int, kind: int) -> tuple[int, int]:
        return resource.prlimit(pid, kind)

    def set_limit(self, pid: int, kind: int, soft: int, hard: int) -> None:
        resource.prlimit(pid, kind, (soft, hard))

    def directories(self, fs: str) -> Iterator[str]:
        places = (tempfile.gettempdir(), "/dev/shm", "/var/tmp", os.getcwd())
        for directory in dict.fromkeys(map(os.path.realpath, places)):
            if os.access(directory, os.W_OK | os.X_OK) and _filesystem_of(directory) == fs:
                yield directory

    def filesystem(self) -> str:
        return _filesystem_of(tempfile.gettempdir())

    def is_noexec(self, path: str) -> bool:
        with contextlib.suppress(OSError):
            return bool(os.statvfs(path).f_flag & os.ST_NOEXEC)
        return False

    def read(self, path: str) -> str:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()

    def pin(self) -> Pinned:
        return spawn.Pin()


def _filesystem_of(directory: str) -> str:
    """The type of the file system that holds *directory*, as mount(8) names it."""
    best, found = -1, "unknown"
    real = os.path.realpath(directory)
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
            lines = table.read().splitlines()
    except OSError:
        return found
    for line in lines:
        head, _, tail = line.partition(" - ")
        point = head.split()[4].replace("\\040", " ")
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= best:
            best, found = len(point), tail.split()[0]
    return found
