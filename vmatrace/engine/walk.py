"""The walk over a range that skips holes, which madvise and PR_SET_VMA share.

Mirrors madvise_walk_vmas() in mm/madvise.c. Knows nothing of what is done to each VMA.
"""

from __future__ import annotations

from collections.abc import Callable

from vmatrace import abi
from vmatrace.engine.mm import Mm
from vmatrace.engine.vma import Vma

#: Given a VMA and the part of it in bytes: the VMA that holds the part afterwards, or -errno.
Visit = Callable[[Vma, int, int], "Vma | int"]


def walk_over_holes(mm: Mm, start: int, end: int, visit: Visit) -> int:
    """Visit what is mapped of [start, end): 0, the first error, or -ENOMEM if there was a hole."""
    result = 0
    position = start
    vma = mm.vmas.find(start)
    while True:
        if vma is None:
            return -abi.ENOMEM
        if position < vma.start:
            result = -abi.ENOMEM
            position = vma.start
            if position >= end:
                return result
        changed = visit(vma, position, min(vma.end, end))
        if isinstance(changed, int):
            return changed
        position = changed.end
        if position >= end:
            return result
        vma = changed.next
