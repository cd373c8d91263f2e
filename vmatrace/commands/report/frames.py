"""The layouts of two replays as still frames: at chosen events, what changed since the last one.

Gives values for a page that moves through a trace; decides which events are worth a frame when
there are too many, and holds no more than the present layouts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from vmatrace.commands.report.question import ProcessReport, Report, unlimited
from vmatrace.engine import view
from vmatrace.engine.merge import Border, Rules, between
from vmatrace.engine.mm import Mm
from vmatrace.engine.vma import Vma
from vmatrace.engine.world import World
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
        for space, a, b in spaces.steps():
            number = a.index + 1
            if space.number in self._shown:
                touched[space.number] = space
                if space.exited:
                    kept += self._changes({space.number: space})
                    del touched[space.number]
            if number % self.every == 0 or number in self._wanted:
                # A child counts from its fork on, not from its first call.
                for child in spaces.living:
                    if (child.number, 0) not in self._last:
                        touched[child.number] = child
                yield Frame(number, space.number, (a, b), kept + self._changes(touched))
                kept = []
                touched = {}

    def _changes(self, touched: dict[int, SpacePair]) -> list[FrameChange]:
        return [
            change
            for space in touched.values()
            if space.mms is not None and space.number in self._shown
            for side, mm in enumerate(space.mms)
            if (change := self._change(space.number, side, mm)) is not None
        ]

    def _change(self, space: int, side: int, mm: Mm) -> FrameChange | None:
        """What differs from the last look; a VMA counts as changed with the one before it.

        The first look is a change even where there is nothing: the process is born.
        """
        last = self._last.get((space, side))
        old = last or {}
        now: _State = {}
        come = []
        before: Vma | None = None
        fresh = False
        for vma in mm.vmas:
            touching = before is not None and before.end == vma.start
            state = (
                vma.end, vma.flags, vma.skew, vma.file, vma.anon, vma.chain, vma.extra, touching,
                vma.refusal,
            )  # fmt: skip
            now[vma.start] = state
            changed = old.get(vma.start) != state
            if changed or (touching and fresh):
                come.append(_piece(mm, vma, before if touching else None, self._rules[side]))
            before, fresh = vma, changed
        gone = [start for start in old if start not in now]
        self._last[space, side] = now
        return FrameChange(space, side, gone, come) if gone or come or last is None else None


def _piece(mm: Mm, vma: Vma, above: Vma | None, rules: Rules) -> Piece:
    join = None
    if above is not None:
        border = Border(above, vma, between(above, vma, rules))
        join = Join(border, view.mapping(mm, above))
    return Piece(view.mapping(mm, vma), join)
