"""Two numbers over time in bounded memory: ``Curve``. Peaks and dips are never lost."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Final, NamedTuple

#: So many points are kept at most.
MAX_POINTS: Final = 2000


class Point(NamedTuple):
    """What the two numbers were in one stretch of events: ``at`` is its first."""

    at: int
    low: tuple[int, int]
    high: tuple[int, int]
    last: tuple[int, int]


class Curve:
    """Points of ``width`` events each. Where it would hold too many, two become one."""

    __slots__ = ("_at", "_columns", "until", "width")

    def __init__(self) -> None:
        self.width = 1
        #: The first event behind the last point: up to there the same numbers need no add().
        self.until = 0
        self._at = array("q")  # number of the bucket
        # low, high and last of the first number, then of the second
        self._columns = [array("q") for _ in range(6)]

    def __len__(self) -> int:
        return len(self._at)

    def __iter__(self) -> Iterator[Point]:
        width = self.width
        for at, a0, a1, a2, b0, b1, b2 in zip(self._at, *self._columns, strict=True):
            yield Point(at * width, (a0, b0), (a1, b1), (a2, b2))

    def add(self, at: int, a: int, b: int) -> None:
        """The numbers are *a* and *b* after event *at*; *at* never goes back."""
        bucket = at // self.width
        if not self._at or self._at[-1] != bucket:
            if len(self._at) == MAX_POINTS:
                self._halve()
                self.add(at, a, b)
                return
            self._at.append(bucket)
            self.until = (bucket + 1) * self.width
            for column, value in zip(self._columns, (a, a, a, b, b, b), strict=True):
                column.append(value)
            return
        low_a, high_a, last_a, low_b, high_b, last_b = self._columns
        last_a[-1], last_b[-1] = a, b
        if a < low_a[-1]:
            low_a[-1] = a
        if a > high_a[-1]:
            high_a[-1] = a
        if b < low_b[-1]:
            low_b[-1] = b
        if b > high_b[-1]:
            high_b[-1] = b

    def _halve(self) -> None:
        """Double the width until there is room again."""
        while len(self._at) == MAX_POINTS:
            wider = Curve()
            wider.width = self.width * 2
            for point in self:
                for a, b in (point.low, point.high, point.last):
                    wider.add(point.at, a, b)
            self.width, self._at, self._columns = wider.width, wider._at, wider._columns
            self.until = wider.until
