"""A random program under construction: its window, its files, its processes, its random numbers.

A program works in a window of some dozen pages, so that its calls meet. Knows how to add a call;
which calls there are, the makers know.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from vmatrace import abi
from vmatrace.event import Arg, Event, Expr, File

PAGE: Final = 4096
WINDOW: Final = 0x10000000000
#: Pages of the window; in a small one more calls meet.
SIZES: Final = (8, 12, 16, 24, 48)
PRIVATE: Final = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS
RW: Final = abi.PROT_READ | abi.PROT_WRITE
PROTS: Final = (0, 1, 3, 3, 3, 3, 5, 7)
#: The advice that programs give; the likelier ones twice.
ADVICE: Final = (
    abi.MADV_NORMAL, abi.MADV_RANDOM, abi.MADV_SEQUENTIAL, abi.MADV_DONTFORK, abi.MADV_DOFORK,
    abi.MADV_MERGEABLE, abi.MADV_MERGEABLE, abi.MADV_UNMERGEABLE, abi.MADV_UNMERGEABLE,
    abi.MADV_HUGEPAGE, abi.MADV_NOHUGEPAGE, abi.MADV_DONTDUMP, abi.MADV_DODUMP,
    abi.MADV_WIPEONFORK, abi.MADV_KEEPONFORK, abi.MADV_DONTNEED, abi.MADV_FREE, abi.MADV_COLD,
    abi.MADV_POPULATE_READ, abi.MADV_POPULATE_WRITE, abi.MADV_GUARD_INSTALL,
    abi.MADV_GUARD_REMOVE, abi.MADV_DONTNEED_LOCKED, abi.MADV_WILLNEED,
)  # fmt: skip
#: The advice that they do not give, and why.
UNGIVEN: Final = {
    abi.MADV_HWPOISON: "it takes memory away from the machine",
    abi.MADV_SOFT_OFFLINE: "it takes memory away from the machine",
    abi.MADV_REMOVE: "what it does to the file of one program, the next would meet",
    abi.MADV_PAGEOUT: "how much it does depends on the machine's swap",
    abi.MADV_COLLAPSE: "whether it succeeds depends on the machine's free huge pages",
}
#: The initial break of the sandbox (behind its image); other breaks make brk() fail, which is fine.
BRK: Final = 0x7000001000
#: Where the sandbox's stack is and, below TOP, its vdso; on other machines it may be elsewhere.
STACK: Final = 0x7FFFFFFDE000
TOP: Final = 0x7FFFF7FFF000
#: The descriptors that random programs use.
FILES: Final[dict[int | str, File]] = {
    3: File("/memfd:random (deleted)", "tmpfs", "rw", 0x40000),
    4: File("/dev/zero", "legacy", "rw"),
    5: File("/memfd:read-only (deleted)", "tmpfs", "r", 0x20000),
    6: File("/memfd:huge (deleted)", "hugetlbfs", "rw", 0x800000),
    7: File("/file-on-a-disk", "ext4", "rw", 0x40000),
}
#: A System V segment; apart, because it is no descriptor.
SEGMENT: Final = "segment"


class Program:
    """A random program under construction: what its processes are and who runs.

    ``pages`` is the size of its window. ``pid`` is the process that makes the next call, one of
    ``alive``; ``labels`` are addresses.
    """

    __slots__ = ("alive", "events", "forks", "labels", "pages", "pid", "random")

    def __init__(self, random: Random) -> None:
        self.random = random
        self.pages = random.choice(SIZES)
        self.events: list[Event] = []
        self.pid = "main"
        self.alive = ["main"]
        self.labels: list[str] = []
        self.forks = 0

    def emit(self, name: str, *args: Arg, label: str | None = None) -> None:
        """Add a call. Its text is made when somebody wants to read it (tracewriter.call_text())."""
        symbolic = False
        for arg in args:
            if type(arg) is Expr:
                symbolic = True
        line = len(self.events) + 1
        self.events.append(Event(name, args, "", line, 1, self.pid, label, None, symbolic))

    def page(self) -> int:
        """The address of a page of the window."""
        return WINDOW + int(self.random.random() * self.pages) * PAGE

    def span(self, most: int = 8) -> tuple[int, int]:
        """An address and a length in bytes within the window."""
        random = self.random.random
        start = int(random() * self.pages)
        pages = 1 + int(random() * min(most, self.pages - start))
        return WINDOW + start * PAGE, pages * PAGE

    def chance(self, percent: int) -> bool:
        """True in so many of a hundred cases."""
        return self.random.random() * 100 < percent

    def born(self, name: str, *args: Arg) -> None:
        """Make a child, which often goes on as the running process."""
        label = f"p{self.forks}"
        self.forks += 1
        self.emit(name, *args, label=label)
        self.alive.append(label)
        if self.chance(60):
            self.pid = label

    def end(self) -> None:
        """The running process ends, unless it is the first."""
        if self.pid == "main":
            return
        self.emit("exit_group", 0)
        self.alive.remove(self.pid)
        self.pid = self.random.choice(self.alive)

    def turn(self) -> None:
        """Now and then another process goes on."""
        if len(self.alive) > 1 and self.chance(25):
            self.pid = self.random.choice(self.alive)


Maker = Callable[[Program], None]
