"""Random traces over the calls that both the model and the oracle can run.

A program works in a window of some dozen pages, so that its calls meet, and now and then lets the
kernel choose an address, forks, or passes arguments that are wrong. Same seed, same program.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from vmatrace import abi
from vmatrace.event import Arg, Event, Expr, Fd, File, format_call

PAGE: Final = 4096
WINDOW: Final = 0x10000000000
PAGES: Final = 48
_PRIVATE: Final = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS
_RW: Final = abi.PROT_READ | abi.PROT_WRITE
_PROTS: Final = (0, 1, 3, 3, 3, 3, 5, 7)
_ADVICE: Final = (
    abi.MADV_NORMAL, abi.MADV_RANDOM, abi.MADV_SEQUENTIAL, abi.MADV_DONTFORK, abi.MADV_DOFORK,
    abi.MADV_MERGEABLE, abi.MADV_MERGEABLE, abi.MADV_UNMERGEABLE, abi.MADV_UNMERGEABLE,
    abi.MADV_HUGEPAGE, abi.MADV_NOHUGEPAGE, abi.MADV_DONTDUMP, abi.MADV_DODUMP,
    abi.MADV_WIPEONFORK, abi.MADV_KEEPONFORK, abi.MADV_DONTNEED, abi.MADV_FREE, abi.MADV_COLD,
    abi.MADV_POPULATE_READ, abi.MADV_POPULATE_WRITE, abi.MADV_GUARD_INSTALL,
    abi.MADV_GUARD_REMOVE, abi.MADV_DONTNEED_LOCKED, abi.MADV_WILLNEED,
)  # fmt: skip
#: The descriptors that random programs use, where the machine has such files.
FILES: Final[dict[int | str, File]] = {
    3: File("/memfd:random (deleted)", "tmpfs", "rw", 0x40000),
    4: File("/dev/zero", "legacy", "rw"),
    5: File("/memfd:read-only (deleted)", "tmpfs", "r", 0x20000),
}
_FAMILIES: Final = ("anon", "fault", "file", "mremap", "lock", "advice", "fork", "place", "bad")


class Program:
    """A random program under construction: what its processes are and who runs."""

    def __init__(self, random: Random, family: str) -> None:
        self.random = random
        self.family = family
        self.events: list[Event] = []
        self.pid = "main"
        self.labels: list[str] = []
        self.forks = 0

    def emit(self, name: str, *args: Arg, label: str | None = None) -> None:
        text = format_call(name, args)
        symbolic = any(isinstance(a, Expr) for a in args)
        if label is not None:
            text = f"{label} = {text}"
        line = len(self.events) + 1
        self.events.append(Event(name, args, text, line, 1, self.pid, label, None, symbolic))

    def page(self) -> int:
        return WINDOW + self.random.randrange(PAGES) * PAGE

    def span(self, most: int = 8) -> tuple[int, int]:
        """An address and a length in bytes within the window."""
        start = self.random.randrange(PAGES)
        pages = self.random.randint(1, min(most, PAGES - start))
        return WINDOW + start * PAGE, pages * PAGE

    def chance(self, percent: int) -> bool:
        return self.random.randrange(100) < percent


def _mmap(p: Program) -> None:
    r = p.random
    addr, length = p.span()
    prot = r.choice(_PROTS)
    flags = _PRIVATE | abi.MAP_FIXED
    if p.chance(20):
        flags |= r.choice(
            (
                abi.MAP_NORESERVE, abi.MAP_STACK, abi.MAP_LOCKED, abi.MAP_POPULATE,
                abi.MAP_GROWSDOWN, abi.MAP_POPULATE | abi.MAP_NONBLOCK, abi.MAP_SYNC,
            )
        )  # fmt: skip
    if p.chance(6):
        flags = flags & ~abi.MAP_TYPE | r.choice((abi.MAP_SHARED, abi.MAP_DROPPABLE))
    if p.chance(4):
        flags = flags & ~abi.MAP_FIXED | abi.MAP_FIXED_NOREPLACE
    p.emit("mmap", addr, length, prot, flags, -1, 0)


def _mmap_chosen(p: Program) -> None:
    """The kernel chooses, or takes a hint."""
    r = p.random
    hint = r.choice((0, 0, p.page(), p.page() + r.randrange(PAGE)))
    length = r.choice((1, 1, 2, 3, 8, 511, 512, 513, 1024, 1536)) * PAGE
    flags = _PRIVATE | (abi.MAP_GROWSDOWN if p.chance(5) else 0)
    if p.chance(5):
        flags |= abi.MAP_32BIT
    if p.chance(10):
        flags = flags & ~abi.MAP_TYPE | abi.MAP_SHARED
    label = f"m{len(p.labels)}"
    p.emit("mmap", hint, length, r.choice(_PROTS), flags, -1, 0, label=label)
    p.labels.append(label)


def _munmap_chosen(p: Program) -> None:
    if not p.labels:
        return _mmap_chosen(p)
    label = p.random.choice(p.labels)
    offset = p.random.choice((0, 0, 1, 2)) * PAGE
    length = p.random.choice((1, 1, 2, 512)) * PAGE
    tree = ("+", label, offset)
    p.emit("munmap", Expr(tree, f"{label} + {offset:#x}"), length)
    return None


def _mmap_file(p: Program) -> None:
    r = p.random
    addr, length = p.span()
    fd = r.choice(list(FILES))
    if p.chance(70):
        offset = (addr - WINDOW) % 0x20000
    else:
        offset = r.randrange(24) * PAGE
    flags = abi.MAP_FIXED | r.choice((abi.MAP_PRIVATE, abi.MAP_PRIVATE, abi.MAP_SHARED))
    if p.chance(10):
        flags |= r.choice((abi.MAP_NORESERVE, abi.MAP_POPULATE, abi.MAP_LOCKED))
    if p.chance(3):
        flags = flags & ~abi.MAP_TYPE | abi.MAP_SHARED_VALIDATE
    p.emit("mmap", addr, length, r.choice(_PROTS), flags, Fd(fd), offset)


def _munmap(p: Program) -> None:
    p.emit("munmap", *p.span(6))


def _mprotect(p: Program) -> None:
    prot = p.random.choice(_PROTS)
    if p.chance(3):
        prot |= abi.PROT_GROWSDOWN
    p.emit("mprotect", *p.span(), prot)


def _madvise(p: Program) -> None:
    p.emit("madvise", *p.span(), p.random.choice(_ADVICE))


def _ksm(p: Program) -> None:
    if p.chance(10):
        p.emit("prctl", abi.PR_GET_MEMORY_MERGE, 0, 0, 0, 0)
    else:
        p.emit("prctl", abi.PR_SET_MEMORY_MERGE, p.random.choice((1, 1, 0)), 0, 0, 0)


def _fault(p: Program) -> None:
    access = p.random.choice((abi.PROT_WRITE, abi.PROT_WRITE, abi.PROT_WRITE, abi.PROT_READ))
    p.emit("fault", *p.span(4), access)


def _mremap(p: Program) -> None:
    r = p.random
    addr, length = p.span(6)
    kind = r.randrange(10)
    if kind < 4:
        target, _ = p.span()
        flags = abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED
        new = length if p.chance(70) else r.randint(1, 6) * PAGE
        if p.chance(25):
            flags |= abi.MREMAP_DONTUNMAP
        old = 0 if p.chance(4) else length
        p.emit("mremap", addr, old, new, flags, target)
    elif kind < 7:
        p.emit("mremap", addr, length, r.randint(1, 10) * PAGE, 0)
    elif kind < 9:
        p.emit("mremap", addr, length, r.randint(1, 10) * PAGE, abi.MREMAP_MAYMOVE)
    else:
        hint = r.choice((0, p.page()))
        flags = abi.MREMAP_MAYMOVE | abi.MREMAP_DONTUNMAP
        p.emit("mremap", addr, length, length, flags, hint)


def _lock(p: Program) -> None:
    kind = p.random.randrange(10)
    if kind < 3:
        p.emit("mlock", *p.span())
    elif kind < 6:
        p.emit("mlock2", *p.span(), abi.MLOCK_ONFAULT)
    elif kind < 9:
        p.emit("munlock", *p.span())
    elif p.chance(50):
        p.emit("munlockall")
    else:
        p.emit("mlockall", p.random.choice((abi.MCL_CURRENT, abi.MCL_FUTURE, 6)))


def _brk(p: Program) -> None:
    """Grow or shrink the heap around the break that the sandbox starts with."""
    p.emit("brk", BRK + p.random.randrange(12) * PAGE + p.random.choice((0, 0, 100)))


#: The initial break of the sandbox (behind its image); other breaks make brk() fail, which is fine.
BRK: Final = 0x7000001000


def _fork(p: Program) -> None:
    if p.forks >= 3:
        return _mprotect(p)
    label = f"p{p.forks}"
    p.forks += 1
    p.emit("fork", label=label)
    if p.chance(70):
        p.pid = label
    return None


def _seal(p: Program) -> None:
    p.emit("mseal", *p.span(3), 0)


def _bad(p: Program) -> None:
    """Arguments that a kernel refuses, or that come close to it."""
    r = p.random
    addr, length = p.span()
    odd = r.choice((1, 0x10, 0x7B, 0xFFF))
    huge = r.choice((0x800000000000, (1 << 64) - 1, (1 << 64) - 4096, 1 << 63))
    choices: list[Callable[[], None]] = [
        lambda: p.emit("mmap", addr + odd, length, _RW, _PRIVATE | abi.MAP_FIXED, -1, 0),
        lambda: p.emit("mmap", addr, huge, _RW, _PRIVATE | abi.MAP_FIXED, -1, 0),
        lambda: p.emit("mmap", addr, huge, _RW, _PRIVATE, -1, 0),
        lambda: p.emit("mmap", addr, 0, _RW, _PRIVATE | abi.MAP_FIXED, -1, 0),
        lambda: p.emit("mmap", addr, length + odd, _RW, _PRIVATE | abi.MAP_FIXED, -1, 0),
        lambda: p.emit("mmap", addr, length, _RW, abi.MAP_ANONYMOUS | abi.MAP_FIXED, -1, 0),
        lambda: p.emit("mmap", addr, length, 0xFF, _PRIVATE | abi.MAP_FIXED, -1, 0),
        lambda: p.emit("mmap", addr, length, _RW, _PRIVATE | abi.MAP_FIXED, -1, odd),
        lambda: p.emit("mmap", addr, length, _RW, abi.MAP_PRIVATE | abi.MAP_FIXED, -1, 0),
        lambda: p.emit("mmap", addr, length, _RW, r.randrange(16) | 0x30, -1, 0),
        lambda: p.emit("mmap", addr, length, _RW, r.randrange(16) | 0x10, Fd(3), 0),
        lambda: p.emit("mmap", 0xFFFFFFFFF000, length, _RW, _PRIVATE | abi.MAP_FIXED, -1, 0),
        lambda: p.emit("munmap", addr + odd, length),
        lambda: p.emit("munmap", addr, r.choice((0, huge))),
        lambda: p.emit("munmap", addr, length + odd),
        lambda: p.emit("mprotect", addr + odd, length, _RW),
        lambda: p.emit("mprotect", addr, r.choice((0, huge)), _RW),
        lambda: p.emit("mprotect", addr, length + odd, abi.PROT_READ),
        lambda: p.emit("mprotect", addr, length, r.choice((8, 0x10, 0x20, 0x03000000, 1 << 40))),
        lambda: p.emit("madvise", addr + odd, length, abi.MADV_MERGEABLE),
        lambda: p.emit("madvise", addr, r.choice((0, huge)), r.choice((12, 13, 999))),
        lambda: p.emit("madvise", addr, length, r.choice((5, 6, 7, 26, 99, 1000))),
        lambda: p.emit("mlock", addr + odd, length),
        lambda: p.emit("mlock", addr, r.choice((0, huge))),
        lambda: p.emit("mlock2", addr, length, r.choice((0, 2, 3))),
        lambda: p.emit("munlock", addr, huge),
        lambda: p.emit("mlockall", r.choice((0, 4, 8))),
        lambda: p.emit("mremap", addr, length, 0, abi.MREMAP_MAYMOVE),
        lambda: p.emit("mremap", addr + odd, length, length, abi.MREMAP_MAYMOVE),
        lambda: p.emit("mremap", addr, length, huge, r.choice((0, 1))),
        lambda: p.emit("mremap", addr, length, length, r.choice((2, 4, 6, 8)), p.page()),
        lambda: p.emit("mremap", addr, length, length, 3, p.page() + odd),
        lambda: p.emit("mremap", addr, length, length, 3, 0x7FFFFFFFF000),
        lambda: p.emit("mremap", addr, length, length + odd, 5, p.page()),
        lambda: p.emit("prctl", abi.PR_SET_MEMORY_MERGE, 1, r.choice((0, 1)), 1, 0),
        lambda: p.emit("prctl", abi.PR_GET_MEMORY_MERGE, 1, 0, 0, 0),
        lambda: p.emit("prctl", abi.PR_SET_MEMORY_MERGE, 5, 0, 0, 0),
        lambda: p.emit("mseal", addr + odd, length, 0),
        lambda: p.emit("mseal", addr, length, 1),
        lambda: p.emit("mseal", addr, r.choice((0, huge)), 0),
        lambda: p.emit("brk", r.choice((0, huge))),
    ]
    r.choice(choices)()


Maker = Callable[[Program], None]
_COMMON: Final[tuple[tuple[Maker, int], ...]] = (
    (_mmap, 24), (_munmap, 10), (_mprotect, 16), (_ksm, 4), (_madvise, 6), (_fault, 8),
)  # fmt: skip
_SPECIAL: Final[dict[str, tuple[tuple[Maker, int], ...]]] = {
    "anon": (),
    "fault": ((_fault, 24),),
    "file": ((_mmap_file, 30), (_fault, 6)),
    "mremap": ((_mremap, 36), (_fault, 10)),
    "lock": ((_lock, 30),),
    "advice": ((_madvise, 36),),
    "fork": ((_fork, 4), (_fault, 14), (_mremap, 6)),
    "place": ((_mmap_chosen, 24), (_munmap_chosen, 12), (_brk, 12)),
    "bad": ((_bad, 60), (_mmap_file, 6)),
}


def generate(seed: int, index: int, events: int = 40) -> list[Event]:
    """Program number *index* of *seed*: *events* events, in the files of FILES."""
    random = Random(f"{seed}/{index}")
    family = _FAMILIES[index % len(_FAMILIES)]
    program = Program(random, family)
    table = [*_COMMON, *_SPECIAL[family]]
    if random.randrange(12) == 0:
        table.append((_seal, 3))
    makers = [maker for maker, _ in table]
    weights = [weight for _, weight in table]
    if random.randrange(2):
        program.emit("prctl", abi.PR_SET_MEMORY_MERGE, 1, 0, 0, 0)
    while len(program.events) < events:
        random.choices(makers, weights)[0](program)
    return program.events
