"""Makers of calls that meet less often: where a mapping has been before decides what becomes of it.

Moved files and /dev/zero, sources that DONTUNMAP leaves behind, guards, seals, droppable memory,
hugetlb files, the heap, several processes. Each adds a few events that build on each other.
"""

from __future__ import annotations

from typing import Final

from vmatrace import abi
from vmatrace.event import Fd
from vmatrace.search import ordinary
from vmatrace.search.program import ADVICE, BRK, PAGE, PRIVATE, PROTS, RW, WINDOW, Maker, Program

_HUGE: Final = 2 << 20
#: Where huge pages are mapped: aligned, behind every window.
_HUGE_WINDOW: Final = WINDOW + 0x40000000
_MOVE: Final = abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED
_TYPES: Final = (abi.MAP_PRIVATE, abi.MAP_PRIVATE, abi.MAP_PRIVATE, abi.MAP_SHARED)
_FILES: Final = (3, 4, 5, 7)


def _away(p: Program) -> int:
    """An address beside the window, a fixed distance from a page of it."""
    return p.page() + p.random.choice((64, 64, 128)) * PAGE


def _place(p: Program) -> int:
    return p.page() if p.chance(70) else _away(p)


def dev_zero(p: Program) -> None:
    """/dev/zero: private, it is anonymous with a file; shared, it is shmem."""
    addr, length = p.span(4)
    offset = addr - WINDOW if p.chance(50) else p.random.choice((0, 0, PAGE, 5 * PAGE))
    flags = abi.MAP_FIXED | p.random.choice(_TYPES)
    p.emit("mmap", addr, length, p.random.choice(PROTS), flags, Fd(4), offset)
    if p.chance(40):
        p.emit("fault", addr, PAGE, abi.PROT_WRITE)


def displace(p: Program) -> None:
    """A file or anonymous memory moved, so that its offset no longer tells where it is."""
    r = p.random
    addr, length = p.span(4)
    fd = Fd(r.choice(_FILES)) if p.chance(70) else -1
    offset = (addr - WINDOW) if fd != -1 else 0
    flags = abi.MAP_FIXED | r.choice(_TYPES) | (0 if fd != -1 else abi.MAP_ANONYMOUS)
    p.emit("mmap", addr, length, RW, flags, fd, offset)
    if p.chance(60):
        p.emit("fault", addr, r.choice((PAGE, length)), r.choice((1, 2, 2)))
    target = _place(p)
    p.emit("mremap", addr, length, length, _MOVE, target)
    if p.chance(50):  # the next of its kind, beside where it went
        beside = target + length if p.chance(60) else max(target - length, WINDOW)
        more = beside - target + offset if fd != -1 and p.chance(70) else offset
        p.emit("mmap", beside, length, RW, flags, fd, max(more, 0))


def dontunmap(p: Program) -> None:
    """Move pages away and keep the mapping, then use what was kept."""
    r = p.random
    addr, length = p.span(6)
    kind = r.randrange(10)
    if kind < 6:
        flags, target = _MOVE | abi.MREMAP_DONTUNMAP, _place(p)
        if p.chance(15):
            target = addr + length  # right beside it
    else:
        flags, target = abi.MREMAP_MAYMOVE | abi.MREMAP_DONTUNMAP, r.choice((0, p.page()))
    p.emit("mremap", addr, length, length if p.chance(92) else length + PAGE, flags, target)
    kind = r.randrange(6)
    if kind == 0:
        p.emit("fault", addr, PAGE, abi.PROT_WRITE)
    elif kind == 1:
        p.emit("mremap", addr, length, length, _MOVE, _place(p))
    elif kind == 2:
        p.emit("mmap", addr + length, PAGE, RW, PRIVATE | abi.MAP_FIXED, -1, 0)
    elif kind == 3:
        p.emit("mprotect", addr, length, r.choice(PROTS))


def back(p: Program) -> None:
    """Bring back what was moved beside the window."""
    addr, length = p.span(4)
    away = addr + p.random.choice((64, 64, 128)) * PAGE
    source, target = p.random.choice(((away, addr), (addr, away), (away, p.page())))
    flags = _MOVE | (abi.MREMAP_DONTUNMAP if p.chance(25) else 0)
    p.emit("mremap", source, length, length, flags, target)


def guard(p: Program) -> None:
    """Guard pages in memory of any kind, or take them away."""
    advice = abi.MADV_GUARD_INSTALL if p.chance(70) else abi.MADV_GUARD_REMOVE
    p.emit("madvise", *p.span(3), advice)


