"""Makers of calls that only models are asked: files of any driver, limits, what a machine has not.

A real kernel is not asked, because the file, the privilege or the machine would have to be there.
"""

from __future__ import annotations

import dataclasses
from random import Random
from typing import Final

from vmatrace import abi
from vmatrace.event import Arg, Event, Fd, File
from vmatrace.kernels import Kernel
from vmatrace.kernels.filesystems import FILE_SYSTEMS, mmap_hook
from vmatrace.layout import parse_layout
from vmatrace.search import generate
from vmatrace.search.program import PAGE, PRIVATE, RW, WINDOW, Maker, Program
from vmatrace.structures import format_iovec, format_uffdio
from vmatrace.trace.file import Trace
from vmatrace.trace.header import ProcessState, Sysctl

_HUGE: Final = 2 << 20
_VDSO: Final = """\
7ffff7ff0000-7ffff7ff4000 r--p 00000000 00:00 0 [vvar]
7ffff7ff4000-7ffff7ff6000 r-xp 00000000 00:00 0 [vdso]
"""
#: Modes of a registration, and features of a userfaultfd, by name.
_MODES: Final = (
    "UFFDIO_REGISTER_MODE_MISSING", "UFFDIO_REGISTER_MODE_WP", "UFFDIO_REGISTER_MODE_MINOR",
    "UFFDIO_REGISTER_MODE_RWP", "UFFDIO_REGISTER_MODE_MISSING|UFFDIO_REGISTER_MODE_WP",
)  # fmt: skip
_FEATURES: Final = (
    "0", "UFFD_FEATURE_POISON", "UFFD_FEATURE_WP_ASYNC", "UFFD_FEATURE_MOVE", "UFFD_FEATURE_RWP",
    "UFFD_FEATURE_WP_UNPOPULATED", "UFFD_FEATURE_MINOR_HUGETLBFS",
)  # fmt: skip


def files(older: Kernel, newer: Kernel) -> dict[int | str, File]:
    """The files of random programs, and of every hook one that the two models do not share."""
    found = generate.files()
    found[8] = File("/dev/example", "legacy")
    found[9] = File("/dev/prepared", "mmap_prepare")
    found[10] = File("/memfd:secret (deleted)", "secretmem")
    found[11] = File("/dev/zero", "devzero", "r")
    found[12] = File("/dev/zero", "devzero", "rw")
    differ = [fs for fs in FILE_SYSTEMS if mmap_hook(fs, older) != mmap_hook(fs, newer)]
    for number, fs in enumerate(differ[:4], 13):
        found[number] = File(f"/on/{fs}", fs)
    return found


def starts(older: Kernel, newer: Kernel) -> list[Trace]:
    """Where a program can start: mostly with nothing, also with few VMAs allowed, or a vdso."""
    plain = Trace("hunt", "hunt", lambda: iter(()), files=files(older, newer), arch="x86_64")

    def with_knobs(**knobs: int) -> Trace:
        return dataclasses.replace(plain, sysctl=Sysctl(**knobs))

    return [
        plain, plain, plain, plain,
        with_knobs(max_map_count=8), with_knobs(mmap_min_addr=WINDOW + 8 * PAGE),
        with_knobs(overcommit_memory=2),
        dataclasses.replace(plain, process=ProcessState(rlimits={"as": 24 * PAGE})),
        dataclasses.replace(plain, maps=parse_layout(_VDSO)),
    ]  # fmt: skip


def mmap_any_file(p: Program) -> None:
    """A file of any kind, where it goes on with its neighbour."""
    r = p.random
    addr, length = p.span(3)
    flags = abi.MAP_FIXED | r.choice((abi.MAP_PRIVATE, abi.MAP_PRIVATE, abi.MAP_SHARED))
    prot = r.choice((RW, RW, abi.PROT_READ))
    fd = r.choice(range(3, 17))
    p.emit("mmap", addr, length, prot, flags, Fd(fd), addr - WINDOW)
    if p.chance(60):
        beside = addr + length
        p.emit("mmap", beside, PAGE, prot, flags, Fd(fd), beside - WINDOW)


