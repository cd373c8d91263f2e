"""Makers of calls with arguments that a program would use, each in all its forms.

A maker adds one event (now and then none or two) to the program it is given.
"""

from __future__ import annotations

from typing import Final

from vmatrace import abi
from vmatrace.event import Expr, Fd
from vmatrace.search.program import (
    ADVICE,
    BRK,
    PAGE,
    PRIVATE,
    PROTS,
    RW,
    SEGMENT,
    STACK,
    TOP,
    WINDOW,
    Program,
)  # fmt: skip
from vmatrace.structures import format_iovec, format_uffdio

_MMAP_FLAGS: Final = (
    abi.MAP_NORESERVE, abi.MAP_STACK, abi.MAP_LOCKED, abi.MAP_POPULATE, abi.MAP_GROWSDOWN,
    abi.MAP_POPULATE | abi.MAP_NONBLOCK, abi.MAP_SYNC,
)  # fmt: skip
_HUGE: Final = 2 << 20


def mmap(p: Program) -> None:
    """Private anonymous memory at a fixed place, with any flag."""
    addr, length = p.span()
    flags = PRIVATE | abi.MAP_FIXED
    if p.chance(20):
        flags |= p.random.choice(_MMAP_FLAGS)
    if p.chance(6):
        flags = flags & ~abi.MAP_TYPE | p.random.choice((abi.MAP_SHARED, abi.MAP_DROPPABLE))
    if p.chance(4):
        flags = flags & ~abi.MAP_FIXED | abi.MAP_FIXED_NOREPLACE
    p.emit("mmap", addr, length, p.random.choice(PROTS), flags, -1, 0)


def mmap_plain(p: Program) -> None:
    """Anonymous memory like all other: only its anon_vma can keep it apart."""
    addr, length = p.span(4)
    p.emit("mmap", addr, length, RW, PRIVATE | abi.MAP_FIXED, -1, 0)


def write(p: Program) -> None:
    """Write to a short range."""
    p.emit("fault", *p.span(2), abi.PROT_WRITE)


def protect(p: Program) -> None:
    """Make a long range alike."""
    p.emit("mprotect", *p.span(12), p.random.choice((abi.PROT_READ, RW, RW)))


def move(p: Program) -> None:
    """Move a range, and often back to where its page offset belongs."""
    addr, length = p.span(4)
    flags = abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED
    away = WINDOW + 64 * PAGE + (addr - WINDOW)
    source, target = p.random.choice(((addr, away), (away, addr), (addr, p.page())))
    p.emit("mremap", source, length, length, flags, target)


def scene(p: Program) -> None:
    """Three ranges side by side, written to while apart, forked, then made alike.

    Each range is mapped in one of two protections and may be written to before the next comes.
    """
    r = p.random
    sizes = [r.randint(1, 2) * PAGE for _ in range(3)]
    start = p.page()
    ranges = [(start + sum(sizes[:i]), sizes[i]) for i in range(3)]
    p.emit("munmap", start, sum(sizes))
    for addr, length in r.sample(ranges, 3):
        prot = r.choice((RW, RW, abi.PROT_READ))
        p.emit("mmap", addr, length, prot, PRIVATE | abi.MAP_FIXED, -1, 0)
        if p.chance(65):
            p.emit("fault", addr, PAGE, abi.PROT_WRITE)
        if p.chance(6) and p.forks < 4:
            p.born("fork")
    for _ in range(r.randint(1, 3)):
        addr, length = r.choice(ranges)
        kind = r.randrange(5)
        if kind < 2:
            p.emit("mprotect", start, sum(sizes), r.choice((RW, abi.PROT_READ)))
        elif kind == 2:
            p.emit("mprotect", addr, length, r.choice((RW, abi.PROT_READ)))
        elif kind == 3:
            p.emit("munmap", addr, length)
            p.emit("mmap", addr, length, RW, PRIVATE | abi.MAP_FIXED, -1, 0)
        else:
            away = start + 64 * PAGE
            flags = abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED
            p.emit("mremap", addr, length, length, flags, away)
            p.emit("mremap", away, length, length, flags, addr)