def droppable(p: Program) -> None:
    """Memory that may vanish, and what it is never to be."""
    r = p.random
    addr, length = p.span(4)
    flags = abi.MAP_DROPPABLE | abi.MAP_ANONYMOUS | abi.MAP_FIXED
    if p.chance(25):
        flags |= r.choice((abi.MAP_NORESERVE, abi.MAP_LOCKED, abi.MAP_STACK, abi.MAP_GROWSDOWN))
    p.emit("mmap", addr, length, r.choice(PROTS), flags, r.choice((-1, -1, -1, Fd(3))), 0)
    kind = r.randrange(6)
    if kind == 0:
        p.emit("mlock2", addr, length, r.choice((0, abi.MLOCK_ONFAULT)))
    elif kind == 1:
        p.emit("mlockall", r.choice((1, 2, 3, 5, 6, 7)))
    elif kind == 2:
        advice = (abi.MADV_KEEPONFORK, abi.MADV_DODUMP, abi.MADV_MERGEABLE, abi.MADV_WIPEONFORK)
        p.emit("madvise", addr, length, r.choice(advice))


def seal(p: Program) -> None:
    """Seal a range, then try what a seal forbids."""
    r = p.random
    addr, length = p.span(4)
    p.emit("mseal", addr, length, 0)
    kind = r.randrange(6)
    if kind == 0:
        p.emit("munmap", *p.span(4))
    elif kind == 1:
        p.emit("mprotect", *p.span(4), r.choice(PROTS))
    elif kind == 2:
        p.emit("mremap", addr, length, length, _MOVE, _place(p))
    elif kind == 3:
        advice = (abi.MADV_DONTNEED, abi.MADV_FREE, abi.MADV_DONTFORK, abi.MADV_GUARD_INSTALL)
        p.emit("madvise", *p.span(4), r.choice(advice))
    elif kind == 4:
        p.emit("mmap", *p.span(2), RW, PRIVATE | abi.MAP_FIXED, -1, 0)


def huge(p: Program) -> None:
    """Huge pages at a fixed place: anonymous or a file, private or shared, often not reserved."""
    r = p.random
    addr = _HUGE_WINDOW + r.randrange(4) * _HUGE
    length = r.choice((1, 1, 2, 3)) * _HUGE if p.chance(92) else PAGE
    flags = abi.MAP_FIXED | r.choice(_TYPES)
    if p.chance(85):
        flags |= abi.MAP_NORESERVE
    if p.chance(60):
        return p.emit("mmap", addr, length, RW, flags | abi.MAP_ANONYMOUS | abi.MAP_HUGETLB, -1, 0)
    offset = r.choice((0, 0, 1, 2)) * _HUGE if p.chance(95) else PAGE
    return p.emit("mmap", addr, length, RW, flags, Fd(6), offset)


def change_huge(p: Program) -> None:
    """Change, move or unmap hugetlb, mostly whole pages of it."""
    r = p.random
    addr = _HUGE_WINDOW + r.randrange(4) * _HUGE + (r.choice((PAGE, 0x100)) if p.chance(8) else 0)
    length = r.choice((1, 1, 2)) * _HUGE if p.chance(90) else PAGE
    kind = r.randrange(8)
    if kind < 2:
        p.emit("munmap", addr, length)
    elif kind < 4:
        p.emit("mprotect", addr, length, r.choice((0, 1, 3, 3)))
    elif kind < 5:
        target = _HUGE_WINDOW + r.randrange(8) * _HUGE
        flags = _MOVE | (abi.MREMAP_DONTUNMAP if p.chance(25) else 0)
        p.emit("mremap", addr, length, length if p.chance(80) else _HUGE, flags, target)
    elif kind < 6:
        p.emit("mlock", addr, length)
    else:
        advice = (
            abi.MADV_MERGEABLE, abi.MADV_DONTFORK, abi.MADV_DONTDUMP, abi.MADV_NOHUGEPAGE,
            abi.MADV_HUGEPAGE, abi.MADV_GUARD_INSTALL, abi.MADV_WIPEONFORK, abi.MADV_RANDOM,
        )  # fmt: skip
        p.emit("madvise", addr, length, r.choice(advice))


def heap(p: Program) -> None:
    """The heap grown over, beside and into what other calls made of it."""
    r = p.random
    kind = r.randrange(8)
    addr, length = BRK + r.randrange(8) * PAGE, r.randint(1, 3) * PAGE
    if kind < 3:
        p.emit("brk", BRK + r.randrange(16) * PAGE + r.choice((0, 0, 1, 100)))
    elif kind < 4:
        p.emit("mremap", addr, length, length, _MOVE, _place(p))
    elif kind < 5:
        p.emit("mremap", p.page(), length, length, _MOVE, addr)
    elif kind < 6:
        p.emit("madvise", addr, length, r.choice(ADVICE))
    elif kind < 7:
        p.emit("mlock", addr, length)
    else:
        ordinary.heap(p)


def switch(p: Program) -> None:
    """Another process goes on, or is made."""
    if len(p.alive) < 2 or (p.forks < 5 and p.chance(25)):
        return p.born("fork")
    p.pid = p.random.choice(p.alive)
    return None


