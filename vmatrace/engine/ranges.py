"""A set of addresses kept as ranges in bytes: where an address space has guard markers."""

from __future__ import annotations


class Ranges:
    """Disjoint, sorted, non-touching ranges [start, end). Empty for nearly every process."""

    __slots__ = ("_items",)

    def __init__(self) -> None:
        self._items: list[tuple[int, int]] = []

    def __bool__(self) -> bool:
        return bool(self._items)

    def within(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts that lie in [start, end)."""
        return [(max(a, start), min(b, end)) for a, b in self._items if a < end and b > start]

    def first(self, start: int, end: int) -> int | None:
        """The lowest address of [start, end) in the set."""
        parts = self.within(start, end)
        return parts[0][0] if parts else None

    def discard(self, start: int, end: int) -> None:
        """Take [start, end) out."""
        kept: list[tuple[int, int]] = []
        for a, b in self._items:
            kept += [part for part in ((a, min(b, start)), (max(a, end), b)) if part[0] < part[1]]
        self._items = kept

    def add(self, start: int, end: int) -> None:
        """Put [start, end) in."""
        touching = [(a, b) for a, b in self._items if a <= end and b >= start]
        rest = [item for item in self._items if item not in touching]
        low = min([start, *(a for a, _ in touching)])
        high = max([end, *(b for _, b in touching)])
        self._items = sorted([*rest, (low, high)])