def mmap_chosen(p: Program) -> None:
    """The kernel chooses, or takes a hint."""
    r = p.random
    hint = r.choice((0, 0, p.page(), p.page() + r.randrange(PAGE), TOP - 64 * PAGE))
    length = r.choice((1, 1, 2, 3, 8, 511, 512, 513, 1024, 1536)) * PAGE
    flags = PRIVATE | (abi.MAP_GROWSDOWN if p.chance(5) else 0)
    if p.chance(5):
        flags |= abi.MAP_32BIT
    if p.chance(10):
        flags = flags & ~abi.MAP_TYPE | abi.MAP_SHARED
    label = f"m{len(p.labels)}"
    p.emit("mmap", hint, length, r.choice(PROTS), flags, -1, 0, label=label)
    p.labels.append(label)


def mmap_huge(p: Program) -> None:
    """A mapping of huge pages that are not reserved, so that it needs none."""
    label = f"m{len(p.labels)}"
    flags = PRIVATE | abi.MAP_HUGETLB | abi.MAP_NORESERVE
    if p.chance(10):
        flags &= ~abi.MAP_NORESERVE
    p.emit("mmap", 0, p.random.choice((1, 2, 3)) * _HUGE, RW, flags, -1, 0, label=label)
    p.labels.append(label)


def change_huge(p: Program) -> None:
    """Change or unmap one huge page, or a part of one."""
    if not p.labels:
        return mmap_huge(p)
    label = p.random.choice(p.labels)
    offset = p.random.choice((0, 0, 0, 1, 2)) * _HUGE
    length = p.random.choice((1, 1, 1, 2)) * _HUGE if p.chance(90) else PAGE
    where = Expr(("+", label, offset), f"{label} + {offset:#x}")
    if p.chance(15):
        return p.emit("munmap", where, length)
    if p.chance(20):
        return p.emit("madvise", where, length, p.random.choice(ADVICE))
    return p.emit("mprotect", where, length, p.random.choice((1, 3, 3)))


def munmap_chosen(p: Program) -> None:
    """Unmap some of what the kernel had chosen a place for, or change it."""
    if not p.labels:
        return mmap_chosen(p)
    label = p.random.choice(p.labels)
    offset = p.random.choice((0, 0, 1, 2)) * PAGE
    length = p.random.choice((1, 1, 2, 512)) * PAGE
    where = Expr(("+", label, offset), f"{label} + {offset:#x}")
    if p.chance(75):
        return p.emit("munmap", where, length)
    return p.emit("mprotect", where, length, p.random.choice(PROTS))


def mmap_file(p: Program) -> None:
    """A file at a fixed place, where it continues its neighbour or not."""
    r = p.random
    addr, length = p.span()
    fd = r.choice((3, 4, 5))
    offset = (addr - WINDOW) % 0x20000 if p.chance(70) else r.randrange(24) * PAGE
    flags = abi.MAP_FIXED | r.choice((abi.MAP_PRIVATE, abi.MAP_PRIVATE, abi.MAP_SHARED))
    if p.chance(10):
        flags |= r.choice((abi.MAP_NORESERVE, abi.MAP_POPULATE, abi.MAP_LOCKED))
    if p.chance(3):
        flags = flags & ~abi.MAP_TYPE | abi.MAP_SHARED_VALIDATE
    p.emit("mmap", addr, length, r.choice(PROTS), flags, Fd(fd), offset)


def munmap(p: Program) -> None:
    """Unmap a range."""
    p.emit("munmap", *p.span(6))


def mprotect(p: Program) -> None:
    """Protect a range, now and then with a key or downwards."""
    prot = p.random.choice(PROTS)
    if p.chance(3):
        prot |= abi.PROT_GROWSDOWN
    if p.chance(4):
        return p.emit("pkey_mprotect", *p.span(), prot, p.random.choice((-1, -1, 0, 1)))
    return p.emit("mprotect", *p.span(), prot)


