"""What a program's owner could change, and what each change saves: ``whatif()``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from vmatrace.commands.whatif import rewritings
from vmatrace.commands.whatif.rewritings.rewriting import Rewriting
from vmatrace.event import Event
from vmatrace.kernels import Kernel
from vmatrace.printable import Printable
from vmatrace.replayer.run import Replay
from vmatrace.search.goals import with_events
from vmatrace.trace.file import Trace


@dataclass(frozen=True)
class Cost:
    """VMAs at the end, of all processes; the most that one had; how many more it could have."""

    vmas: int
    peak: int
    headroom: int


@dataclass(frozen=True)
class Change:
    """A rewriting that applies: ``calls`` are those that it changes."""

    name: str
    rule: str
    meaning: str
    calls: int
    cost: Cost


@dataclass(frozen=True)
class WhatIf(Printable):
    """The answer: ``changes`` sorted by what they save.

    ``together`` is the cost with all of them, but for those that cost more or fail beside the ones
    before; None without any. ``calls`` are those changed then, ``rewritten`` is that trace.
    """

    shown_by = "vmatrace.commands.whatif.as_table:write"

    trace: str
    path: str
    kernel: str
    now: Cost
    changes: list[Change]
    together: Cost | None
    calls: int
    rewritten: Trace


def whatif(trace: Trace, kernel: Kernel, ksm: bool | None = None) -> WhatIf:
    """What each rewriting would save of *trace* under *kernel*. Raises TraceError."""
    start = Rewritten(trace, ksm)
    now, faults = _cost(start, kernel)
    modules = [m for m in rewritings.ALL if all(kernel.has(f) for f in m.FEATURES)]
    found: list[tuple[Change, ModuleType, Rewritten]] = []
    for module, other in zip(modules, _each(start, kernel, modules), strict=True):
        if other.calls:
            cost, others = _cost(other, kernel)
            change = Change(module.NAME, module.RULE, module.MEANING, other.calls, cost)
            if others.beside(faults):
                found.append((change, module, other))
    found.sort(key=lambda one: (one[0].cost.peak, one[0].cost.vmas))
    every, together = start, now
    for change, module, alone in found:
        other, cost = alone, change.cost
        if every is not start:
            other = rewrite(every, kernel, [module])
            cost, others = _cost(other, kernel)
            if not others.beside(faults):
                continue
        if (cost.peak, cost.vmas) <= (together.peak, together.vmas):
            every, together = other, cost
    changes = [change for change, _, _ in found]
    shown = together if found else None
    return WhatIf(
        trace.name, trace.path, kernel.name, now, changes, shown, every.calls, every.trace
    )


@dataclass(frozen=True)
class Rewritten:
    """A trace and what it starts with, *ksm* as in replay(); ``calls``: how many are changed."""

    trace: Trace
    ksm: bool | None = None
    calls: int = 0


def rewrite(start: Rewritten, kernel: Kernel, modules: Sequence[ModuleType]) -> Rewritten:
    """*start* after *modules*, one after the other.

    Its expectations are not kept: they were about what it did before.
    """
    program = start
    for module in modules:
        (program,) = _each(program, kernel, [module])
    return program


def _each(program: Rewritten, kernel: Kernel, modules: Sequence[ModuleType]) -> list[Rewritten]:
    """*program* after each of *modules* alone: two replays, however many there are."""
    trace, ksm = program.trace, program.ksm
    made: list[Rewriting] = [module.make() for module in modules]
    if ahead := [one for one in made if one.looks_ahead]:
        for step in Replay(trace, kernel, ksm).steps():
            for one in ahead:
                one.seen(step)
    starts = [one.started(trace, ksm) for one in made]
    events: list[list[Event]] = [[] for _ in made]
    calls = [program.calls for _ in made]
    run = Replay(trace, kernel, ksm)
    for step in run.steps():
        for i, one in enumerate(made):
            one.places.note(step)
            instead = one.rewritten(step)
            if instead is None:
                events[i].append(one.kept(step))
            else:
                calls[i] += 1
                events[i] += instead
    found = []
    for one, (start, start_ksm), mine, count in zip(made, starts, events, calls, strict=True):
        more = one.finished(run)
        found.append(Rewritten(with_events(start, mine + more), start_ksm, count + len(more)))
    return found


@dataclass(frozen=True)
class Faults:
    """What did not go as a program says: the calls that failed, and how many records were wrong."""

    failed: frozenset[tuple[int, str]]
    records: int

    def beside(self, others: Faults) -> bool:
        """Whether the others had all of these."""
        return self.failed <= others.failed and self.records <= others.records


def _cost(program: Rewritten, kernel: Kernel) -> tuple[Cost, Faults]:
    """What a program costs, and how much of it did not go as it says."""
    run = Replay(program.trace, kernel, program.ksm)
    failed = {(step.event.line, step.event.name) for step in run.steps() if step.result < 0}
    result = run.result
    cost = Cost(result.vmas, result.peak_vmas, result.max_map_count - result.peak_vmas)
    return cost, Faults(frozenset(failed), result.diverged + result.assumed)
