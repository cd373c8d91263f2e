"""Two sides of one trace compared: event by event where both have events, and at the end.

A side is a model, replayed here, a real kernel, or a Baseline. Values in, values out: what the
differences mean is for whoever shows them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import tee
from typing import TYPE_CHECKING, Final, Union, cast

from vmatrace import abi
from vmatrace.commands.diff.answer import (
    Did,
    Diff,
    EventDiff,
    WithKsm,
    common_flags,
    processes_of,
    settle,
)
from vmatrace.commands.diff.baseline import Baseline, SavedResult
from vmatrace.commands.diff.byevent import EventSide, PartedEvent, both, recorded, replayed
from vmatrace.commands.diff.moved import (
    Ranges,
    chosen_by_kernel,
    is_recording,
)
from vmatrace.commands.diff.sides import DiffSide, of_result
from vmatrace.event import Event
from vmatrace.kernels import Kernel, UnknownKernel, get_kernel
from vmatrace.layout import (
    Layout,
)
from vmatrace.replayer.alike import alike
from vmatrace.replayer.attribution import DiffCause, causes, first_partings, reaches
from vmatrace.replayer.changes import Change, Key, mapping_of
from vmatrace.replayer.lockstep import Lockstep
from vmatrace.replayer.result import Result, Step
from vmatrace.replayer.run import Replay
from vmatrace.trace.file import Item, Trace

if TYPE_CHECKING:
    from vmatrace.commands.diff.realkernel import RealKernel

#: What can be compared: a model, a real kernel, or a file that holds an outcome.
Source = Union[Kernel, Baseline, "RealKernel"]
#: A trace of more events is not replayed again to tell what --ksm would do.
_MOST_TRIED: Final = 10_000
#: The models of both sides where neither is said.
DEFAULTS: Final = ("pre-patch", "post-patch")


class Comparison:
    """One trace under two sources. events() and diff() each read the trace anew."""

    def __init__(
        self,
        trace: Trace,
        from_: Source | None = None,
        to: Source | None = None,
        ksm: bool | None = None,
        relative: bool | None = None,
    ) -> None:
        """*ksm* overrides KSM-by-default at the start of replays. Raises TraceError.

        *relative*: only the ends are compared, up to where the kernel placed things; None: so it
        is for a recording beside a saved result, where the addresses are not the same.
        A side that is None is the model of the saved result on the other, else DEFAULTS'.
        """
        self._sources = (_given(from_, to, trace, 0), _given(to, from_, trace, 1))
        saved = (s.ksm(trace) for s in self._sources if isinstance(s, Baseline))
        if ksm is None:
            ksm = next((said for said in saved if said is not None), None)
        self._ksm = ksm
        self._relative = relative
        if ksm is not None and any(map(_is_real, self._sources)):
            trace = replace(trace, process=replace(trace.process, ksm=ksm))
        beside_model = any(isinstance(s, Kernel) for s in self._sources)
        self._saved = [_saved(source, trace, beside_model) for source in self._sources]
        started = [side.started for side in self._saved if side is not None and side.started]
        #: Beside a real kernel, a model starts where that did.
        self._trace = started[0] if started and beside_model else trace
        self._started = started[0] if started else None
        self._ksm_on = trace.process.ksm
        self._kept: list[Item] = []
        self._noted = replace(self._trace, read=self._items)
        self._changed = any(self._is_of_other_calls(side) for side in self._saved if side)
        self._with_events = (
            not self._changed
            and not relative
            and all(side is None or side.events is not None for side in self._saved)
        )

    def diff(self, early: int = 1, why: bool = False) -> Diff:
        """The whole comparison. Raises TraceError for bad input in the trace.

        So many *early* events that differ are kept; with *why* the causes are asked for that a
        model and a model, or the model of a saved result, differ by.
        """
        runs = self._replays()
        kept: list[EventDiff] = []
        apart, differing = _Apart(), 0
        alone = self._alone()
        if alone is not None:
            for run, source in zip(runs, self._sources, strict=True):
                cast(Replay, run).result = replace(alone, kernel=cast(Kernel, source).name)
        elif self._with_events:
            for differing, parted in enumerate(self._parted(runs), 1):
                if differing <= early:
                    kept.append(_event(parted, apart))
        else:
            for run in runs:
                if run is not None:
                    run.run()
        from_, to = (
            side or of_result(cast(Replay, run).result)
            for side, run in zip(self._saved, runs, strict=True)
        )
        trace = self._trace
        diff = Diff(trace.name, trace.path, trace.description, from_, to, processes_of(from_, to))
        diff.changed = self._changed or len({from_.calls, to.calls} - {None}) > 1
        if self._is_relative(diff):
            settle(diff, self._chosen())
        if self._with_events:
            diff.events, diff.differing, diff.early = from_.calls, differing, kept
            diff.first = kept[0] if kept else None
        diff.with_ksm = self._with_ksm(from_)
        if self._started is not None:
            diff.causes = self._causes(diff) if kept else None
        if why:
            self._explain(diff)
        return diff

    def _with_ksm(self, from_: DiffSide) -> WithKsm | None:
        """What --ksm would do, where two models are compared and nothing turned KSM on."""
        older, newer = self._sources
        models = isinstance(older, Kernel) and isinstance(newer, Kernel)
        if not models or self._ksm is not None or older == newer or self._ksm_on:
            return None
        assert isinstance(older, Kernel)
        assert isinstance(newer, Kernel)
        if (from_.calls or 0) > _MOST_TRIED:
            return WithKsm()
        items = self._kept  # reading a log takes longer than replaying it
        trace = replace(self._trace, read=lambda: iter(items))
        results = Lockstep.shared(trace, (older, newer), True).run()
        return WithKsm(*(of_result(result).totals for result in results))

    def _items(self) -> Iterator[Item]:
        """The trace's items; for _with_ksm() the first are kept, and what turns KSM on noted."""
        kept = self._kept = []
        room = _MOST_TRIED
        for item in self._trace.items():
            if room >= 0:
                kept.append(item)
                room -= isinstance(item, Event)
            if type(item) is Event and item.name == "prctl" and _turns_ksm_on(item):
                self._ksm_on = True
            yield item

    def _is_relative(self, diff: Diff) -> bool:
        if self._relative is not None:
            return self._relative
        saved = any(isinstance(source, Baseline) and source.results for source in self._sources)
        return (
            saved
            and not self._with_events
            and not all(process.equal for process in diff.processes)
            and is_recording(self._trace)
        )

    def _chosen(self) -> Ranges | None:
        """Where the kernel placed things on the second side; None: not known."""
        moves, stays = self._sources
        known = isinstance(stays, Kernel) and not _is_real(moves)
        return chosen_by_kernel(self._trace) if known else None

    def _explain(self, diff: Diff) -> None:
        """Why the sides differ, and how far each cause reaches."""
        if self._started is not None:
            diff.why = diff.causes
        elif not diff.equal and not diff.changed:
            diff.why = self._causes(diff)
        models = all(isinstance(source, Kernel) for source in self._sources)
        if diff.why and not (models and len(diff.why) == 1):
            older, newer = cast("tuple[Kernel, Kernel]", self._models(diff))
            diff.reaches = reaches(self._origin, older, newer, diff.why, self._ksm)

    @property
    def _origin(self) -> Trace:
        """The trace as both sides began it."""
        return self._started or self._trace

    def _models(self, diff: Diff) -> tuple[Kernel, Kernel] | None:
        """The models of both sides; None where one has none."""
        older, newer = (
            source if isinstance(source, Kernel) else side.model or _saved_under(side)
            for source, side in zip(self._sources, (diff.from_, diff.to), strict=True)
        )
        return None if older is None or newer is None else (older, newer)

    def _causes(self, diff: Diff) -> list[DiffCause] | None:
        """The features by which the models of both sides part where the sides do."""
        models = self._models(diff)
        if models is None:
            return None
        trace, first = self._origin, diff.first
        steps = Lockstep.shared(trace, models, self._ksm)
        (parting,) = first_partings(steps, [(0, 1)], to_the_end=first is None)
        if parting is None:
            return []
        if first is None:
            ends = ([p.layout for p in result.processes] for result in steps.results())
            sides = (list(side.processes.values()) for side in (diff.from_, diff.to))
            same = list(ends) == list(sides)
        else:
            results = (first.from_.result, first.to.result)
            same = (parting.index, parting.results) == (first.index, results)
        return causes(trace, *models, self._ksm) if same else []

    def events(self) -> Iterator[EventDiff]:
        """The events that differ, in order; none where events cannot be compared."""
        apart = _Apart()
        if not self._with_events or self._alone() is not None:
            return
        for parted in self._parted(self._replays()):
            yield _event(parted, apart)

    def _alone(self) -> Result | None:
        """The one result of two models between which the trace cannot tell; None: it may."""
        from_, to = self._sources
        if not isinstance(from_, Kernel) or not isinstance(to, Kernel):
            return None
        return alike(self._noted, from_, [to], self._ksm)[0]

    def _replays(self) -> list[Replay | None]:
        return [
            Replay(self._noted, source, self._ksm) if isinstance(source, Kernel) else None
            for source in self._sources
        ]

    def _parted(self, runs: list[Replay | None]) -> Iterator[PartedEvent]:
        one, other = runs
        if one is not None and other is not None:
            yield from both(self._noted.items(), one, other)
            return
        calls, *items = tee(self._noted.items(), 1 + sum(run is not None for run in runs))
        mask = common_flags(self._saved)
        ours, theirs = (
            recorded(cast(DiffSide, side), mask)
            if run is None
            else replayed(run, items.pop(), mask)
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


def _given(source: Source | None, other: Source | None, trace: Trace, which: int) -> Source:
    """*source*, or what stands there where nobody says."""
    if source is not None:
        return source
    model = other.model(trace) if isinstance(other, Baseline) else None
    return model or get_kernel(DEFAULTS[which])


def _saved_under(side: DiffSide) -> Kernel | None:
    """The model that a saved result names, if there is one of that name."""
    if side.kind != "result" or side.kernel is None:
        return None
    try:
        return get_kernel(side.kernel)
    except UnknownKernel:
        return None


def _turns_ksm_on(prctl: Event) -> bool:
    """Whether the call may turn KSM by default on."""
    return prctl.args[0] == abi.PR_SET_MEMORY_MERGE and prctl.args[1] != 0


def _is_real(source: Source) -> bool:
    return not isinstance(source, (Kernel, Baseline))


def _saved(source: Source, trace: Trace, beside_model: bool) -> DiffSide | None:
    """The side that is there without a replay."""
    if isinstance(source, Kernel):
        return None
    if isinstance(source, Baseline):
        return source.side(trace)
    return source.side(trace, beside_model)


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


def _event(parted: PartedEvent, apart: _Apart) -> EventDiff:
    """The value of it; *apart* is brought up to date."""
    index, event, left, right = parted
    healed = apart.are_equal_after(left[1], right[1])
    return EventDiff(index, event, _did(left, right), _did(right, left), healed)


def _did(here: EventSide, there: EventSide) -> Did:
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


def compare(trace: Trace, from_: Source | None, to: Source | None, ksm: bool | None = None) -> Diff:
    """How *trace* differs under two sources. Raises TraceError for bad input in the trace."""
    return Comparison(trace, from_, to, ksm).diff()


def saved_diff(before: SavedResult, now: SavedResult, trace: Trace) -> Diff:
    """How the end of a saved result differs from *now*, the result of *trace*."""
    from_, to = before.side, now.side
    diff = Diff(now.trace, now.path, "", from_, to, processes_of(from_, to))
    if not all(process.equal for process in diff.processes) and is_recording(trace):
        settle(diff, chosen_by_kernel(trace))
    return diff