def madvise(p: Program) -> None:
    """Advise a range."""
    p.emit("madvise", *p.span(), p.random.choice(ADVICE))


def ksm(p: Program) -> None:
    """Switch KSM by default, or ask for it."""
    if p.chance(10):
        p.emit("prctl", abi.PR_GET_MEMORY_MERGE, 0, 0, 0, 0)
    else:
        p.emit("prctl", abi.PR_SET_MEMORY_MERGE, p.random.choice((1, 1, 0)), 0, 0, 0)


def control(p: Program) -> None:
    """The other switches of a process that concern its memory, and names."""
    kind = p.random.randrange(10)
    if kind < 3:
        p.emit("prctl", abi.PR_SET_THP_DISABLE, p.random.choice((0, 1)), 0, 0, 0)
    elif kind < 4:
        p.emit("prctl", abi.PR_GET_THP_DISABLE, 0, 0, 0, 0)
    elif kind < 9:
        name = p.random.choice(("heap", "arena", 0))
        p.emit("prctl", abi.PR_SET_VMA, abi.PR_SET_VMA_ANON_NAME, *p.span(4), name)
    elif p.chance(20):  # costs a new sandbox, since nothing takes it back
        p.emit("prctl", abi.PR_SET_MDWE, 1, 0, 0, 0)
    else:  # no randomization, as sandboxes have none
        execute = p.random.choice((0, abi.READ_IMPLIES_EXEC, abi.READ_IMPLIES_EXEC))
        p.emit("personality", 0x40000 | execute)


def fault(p: Program) -> None:
    """Access a range."""
    access = p.random.choice((abi.PROT_WRITE, abi.PROT_WRITE, abi.PROT_WRITE, abi.PROT_READ))
    p.emit("fault", *p.span(4), access)


def mremap(p: Program) -> None:
    """Move, grow, shrink, copy or empty a range."""
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


def lock(p: Program) -> None:
    """Lock or unlock a range or everything."""
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
        p.emit(
            "mlockall",
            p.random.choice((abi.MCL_CURRENT, abi.MCL_FUTURE, abi.MCL_CURRENT | abi.MCL_FUTURE)),
        )


def brk(p: Program) -> None:
    """Grow or shrink the heap around the break that the sandbox starts with."""
    p.emit("brk", BRK + p.random.randrange(12) * PAGE + p.random.choice((0, 0, 100)))


def heap(p: Program) -> None:
    """A call on the heap, which brk() then meets."""
    addr = BRK + p.random.randrange(12) * PAGE
    length = p.random.randint(1, 3) * PAGE
    kind = p.random.randrange(4)
    if kind == 0:
        p.emit("munmap", addr, length)
    elif kind == 1:
        p.emit("mprotect", addr, length, p.random.choice(PROTS))
    elif kind == 2:
        p.emit("fault", addr, length, abi.PROT_WRITE)
    else:
        p.emit("mmap", addr, length, RW, PRIVATE | abi.MAP_FIXED, -1, 0)


def special(p: Program) -> None:
    """Calls on the stack below its end, and on the vdso and its data."""
    r = p.random
    if p.chance(50):
        addr = STACK - r.randrange(40) * PAGE
        if p.chance(60):
            return p.emit("fault", addr, PAGE, abi.PROT_WRITE)
        return p.emit("mmap", addr, PAGE, r.choice(PROTS), PRIVATE | abi.MAP_FIXED, -1, 0)
    addr = TOP - r.randrange(1, 9) * PAGE
    length = r.randint(1, 3) * PAGE
    kind = r.randrange(6)
    if kind == 0:
        return p.emit("munmap", addr, length)
    if kind == 1:
        return p.emit("mprotect", addr, length, r.choice((1, 5)))
    if kind == 2:
        return p.emit("mlock", addr, length)
    if kind == 3:
        return p.emit("mmap", addr, length, r.choice(PROTS), PRIVATE | abi.MAP_FIXED, -1, 0)
    if kind == 4:
        flags = abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED
        return p.emit("mremap", addr, length, length, flags, p.page())
    return p.emit("madvise", addr, length, r.choice(ADVICE))