def mmap_large(p: Program) -> None:
    """Enough for huge pages, where the kernel may choose; private, shared, or of a file."""
    r = p.random
    length = r.choice((_HUGE, _HUGE, _HUGE + PAGE, 2 * _HUGE, 3 * _HUGE - PAGE))
    hint = r.choice((0, 0, 0, WINDOW + 5 * PAGE, PAGE))
    kind = r.choice((PRIVATE, PRIVATE, abi.MAP_PRIVATE, abi.MAP_SHARED))
    fd: Arg = -1 if kind & abi.MAP_ANONYMOUS else Fd(r.choice((3, 4, 7, 8, 11, 12, 13)))
    if p.chance(50):
        p.emit("mmap", 0, PAGE, RW, PRIVATE, -1, 0)
    p.emit("mmap", hint, length, RW, kind, fd, 0)


def advise_self(p: Program) -> None:
    """process_madvise on the caller, by any of its names, also of nothing."""
    r = p.random
    who = r.choice((abi.PIDFD_SELF_THREAD, abi.PIDFD_SELF_THREAD_GROUP, -20000, -1))
    what = r.choice((abi.MADV_COLD, abi.MADV_MERGEABLE, abi.MADV_DONTFORK, abi.MADV_DONTDUMP, 999))
    parts = [] if p.chance(20) else [p.span(2)]
    p.emit("process_madvise", who, format_iovec(parts), len(parts), what, 0)


def advise_rarely(p: Program) -> None:
    """Advice that programs give rarely, on memory that was just mapped or on any."""
    r = p.random
    addr, length = p.span(3)
    if p.chance(60):
        fd = r.choice((-1, -1, Fd(3), Fd(4), Fd(5), Fd(10), Fd(12)))
        shared = r.choice((abi.MAP_PRIVATE, abi.MAP_SHARED))
        flags = abi.MAP_FIXED | shared | (abi.MAP_ANONYMOUS if fd == -1 else 0)
        prot = r.choice((RW, abi.PROT_READ, abi.PROT_NONE))
        p.emit("mmap", addr, length, prot, flags, fd, 0)
    advice = r.choice((
        abi.MADV_HWPOISON, abi.MADV_SOFT_OFFLINE, abi.MADV_REMOVE, abi.MADV_DOFORK,
        abi.MADV_GUARD_INSTALL, abi.MADV_GUARD_REMOVE, abi.MADV_MERGEABLE, abi.MADV_UNMERGEABLE,
        abi.MADV_DONTNEED, abi.MADV_NORMAL, abi.MADV_HUGEPAGE,
    ))  # fmt: skip
    p.emit("madvise", addr, length, advice)


def advise_vdso(p: Program) -> None:
    """Advice on the data of the vdso, and a registration of it."""
    addr, length = 0x7FFFF7FF0000, 4 * PAGE
    if p.chance(60):
        advice = (abi.MADV_DOFORK, abi.MADV_DONTFORK, abi.MADV_GUARD_INSTALL, abi.MADV_DONTDUMP)
        p.emit("madvise", addr, length, p.random.choice(advice))
    else:
        p.emit("ioctl", Fd(100), abi.UFFDIO_API, "{api=0xaa, features=UFFD_FEATURE_WP_ASYNC}")
        area = format_uffdio(addr, length, "UFFDIO_REGISTER_MODE_WP")
        p.emit("ioctl", Fd(100), abi.UFFDIO_REGISTER, area)


def seal_and_advise(p: Program) -> None:
    """Advice on sealed memory that may not be written."""
    r = p.random
    addr, length = p.span(2)
    fd, offset = r.choice(((-1, 0), (Fd(3), 0), (Fd(4), 0)))
    flags = PRIVATE if fd == -1 else abi.MAP_PRIVATE
    p.emit("mmap", addr, length, abi.PROT_READ, flags | abi.MAP_FIXED, fd, offset)
    p.emit("mseal", addr, length, 0)
    advice = (
        abi.MADV_DONTNEED, abi.MADV_MERGEABLE, abi.MADV_UNMERGEABLE, abi.MADV_NORMAL,
        abi.MADV_RANDOM, abi.MADV_DONTFORK,
    )  # fmt: skip
    p.emit("madvise", addr, length, r.choice(advice))


