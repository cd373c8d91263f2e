"""A set of addresses kept as ranges in bytes: where an address space has guard markers."""

from __future__ import annotations

from bisect import bisect_left


class Ranges:
    """Disjoint, sorted, non-touching ranges [start, end). Empty for nearly every process."""

    __slots__ = ("_items",)

    def __init__(self) -> None:
        self._items: list[tuple[int, int]] = []

    def __bool__(self) -> bool:
        return bool(self._items)

    def copy(self) -> Ranges:
        """Another set of the same."""
        other = Ranges()
        other._items = self._items[:]
        return other

    def _overlapping(self, start: int, end: int) -> tuple[int, int]:
        """Which items have a part in [start, end), which is not empty."""
        items = self._items
        low = bisect_left(items, (start, 0))
        if low and items[low - 1][1] > start:
            low -= 1
        return low, bisect_left(items, (end, 0), low)

    def within(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts that lie in [start, end)."""
        if start >= end:
            return []
        low, high = self._overlapping(start, end)
        return [(max(a, start), min(b, end)) for a, b in self._items[low:high]]

    def overlaps(self, start: int, end: int) -> bool:
        """Whether a part lies in [start, end), which is not empty."""
        items = self._items
        i = bisect_left(items, (end, 0))
        return i > 0 and items[i - 1][1] > start

    def first(self, start: int, end: int) -> int | None:
        """The lowest address of [start, end) in the set."""
        parts = self.within(start, end)
        return parts[0][0] if parts else None

    def discard(self, start: int, end: int) -> None:
        """Take [start, end) out."""
        if start >= end:
            return
        low, high = self._overlapping(start, end)
        self._items[low:high] = [
            part
            for a, b in self._items[low:high]
            for part in ((a, min(b, start)), (max(a, end), b))
            if part[0] < part[1]
        ]

    def add(self, start: int, end: int) -> None:
        """Put [start, end) in."""
        low, high = self._overlapping(start - 1, end + 1)  # and those that touch it
        touching = self._items[low:high]
        first = min([start, *(a for a, _ in touching)])
        last = max([end, *(b for _, b in touching)])
        self._items[low:high] = [(first, last)]
