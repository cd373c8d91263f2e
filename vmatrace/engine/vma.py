"""The VMA and the ordered map of an address space's VMAs.

Knows order, neighbours and gaps; knows no policy: not who may merge, not what a flag means.
All positions and lengths are bytes. VMAs are changed only through the map that holds them, except
for attributes that order does not depend on (flags, anon_vma), which engine.mm sets.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from typing import Final, NamedTuple

from vmatrace import abi
from vmatrace.engine.vmfile import VmFile


class Extra(NamedTuple):
    """The rare attributes of a VMA that merging compares. A VMA with none of them holds None.

    ``policy`` is its mempolicy, ``uffd`` its userfaultfd context, ``name`` its name if anonymous.
    ``displaced`` is how far, in bytes, a private file mapping was moved since it was first written
    to: its second page offset less its address (vma_start_anon_pgoff(), feature anon-pgoff).
    """

    policy: tuple[object, ...] | None = None
    uffd: int = 0
    name: str | None = None
    displaced: int = 0


NO_EXTRA: Final = Extra()


def some(extra: Extra) -> Extra | None:
    """*extra*, or None where it holds nothing."""
    return None if extra == NO_EXTRA else extra


class Vma:
    """One ``vm_area_struct``.

    ``skew`` is the distance in bytes from the start address to the position in the backing:
    ``vm_pgoff * page_size - vm_start``. Splitting and extending leave it alone, and two adjacent
    VMAs have contiguous page offsets exactly when their skews are equal. It is 0 for anonymous
    memory that never moved. ``anon`` is the identity of the anon_vma, 0 for none; ``chain`` is
    0 without one, 1 when its anon_vma_chain is singular, 2 when it is longer (inherited by fork).
    ``refusal`` is the last merge decision that left this VMA apart from the one before it.
    """

    __slots__ = (
        "anon", "chain", "end", "extra", "file", "flags", "next", "prev", "refusal", "skew",
        "start",
    )  # fmt: skip

    def __init__(
        self,
        start: int,
        end: int,
        flags: int,
        skew: int = 0,
        file: VmFile | None = None,
        anon: int = 0,
        chain: int = 0,
        extra: Extra | None = None,
    ) -> None:
        self.start = start
        self.end = end
        self.flags = flags
        self.skew = skew
        self.file = file
        self.anon = anon
        self.chain = chain
        self.extra = extra
        self.refusal: object | None = None
        self.prev: Vma | None = None
        self.next: Vma | None = None

    def __repr__(self) -> str:
        codes = " ".join(abi.vm_flag_codes(self.flags))
        return f"Vma({self.start:#x}-{self.end:#x} {codes} anon={self.anon}/{self.chain})"

    @property
    def is_anonymous(self) -> bool:
        """vma_is_anonymous(): no vm_ops. True for private /dev/zero too, false for shared anon."""
        file = self.file
        return file is None or (file.anonymous and not self.flags & abi.VM_SHARED)

    @property
    def is_cow(self) -> bool:
        """vma_is_cow_mapping(): private, so that a write copies the page."""
        return self.flags & (abi.VM_SHARED | abi.VM_MAYWRITE) == abi.VM_MAYWRITE

    @property
    def has_close(self) -> bool:
        return self.file is not None and self.file.close


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


class VmaMap:
    """The VMAs of one address space in address order, none overlapping.

    An index of chunks (like a B+-tree of two levels) keyed by start address; the VMAs are a doubly
    linked list besides, so that neighbours cost an attribute. Each chunk keeps an upper bound of
    the gaps before its VMAs, and each group of chunks one of theirs, so that the search for free
    space skips what is full.
    """

    __slots__ = ("_bounds", "_groups", "_heads", "_starts", "_vmas", "count", "first", "last")

    def __init__(self) -> None:
        self._heads: list[int] = [0]  # first start of each chunk; that of chunk 0 is always 0
        self._starts: list[list[int]] = [[]]
        self._vmas: list[list[Vma]] = [[]]
        self._bounds: list[int] = [0]
        self._groups: list[int] = []  # none while they have to be made anew
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
        vma = self._vmas[chunk][i]
        return vma if vma.end > addr else vma.next

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
        if prev is None:
            following = self.first
            self.first = vma
            gap = vma.start
        else:
            following = prev.next
            prev.next = vma
            gap = vma.start - prev.end
        vma.prev = prev
        vma.next = following
        if following is None:
            self.last = vma
        else:
            following.prev = vma
        start = vma.start
        chunk = bisect_right(self._heads, start) - 1
        starts = self._starts[chunk]
        i = bisect_right(starts, start)
        starts.insert(i, start)
        self._vmas[chunk].insert(i, vma)
        if gap > self._bounds[chunk]:
            self._raise(chunk, gap)
        self.count += 1
        if len(starts) > 2 * _CHUNK:
            self._split_chunk(chunk)

    def _split_chunk(self, chunk: int) -> None:
        starts, vmas = self._starts[chunk], self._vmas[chunk]
        self._heads.insert(chunk + 1, starts[_CHUNK])
        self._starts.insert(chunk + 1, starts[_CHUNK:])
        self._vmas.insert(chunk + 1, vmas[_CHUNK:])
        del starts[_CHUNK:], vmas[_CHUNK:]
        upper = self._vmas[chunk + 1]
        self._bounds.insert(chunk + 1, max(map(_gap_before, upper)))
        self._groups.clear()

    def remove(self, vma: Vma) -> None:
        """Take *vma* out."""
        prev, following = vma.prev, vma.next
        if prev is None:
            self.first = following
        else:
            prev.next = following
        if following is None:
            self.last = prev
        else:
            following.prev = prev
        chunk = bisect_right(self._heads, vma.start) - 1
        starts = self._starts[chunk]
        i = bisect_right(starts, vma.start) - 1
        del starts[i], self._vmas[chunk][i]
        self.count -= 1
        if i == 0 or i == len(starts):
            self._settle(chunk)
        if following is not None:
            gap = following.start - (prev.end if prev is not None else 0)
            if gap:
                self._raise_bound(following, gap)

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

    def _raise_bound(self, vma: Vma, gap: int) -> None:
        chunk = bisect_right(self._heads, vma.start) - 1
        if gap > self._bounds[chunk]:
            self._raise(chunk, gap)

    def _raise(self, chunk: int, gap: int) -> None:
        self._bounds[chunk] = gap
        if self._groups and gap > self._groups[chunk // _GROUP]:
            self._groups[chunk // _GROUP] = gap

    def set_start(self, vma: Vma, start: int) -> None:
        """Move the lower border of *vma*; it stays above the VMA before it. The skew is kept."""
        chunk = bisect_right(self._heads, vma.start) - 1
        starts = self._starts[chunk]
        i = bisect_right(starts, vma.start) - 1
        starts[i] = start
        if i == 0 and chunk:
            self._heads[chunk] = start
        grown = start > vma.start
        vma.start = start
        if grown:
            gap = start - (vma.prev.end if vma.prev is not None else 0)
            if gap > self._bounds[chunk]:
                self._raise(chunk, gap)

    def set_end(self, vma: Vma, end: int) -> None:
        """Move the upper border of *vma*; it stays below the VMA behind it."""
        shrunk = end < vma.end
        vma.end = end
        if shrunk and vma.next is not None:
            self._raise_bound(vma.next, vma.next.start - end)

    def highest_gap(self, length: int, low: int, high: int, guard: int) -> int | None:
        """The highest start of *length* free bytes within [low, high), None if there is none.

        Mirrors unmapped_area_topdown(): below a VMA with VM_STARTGAP *guard* bytes stay free, and
        where a gap was refused for that, nothing is placed above the guard gap's floor any more.
        """
        while True:
            above = self._above_highest_gap(length, low, high)
            if above is None:
                return None
            end = min(high, above.start)
            if not above.flags & abi.VM_STARTGAP or _floor(above, guard) >= end:
                return end - length
            high = _floor(above, guard)

    def _above_highest_gap(self, length: int, low: int, high: int) -> Vma | None:
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


def _gap_before(vma: Vma) -> int:
    return vma.start - (vma.prev.end if vma.prev is not None else 0)


_BEYOND: Final = Vma(abi.ULONG_MAX, abi.ULONG_MAX + 1, 0)  # stands for the end of all addresses


def _floor(vma: Vma, guard: int) -> int:
    """vm_start_gap(): the lowest address that belongs to *vma* or its guard gap."""
    return max(vma.start - guard, 0) if vma.flags & abi.VM_STARTGAP else vma.start