def userfault_fully(p: Program) -> None:
    """A userfaultfd with some features, registrations in every mode, and their end."""
    r = p.random
    fd = Fd(r.choice((100, 101)))
    kind = r.randrange(8)
    if kind == 0:
        p.emit("ioctl", fd, abi.UFFDIO_API, f"{{api=0xaa, features={r.choice(_FEATURES)}}}")
        return
    addr, length = p.span(3)
    if kind < 4:
        any_fd = r.choice((-1, -1, -1, Fd(3), Fd(6)))
        share = r.choice((abi.MAP_PRIVATE, abi.MAP_PRIVATE, abi.MAP_SHARED, abi.MAP_DROPPABLE))
        flags = abi.MAP_FIXED | share | (abi.MAP_ANONYMOUS if any_fd == -1 else 0)
        p.emit("mmap", addr, length, RW, flags, any_fd, 0)
    if kind < 7:
        p.emit("ioctl", fd, abi.UFFDIO_REGISTER, format_uffdio(addr, length, r.choice(_MODES)))
        if p.chance(30):
            where = addr + 64 * PAGE
            flags = abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED
            p.emit("mremap", addr, length, length, flags, where)
        return
    p.emit("ioctl", fd, abi.UFFDIO_UNREGISTER, format_uffdio(addr, length))


def switch(p: Program) -> None:
    """The switches of prctl, with every argument."""
    r = p.random
    if p.chance(60):
        on, flags = r.choice((0, 1)), r.choice((0, 1, 2, 3))
        p.emit("prctl", abi.PR_SET_THP_DISABLE, on, flags, 0, 0)
    else:
        addr, length = p.span(3)
        p.emit("prctl", abi.PR_SET_VMA, abi.PR_SET_VMA_ANON_NAME, addr, length, "name")


def protect_with_key(p: Program) -> None:
    """pkey_mprotect with a key that may exist."""
    addr, length = p.span(2)
    p.emit("mmap", addr, length, RW, PRIVATE | abi.MAP_FIXED, -1, 0)
    p.emit("pkey_mprotect", addr, length, abi.PROT_READ, p.random.choice((-1, 0, 1)))


def execute(p: Program) -> None:
    """A new image, with a vdso."""
    p.emit("prctl", abi.PR_SET_MEMORY_MERGE, 1, 0, 0, 0)
    event_at = len(p.events)
    p.emit("execve", "/bin/image")
    if p.chance(50):
        p.events[event_at].maps = parse_layout(_VDSO)
    p.emit("mmap", WINDOW, PAGE, RW, PRIVATE | abi.MAP_FIXED, -1, 0)


def fill_up(p: Program) -> None:
    """VMAs side by side that do not merge, up to where few more are allowed, then a move."""
    count = p.random.randint(2, 8)
    for i in range(count):
        p.emit("mmap", WINDOW + 2 * i * PAGE, PAGE, RW, PRIVATE | abi.MAP_FIXED, -1, 0)
    kind = p.random.randrange(4)
    flags = abi.MREMAP_MAYMOVE | (abi.MREMAP_FIXED if kind < 2 else 0)
    target = (WINDOW + 100 * PAGE,) if kind < 2 else ()
    new = PAGE if kind % 2 else 2 * PAGE
    p.emit("mremap", WINDOW, PAGE, new, flags, *target)


def stack(p: Program) -> None:
    """Memory for a stack."""
    addr, length = p.span(2)
    p.emit("mmap", addr, length, RW, PRIVATE | abi.MAP_FIXED | abi.MAP_STACK, -1, 0)


def lock_droppable(p: Program) -> None:
    """Droppable memory once everything to come is locked."""
    p.emit("mlockall", abi.MCL_FUTURE)
    addr, length = p.span(2)
    flags = abi.MAP_DROPPABLE | abi.MAP_ANONYMOUS | abi.MAP_FIXED
    p.emit("mmap", addr, length, RW, flags, -1, 0)


def replace_beyond_limits(p: Program) -> None:
    """MAP_FIXED over what is there, of what a limit refuses."""
    addr, length = p.span(4)
    p.emit("mmap", addr, 4 * PAGE, RW, PRIVATE | abi.MAP_FIXED, -1, 0)
    size = p.random.choice((length, 64 * PAGE))
    flags = abi.MAP_FIXED | p.random.choice((PRIVATE, abi.MAP_SHARED, abi.MAP_PRIVATE))
    p.emit("mmap", addr + PAGE, size, RW, flags, p.random.choice((-1, Fd(5))), 0)


