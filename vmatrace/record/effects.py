"""What a call does to the ranges whose first write is looked for.

Knows which boundaries and which writable ranges each call can make. Where a failed call may have
done part of its work, more is looked at rather than less.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from vmatrace import abi
from vmatrace.record.pages import PRIVATE, WIPED, WRITABLE
from vmatrace.record.tasks import Pending, Space

_WIPEONFORK, _KEEPONFORK = 18, 19
_DONTUNMAP: Final = 4
_DROPPABLE: Final = 8
_HEX: Final = re.compile(r"0x[0-9a-f]+")
#: Calls on a range in the first two arguments that can split VMAs and do no more.
_SPLITTERS: Final = frozenset(
    {"madvise", "mlock", "mlock2", "munlock", "mseal", "mbind", "remap_file_pages"}
)


def apply(space: Space, pending: Pending, result: int, page: int) -> None:
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
            flags = PRIVATE if kind in (abi.MAP_PRIVATE, _DROPPABLE) else 0
            flags |= WRITABLE if args[2] & abi.PROT_WRITE else 0
            pieces.add(result, result + up(args[1]), flags, pending.opened)
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
                keep = bool(args[3] & _DONTUNMAP)
                pieces.move(args[0], args[0] + old, result, result + new, keep)
            else:
                pieces.add(result, result + new, 0)  # a second mapping of shared memory
    elif name in _SPLITTERS:
        start, end = args[0] & ~mask, args[0] + up((args[0] & mask) + args[1]) - (args[0] & mask)
        pieces.cut(start, end)
        if name == "madvise" and not failed and args[2] in (_WIPEONFORK, _KEEPONFORK):
            wipe = args[2] == _WIPEONFORK
            pieces.change(start, end, on=WIPED if wipe else 0, off=0 if wipe else WIPED)
    else:
        _rare(space, pending, result, up)


def _brk(space: Space, result: int, up: Callable[[int], int]) -> None:
    old, space.brk = space.brk, result
    if old is not None and result > old:
        space.pieces.add(up(old), up(result), PRIVATE | WRITABLE)
    elif old is not None and result < old:
        space.pieces.clear(up(result), up(old))


def _rare(space: Space, pending: Pending, result: int, up: Callable[[int], int]) -> None:
    name, args, pieces = pending.name, pending.args, space.pieces
    if name == "prctl" and args[0] & 0xFFFFFFFF == abi.PR_SET_VMA:
        pieces.cut(args[2], args[2] + up(args[3]))
    elif name == "ioctl" and pending.event is not None:
        numbers = [int(n, 16) for n in _HEX.findall(str(pending.event.args[2]))]
        if len(numbers) >= 2:
            pieces.cut(numbers[0], numbers[0] + numbers[1])
    elif name == "shmat" and result >= 0:
        space.segments[result] = size = up(pending.size)
        pieces.add(result, result + size, 0)
    elif name == "shmdt" and result == 0:
        pieces.clear(args[0], args[0] + space.segments.pop(args[0], 0))
