"""The events of a long program that can have to do with some memory: guesses, for somebody to try.

A call changes VMAs only where it touches them, so what an event met was made by those before it
that touch the same bytes. Knows ranges and address spaces, and nothing of what is looked for.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from vmatrace.calls import Range
from vmatrace.engine.mm import Mm
from vmatrace.event import Event
from vmatrace.kernels import Kernel
from vmatrace.replayer.run import Replay
from vmatrace.search.conditions import SideCount
from vmatrace.search.goals import Watched, with_events
from vmatrace.trace.file import Trace

#: How far around a range what touches it counts: it may have merged with it.
_MARGIN: Final = 4096
_MOVES: Final = ("mremap",)


class _Spans:
    """A set of addresses as disjoint ranges, sorted; there may be very many."""

    __slots__ = ("ends", "starts")

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []

    def meets(self, start: int, end: int) -> bool:
        i = bisect_right(self.ends, start)
        return i < len(self.starts) and self.starts[i] < end

    def add(self, start: int, end: int) -> None:
        first, last = bisect_left(self.ends, start), bisect_right(self.starts, end)
        if first < last:
            start, end = min(start, self.starts[first]), max(end, self.ends[last - 1])
        self.starts[first:last] = [start]
        self.ends[first:last] = [end]

    def ranges(self) -> list[Range]:
        return list(zip(self.starts, self.ends, strict=True))


@dataclass
class _Seen:
    """What an event did: in which space, where (None: anywhere), and to which count it added."""

    space: int
    where: list[Range] | None
    counted: bool
    birth: int | None = None  # the space that it made
    before: int | None = None  # of an exec: the space that it left


@dataclass
class History:
    """A program once replayed: what each event did, and the layout of every space at the end."""

    events: Sequence[Event]
    seen: list[_Seen] = field(default_factory=list)
    last: dict[int, list[Range]] = field(default_factory=dict)

    def guesses(self) -> Iterator[list[Event]]:
        """Shorter programs that may do the same, the shortest first."""
        hits = [i for i, seen in enumerate(self.seen) if seen.counted]
        if hits:
            yield self._slice(hits, False)
            yield self._slice(hits, True)
        final = [len(self.seen) - 1] if self.seen else []
        yield self._slice(final, False)
        yield self._slice(final, True)
        yield self._slice(final, False, self.last)
        yield self._slice(final, True, self.last)

    def _slice(
        self, hits: Iterable[int], widely: bool, wanted: dict[int, list[Range]] | None = None
    ) -> list[Event]:
        """The events behind *hits*, and behind the memory *wanted*.

        *widely*: also those behind what these touch.
        """
        interest: dict[int, _Spans] = {}
        for space, ranges in (wanted or {}).items():
            _add(interest, space, ranges)
        asked = set(hits)
        kept: list[Event] = []
        for i in range(len(self.seen) - 1, -1, -1):
            seen = self.seen[i]
            if not (i in asked or self._matters(seen, interest)):
                continue
            kept.append(self.events[i])
            if seen.birth is not None and seen.birth in interest:
                parent = seen.before if seen.before is not None else seen.space
                _add(interest, parent, interest[seen.birth].ranges())
            also = i in asked or widely or self.events[i].name in _MOVES
            _add(interest, seen.space, seen.where or () if also else ())
        kept.reverse()
        return kept

    @staticmethod
    def _matters(seen: _Seen, interest: dict[int, _Spans]) -> bool:
        if seen.birth is not None:
            return seen.birth in interest
        ranges = interest.get(seen.space)
        if ranges is None:
            return False
        if seen.where is None:
            return True
        return any(ranges.meets(start - _MARGIN, end + _MARGIN) for start, end in seen.where)


def _add(interest: dict[int, _Spans], space: int, ranges: Iterable[Range]) -> None:
    known = interest.setdefault(space, _Spans())
    for start, end in ranges:
        if start < end:
            known.add(start, end)


def history(
    base: Trace,
    kernel: Kernel,
    ksm: bool | None,
    events: Sequence[Event],
    counts: Sequence[SideCount],
) -> History:
    """Replay *events* once; an event counts where one of *counts* grows."""
    replay = Replay(with_events(base, events), kernel, ksm)
    watched = Watched([replay])
    found = History(events)
    spaces = _Spaces(replay)
    before = [0] * len(counts)
    for event in events:
        old = spaces.of(event.pid)
        step = replay.step(event)
        if step is None:
            break
        watched.stepped(step)
        now = before
        if step.decisions or step.splits or step.result < 0:
            now = [watched.count(count) for count in counts]
        counted = any(a > b for a, b in zip(now, before, strict=True))
        before = now
        seen = _Seen(old, step.touched, counted)
        if step.executed:
            seen.birth, seen.before = spaces.of(event.pid), old
            seen.space = seen.birth
        elif step.born is not None and (child := spaces.of(step.born)) != old:
            seen.birth = child
        found.seen.append(seen)
    for pid, mm in replay.living():
        found.last[spaces.of(pid)] = [(vma.start, vma.end) for vma in mm.vmas]
    return found


class _Spaces:
    """A number for each address space. Keeps them all, so that none takes another's place."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._known: dict[int, tuple[int, Mm]] = {}

    def of(self, pid: str) -> int:
        mm = self._replay.process(pid)
        return self._known.setdefault(id(mm), (len(self._known), mm))[0]
