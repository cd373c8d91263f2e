"""Two layouts of one process beside each other, aligned by address: blocks, their segments, and
the flags in which they differ. Bytes throughout. Knows nothing of why they differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from vmatrace.layout import Layout, Mapping


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
