"""Private memory in pieces: which may get its first page unseen, and which has had one.

What matters for merging is whether a private VMA ever had a page of its own (that gives it an
anon_vma). Ranges are kept in pieces, each inside one VMA, because every boundary that a call can
make is a boundary here. Knows addresses; the kernel is asked elsewhere (pages).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Final

PRIVATE: Final = 1
WRITABLE: Final = 2
#: It has an anonymous page, or had one.
WRITTEN: Final = 4
#: MADV_WIPEONFORK: the child starts without its pages.
WIPED: Final = 8
#: munmap() cannot be refused: neither huge pages, nor sealed, nor a driver's.
ORDINARY: Final = 16
_MAY_BE_WRITTEN: Final = PRIVATE | WRITABLE
_WHAT: Final = PRIVATE | WRITABLE | WRITTEN

#: So many pieces that touch are gone through before the kernel is asked which are one VMA.
_FAR: Final = 16

#: What lies in a range: end, flags, the file it maps (anything hashable) or None.
Piece = tuple[int, int, object]
#: Told how many pieces more or fewer map a file.
Counter = Callable[[object, int], None]


class Pieces:
    """The mapped ranges of one address space in pieces. Addresses in bytes, page aligned."""

    def __init__(self, count: Counter) -> None:
        self._starts: list[int] = []
        self._pieces: dict[int, Piece] = {}
        #: Start to end of the pieces that may be written to for the first time.
        self.open: dict[int, int] = {}
        self._open_ends: dict[int, int] = {}
        #: Where two of them touch: the one that is written to first may lend its anon_vma.
        self.borders: set[int] = set()
        self._count = count

    def copy(self) -> Pieces:
        """What fork() leaves in the child."""
        child = Pieces(self._count)
        child._starts, child._pieces = self._starts[:], self._pieces.copy()
        child.open, child._open_ends = self.open.copy(), self._open_ends.copy()
        child.borders = self.borders.copy()
        for start, (end, flags, file) in self._pieces.items():
            if file is not None:
                self._count(file, 1)
            if flags & WIPED:
                child._pieces[start] = (end, flags & ~WRITTEN, file)
                child._note(start, end, flags & ~WRITTEN)
        return child

    def forget(self) -> None:
        """The address space is gone, and nothing is asked of it any more."""
        for _, _, file in self._pieces.values():
            if file is not None:
                self._count(file, -1)
        self._pieces, self._starts = {}, []

    def add(self, start: int, end: int, flags: int, file: object = None) -> None:
        """Something new is mapped at [start, end), whatever was there."""
        self.clear(start, end)
        self._insert(start, end, flags, file)

    def clear(self, start: int, end: int) -> None:
        """Nothing is mapped at [start, end) any more."""
        first, last = bisect_left(self._starts, start), bisect_left(self._starts, end)
        if not self._is_between(first, last, start, end):
            self.cut(start, end)
            first, last = bisect_left(self._starts, start), bisect_left(self._starts, end)
        for at in self._starts[first:last]:
            _, _, file = self._pieces.pop(at)
            self._close(at)
            if file is not None:
                self._count(file, -1)
        del self._starts[first:last]

    def _is_between(self, first: int, last: int, start: int, end: int) -> bool:
        """Whether no piece from *first* - 1 to *last* - 1 goes over *start* or *end*."""
        starts, pieces = self._starts, self._pieces
        if first and pieces[starts[first - 1]][0] > start:
            return False
        return first == last or pieces[starts[last - 1]][0] <= end

    def is_whole(self, start: int, end: int) -> bool:
        """Whether no piece goes over *start* or *end*."""
        first, last = bisect_left(self._starts, start), bisect_left(self._starts, end)
        return self._is_between(first, last, start, end)

    def cut(self, *addresses: int) -> None:
        """There may be a boundary of VMAs at each of *addresses*."""
        for address in addresses:
            index = bisect_right(self._starts, address) - 1
            if index < 0:
                continue
            start = self._starts[index]
            end, flags, file = self._pieces[start]
            if start < address < end:
                self._put(start, address, flags, file)
                if file is not None:
                    self._count(file, -1)
                self._insert(address, end, flags, file)

    def change(self, start: int, end: int, on: int = 0, off: int = 0) -> None:
        """Set and clear flags of what lies in [start, end)."""
        self.cut(start, end)
        for at, (stop, flags, file) in self.within(start, end):
            self._pieces[at] = (stop, flags & ~off | on, file)
            self._note(at, stop, flags & ~off | on)

    def within(self, start: int, end: int) -> list[tuple[int, Piece]]:
        """The pieces that start in [start, end), in order."""
        first, last = bisect_left(self._starts, start), bisect_left(self._starts, end)
        return [(at, self._pieces[at]) for at in self._starts[first:last]]

    def move(self, old: int, old_end: int, new: int, new_end: int, keep: bool) -> None:
        """mremap() moved or resized [old, old_end) to [new, new_end); *keep*: and left it there."""
        self.cut(old, old_end)
        moved = self.within(old, old_end)
        shift, last = new - old, None
        if keep:
            self.change(old, old_end, off=WRITTEN)
        else:
            self.clear(old, old_end)
        self.clear(new, new_end)
        for at, (end, flags, file) in moved:
            last = (flags & ~WRITTEN, file)
            if at + shift < new_end:
                self._insert(at + shift, min(end + shift, new_end), flags, file)
        if last is not None and new_end - new > old_end - old:
            self._insert(old_end + shift, new_end, *last)

    def join(self, start: int, end: int) -> None:
        """[start, end) is one VMA: touching pieces in it are one, written to if any is."""
        first = None
        for at, (stop, flags, file) in self.within(start, end):
            if first is not None:
                last, before, of = self._pieces[first]
                if last == at and of is file and not (before ^ flags) & ~WRITTEN:
                    del self._starts[bisect_left(self._starts, at)]
                    del self._pieces[at]
                    self._close(at)
                    if file is not None:
                        self._count(file, -1)
                    self._pieces[first] = (stop, before | flags, file)
                    self._note(first, stop, before | flags)
                    continue
            first = at

    def touching(self) -> list[tuple[int, int]]:
        """Of ``open``, what touches another of them."""
        starts = self.borders | {self._open_ends[border] for border in self.borders}
        return [(start, self.open[start]) for start in sorted(starts)]

    def opened(self, start: int, end: int) -> list[tuple[int, int]]:
        """Of ``open``, what has a byte of [start, end)."""
        if self.open.get(start) == end:
            return [(start, end)]
        first = max(bisect_right(self._starts, start) - 1, 0)
        last = bisect_left(self._starts, end)
        found = ((at, self.open.get(at, 0)) for at in self._starts[first:last])
        return [(at, stop) for at, stop in found if stop > start]

    def beside(self, start: int, end: int) -> list[tuple[int, int]]:
        """Of ``open``, what ends at *start*, and what begins at *end*."""
        below, above = self._open_ends.get(start), self.open.get(end)
        found = [] if below is None else [(below, start)]
        if above is not None:
            found.append((end, above))
        return found

    def has_open_near(self, start: int, end: int) -> bool:
        """Whether ``open`` may have anything in the VMAs that overlap or touch [start, end)."""
        starts, first = self._starts, bisect_right(self._starts, start) - 1
        last = bisect_left(starts, end)
        if any(at in self.open for at in starts[max(first, 0) : last]):
            return True
        if last:  # the last that overlaps may go on behind *end*
            end = max(end, self._pieces[starts[last - 1]][0])
        return self._leads_to_open(first, start, -1) or self._leads_to_open(last, end, 1)

    def _leads_to_open(self, index: int, border: int, step: int) -> bool:
        """Whether what touches *border*, and so on, may be open: piece *index* and those behind."""
        for _ in range(_FAR):
            if not 0 <= index < len(self._starts):
                return False
            start = self._starts[index]
            end = self._pieces[start][0]
            if (end < border) if step < 0 else (start > border):
                return False
            if start in self.open:
                return True
            index, border = index + step, start if step < 0 else end
        return True

    def has_throughout(self, start: int, end: int, flag: int) -> bool:
        """Whether something with *flag* is known to be mapped everywhere in [start, end)."""
        index = bisect_right(self._starts, start) - 1
        while 0 <= index < len(self._starts):
            at = self._starts[index]
            stop, flags, _ = self._pieces[at]
            if at > start or stop <= start or not flags & flag:
                return False
            if stop >= end:
                return True
            start, index = stop, index + 1
        return False

    def __len__(self) -> int:
        return len(self._starts)

    def covered(self, address: int) -> bool:
        """Whether something is known to be mapped at *address*."""
        index = bisect_right(self._starts, address) - 1
        return index >= 0 and address < self._pieces[self._starts[index]][0]

    def written(self, start: int) -> None:
        """The piece at *start* has a page of its own."""
        end, flags, file = self._pieces[start]
        self._pieces[start] = (end, flags | WRITTEN, file)
        self._close(start)

    def written_at(self, address: int) -> None:
        """The piece around *address* has a page of its own."""
        if self.covered(address):
            self.written(self._starts[bisect_right(self._starts, address) - 1])

    def grow_down(self, start: int, end: int, flags: int) -> None:
        """A stack that ends at *end* starts at *start* now: what is new of it is written."""
        index = bisect_left(self._starts, start)
        first = self._starts[index] if index < len(self._starts) else end
        self._insert(start, min(first, end), flags, None)

    def _insert(self, start: int, end: int, flags: int, file: object) -> None:
        self._starts.insert(bisect_left(self._starts, start), start)
        self._put(start, end, flags, file)

    def _put(self, start: int, end: int, flags: int, file: object) -> None:
        self._pieces[start] = (end, flags, file)
        if file is not None:
            self._count(file, 1)
        self._note(start, end, flags)

    def _note(self, start: int, end: int, flags: int) -> None:
        self._close(start)
        if flags & _WHAT == _MAY_BE_WRITTEN:
            self.open[start] = end
            self._open_ends[end] = start
            if start in self._open_ends:
                self.borders.add(start)
            if end in self.open:
                self.borders.add(end)

    def _close(self, start: int) -> None:
        end = self.open.pop(start, None)
        if end is not None:
            del self._open_ends[end]
            self.borders -= {start, end}
