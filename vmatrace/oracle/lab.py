"""A sandbox for experiments: it counts in pages from an address where nothing else is.

Knows how to ask; the questions stand in ``probe``.
"""

from __future__ import annotations

from typing import Final

from vmatrace import abi
from vmatrace.event import Arg
from vmatrace.oracle.sandbox import MAIN, Sandbox

BASE: Final = 0x100_0000_0000
PAGE: Final = 4096
RW: Final = abi.PROT_READ | abi.PROT_WRITE
ANON: Final = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS
MOVE: Final = abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED


class Lab:
    """A sandbox that counts in pages from a free address."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def call(self, name: str, *args: Arg, pid: str = MAIN) -> int:
        return self.sandbox.call(name, args, pid)

    @staticmethod
    def at(page: int) -> int:
        return BASE + page * PAGE

    def map(
        self,
        page: int,
        count: int,
        prot: int = RW,
        flags: int = ANON,
        fd: int = -1,
        pid: str = MAIN,
    ) -> int:
        """Map at *page*; of a file, the bytes at the same offset."""
        offset = page * PAGE if fd >= 0 else 0
        fixed = flags | abi.MAP_FIXED
        return self.call("mmap", self.at(page), count * PAGE, prot, fixed, fd, offset, pid=pid)

    def on(self, name: str, page: int, count: int, *rest: int) -> int:
        return self.call(name, self.at(page), count * PAGE, *rest)

    def move(self, page: int, count: int, to: int, flags: int = MOVE, pid: str = MAIN) -> int:
        size = count * PAGE
        return self.call("mremap", self.at(page), size, size, flags, self.at(to), pid=pid)

    def ranges(self, pid: str = MAIN) -> list[tuple[int, int]]:
        """The mappings from the free address on, as (first page, page behind the last)."""
        return [
            ((m.start - BASE) // PAGE, (m.end - BASE) // PAGE)
            for m in self.sandbox.layout(pid)
            if BASE <= m.start < 2 * BASE
        ]

    def codes(self, page: int) -> tuple[str, ...]:
        """VmFlags of what is mapped at *page*; empty if nothing is."""
        address = self.at(page)
        found = (m.codes for m in self.sandbox.layout() if m.start <= address < m.end)
        return next(found, ())

    def ksm(self) -> bool:
        """Switch KSM by default on; whether the kernel has it."""
        return self.call("prctl", abi.PR_SET_MEMORY_MERGE, 1) == 0