def scene_of_file(p: Program) -> None:
    """Parts of a private file side by side, written to or guarded while apart, then made alike."""
    r = p.random
    start, fd = p.page(), Fd(r.choice((3, 7)))
    flags = abi.MAP_PRIVATE | abi.MAP_FIXED
    for i in r.sample(range(2), 2):
        addr = start + i * PAGE
        prot = RW if i else abi.PROT_READ
        p.emit("mmap", addr, PAGE, prot, flags, fd, addr - WINDOW)
        kind = r.randrange(3)
        if kind == 0:
            p.emit("madvise", addr, PAGE, abi.MADV_GUARD_INSTALL)
        elif kind == 1 and i:
            p.emit("fault", addr, PAGE, abi.PROT_WRITE)
    p.emit("mprotect", start, 2 * PAGE, RW)


def move_registered(p: Program) -> None:
    """Two ranges of one userfaultfd, one moved beside the other."""
    addr, length = p.span(2)
    away = addr + 64 * PAGE
    for at in (addr, away):
        p.emit("mmap", at, length, RW, PRIVATE | abi.MAP_FIXED, -1, 0)
        area = format_uffdio(at, length, "UFFDIO_REGISTER_MODE_MISSING")
        p.emit("ioctl", Fd(100), abi.UFFDIO_REGISTER, area)
    flags = abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED
    p.emit("mremap", away, length, length, flags, addr + length)


def leave_displaced(p: Program) -> None:
    """Written memory that moved, and is moved on with its mapping left; then a neighbour."""
    addr, length = p.span(2)
    away, further = addr + 64 * PAGE, addr + 128 * PAGE
    flags = abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED
    p.emit("mmap", addr, length, RW, PRIVATE | abi.MAP_FIXED, -1, 0)
    p.emit("fault", addr, PAGE, abi.PROT_WRITE)
    p.emit("mremap", addr, length, length, flags, away)
    p.emit("mremap", away, length, length, flags | abi.MREMAP_DONTUNMAP, further)
    p.emit("mmap", away + length, PAGE, RW, PRIVATE | abi.MAP_FIXED, -1, 0)


def seal_several(p: Program) -> None:
    """Ranges side by side that differ, some sealed, then all of them."""
    r = p.random
    start, count = p.page(), r.choice((3, 4))
    for i in range(count):
        prot = r.choice((RW, abi.PROT_READ))
        p.emit("mmap", start + i * PAGE, PAGE, prot, PRIVATE | abi.MAP_FIXED, -1, 0)
    p.emit("mseal", start + r.randrange(count) * PAGE, PAGE, 0)
    p.emit("mseal", start, count * PAGE, 0)


def advise_ksm(p: Program) -> None:
    """A range that is advised in or out of KSM under KSM by default, and its neighbour."""
    p.emit("prctl", abi.PR_SET_MEMORY_MERGE, 1, 0, 0, 0)
    addr, length = p.span(2)
    p.emit("mmap", addr, length, RW, PRIVATE | abi.MAP_FIXED, -1, 0)
    p.emit("madvise", addr, length, p.random.choice((abi.MADV_MERGEABLE, abi.MADV_UNMERGEABLE)))
    p.emit("mmap", addr + length, PAGE, RW, PRIVATE | abi.MAP_FIXED, -1, 0)


MAKERS: Final[tuple[Maker, ...]] = (
    mmap_any_file, mmap_large, advise_self, advise_rarely, advise_vdso, seal_and_advise,
    userfault_fully, switch, protect_with_key, execute, fill_up, stack, lock_droppable,
    replace_beyond_limits, scene_of_file, move_registered, leave_displaced,
    advise_ksm, seal_several,
)  # fmt: skip


def sample(maker: Maker, times: int = 24) -> list[Event]:
    """Calls that *maker* makes, always the same."""
    program = Program(Random("sample"))
    for _ in range(times):
        maker(program)
    return program.events
