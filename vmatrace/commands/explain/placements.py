"""Which event placed what where: how a place is found again in a replay that puts it elsewhere."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final, NamedTuple

from vmatrace.replayer.result import Step
from vmatrace.replayer.run import Replay

#: Merge attempts of ranges that were not there before.
PLACING: Final = frozenset({"new", "copy", "grow", "brk"})


class Origin(NamedTuple):
    """Where an address comes from: so many bytes from what the ``nth`` event (from 0) returned."""

    nth: int
    offset: int


class _Part(NamedTuple):
    """What the ``nth`` event, which returned ``result``, placed at [start, end)."""

    start: int
    end: int
    nth: int
    result: int


class Placements:
    """Which event of an address space, or of the one it was forked from, placed which range last.

    Disjoint ranges in address order, so that no more is kept than there is memory to place.
    """

    __slots__ = ("_placed", "_starts")

    def __init__(self, parent: Placements | None = None) -> None:
        self._starts: list[int] = parent._starts.copy() if parent is not None else []
        self._placed: list[_Part] = parent._placed.copy() if parent is not None else []

    def add(self, start: int, end: int, nth: int, result: int) -> None:
        """The *nth* event, which returned *result*, placed memory at [start, end)."""
        starts, placed = self._starts, self._placed
        first = bisect_left(starts, start)
        if first and placed[first - 1].end > start:
            first -= 1
        last = bisect_left(starts, end, first)
        now = [_Part(start, end, nth, result)]
        if first < last:
            low, high = placed[first], placed[last - 1]
            if low.start < start:
                now.insert(0, low._replace(end=start))
            if high.end > end:
                now.append(high._replace(start=end))
        starts[first:last] = [part.start for part in now]
        placed[first:last] = now

    def origins(self, addresses: set[int]) -> dict[int, Origin]:
        """The last event that placed memory at each address; none for what was there before."""
        found: dict[int, Origin] = {}
        for address in addresses:
            i = bisect_right(self._starts, address) - 1
            if i >= 0 and address < self._placed[i].end:
                found[address] = Origin(self._placed[i].nth, address - self._placed[i].result)
        return found


class ProcessPlacements:
    """The Placements of every process of *replay*, from now on; each step has to be shown."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        by_mm: dict[int, Placements] = {}
        self._of = {pid: by_mm.setdefault(id(mm), Placements()) for pid, mm in replay.names()}

    def of(self, pid: str) -> Placements:
        """Those of a process, or of one that has ended and whose name was not used again."""
        return self._of.get(pid) or Placements()

    def see(self, step: Step) -> None:
        """Take in what the event placed, or what became of its process."""
        result, born = step.result, step.born
        if born is not None:
            shared = self._replay.process(born) is step.mm
            self._of[born] = self._of[step.pid] if shared else Placements(self._of[step.pid])
        elif step.executed:
            self._of[step.pid] = Placements()
        elif result >= 0 and step.decisions:
            placed = self._of[step.pid]
            for decision in step.decisions:
                if decision.op in PLACING:
                    placed.add(decision.start, decision.end, step.index, result)
