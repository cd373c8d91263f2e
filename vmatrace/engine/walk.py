"""The walk over a range whose VMAs change on the way, and what it makes of holes.

Mirrors for_each_vma_range() and for_each_vma() as do_mprotect_pkey(), apply_vma_lock_flags(),
madvise_walk_vmas() and others write it. Knows nothing of what is done to each VMA; a walk that
changes no border is VmaMap.overlapping().
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from vmatrace import abi
from vmatrace.engine.mm import Mm
from vmatrace.engine.vma import Vma

#: Given the Mm, a VMA, the part of it in bytes, and what walk() was given besides: the VMA that
#: holds the part afterwards, or -errno.
Visit = Callable[..., "Vma | int"]


class Holes(Enum):
    """What becomes of a part of the range where nothing is mapped."""

    SKIPPED = "no error"
    REPORTED = "the rest is visited, then -ENOMEM"
    FATAL = "-ENOMEM at once"


def walk(
    mm: Mm, vma: Vma | None, start: int, end: int, holes: Holes, visit: Visit, *args: object
) -> int:
    """Visit what is mapped of [start, end), bytes: 0, the first error of *visit*, or -ENOMEM.

    *vma* is find(start).
    """
    result = 0
    position = start
    while position < end:
        if vma is None or vma.start >= end:
            return 0 if holes is Holes.SKIPPED else -abi.ENOMEM
        if position < vma.start:
            if holes is Holes.FATAL:
                return -abi.ENOMEM
            if holes is Holes.REPORTED:
                result = -abi.ENOMEM
            position = vma.start
        stop = vma.end
        changed = visit(mm, vma, position, stop if stop < end else end, *args)
        if isinstance(changed, int):
            return changed
        position = changed.end
        vma = changed.next
    return result
