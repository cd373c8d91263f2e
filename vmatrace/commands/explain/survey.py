"""One replay of a trace, and what questions about its end need of it: names, memory, placements.

Knows which event placed what where, so that a place can be found again in a replay that puts it at
another address. Keeps nothing for each event but that.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from vmatrace.calls import LIFE
from vmatrace.engine.mm import Mm
from vmatrace.event import Event
from vmatrace.replayer.result import Step
from vmatrace.replayer.run import Replay
from vmatrace.replayer.uses import Uses

#: Merge attempts of ranges that were not there before.
PLACING: Final = frozenset({"new", "copy", "grow", "brk"})


class Moment(NamedTuple):
    """When something happened: the event, and how many came before it."""

    nth: int
    event: Event

    def __str__(self) -> str:
        """Where the event stands, and the call: what the input has no lines for, by its number."""
        place = f"line {self.event.line}" if self.event.line else f"event {self.nth + 1}"
        return f"{place}: {self.event.text}"


class Origin(NamedTuple):
    """Where an address comes from: so many bytes from what the ``nth`` event (from 0) returned."""

    nth: int
    offset: int


class _Placed(NamedTuple):
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
        self._placed: list[_Placed] = parent._placed.copy() if parent is not None else []

    def add(self, start: int, end: int, nth: int, result: int) -> None:
        """The *nth* event, which returned *result*, placed memory at [start, end)."""
        starts, placed = self._starts, self._placed
        first = bisect_left(starts, start)
        if first and placed[first - 1].end > start:
            first -= 1
        last = bisect_left(starts, end, first)
        now = [_Placed(start, end, nth, result)]
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


class Survey:
    """A replay run to its end.

    ``labels`` are those of addresses, with their last values, and ``forks`` those of processes.
    ``mms`` holds the address space of each process at the end; the first one's also when it exited.
    ``exits`` says when the others did. ``aliases`` are the numbers of processes with a label.
    ``uses`` is what the trace uses that kernels treat differently.
    """

    def __init__(
        self,
        replay: Replay,
        see: Callable[[Step], None] | None = None,
        steps: Iterator[Step] | None = None,
    ) -> None:
        """Run *replay*, whose *steps* those are, and show each to *see*. Raises TraceError."""
        self.labels: dict[str, int] = {}
        self.forks: set[str] = set()
        self.mms: dict[str, Mm] = {"main": replay.process("main")}
        self.exits: dict[str, Moment] = {}
        self.aliases: dict[str, str] = {}
        self.uses = Uses(replay)
        self.placements: dict[str, Placements] = {"main": Placements()}
        self.events = 0
        for step in replay.steps() if steps is None else steps:
            self._see(step, replay)
            if see is not None:
                see(step)
        self.result = replay.result

    def _see(self, step: Step, replay: Replay) -> None:
        event, result = step.event, step.result
        self.events += 1
        self.uses.see(step)
        if event.name in LIFE and self._live(step, replay):
            return
        if result >= 0 and step.decisions:
            placed = self.placements[step.pid]
            for decision in step.decisions:
                if decision.op in PLACING:
                    placed.add(decision.start, decision.end, step.index, result)
        if event.label is not None:
            self.labels[event.label] = result

    def _live(self, step: Step, replay: Replay) -> bool:
        """Take in what made, replaced or ended a process, if the event did."""
        pid = step.pid
        if step.born is not None:
            self._fork(step, step.born, replay)
        elif step.ended:
            self.exits[pid] = Moment(step.index, step.event)
            if pid == "main":
                self.mms[pid] = step.mm
            else:
                self.mms.pop(pid, None)
        elif step.executed:
            self.mms[pid] = step.mm
            self.placements[pid] = Placements()
        else:
            return False
        return True

    def _fork(self, step: Step, child: str, replay: Replay) -> None:
        if step.event.label is not None:
            self.forks.add(child)
            self.aliases[str(step.result)] = child
        mm = replay.process(child)
        self.mms[child] = mm
        self.exits.pop(child, None)
        parent = self.placements[step.pid]
        self.placements[child] = parent if mm is step.mm else Placements(parent)
