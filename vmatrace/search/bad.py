"""A maker of calls that a kernel refuses, or nearly does: arguments at and past the edges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from vmatrace import abi
from vmatrace.event import Arg, Fd
from vmatrace.search.program import PRIVATE, RW, Program
from vmatrace.structures import format_iovec

Call = tuple[str, tuple[Arg, ...]]
#: Around the end of the largest file, and of what a page offset can say.
_OFFSETS: Final = (1 << 62, (1 << 63) - 0x1000, (1 << 63) - 0x3000, 1 << 63, (1 << 64) - 0x1000)


def bad(p: Program) -> None:
    """Arguments that a kernel refuses, or that come close to it."""
    r = p.random
    addr, length = p.span()
    odd = r.choice((1, 0x10, 0x7B, 0xFFF))
    huge = r.choice((0x800000000000, (1 << 64) - 1, (1 << 64) - 4096, 1 << 63))
    family = r.choice(_FAMILIES)
    name, args = r.choice(family(p, addr, length, odd, huge))
    p.emit(name, *args)


def _mmap(p: Program, addr: int, length: int, odd: int, huge: int) -> list[Call]:
    r = p.random
    return [
        ("mmap", (addr + odd, length, RW, PRIVATE | abi.MAP_FIXED, -1, 0)),
        ("mmap", (addr, huge, RW, PRIVATE | abi.MAP_FIXED, -1, 0)),
        ("mmap", (addr, huge, RW, PRIVATE, -1, 0)),
        ("mmap", (addr, 0, RW, PRIVATE | abi.MAP_FIXED, -1, 0)),
        ("mmap", (addr, length + odd, RW, PRIVATE | abi.MAP_FIXED, -1, 0)),
        ("mmap", (addr, length, RW, abi.MAP_ANONYMOUS | abi.MAP_FIXED, -1, 0)),
        ("mmap", (addr, length, 0xFF, PRIVATE | abi.MAP_FIXED, -1, 0)),
        ("mmap", (addr, length, RW, PRIVATE | abi.MAP_FIXED, -1, odd)),
        ("mmap", (addr, length, RW, abi.MAP_PRIVATE | abi.MAP_FIXED, -1, 0)),
        ("mmap", (addr, length, RW, r.randrange(16) | 0x30, -1, 0)),
        ("mmap", (addr, length, RW, r.randrange(16) | 0x10, Fd(3), 0)),
        ("mmap", (0xFFFFFFFFF000, length, RW, PRIVATE | abi.MAP_FIXED, -1, 0)),
    ]


def _ranges(p: Program, addr: int, length: int, odd: int, huge: int) -> list[Call]:
    r = p.random
    return [
        ("munmap", (addr + odd, length)),
        ("munmap", (addr, r.choice((0, huge)))),
        ("munmap", (addr, length + odd)),
        ("mprotect", (addr + odd, length, RW)),
        ("mprotect", (addr, r.choice((0, huge)), RW)),
        ("mprotect", (addr, length + odd, abi.PROT_READ)),
        ("mprotect", (addr, length, r.choice((8, 0x10, 0x20, 0x03000000, 1 << 40)))),
        ("madvise", (addr + odd, length, abi.MADV_MERGEABLE)),
        ("madvise", (addr, r.choice((0, huge)), r.choice((12, 13, 999)))),
        ("madvise", (addr, length, r.choice((5, 6, 7, 26, 99, 1000)))),
    ]


def _locks(p: Program, addr: int, length: int, odd: int, huge: int) -> list[Call]:
    r = p.random
    return [
        ("mlock", (addr + odd, length)),
        ("mlock", (addr, r.choice((0, huge)))),
        ("mlock2", (addr, length, r.choice((0, 2, 3)))),
        ("munlock", (addr, huge)),
        ("mlockall", (r.choice((0, 4, 8)),)),
        ("prctl", (abi.PR_SET_MEMORY_MERGE, 1, r.choice((0, 1)), 1, 0)),
        ("prctl", (abi.PR_GET_MEMORY_MERGE, 1, 0, 0, 0)),
        ("prctl", (abi.PR_SET_MEMORY_MERGE, 5, 0, 0, 0)),
        ("mseal", (addr + odd, length, 0)),
        ("mseal", (addr, length, 1)),
        ("mseal", (addr, r.choice((0, huge)), 0)),
        ("brk", (r.choice((0, huge)),)),
    ]


def _mremap(p: Program, addr: int, length: int, odd: int, huge: int) -> list[Call]:
    r = p.random
    return [
        ("mremap", (addr, length, 0, abi.MREMAP_MAYMOVE)),
        ("mremap", (addr + odd, length, length, abi.MREMAP_MAYMOVE)),
        ("mremap", (addr, length, huge, r.choice((0, 1)))),
        ("mremap", (addr, length, length, r.choice((2, 4, 6, 8)), p.page())),
        ("mremap", (addr, length, length, 3, p.page() + odd)),
        ("mremap", (addr, length, length, 3, 0x7FFFFFFFF000)),
        ("mremap", (addr, length, length + odd, 5, p.page())),
    ]


def _others(p: Program, addr: int, length: int, odd: int, huge: int) -> list[Call]:
    r = p.random
    area = format_iovec([(addr, length)])
    return [
        ("pkey_mprotect", (addr, length, RW, r.choice((1, 15, 16, -2)))),
        ("msync", (addr + r.choice((0, odd)), length, r.choice((0, 5, 8)))),
        ("remap_file_pages", (addr, length, r.choice((1, 0)), r.choice((0, 1, 1 << 52)), 0)),
        ("shmdt", (addr + odd,)),
        (
            "mbind",
            (
                addr + r.choice((0, odd)),
                length,
                r.choice((2, 3, 9)),
                r.choice((0, "[0x1]")),
                r.choice((0, 64)),
                r.choice((0, 8)),
            ),
        ),
        (
            "process_madvise",
            (
                r.choice((-1, abi.PIDFD_SELF_THREAD, abi.PIDFD_SELF_THREAD_GROUP)),
                area,
                1,
                r.choice((20, 4, 12)),
                0,
            ),
        ),
        ("mmap", (addr, length, RW, abi.MAP_SHARED | abi.MAP_FIXED, Fd(3), r.choice(_OFFSETS))),
        ("fault", (addr, length, abi.PROT_READ | abi.PROT_EXEC)),
    ]


_FAMILIES: Final[tuple[Callable[[Program, int, int, int, int], list[Call]], ...]] = (
    _mmap, _mmap, _ranges, _ranges, _locks, _locks, _mremap, _mremap, _others,
)  # fmt: skip
