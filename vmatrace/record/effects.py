"""What a call does to the ranges whose first write is looked for.

Knows which boundaries and which writable ranges each call can make. Where a failed call may have
done part of its work, more is looked at rather than less.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from vmatrace import abi
from vmatrace.calls import Range, given, touched
from vmatrace.layout import Layout
from vmatrace.record.pieces import ORDINARY, PRIVATE, WIPED, WRITABLE, WRITTEN, Pieces
from vmatrace.record.tasks import AddressSpace, Pending

#: File systems whose mappings may refuse to be split.
_DRIVERS: Final = ("legacy", "hugetlbfs")
#: So few VMAs that an munmap() that makes one of them two cannot come near a limit.
_FEW: Final = 1000
_MOST_BYTES: Final = 1 << 46
#: From this size on huge pages may decide about the place (thp_get_unmapped_area()).
_SMALL: Final = 1 << 21
#: Flags of mmap() that leave the place to the kernel, which takes the highest gap.
_PLACED_HIGHEST: Final = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_NORESERVE | abi.MAP_STACK


def reach(space: AddressSpace, pending: Pending, page: int) -> list[Range] | None:
    """Where a call that begins will work, in whole pages; None: anywhere. What it places where it
    likes is not in it.
    """
    assert pending.event is not None
    name, args, mask = pending.name, pending.args, page - 1
    if name == "brk":
        if space.brk is None:
            return None
        ends = (space.brk, args[0] or space.brk)
        ranges = [(min(ends), max(ends))]
    elif name == "mmap" and not args[3] & abi.MAP_FIXED:
        return []
    else:
        found = touched(name, pending.event.args, -abi.ENOMEM)
        if found is None:
            return None
        ranges = found
    return [(start & ~mask, abi.page_align(end, mask)) for start, end in ranges]


def placed(space: AddressSpace, pending: Pending, result: int, page: int) -> Range | None:
    """What a call that has returned *result* mapped where nothing of it was, in whole pages."""
    name, args, mask = pending.name, pending.args, page - 1
    if -4096 < result < 0:
        return None
    if name == "mmap":
        start, end = result, result + args[1]
    elif name == "mremap":
        start, end = result, result + args[2]
        if result == args[0]:
            start += args[1]
    elif name == "brk" and space.brk is not None:
        start, end = space.brk, result
    elif name == "shmat":
        start, end = result, result + pending.size
    else:
        return None
    start, end = abi.page_align(start, mask), abi.page_align(end, mask)
    return (start, end) if start < end else None


def moves_written(space: AddressSpace, pending: Pending) -> bool:
    """Whether a call moves or enlarges memory that was written to."""
    old = pending.args[0], pending.args[0] + pending.args[1]
    return pending.name == "mremap" and any(
        flags & WRITTEN for _, (_, flags, _) in space.pieces.within(*old)
    )


def apply(space: AddressSpace, pending: Pending, result: int, page: int) -> None:
    """Note in *space* what the call did; *page* is the page size in bytes."""
    name, args = pending.name, pending.args
    mask = page - 1
    pieces = space.pieces
    failed = -4096 < result < 0

    def up(value: int) -> int:
        return abi.page_align(value, mask) & abi.ULONG_MAX

    if name == "mmap":
        if not failed:
            kind = args[3] & abi.MAP_TYPE
            flags = PRIVATE if kind in (abi.MAP_PRIVATE, abi.MAP_DROPPABLE) else 0
            flags |= WRITABLE if args[2] & abi.PROT_WRITE else 0
            flags |= ORDINARY if _is_ordinary(pending) else 0
            pieces.add(result, result + up(args[1]), flags, pending.opened)
            if args[3] & abi.MAP_GROWSDOWN:
                space.stacks.add(result + up(args[1]))
    elif name == "munmap":
        if not failed:
            pieces.clear(args[0], args[0] + up(args[1]))
    elif name in ("mprotect", "pkey_mprotect"):
        start, end = args[0] & ~mask, args[0] + up(args[1])
        if args[2] & abi.PROT_WRITE:
            pieces.change(start, end, on=WRITABLE)
        elif failed:
            pieces.cut(start, end)
        else:
            pieces.change(start, end, off=WRITABLE)
    elif name == "brk":
        _brk(space, result, up)
    elif name == "mremap":
        if not failed:
            old, new = up(args[1]), up(args[2])
            if old:
                keep = bool(args[3] & abi.MREMAP_DONTUNMAP)
                pieces.move(args[0], args[0] + old, result, result + new, keep)
            else:
                pieces.add(result, result + new, 0)  # a second mapping of shared memory
    elif name in ("shmat", "shmdt"):
        _segment(space, pending, result, up)
    elif pending.event is not None:
        # What else changes a range can split VMAs and does no more.
        for start, end in given(name, pending.event.args) or ():
            pieces.cut(start & ~mask, up(end))
            if name == "mseal" and not failed:
                pieces.change(start & ~mask, up(end), off=ORDINARY)
            if name == "madvise" and not failed:
                _fork_advice(pieces, start, up(end), pending.event.args[2])


def _is_ordinary(pending: Pending) -> bool:
    flags, opened = pending.args[3], pending.opened
    if flags & abi.MAP_ANONYMOUS:
        return not flags & abi.MAP_HUGETLB
    return opened is not None and not opened.odd and opened.file.fs not in _DRIVERS


def cannot_fail(space: AddressSpace, pending: Pending, page: int) -> bool:
    """Whether the call can have but one result: an munmap() of ordinary memory, far from limits.

    And it waits for nobody: where a userfaultfd watches, its reader is told first.
    """
    start, size = pending.args[:2]
    return (
        pending.name == "munmap"
        and not space.watchers
        and not start & page - 1
        and 0 < size <= _MOST_BYTES
        and len(space.pieces) < _FEW
        and space.pieces.has_throughout(start, start + size, ORDINARY)
    )


def may_overtake(space: AddressSpace, pending: Pending) -> bool:
    """Whether a call only maps something small where the kernel likes.

    Then its result tells what of the calls that go on meanwhile was before it.
    """
    args = pending.args
    return (
        pending.name == "mmap"
        and not args[0]
        and args[1] < _SMALL
        and not args[3] & ~_PLACED_HIGHEST
    )


def _brk(space: AddressSpace, result: int, up: Callable[[int], int]) -> None:
    old, space.brk = space.brk, result
    if old is not None and result > old:
        space.pieces.add(up(old), up(result), PRIVATE | WRITABLE | ORDINARY)
    elif old is not None and result < old:
        space.pieces.clear(up(result), up(old))


def _fork_advice(pieces: Pieces, start: int, end: int, advice: object) -> None:
    if advice == abi.MADV_WIPEONFORK:
        pieces.change(start, end, on=WIPED)
    elif advice == abi.MADV_KEEPONFORK:
        pieces.change(start, end, off=WIPED)


def _segment(space: AddressSpace, pending: Pending, result: int, up: Callable[[int], int]) -> None:
    at, pieces = pending.args[0], space.pieces
    if pending.name == "shmat" and result >= 0:
        space.segments[result] = size = up(pending.size)
        pieces.add(result, result + size, 0)
    elif pending.name == "shmdt" and result == 0:
        pieces.clear(at, at + space.segments.pop(at, 0))


def load(space: AddressSpace, layout: Layout) -> None:
    """Fill *space* with what a layout shows."""
    for vma in layout:
        flags = 0 if vma.vm_flags & abi.VM_MAYSHARE else PRIVATE
        if vma.vm_flags & (abi.VM_PFNMAP | abi.VM_IO):
            flags = 0
        if vma.vm_flags & abi.VM_WRITE:
            flags |= WRITABLE
        if vma.faulted:
            flags |= WRITTEN
        if vma.vm_flags & abi.VM_GROWSDOWN:
            space.stacks.add(vma.end)
        space.pieces.add(vma.start, vma.end, flags)
        if vma.name == "[heap]":
            space.brk = vma.end