def fork(p: Program) -> None:
    """A child, in one of the ways there are."""
    if p.forks >= 4:
        return p.end()
    kind = p.random.randrange(20)
    if kind < 16:
        return p.born("fork")
    if kind == 16:
        return p.born("vfork")
    if kind == 17:
        return p.born("clone", "flags=CLONE_VM|CLONE_VFORK|SIGCHLD")
    if kind == 18:
        return p.born("clone", "flags=SIGCHLD")
    return p.born("clone3", "{flags=CLONE_VM|CLONE_FILES, exit_signal=SIGCHLD}")


def exit_or_exec(p: Program) -> None:
    """The running process ends or starts anew."""
    if p.chance(70):
        p.end()
    elif p.chance(50):
        p.emit("execve", "/bin/image")


def seal(p: Program) -> None:
    """Seal a range."""
    p.emit("mseal", *p.span(3), 0)


def shared(p: Program) -> None:
    """msync, remap_file_pages, and System V segments."""
    r = p.random
    kind = r.randrange(10)
    if kind < 3:
        p.emit("msync", *p.span(), r.choice((abi.MS_ASYNC, abi.MS_SYNC, abi.MS_INVALIDATE)))
    elif kind < 5:
        p.emit(
            "remap_file_pages", *p.span(4), 0, r.randrange(24), r.choice((0, 0, abi.MAP_NONBLOCK))
        )
    elif kind < 8:
        addr = r.choice((p.page(), p.page(), p.page() + 0x123))
        flags = r.choice(
            (0, abi.SHM_REMAP, abi.SHM_REMAP, abi.SHM_RDONLY, abi.SHM_RND, abi.SHM_EXEC)
        )
        p.emit("shmat", Fd(SEGMENT), addr, flags)
    else:
        p.emit("shmdt", p.page())


def policy(p: Program) -> None:
    """Bind a range to a memory node."""
    r = p.random
    mode = r.choice((abi.MPOL_DEFAULT, abi.MPOL_PREFERRED, abi.MPOL_BIND, abi.MPOL_INTERLEAVE))
    if mode == abi.MPOL_DEFAULT or p.chance(10):
        p.emit("mbind", *p.span(), mode, 0, 0, 0)
    else:
        p.emit("mbind", *p.span(), mode, "[0x1]", 64, r.choice((0, 0, 1, 2)))
    if p.chance(25):
        p.emit("set_mempolicy_home_node", *p.span(6), int(p.chance(5)), 0)


def userfault(p: Program) -> None:
    """Register a range with one of two userfaultfds, or take it back."""
    addr, length = p.span(6)
    fd = Fd(p.random.choice((100, 101)))
    if p.chance(30):
        return p.emit("ioctl", fd, abi.UFFDIO_UNREGISTER, format_uffdio(addr, length))
    missing, write = "UFFDIO_REGISTER_MODE_MISSING", "UFFDIO_REGISTER_MODE_WP"
    mode = p.random.choice((missing, missing, write, f"{missing}|{write}"))
    return p.emit("ioctl", fd, abi.UFFDIO_REGISTER, format_uffdio(addr, length, mode))


def fault_first(p: Program) -> None:
    """An access, but none once a range may be registered: that would be for somebody to handle."""
    if any(event.name == "ioctl" for event in p.events):
        return mmap_file(p)
    return fault(p)


def advise_other(p: Program) -> None:
    """process_madvise on a child, by it or by another process."""
    children = [name for name in p.alive if name != "main"]
    if not children:
        return madvise(p)
    child = p.random.choice(children)
    addr, length = p.span(4)
    what = p.random.choice((abi.MADV_COLD, abi.MADV_WILLNEED, abi.MADV_DONTNEED, abi.MADV_NORMAL))
    area = format_iovec([(addr, length)])
    return p.emit("process_madvise", Expr(child, child), area, 1, what, 0)
