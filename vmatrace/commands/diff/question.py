"""Two sides of one trace compared: event by event where both have events, and at the end.

A side is a model, replayed here, a real kernel, or a Baseline. Values in, values out: what the
differences mean is for whoever shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import tee
from typing import Any, Union, cast

from vmatrace.commands.diff.attribution import DiffCause, causes, first_partings
from vmatrace.commands.diff.baseline import Baseline
from vmatrace.commands.diff.changes import Change, Follower, Key, mapping_of
from vmatrace.commands.diff.realkernel import RealKernel
from vmatrace.commands.diff.sides import DiffSide, of_result
from vmatrace.engine.merge import MergeDecision
from vmatrace.event import Event
from vmatrace.kernels import Kernel
from vmatrace.layout import (
    Block,
    FlagDifference,
    Layout,
    align,
    flag_differences,
    with_flags,
)
from vmatrace.printable import Printable
from vmatrace.replayer.result import Step
from vmatrace.replayer.run import Replay
from vmatrace.trace.file import Item, Trace

#: What can be compared: a model, a real kernel, or a file that holds an outcome.
Source = Union[Kernel, Baseline, RealKernel]


@dataclass
class Did:
    """What an event did on one side: its result, and the VMAs that went and came there alone.

    ``result`` is the return value, -errno for a failure. ``decisions`` are the merge attempts of a
    replay; ``record`` is the event of a saved result, as vmatrace-replay has it.
    """

    result: int
    went: Layout
    came: Layout
    decisions: list[MergeDecision] = field(default_factory=list)
    record: dict[str, Any] | None = None


@dataclass
class EventDiff:
    """An event that did not do the same on both sides.

    ``index`` counts events from 0, ``line`` those of the trace from 1. ``healed``: right after it
    the layouts of both sides are equal.
    """

    index: int
    event: Event
    from_: Did
    to: Did
    healed: bool

    @property
    def line(self) -> int:
        return self.event.line


@dataclass
class ProcessDiff:
    """The final layouts of a process, aligned; None where a side does not have the process."""

    pid: str
    from_: Layout | None
    to: Layout | None

    @cached_property
    def blocks(self) -> list[Block]:
        """Both layouts in address order, every VMA of both in one block."""
        return align(self.from_ or [], self.to or [])

    @property
    def flags(self) -> list[FlagDifference]:
        """Where both have memory, but not with the same vm_flags."""
        return flag_differences(self.blocks)

    @property
    def equal(self) -> bool:
        return self.from_ == self.to


@dataclass(repr=False)
class Diff(Printable):
    """How two sides of a trace differ.

    ``first`` is the first event that did not do the same on both sides, of ``differing`` in all,
    among ``events``; None and None where a side has no events to compare. ``changed``: a saved
    result is of other calls than the trace has now, so only the ends were compared. ``processes``
    are those of both sides, in the order of the replay. ``causes``, where a real kernel is on a
    side and a model or another on the other: the features by which their models differ in the same
    way; empty if the models do not, None where that was not asked.
    """

    shown_by = "vmatrace.commands.diff.as_table:write"

    trace: str
    path: str
    description: str
    from_: DiffSide
    to: DiffSide
    processes: list[ProcessDiff]
    events: int | None = None
    differing: int | None = None
    first: EventDiff | None = None
    changed: bool = False
    causes: list[DiffCause] | None = None
    #: All events that differ, compared anew at each call; None where they are not asked for.
    again: Callable[[], Iterator[EventDiff]] | None = None

    def __repr__(self) -> str:
        return f"<Diff of {self.trace}: {self.from_.name}, {self.to.name}>"

    @property
    def totals(self) -> list[tuple[str, int | None, int | None]]:
        """Each count with its name and its value on either side, None where that is unknown."""
        theirs = dict(self.to.totals.items())
        return [(name, value, theirs[name]) for name, value in self.from_.totals.items()]

    @property
    def equal(self) -> bool:
        """Whether each call returned the same and left the same VMAs, as far as that is known.

        Where events cannot be compared: whether the final layouts, the peak and the number of
        failed calls are equal. How many merges it took does not count.
        """
        return (
            not self.differing
            and all(process.equal for process in self.processes)
            and all(
                None in (ours, theirs) or ours == theirs
                for name, ours, theirs in self.totals
                if name in ("peak_vmas", "errors")
            )
        )


class Comparison:
    """One trace under two sources. events() and diff() each read the trace anew."""

    def __init__(self, trace: Trace, from_: Source, to: Source, ksm: bool | None = None) -> None:
        """*ksm* overrides KSM-by-default at the start of replays. Raises TraceError."""
        self._ksm = ksm
        self._sources = (from_, to)
        if ksm is not None and any(isinstance(s, RealKernel) for s in self._sources):
            trace = replace(trace, process=replace(trace.process, ksm=ksm))
        beside_model = any(isinstance(s, Kernel) for s in self._sources)
        self._saved = [_saved(source, trace, beside_model) for source in self._sources]
        started = [side.started for side in self._saved if side is not None and side.started]
        #: Beside a real kernel, a model starts where that did.
        self._trace = started[0] if started and beside_model else trace
        self._started = started[0] if started else None
        self._changed = any(self._is_of_other_calls(side) for side in self._saved if side)
        self._with_events = not self._changed and all(
            side is None or side.events is not None for side in self._saved
        )

    def diff(self) -> Diff:
        """The whole comparison. Raises TraceError for bad input in the trace."""
        runs = self._replays()
        first, differing = None, 0
        if self._with_events:
            for differing, parted in enumerate(self._parted(runs), 1):
                if differing == 1:
                    first = _event(parted, _Apart())
        else:
            for run in runs:
                if run is not None:
                    run.run()
        from_, to = (
            side or of_result(cast(Replay, run).result)
            for side, run in zip(self._saved, runs, strict=True)
        )
        trace = self._trace
        diff = Diff(trace.name, trace.path, trace.description, from_, to, _processes(from_, to))
        diff.changed = self._changed or len({from_.calls, to.calls} - {None}) > 1
        if self._with_events:
            diff.events, diff.differing, diff.first = from_.calls, differing, first
        if self._started is not None and first is not None:
            diff.causes = self._causes(self._started, first, from_, to)
        return diff

    def _causes(
        self, trace: Trace, first: EventDiff, from_: DiffSide, to: DiffSide
    ) -> list[DiffCause] | None:
        """The features by which the models of both sides part where the sides do."""
        models = [
            source if isinstance(source, Kernel) else side.model
            for source, side in zip(self._sources, (from_, to), strict=True)
        ]
        older, newer = models
        if older is None or newer is None:
            return None
        (parting,) = first_partings([Replay(trace, model) for model in (older, newer)], [(0, 1)])
        results = (first.from_.result, first.to.result)
        if parting is None or (parting.index, parting.results) != (first.index, results):
            return []
        return causes(trace, older, newer)

    def events(self) -> Iterator[EventDiff]:
        """The events that differ, in order; none where events cannot be compared."""
        apart = _Apart()
        for parted in self._parted(self._replays()) if self._with_events else ():
            yield _event(parted, apart)

    def _replays(self) -> list[Replay | None]:
        return [
            Replay(self._trace, source, self._ksm) if isinstance(source, Kernel) else None
            for source in self._sources
        ]

    def _parted(self, runs: list[Replay | None]) -> Iterator[_Parted]:
        calls, *items = tee(self._trace.items(), 1 + sum(run is not None for run in runs))
        mask = None if self._saved == [None, None] else _common_flags(self._saved)
        ours, theirs = (
            _recorded(cast(DiffSide, side), mask)
            if run is None
            else _replayed(run, items.pop(), mask)
            for run, side in zip(runs, self._saved, strict=True)
        )
        events = (item for item in calls if isinstance(item, Event))
        # strict: it asks both for their end, which completes the results.
        for index, (event, left, right) in enumerate(zip(events, ours, theirs, strict=True)):
            if left[1] != right[1] or left[0] != right[0]:
                yield index, event, left, right

    def _is_of_other_calls(self, side: DiffSide) -> bool:
        """Whether a saved result with events is of another trace than this one is now."""
        if side.events is None:
            return False
        calls = [(e.pid, e.text) for e in self._trace.items() if isinstance(e, Event)]
        return calls != [(event["pid"], event["call"]) for event in side.events]


def _saved(source: Source, trace: Trace, beside_model: bool) -> DiffSide | None:
    """The side that is there without a replay."""
    if isinstance(source, Kernel):
        return None
    if isinstance(source, RealKernel):
        return source.side(trace, beside_model)
    return source.side(trace)


#: What one side did in an event: its result, what it changed, and where both come from.
_Moment = tuple[int, list[Change], Union[Step, dict[str, Any]]]
#: An event that differs: its index, itself, and what each side did.
_Parted = tuple[int, Event, _Moment, _Moment]


def _replayed(replay: Replay, items: Iterator[Item], mask: int | None) -> Iterator[_Moment]:
    """The steps of a replay. With *mask* only those vm_flags count, and the calling process."""
    if mask is None:
        follower = Follower(replay)
        for step in replay.steps(items):
            yield step.result, follower.follow(step), step
        return
    before: dict[str, list[Key]] = {}
    for step in replay.steps(items):
        yield step.result, _since(before, step.pid, with_flags(step.layout, mask)), step


def _recorded(side: DiffSide, mask: int | None) -> Iterator[_Moment]:
    """The events of a saved result."""
    before: dict[str, list[Key]] = {}
    for event in side.events or []:
        changes = _since(before, event["pid"], with_flags(event["layout"], cast(int, mask)))
        yield event["result"], changes, event


def _since(before: dict[str, list[Key]], pid: str, layout: Layout) -> list[Change]:
    """What changed in a process since *before*, which is brought up to date."""
    now = [mapping.key() for mapping in layout]
    old = before.get(pid, [])
    before[pid] = now
    went, came = set(old) - set(now), set(now) - set(old)
    return [(pid, sorted(went), sorted(came))] if went or came else []


class _Apart:
    """In which VMAs the layouts of two sides differ so far."""

    def __init__(self) -> None:
        self._only: dict[tuple[str, Key], int] = {}  # 1: on the left alone, -1: on the right

    def are_equal_after(self, left: list[Change], right: list[Change]) -> bool:
        """Whether nothing differs any more after both sides changed that way."""
        for changes, sign in ((left, 1), (right, -1)):
            for pid, went, came in changes:
                for keys, step in ((went, -sign), (came, sign)):
                    for key in keys:
                        self._count((pid, key), step)
        return not self._only

    def _count(self, what: tuple[str, Key], step: int) -> None:
        count = self._only.get(what, 0) + step
        if count:
            self._only[what] = count
        else:
            del self._only[what]


def _event(parted: _Parted, apart: _Apart) -> EventDiff:
    """The value of it; *apart* is brought up to date."""
    index, event, left, right = parted
    healed = apart.are_equal_after(left[1], right[1])
    return EventDiff(index, event, _did(left, right), _did(right, left), healed)


def _did(here: _Moment, there: _Moment) -> Did:
    """What only *here* happened."""
    result, changes, source = here
    went: Layout = []
    came: Layout = []
    same = {pid: (set(went), set(came)) for pid, went, came in there[1]}
    for pid, gone, new in changes:
        also = same.get(pid, (set(), set()))
        went += [mapping_of(key) for key in gone if key not in also[0]]
        came += [mapping_of(key) for key in new if key not in also[1]]
    if isinstance(source, Step):
        return Did(result, went, came, source.decisions)
    return Did(result, went, came, record=source)


def _common_flags(sides: Iterable[DiffSide | None]) -> int:
    mask = -1
    for side in sides:
        if side is not None:
            mask &= side.flags
    return mask


def _processes(from_: DiffSide, to: DiffSide) -> list[ProcessDiff]:
    """The final layouts, with no more in them than both sides can show."""
    mask = _common_flags((from_, to))
    names = dict.fromkeys([*from_.processes, *to.processes])
    if "processes" in from_.lacks + to.lacks:
        names = dict.fromkeys(name for name in names if name == "main")

    def of(side: DiffSide, name: str) -> Layout | None:
        layout = side.processes.get(name)
        return None if layout is None else with_flags(layout, mask)

    return [ProcessDiff(name, of(from_, name), of(to, name)) for name in names]


def compare(trace: Trace, from_: Source, to: Source, ksm: bool | None = None) -> Diff:
    """How *trace* differs under two sources. Raises TraceError for bad input in the trace."""
    return Comparison(trace, from_, to, ksm).diff()