def register(p: Program) -> None:
    """Register a range of any memory with a userfaultfd, in any mode, or take it back."""
    r = p.random
    addr, length = p.span(8)
    area = f"{{start={addr:#x}, len={length:#x}}}"
    fd = Fd(r.choice((100, 100, 101)))
    if p.pid != "main":
        p.pid = "main"  # which has the userfaultfds
    if p.chance(25):
        if length > 6 * PAGE:
            return p.emit("close", fd)
        return p.emit("ioctl", fd, abi.UFFDIO_UNREGISTER, area)
    names = [f"UFFDIO_REGISTER_MODE_{mode}" for mode in ("MISSING", "WP", "MINOR")]
    mode = "|".join(r.sample(names, r.choice((1, 1, 1, 2))))
    return p.emit("ioctl", fd, abi.UFFDIO_REGISTER, f"{{range={area}, mode={mode}}}")


def untouched(p: Program) -> None:
    """A mapping of any kind that nothing accesses: there may be a userfaultfd."""
    r = p.random
    addr, length = p.span(5)
    kind = r.randrange(6)
    if kind < 3:
        flags = PRIVATE | abi.MAP_FIXED | (r.choice((0, 0, abi.MAP_NORESERVE, abi.MAP_STACK)))
        return p.emit("mmap", addr, length, r.choice(PROTS), flags, -1, 0)
    if kind < 4:
        flags = abi.MAP_SHARED | abi.MAP_ANONYMOUS | abi.MAP_FIXED
        return p.emit("mmap", addr, length, RW, flags, -1, 0)
    flags = abi.MAP_FIXED | r.choice(_TYPES)
    return p.emit("mmap", addr, length, RW, flags, Fd(r.choice(_FILES)), addr - WINDOW)


def mmap_disk(p: Program) -> None:
    """A file on a disk's file system, where it continues its neighbour or not."""
    r = p.random
    addr, length = p.span()
    offset = addr - WINDOW if p.chance(70) else r.randrange(24) * PAGE
    flags = abi.MAP_FIXED | r.choice(_TYPES)
    p.emit("mmap", addr, length, r.choice(PROTS), flags, Fd(7), offset)


#: What an access could spoil is left out where userfaultfds are.
_COMMON: Final[tuple[tuple[Maker, int], ...]] = (
    (ordinary.mmap, 60), (ordinary.munmap, 50), (ordinary.mprotect, 80), (ordinary.fault, 70),
    (ordinary.mremap, 60), (ordinary.ksm, 15), (ordinary.madvise, 30),
)  # fmt: skip
#: Families of programs like those of generate.FAMILIES, and not mixed with its common calls.
FAMILIES: Final[dict[str, tuple[tuple[Maker, int], ...]]] = {
    "zero": (*_COMMON, (dev_zero, 200), (displace, 60), (dontunmap, 40)),
    "displaced": (*_COMMON, (displace, 220), (back, 80), (mmap_disk, 60)),
    "dontunmap": (*_COMMON, (dontunmap, 260), (back, 100), (ordinary.lock, 60), (dev_zero, 40)),
    "processes": (
        *_COMMON, (switch, 160), (dontunmap, 40), (displace, 40), (back, 60), (heap, 30),
        (guard, 30), (ordinary.exit_or_exec, 8), (ordinary.advise_other, 10),
    ),
    "brk": (*_COMMON, (heap, 300), (ordinary.lock, 40), (switch, 10)),
    "guards": (*_COMMON, (guard, 200), (ordinary.mmap_file, 60), (switch, 40), (dontunmap, 40)),
    "drop": (*_COMMON, (droppable, 240), (ordinary.lock, 60), (switch, 20)),
    "seals": (*_COMMON, (seal, 160), (ordinary.mmap_file, 40), (heap, 20), (switch, 20)),
    "hugetlb": ((huge, 300), (change_huge, 400), (ordinary.mmap, 40), (switch, 12)),
    "register": (
        (untouched, 260), (register, 220), (ordinary.munmap, 60), (ordinary.mprotect, 100),
        (dontunmap, 0), (ordinary.move, 100), (back, 60), (switch, 30), (droppable, 10),
    ),
    "disk": (*_COMMON, (mmap_disk, 260), (ordinary.mmap_file, 40), (back, 40), (switch, 10)),
    "mixed": (
        *_COMMON, (dev_zero, 40), (displace, 40), (dontunmap, 60), (back, 60), (guard, 40),
        (droppable, 30), (seal, 6), (huge, 30), (change_huge, 30), (heap, 40), (switch, 40),
        (mmap_disk, 30), (ordinary.lock, 40), (ordinary.shared, 20), (ordinary.policy, 15),
        (ordinary.mmap_chosen, 20), (ordinary.munmap_chosen, 10), (ordinary.control, 6),
        (ordinary.special, 10), (ordinary.scene, 20), (ordinary.exit_or_exec, 3),
    ),
}  # fmt: skip
