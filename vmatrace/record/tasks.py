"""Threads, processes and address spaces of what is being recorded. Values without behaviour."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass, field

from vmatrace.calls import Range
from vmatrace.event import Event
from vmatrace.layout import Layout
from vmatrace.record.files import Opened
from vmatrace.record.pages import Pagemap
from vmatrace.record.pieces import Pieces


@dataclass(eq=False)
class Watcher:
    """A userfaultfd context. ``key`` is its name in the trace.

    ``identity`` is its inode, None: not known. ``place`` is a process and a descriptor that it was
    seen at.
    """

    key: str
    identity: int | None
    place: tuple[int, int] | None = None
    features: int = 0
    ranges: list[Range] = field(default_factory=list)


@dataclass(eq=False)
class Hold:
    """Threads stand still while one of theirs makes a call.

    That one waits for the ``awaited``; ``still``: it is in its call. ``late``: for how many tenths
    of a second that has lasted.
    """

    awaited: set[int]
    still: bool = False
    late: int = 0


class AddressSpace:
    """One address space.

    ``owner`` is the thread that is in a recorded call: until it has come out, others that arrive
    at one wait in ``waiting``, so that the recorded order is the real one. ``hold``: the other
    threads have to stand still for it. ``unwatched`` are calls that nobody waits for, by thread:
    that they have been made, and what they did, is noted later.
    """

    __slots__ = (
        "brk", "hold", "owner", "pagemap", "pieces", "processes", "segments", "stacks", "threads",
        "unwatched", "waiting", "watchers",
    )  # fmt: skip

    def __init__(self, pieces: Pieces, pagemap: Pagemap | None = None) -> None:
        self.pieces = pieces
        self.pagemap = pagemap
        self.brk: int | None = None
        self.owner: int | None = None
        self.hold: Hold | None = None
        self.unwatched: dict[Task, Pending] = {}
        self.waiting: deque[int] = deque()
        self.processes: set[ThreadGroup] = set()
        #: Address to size of the System V segments that are attached.
        self.segments: dict[int, int] = {}
        #: Where memory ends that grows down.
        self.stacks: set[int] = set()
        #: Its userfaultfds.
        self.watchers: list[Watcher] = []
        #: How many threads run in it.
        self.threads = 0

    def first(self) -> ThreadGroup:
        """Under whose name events go that are about this memory."""
        return min(self.processes, key=lambda process: (process.exited, process.pid))


class ThreadGroup:
    """One thread group. ``name`` is what the trace calls it; ``exited``: it says that it ended."""

    __slots__ = (
        "_pidfd",
        "exited",
        "expected",
        "foreign",
        "leaving",
        "name",
        "pid",
        "space",
        "tasks",
        "vforked",
    )

    def __init__(self, pid: int, name: str, space: AddressSpace) -> None:
        self.pid = pid
        self.name = name
        self.space = space
        self.tasks: set[int] = set()
        self.leaving: set[int] = set()
        #: It runs a program whose calls cannot be recorded: of 32 bits, or not readable.
        self.foreign = False
        self.exited = False
        #: Who shares its memory waits until it has an image of its own.
        self.vforked = False
        #: Its last layout has been written.
        self.expected = False
        self._pidfd = -1
        space.processes.add(self)

    def pidfd(self) -> int:
        """A descriptor of the process, -1 if there is none."""
        if self._pidfd < 0:
            try:
                self._pidfd = os.pidfd_open(self.pid)
            except OSError:
                return -1
        return self._pidfd

    def close(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


class Task:
    """One thread. ``pending`` is the recorded call it is in, ``asks`` one that it waits to make.

    ``listening``: it is in a job-control stop. ``vfork``: the child that it waits for.
    ``interrupted``: it was told to stop, and has not yet for that.
    """

    __slots__ = (
        "asks", "held", "interrupted", "listening", "pending", "process", "restore", "stopped",
        "tid", "vfork",
    )  # fmt: skip

    def __init__(self, tid: int, process: ThreadGroup) -> None:
        self.tid = tid
        self.process = process
        self.pending: Pending | None = None
        self.asks: Pending | None = None
        #: Stopped and not yet let go.
        self.stopped = True
        self.listening = self.interrupted = False
        self.vfork: ThreadGroup | None = None
        #: The signal to go on with after a freeze, or when others have made their call.
        self.held = 0
        #: The clone flags that it finds in its register or memory (address) when it goes on.
        self.restore: tuple[int | None, int] | None = None


class Pending:
    """A recorded call from its entry on. *args* are the registers; ``event`` lacks its result.

    ``birth``: the CLONE_* flags of a call that makes a process. ``layout``: what an execve ends.
    ``size``: bytes of the segment of a shmat. ``watcher``: of an ioctl, the userfaultfd, and the
    memory that it is for. ``reach``: where it will work. ``result``: of a call that
    was made and is an event. ``disturbed``: others may have written meanwhile where that matters.
    ``made``: of one that nobody waits for, it was; ``doubtful``: maybe, its thread was killed.
    """

    __slots__ = (
        "args", "birth", "disturbed", "doubtful", "event", "layout", "made", "name", "opened",
        "reach", "result", "size", "watcher",
    )  # fmt: skip

    def __init__(self, name: str, args: tuple[int, ...]) -> None:
        self.name = name
        self.args = args
        self.event: Event | None = None
        self.opened: Opened | None = None
        self.birth = 0
        self.disturbed = self.made = self.doubtful = False
        self.layout: Layout | None = None
        self.size = 0
        self.reach: list[Range] | None = None
        self.result: int | None = None
        self.watcher: tuple[AddressSpace, Watcher] | None = None
