"""The layouts of two replays as still frames: at chosen events, what changed since the last one.

Gives values for a page that moves through a trace; decides which events are worth a frame when
there are too many, and holds no more than the present layouts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from vmatrace.calls import LIFE
from vmatrace.commands.report.question import ProcessReport, Report, unlimited
from vmatrace.engine import view
from vmatrace.engine.merge import RULES, Border, between
from vmatrace.engine.mm import Mm
from vmatrace.engine.vma import Vma
from vmatrace.engine.world import World
from vmatrace.event import Event
from vmatrace.layout import Mapping
from vmatrace.replayer.lockstep import Lockstep, SpacePair, Spaces
from vmatrace.replayer.result import Step
from vmatrace.replayer.run import Replay

#: So many frames at most, and so few at least; so many processes.
MAX_FRAMES: Final = 2000
_FEWEST: Final = 12
MAX_PROCESSES: Final = 32
#: What all frames together may cost: VMAs looked at, and VMAs that changed from one to the next.
_LOOKS: Final = 4_000_000
_PIECES: Final = 250_000
#: VMAs that one event changes at most, under both models together. An estimate.
_PER_EVENT: Final = 8


class Join(NamedTuple):
    """Where a VMA touches the one before it: the border, and that one."""

    border: Border
    above: Mapping


class Piece(NamedTuple):
    """A VMA that came or changed, and its join to the one before it, if they touch."""

    mapping: Mapping
    join: Join | None


class FrameChange(NamedTuple):
    """What changed in one space under one model: starts of VMAs that went, and Pieces."""

    space: int
    side: int
    gone: list[int]
    come: list[Piece]


class Frame(NamedTuple):
    """The state after event ``number`` (0: before the first), and the steps that led to it.

    ``space`` is that of the process that made the call. The steps are None for the first frame.
    """

    number: int
    space: int
    steps: tuple[Step, Step] | None
    changes: list[FrameChange]


_State = dict[int, tuple[object, ...]]


class Film:
    """The frames of the trace of a report. ``every`` is the distance of frames in events."""

    def __init__(self, found: Report) -> None:
        self._found = found
        shown = sorted(
            found.processes, key=lambda p: (-max(c.peak for c in p.counts), p.number)
        )[:MAX_PROCESSES]  # fmt: skip
        self.processes: list[ProcessReport] = sorted(shown, key=lambda p: p.number)
        self._shown = {process.number for process in shown}
        vmas = max(sum(max(c.peak, 1) for p in shown for c in p.counts), 1)
        most = min(MAX_FRAMES, _LOOKS // vmas)
        if found.events * _PER_EVENT > _PIECES:
            most = min(most, _PIECES // vmas)
        self.every = -(-max(found.events, 1) // max(most, _FEWEST))
        moments = [m for p in shown for c in p.counts for m in (c.peak_at, c.limit_at) if m]
        self._wanted = {moment.number for moment in moments} | {found.events}
        self._last: dict[tuple[int, int], _State] = {}
        # The models may share their memory, and differ in what they say of it.
        self._rules = [World(kernel) for kernel in found.pair]
        a, b = self._rules
        self._rules_differ = any(getattr(a, name) != getattr(b, name) for name in RULES)

    def frames(self) -> Iterator[Frame]:
        """Replay the trace again, from frame to frame. Each is valid until the next."""
        trace = unlimited(self._found.trace)
        models, ksm = self._found.pair, self._found.forced
        if self._found.alike:
            pair = Lockstep.shared(trace, models, ksm)
        else:  # what a VMA is compared by holds only within one replay
            pair = Lockstep(trace, [Replay(trace, kernel, ksm) for kernel in models])
        spaces = Spaces(pair, SpacePair)
        touched: dict[int, SpacePair] = {space.number: space for space in spaces.living}
        kept: list[FrameChange] = []
        yield Frame(0, 0, None, self._changes(touched))
        for space, a, b in spaces.steps(self._asker(spaces, touched)):
            number = a.index + 1
            if space.number in self._shown:
                touched[space.number] = space
                if space.exited:
                    kept += self._changes({space.number: space})
                    del touched[space.number]
            if self._is_frame(number):
                # A child counts from its fork on, not from its first call.
                for child in spaces.living:
                    if (child.number, 0) not in self._last:
                        touched[child.number] = child
                yield Frame(number, space.number, (a, b), kept + self._changes(touched))
                kept = []
                touched.clear()

    def _is_frame(self, number: int) -> bool:
        return number % self.every == 0 or number in self._wanted

    def _asker(
        self, spaces: Spaces[SpacePair], touched: dict[int, SpacePair]
    ) -> Callable[[Event], bool]:
        """Whether an event needs steps: of a frame, or of a life. Of others *touched* is noted."""
        number = 0
        stops = sorted({*range(self.every, self._found.events + 1, self.every), *self._wanted})
        following = iter([*stops[stops[0] == 0 :], 0])
        stop = next(following)
        noted: set[str] = set()  # processes, since the last event that needed steps

        def asked(event: Event) -> bool:
            nonlocal number, stop
            number += 1 + (event.first_write is not None)
            if number >= stop > 0 or event.name in LIFE:
                while number >= stop > 0:
                    stop = next(following)
                noted.clear()
                return True
            if event.pid not in noted:
                noted.add(event.pid)
                space = spaces.of(event.pid)
                if space.number in self._shown:
                    touched[space.number] = space
            return False

        return asked

    def _changes(self, touched: dict[int, SpacePair]) -> list[FrameChange]:
        return [
            change
            for space in touched.values()
            if space.mms is not None and space.number in self._shown
            for change in self._of_space(space.number, *space.mms)
            if change is not None
        ]

    def _of_space(self, space: int, a: Mm, b: Mm) -> Iterator[FrameChange | None]:
        known = self._last.get((space, 0))
        apart = a is not b or self._rules_differ
        if apart and known is not None and self._last[space, 1] is known:
            self._last[space, 1] = known.copy()
        change = self._change(space, 0, a)
        yield change
        if apart:
            yield self._change(space, 1, b)
        else:
            self._last[space, 1] = self._last[space, 0]
            yield change and change._replace(side=1)

    def _change(self, space: int, side: int, mm: Mm) -> FrameChange | None:
        """What differs from the last look; a VMA counts as changed with the one before it.

        The first look is a change even where there is nothing: the process is born.
        """
        born = (space, side) not in self._last
        known = self._last.setdefault((space, side), {})
        come = []
        rules = self._rules[side]
        before: Vma | None = None
        shown: Mapping | None = None  # what *before* shows as, where that is known
        fresh = False
        for vma in mm.vmas:
            start = vma.start
            touching = before is not None and before.end == start
            state = (
                vma.end, vma.flags, vma.skew, vma.file, vma.anon, vma.chain, vma.extra, touching,
                vma.refusal,
            )  # fmt: skip
            changed = known.get(start) != state
            if changed:
                known[start] = state
            if changed or (touching and fresh):
                join = None
                if touching:
                    assert before is not None
                    border = Border(before, vma, between(before, vma, rules))
                    join = Join(border, shown or view.mapping(mm, before))
                shown = view.mapping(mm, vma)
                come.append(Piece(shown, join))
            else:
                shown = None
            before, fresh = vma, changed
        gone = []
        if len(known) > mm.vmas.count:
            left = known.keys() - {vma.start for vma in mm.vmas}
            gone = [start for start in known if start in left]
            for start in gone:
                del known[start]
        return FrameChange(space, side, gone, come) if gone or come or born else None
