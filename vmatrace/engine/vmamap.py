"""The ordered map of an address space's VMAs.

Knows order, neighbours and gaps; knows no policy: not who may merge, not what a flag means.
All positions and lengths are bytes. VMAs are changed only through the map that holds them, except
for attributes that order does not depend on (flags, anon_vma), which engine.mm sets.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from typing import Final

from vmatrace import abi
from vmatrace.engine.vma import Vma


def bisect_right(positions: list[int], position: int) -> int:
    """bisect.bisect_right() of numbers."""
    low, high = 0, len(positions)
    while low < high:
        middle = (low + high) >> 1
        if position < positions[middle]:
            high = middle
        else:
            low = middle + 1
    return low


if __file__.endswith(".py"):  # compiled, the loop takes a third of the time of bisect's
    globals()["bisect_right"] = bisect.bisect_right

_CHUNK: Final = 128  # a chunk of twice this many VMAs is split in two
_GROUP: Final = 128  # so many chunks have a bound of their gaps together
_FREED: Final = 128  # so many gaps that came since a search are remembered
_NEVER: Final = abi.ULONG_MAX + 1


class VmaMap:
    """The VMAs of one address space in address order, none overlapping.

    An index of chunks (like a B+-tree of two levels) keyed by start address; the VMAs are a doubly
    linked list besides, so that neighbours cost an attribute. ``_at`` in ``_chunk`` is where the
    index was used last: what is changed next is mostly there.

    Each chunk keeps an upper bound of the gaps before its VMAs, and each group of chunks one of
    theirs, so that the search for free space skips what is full. It need not begin at the top
    either: after a search below ``_high`` for ``_least`` bytes, ``_freed`` has the VMAs above
    ``_full`` with a gap of so many bytes before them, by their starts.
    """

    __slots__ = (
        "_at", "_bounds", "_chunk", "_freed", "_full", "_groups", "_heads", "_high", "_least",
        "_starts", "_vmas", "count", "first", "last",
    )  # fmt: skip

    def __init__(self) -> None:
        self._heads: list[int] = [0]  # first start of each chunk; that of chunk 0 is always 0
        self._starts: list[list[int]] = [[]]
        self._vmas: list[list[Vma]] = [[]]
        self._bounds: list[int] = [0]
        self._groups: list[int] = []  # none while they have to be made anew
        self._chunk = 0
        self._at = 0
        self._least = _NEVER
        self._high = 0
        self._full = 0
        self._freed: list[int] = []
        self.count = 0
        self.first: Vma | None = None
        self.last: Vma | None = None

    def __iter__(self) -> Iterator[Vma]:
        vma = self.first
        while vma is not None:
            yield vma
            vma = vma.next

    def __len__(self) -> int:
        return self.count

    def find(self, addr: int) -> Vma | None:
        """The first VMA that ends above *addr* (find_vma()), None if there is none."""
        chunk = bisect_right(self._heads, addr) - 1
        i = bisect_right(self._starts[chunk], addr) - 1
        if i < 0:
            return self.first
        self._chunk = chunk
        vma = self._vmas[chunk][i]
        if vma.end > addr:
            self._at = i
            return vma
        self._at = i + 1
        return vma.next

    def at(self, addr: int) -> Vma | None:
        """The VMA that contains *addr* (vma_lookup())."""
        vma = self.find(addr)
        return vma if vma is not None and vma.start <= addr else None

    def overlapping(self, start: int, end: int) -> Iterator[Vma]:
        """The VMAs that have a byte of [start, end), in order (for_each_vma_range()).

        What is done to one may change its flags and end, not take it away.
        """
        vma = self.find(start)
        while vma is not None and vma.start < end:
            yield vma
            vma = vma.next

    def covers(self, start: int, end: int) -> bool:
        """Whether all of [start, end) is mapped."""
        for vma in self.overlapping(start, end):
            if vma.start > start:
                return False
            start = vma.end
        return start >= end

    def around(self, start: int) -> tuple[Vma | None, Vma | None]:
        """The VMAs before and behind a free place that begins at *start*."""
        following = self.find(start)
        return (self.last if following is None else following.prev), following

    def insert(self, vma: Vma, prev: Vma | None) -> None:
        """Put *vma* behind *prev* (None: before all others). The range must be free."""
        start = vma.start
        if prev is None:
            following = self.first
            self.first = vma
            gap = start
            chunk = i = self._chunk = 0
        else:
            following = prev.next
            prev.next = vma
            gap = start - prev.end
            chunk, i = self._chunk, self._at
            vmas = self._vmas[chunk]
            if i >= len(vmas) or vmas[i] is not following or not i:
                if i >= len(vmas) or vmas[i] is not prev:
                    chunk, i = self._seek(prev)
                i += 1
        vma.prev = prev
        vma.next = following
        if following is None:
            self.last = vma
        else:
            following.prev = vma
        starts = self._starts[chunk]
        starts.insert(i, start)
        self._vmas[chunk].insert(i, vma)
        self._at = i
        if gap > self._bounds[chunk]:
            self._raise(chunk, gap)
        if gap >= self._least:
            self._note(start)
        self.count += 1
        if len(starts) > 2 * _CHUNK:
            self._split_chunk(chunk)

    def _seek(self, vma: Vma) -> tuple[int, int]:
        """The chunk of *vma* and where in it, which is often beside what was used last."""
        chunk, i = self._chunk, self._at
        vmas = self._vmas[chunk]
        if i + 1 < len(vmas) and vmas[i + 1] is vma:
            i += 1
        elif 0 < i <= len(vmas) and vmas[i - 1] is vma:
            i -= 1
        else:
            chunk = bisect_right(self._heads, vma.start) - 1
            i = bisect_right(self._starts[chunk], vma.start) - 1
        self._chunk = chunk
        self._at = i
        return chunk, i

    def _split_chunk(self, chunk: int) -> None:
        starts, vmas = self._starts[chunk], self._vmas[chunk]
        upper = vmas[_CHUNK:]
        self._heads.insert(chunk + 1, starts[_CHUNK])
        self._starts.insert(chunk + 1, starts[_CHUNK:])
        self._vmas.insert(chunk + 1, upper)
        del starts[_CHUNK:], vmas[_CHUNK:]
        self._bounds.insert(chunk + 1, max(map(_gap_before, upper)))
        self._groups.clear()

    def remove(self, vma: Vma) -> None:
        """Take *vma* out."""
        prev, following = vma.prev, vma.next
        chunk, i = self._chunk, self._at
        vmas = self._vmas[chunk]
        if i >= len(vmas) or vmas[i] is not vma:
            chunk, i = self._seek(vma)
            vmas = self._vmas[chunk]
        starts = self._starts[chunk]
        del starts[i], vmas[i]
        self.count -= 1
        if prev is None:
            self.first = following
        else:
            prev.next = following
        if following is None:
            self.last = prev
            self._forget()
        else:
            following.prev = prev
            gap = following.start - (prev.end if prev is not None else 0)
            if gap:
                where = chunk if i < len(vmas) else chunk + 1
                if gap > self._bounds[where]:
                    self._raise(where, gap)
                if gap >= self._least:
                    self._note(following.start)
        if i == 0 or i == len(starts):
            self._settle(chunk)

    def _settle(self, chunk: int) -> None:
        """Restore the heads after the first or last VMA of *chunk* went."""
        starts = self._starts[chunk]
        if chunk:
            if starts:
                self._heads[chunk] = starts[0]
                return
            gone = chunk
        elif starts or len(self._heads) == 1:
            return
        else:
            gone = 0
        del self._heads[gone], self._starts[gone], self._vmas[gone], self._bounds[gone]
        self._groups.clear()
        self._heads[0] = 0
        self._chunk = 0

    def _raise(self, chunk: int, gap: int) -> None:
        self._bounds[chunk] = gap
        if self._groups and gap > self._groups[chunk // _GROUP]:
            self._groups[chunk // _GROUP] = gap

    def _note(self, start: int) -> None:
        """Remember the gap before the VMA that begins at *start*, where the search needs it."""
        if start > self._full:
            freed = self._freed
            i = bisect_right(freed, start)
            if not i or freed[i - 1] != start:
                freed.insert(i, start)
            if len(freed) > _FREED:
                self._forget()  # among so many the next search finds one soon

    def _forget(self) -> None:
        self._least = _NEVER
        self._freed.clear()

    def set_start(self, vma: Vma, start: int) -> None:
        """Move the lower border of *vma*; it stays above the VMA before it. The skew is kept."""
        chunk, i = self._chunk, self._at
        vmas = self._vmas[chunk]
        if i >= len(vmas) or vmas[i] is not vma:
            chunk, i = self._seek(vma)
        self._starts[chunk][i] = start
        if i == 0 and chunk:
            self._heads[chunk] = start
        vma.start = start
        gap = start - (vma.prev.end if vma.prev is not None else 0)
        if gap > self._bounds[chunk]:
            self._raise(chunk, gap)
        if gap >= self._least:
            self._note(start)

    def set_end(self, vma: Vma, end: int) -> None:
        """Move the upper border of *vma*; it stays below the VMA behind it."""
        shrunk = end < vma.end
        vma.end = end
        if shrunk:
            following = vma.next
            if following is None:
                self._forget()
                return
            gap = following.start - end
            if gap >= self._least:
                self._note(following.start)
            chunk = bisect_right(self._heads, following.start) - 1
            if gap > self._bounds[chunk]:
                self._raise(chunk, gap)

    def highest_gap(self, length: int, low: int, high: int, guard: int) -> int | None:
        """The highest start of *length* free bytes within [low, high), None if there is none.

        Mirrors unmapped_area_topdown(): below a VMA with VM_STARTGAP *guard* bytes stay free, and
        where a gap was refused for that, nothing is placed above the guard gap's floor any more.
        """
        above = self._above_highest_gap(length, low, high)
        while above is not None:
            end = min(high, above.start)
            if not above.flags & abi.VM_STARTGAP or _floor(above, guard) >= end:
                return end - length
            high = _floor(above, guard)
            above = self._walk_down(length, low, high)
        return None

    def _above_highest_gap(self, length: int, low: int, high: int) -> Vma | None:
        """The VMA above the highest gap of *length* bytes within [low, high), guards aside."""
        if high != self._high or length < self._least:
            above = self._walk_down(length, low, high)
            if above is not None and length <= self._least:
                self._least, self._high, self._full = length, high, above.start
                self._freed.clear()
            return above
        above = self._above_freed(length, low)
        if above is None:
            above = self._walk_down(length, low, min(high, self._full))
            if above is not None and length == self._least:
                self._full = above.start
        return above

    def _above_freed(self, length: int, low: int) -> Vma | None:
        """The VMA above the highest gap of *length* bytes of those that were noted."""
        freed, high = self._freed, self._high
        for i in range(len(freed) - 1, -1, -1):
            above = self.find(freed[i] - 1)
            if above is not None and above.start == freed[i]:
                bottom, top = _bottom(above), min(high, above.start)
                if top - max(bottom, low) >= length:
                    return above
                if top - bottom >= self._least:
                    continue
            del freed[i]  # it has been filled, or is another's
        return None

    def _walk_down(self, length: int, low: int, high: int) -> Vma | None:
        """The VMA above the highest gap of *length* bytes within [low, high), guards aside."""
        above = self.find(high - 1)
        if above is None:
            above = _BEYOND
            below = self.last
        else:
            below = above.prev
        bottom = below.end if below is not None else 0
        if min(high, above.start) - max(bottom, low) >= length:
            return above
        if below is None or bottom <= low:
            return None
        first = bisect_right(self._heads, below.start) - 1
        last = bisect_right(self._starts[first], below.start)
        heads, bounds, groups = self._heads, self._bounds, self._groups
        if not groups:
            groups += (max(bounds[i : i + _GROUP]) for i in range(0, len(bounds), _GROUP))
        for group in range(first // _GROUP, -1, -1):
            lowest = group * _GROUP
            if groups[group] >= length:
                for chunk in range(min(first, lowest + _GROUP - 1), lowest - 1, -1):
                    if bounds[chunk] >= length:
                        most = last if chunk == first else len(self._starts[chunk])
                        found = self._gap_in_chunk(chunk, most, length, low)
                        if found is not None:
                            return found
                    if heads[chunk] <= low:
                        return None
                groups[group] = max(bounds[lowest : lowest + _GROUP])
            elif heads[lowest] <= low:
                return None
        return None

    def _gap_in_chunk(self, chunk: int, count: int, length: int, low: int) -> Vma | None:
        """The highest of the first *count* VMAs of *chunk* above a fitting gap, if any.

        Tightens the chunk's bound when all of it was looked at in vain.
        """
        vmas, starts = self._vmas[chunk], self._starts[chunk]
        largest = 0
        for i in range(count - 1, 0, -1):
            gap = starts[i] - vmas[i - 1].end
            if gap > largest:
                largest = gap
                if gap >= length and starts[i] - max(starts[i] - gap, low) >= length:
                    return vmas[i]
        lowest = vmas[0]
        bottom = lowest.prev.end if lowest.prev is not None else 0
        if lowest.start - max(bottom, low) >= length:
            return lowest
        if count == len(vmas):
            self._bounds[chunk] = max(largest, lowest.start - bottom)
        return None

    def lowest_gap(self, length: int, low: int, high: int, guard: int) -> int | None:
        """The lowest start of *length* free bytes within [low, high) (unmapped_area())."""
        bottom = low
        vma = self.find(low)
        # A guard gap reaches down from beyond *high*, too.
        while vma is not None and _floor(vma, guard) < high:
            if _floor(vma, guard) - bottom >= length:
                return bottom
            bottom = max(bottom, vma.end)
            vma = vma.next
        return bottom if high - bottom >= length else None

    def check(self) -> None:
        """Assert every invariant of the structure (as validate_mm() does in the kernel)."""
        flat: list[Vma] = []
        assert self._heads[0] == 0
        assert len(self._heads) == len(self._starts) == len(self._vmas) == len(self._bounds)
        for chunk, (starts, vmas) in enumerate(zip(self._starts, self._vmas, strict=True)):
            assert starts == [vma.start for vma in vmas]
            assert starts or len(self._heads) == 1
            assert chunk == 0 or self._heads[chunk] == starts[0]
            assert max(map(_gap_before, vmas), default=0) <= self._bounds[chunk]
            assert not self._groups or self._bounds[chunk] <= self._groups[chunk // _GROUP]
            flat += vmas
        if self._least != _NEVER:
            wide = [v.start for v in flat if min(self._high, v.start) - _bottom(v) >= self._least]
            assert {start for start in wide if start > self._full} <= set(self._freed)
            assert self._freed == sorted(set(self._freed))
            top = self._high - (self.last.end if self.last is not None else 0)
            assert top < self._least or self._full >= _BEYOND.start
        assert flat == list(self), "the list and the index hold the same VMAs"
        assert len(flat) == self.count
        previous: Vma | None = None
        for vma in flat:
            assert vma.prev is previous
            assert vma.start < vma.end
            assert previous is None or previous.end <= vma.start
            assert (vma.anon == 0) == (vma.chain == 0)
            previous = vma
        assert self.last is previous


def _bottom(vma: Vma) -> int:
    """Where the gap before *vma* begins."""
    return vma.prev.end if vma.prev is not None else 0


def _gap_before(vma: Vma) -> int:
    return vma.start - _bottom(vma)


_BEYOND: Final = Vma(abi.ULONG_MAX, abi.ULONG_MAX + 1, 0)  # stands for the end of all addresses


def _floor(vma: Vma, guard: int) -> int:
    """vm_start_gap(): the lowest address that belongs to *vma* or its guard gap."""
    return max(vma.start - guard, 0) if vma.flags & abi.VM_STARTGAP else vma.start
