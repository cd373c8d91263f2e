"""Two layouts of one process beside each other, aligned by address. Pure.

Knows ranges and the fields of a Mapping; nothing of where layouts come from or how they are shown.
All addresses in bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from vmatrace import abi
from vmatrace.layout import Layout, Mapping, flags_from_perms

#: vm_flags that smaps text and JSON can show; protection keys have no code of two letters.
CODED_FLAGS = sum(abi.VM_FLAG_CODES) & ~abi.VM_SOFTDIRTY
#: vm_flags that a maps line can show.
PERMS_FLAGS = flags_from_perms("rwxs")


class Block(NamedTuple):
    """The smallest range [start, end) whose borders no VMA crosses, with the VMAs in it.

    Each side has one or more VMAs, in address order, or none. Blocks do not overlap.
    """

    start: int
    end: int
    left: tuple[Mapping, ...]
    right: tuple[Mapping, ...]

    @property
    def equal(self) -> bool:
        """Whether both sides have the same (one) VMA here: range, flags, offset, name."""
        return self.left == self.right


class Segment(NamedTuple):
    """A part of a block that no VMA border divides: the VMA around it on each side, or None."""

    start: int
    end: int
    left: Mapping | None
    right: Mapping | None


class FlagDifference(NamedTuple):
    """A range that both sides map, and the vm_flags that only one of them has there."""

    start: int
    end: int
    left: int
    right: int


def align(left: Layout, right: Layout) -> list[Block]:
    """The blocks of two layouts in address order; together they hold every VMA of both once."""
    blocks = []
    i = j = 0
    while i < len(left) or j < len(right):
        first_i, first_j = i, j
        start = min([m.start for m in (*left[i : i + 1], *right[j : j + 1])])
        end = start + 1
        while True:
            if i < len(left) and left[i].start < end:
                end = max(end, left[i].end)
                i += 1
            elif j < len(right) and right[j].start < end:
                end = max(end, right[j].end)
                j += 1
            else:
                break
        blocks.append(Block(start, end, tuple(left[first_i:i]), tuple(right[first_j:j])))
    return blocks


def segments(block: Block) -> Iterator[Segment]:
    """The parts of *block* between one VMA border of either side and the next."""
    mappings = (*block.left, *block.right)
    borders = sorted({m.start for m in mappings} | {m.end for m in mappings})
    sides = (iter(block.left), iter(block.right))
    now: list[Mapping | None] = [next(side, None) for side in sides]
    for start, end in pairwise(borders):
        for side, rest in enumerate(sides):
            mapping = now[side]
            if mapping is not None and mapping.end <= start:
                now[side] = next(rest, None)
        here = [m if m is not None and m.start <= start else None for m in now]
        yield Segment(start, end, here[0], here[1])


def flag_differences(blocks: Iterable[Block]) -> list[FlagDifference]:
    """Where both sides have memory but not the same vm_flags; touching ranges alike are one."""
    found: list[FlagDifference] = []
    for block in blocks:
        for start, end, left, right in segments(block) if not block.equal else ():
            if left is None or right is None or left.vm_flags == right.vm_flags:
                continue
            only = left.vm_flags & ~right.vm_flags, right.vm_flags & ~left.vm_flags
            if found and found[-1].end == start and found[-1][2:] == only:
                start = found.pop().start
            found.append(FlagDifference(start, end, *only))
    return found


def with_flags(layout: Layout, mask: int) -> Layout:
    """*layout* with no other vm_flags than those in *mask*."""
    if not any(m.vm_flags & ~mask for m in layout):
        return layout
    return [
        Mapping(m.start, m.end, m.vm_flags & mask, m.offset, m.name, m.device, m.inode)
        for m in layout
    ]
