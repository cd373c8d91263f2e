"""The yardstick: a toy address space, so that figures from two machines can be compared.

Keeps ranges in a sorted list and a dict, maps, cuts, protects and joins equal neighbours. It knows
no rule of any kernel, takes no decision and keeps no record: what is left is the price of Python.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from vmatrace.event import Event


class Toy:
    """Ranges by start address: ``starts`` sorted, ``ranges[start]`` is (end, prot). Bytes."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.ranges: dict[int, tuple[int, int]] = {}

    def run(self, events: Iterable[Event]) -> None:
        """Do the mmap, munmap and mprotect calls in *events*, each of which states its address."""
        for event in events:
            args = event.args
            start, length = args[0], args[1]
            assert type(start) is int
            assert type(length) is int
            end = start + length
            if event.name == "munmap":
                self.cut(start, end)
            else:
                prot = args[2]
                assert type(prot) is int
                self.cut(start, end)
                self.put(start, end, prot)

    def cut(self, start: int, end: int) -> None:
        """Remove [start, end)."""
        starts, ranges = self.starts, self.ranges
        i = bisect_right(starts, start) - 1
        if i >= 0:
            low = starts[i]
            high, prot = ranges[low]
            if high > start and low < start:
                ranges[low] = (start, prot)
                if high > end:
                    starts.insert(i + 1, end)
                    ranges[end] = (high, prot)
                    return
        first = bisect_left(starts, start)
        last = bisect_left(starts, end)
        for low in starts[first:last]:
            high, prot = ranges.pop(low)
            if high > end:
                ranges[end] = (high, prot)
                starts[first:last] = [end]
                return
        del starts[first:last]

    def put(self, start: int, end: int, prot: int) -> None:
        """Add a range where nothing is, joined with equal neighbours."""
        starts, ranges = self.starts, self.ranges
        i = bisect_left(starts, start)
        if i < len(starts) and starts[i] == end and ranges[end][1] == prot:
            end = ranges.pop(end)[0]
            del starts[i]
        if i and ranges[starts[i - 1]] == (start, prot):
            ranges[starts[i - 1]] = (end, prot)
            return
        starts.insert(i, start)
        ranges[start] = (end, prot)
