"""What a trace costs under one model and under another: ``report()``.

Folds two replays in lockstep into counts, curves and kinds of calls. Memory is bounded: it does not
grow with the number of events. Both replays run without max_map_count, so that the count beyond it
is known; where it would have stopped a process is found by a second look with the limit in force.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Final, NamedTuple

from vmatrace import abi
from vmatrace.calls import LIFE
from vmatrace.commands.report.curve import Curve
from vmatrace.commands.report.patterns import Pattern, Patterns
from vmatrace.engine.mm import Mm
from vmatrace.kernels import Kernel
from vmatrace.printable import Printable
from vmatrace.replayer.lockstep import Lockstep, SpacePair, Spaces
from vmatrace.replayer.result import Result, Step
from vmatrace.replayer.run import Replay
from vmatrace.trace.file import Trace

#: So many processes that have exited are kept, those with the highest peaks; others are added up.
MAX_EXITED: Final = 64
_NO_LIMIT: Final = 1 << 62
#: mremap() refuses when the count comes this near to max_map_count (mremap_to(), move_vma()).
_NEAR: Final = 5


class Landmark(NamedTuple):
    """An event: its number from 1 on (0: before the first), its line, and the call."""

    number: int
    line: int
    call: str


Pair = tuple[Kernel, Kernel]
START: Final = Landmark(0, 0, "")


class Count:
    """What one process came to under one model.

    ``vmas`` at the end (or at exit), ``peak`` and ``peak_at`` the first event where it was reached.
    ``merges`` counts merges, ``blocked`` the sides where a VMA touched and stayed apart, ``only``
    those of them that VM_MERGEABLE alone kept apart. ``limit_at`` is the first call that
    max_map_count would have refused, None if there is none.
    """

    __slots__ = ("blocked", "limit_at", "merges", "only", "peak", "peak_at", "vmas")

    def __init__(self, vmas: int = 0, at: Landmark = START) -> None:
        self.vmas = self.peak = vmas
        self.peak_at = at
        self.merges = self.blocked = self.only = 0
        self.limit_at: Landmark | None = None


class ProcessReport(SpacePair):
    """One process: a Count for each model, ``events`` its calls, and its VMAs over time.

    ``exit_at`` is the event that it exited with, None while it lives.
    """

    __slots__ = ("counts", "curve", "events", "exit_at")

    def __init__(
        self, number: int, pid: str, mms: tuple[Mm, Mm], program: str, born: Step | None
    ) -> None:
        super().__init__(number, pid, mms, program, born)
        at = START if born is None else _moment(born)
        a, b = mms[0].vmas.count, mms[1].vmas.count
        self.counts = (Count(a, at), Count(b, at))
        self.curve = Curve()
        self.curve.add(at.number, a, b)
        self.events = 0
        self.exit_at: Landmark | None = None


@dataclasses.dataclass
class Others:
    """Processes that are not listed: how many, their highest peaks, and sums of the rest."""

    processes: int = 0
    events: int = 0
    counts: tuple[Count, Count] = dataclasses.field(default_factory=lambda: (Count(), Count()))

    def add(self, process: ProcessReport) -> None:
        """Count one more."""
        self.processes += 1
        self.events += process.events
        for mine, its in zip(self.counts, process.counts, strict=True):
            if its.peak > mine.peak:
                mine.peak, mine.peak_at = its.peak, its.peak_at
            mine.merges += its.merges
            mine.blocked += its.blocked
            mine.only += its.only


@dataclasses.dataclass(repr=False)
class Report(Printable):
    """Everything ``vmatrace report`` says. ``pair`` and ``results`` are in the order from, to.

    ``ksm`` says whether KSM-by-default was in force in any process, ``forced`` whether it was asked
    for or switched off (None: as the trace has it). ``processes`` are in order of birth. ``alike``:
    both models did the same in every call.
    """

    shown_by = "vmatrace.commands.report.as_table:write"

    trace: Trace
    pair: Pair
    max_map_count: int
    forced: bool | None
    results: tuple[Result, Result] = dataclasses.field(init=False)
    alike: bool = False
    ksm: bool = False
    events: int = 0
    processes: list[ProcessReport] = dataclasses.field(default_factory=list)
    others: Others = dataclasses.field(default_factory=Others)
    patterns: list[Pattern] = dataclasses.field(default_factory=list)

    def __repr__(self) -> str:
        return f"<Report of {self.trace.name}: {', '.join(k.name for k in self.pair)}>"

    @property
    def highest(self) -> ProcessReport:
        """The process with the highest peak under either model."""
        return max(self.processes, key=lambda p: (max(c.peak for c in p.counts), -p.number))

    def counts(self, side: int) -> Iterator[Count]:
        """The counts under one model: all processes, and the others as one."""
        yield from (process.counts[side] for process in self.processes)
        yield self.others.counts[side]


def unlimited(trace: Trace) -> Trace:
    """*trace* on a machine whose max_map_count nobody reaches."""
    sysctl = dataclasses.replace(trace.sysctl, max_map_count=_NO_LIMIT)
    return dataclasses.replace(trace, sysctl=sysctl)


def report(trace: Trace, pair: Pair, ksm: bool | None = None) -> Report:
    """Replay *trace* under both models and fold what they did; *ksm* as in Replay.

    Raises TraceError.
    """
    found = _Fold(trace, pair, ksm).run()
    for side, kernel in enumerate(pair):
        near = {
            p.number: p.counts[side]
            for p in found.processes
            if p.counts[side].peak >= found.max_map_count - _NEAR
        }
        if near:
            _find_limits(trace, kernel, ksm, near)
    return found


class _Fold:
    """The one pass over the steps of both models."""

    def __init__(self, trace: Trace, pair: Pair, ksm: bool | None) -> None:
        self._found = Report(trace, pair, trace.sysctl.max_map_count, ksm)
        self._runs = Lockstep.shared(unlimited(trace), pair, ksm)
        self._spaces = Spaces(self._runs, ProcessReport)
        self._patterns = Patterns(trace.page_size)
        self._only = [0, 0]
        self._exited: list[ProcessReport] = []
        self._found.ksm = self._runs.runs[0].process("main").merge_any

    def run(self) -> Report:
        """Fold every step into the report."""
        found, patterns = self._found, self._patterns
        for process, a, b in self._spaces.steps():
            process.events += 1
            event = a.event
            if event.name in LIFE:
                self._account(process, None, a, b)
                if process.exited:
                    process.exit_at = _moment(a)
                    self._end(process)
            else:
                self._account(process, patterns.of(a), a, b)
                if event.name == "prctl" and a.mm.merge_any:
                    found.ksm = True
        before, after = self._runs.results()
        found.results = before, after
        found.alike = self._runs.of == [0, 0]
        found.events = before.events
        found.processes = sorted(self._exited + self._spaces.living, key=lambda p: p.number)
        found.patterns = list(patterns)
        return found

    def _account(self, process: ProcessReport, pattern: Pattern | None, a: Step, b: Step) -> None:
        x, y = a.mm.vmas.count, b.mm.vmas.count
        ca, cb = process.counts
        if x != ca.vmas or y != cb.vmas:
            if pattern is not None:
                pattern.added[0] += x - ca.vmas
                pattern.added[1] += y - cb.vmas
            ca.vmas, cb.vmas = x, y
            if x > ca.peak:
                ca.peak, ca.peak_at = x, _moment(a)
            if y > cb.peak:
                cb.peak, cb.peak_at = y, _moment(b)
            process.curve.add(a.index + 1, x, y)
        elif a.index + 1 >= process.curve.until:
            process.curve.add(a.index + 1, x, y)
        if a.decisions:
            self._decide(0, a, ca, pattern)
        if b.decisions:
            self._decide(1, b, cb, pattern)

    def _decide(self, side: int, step: Step, count: Count, pattern: Pattern | None) -> None:
        for decision in step.decisions:
            if not decision.left or not decision.right:
                count.merges += 1
            if decision.prev is not None:
                count.blocked += 1
            if decision.next is not None:
                count.blocked += 1
        only = self._runs.runs[self._runs.of[side]].result.tally.only_mergeable
        more = only - self._only[side]
        if more:
            self._only[side] = only
            count.only += more
            if pattern is not None:
                pattern.blocked[side] += more

    def _end(self, process: ProcessReport) -> None:
        """Keep a process that exited, if its peak is among the highest."""
        self._exited.append(process)
        if len(self._exited) > MAX_EXITED:
            least = min(
                (p for p in self._exited if p.number), key=lambda p: max(c.peak for c in p.counts)
            )
            self._exited.remove(least)
            self._found.others.add(least)


def _moment(step: Step) -> Landmark:
    return Landmark(step.index + 1, step.event.line, step.event.text)


def _find_limits(trace: Trace, kernel: Kernel, ksm: bool | None, near: dict[int, Count]) -> None:
    """Note in each Count the first call that fails with max_map_count and would not without."""
    replays = [Replay(trace, kernel, ksm), Replay(unlimited(trace), kernel, ksm)]
    for space, limited, free in Spaces(Lockstep(trace, replays), SpacePair).steps():
        count = near.get(space.number)
        if (
            count is not None
            and limited.result != free.result
            and limited.result in (-abi.ENOMEM, -abi.EAGAIN)
        ):
            count.limit_at = _moment(limited)
            del near[space.number]
            if not near:
                return
