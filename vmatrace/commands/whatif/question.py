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
    found: list[tuple[Change, ModuleType]] = []
    for module in rewritings.ALL:
        if not all(kernel.has(feature) for feature in module.FEATURES):
            continue
        other = rewrite(start, kernel, [module])
        if other.calls:
            cost, others = _cost(other, kernel)
            change = Change(module.NAME, module.RULE, module.MEANING, other.calls, cost)
            if others.beside(faults):
                found.append((change, module))
    found.sort(key=lambda pair: (pair[0].cost.peak, pair[0].cost.vmas))
    every, together = start, now
    for _, module in found:
        other = rewrite(every, kernel, [module])
        cost, others = _cost(other, kernel)
        if others.beside(faults) and (cost.peak, cost.vmas) <= (together.peak, together.vmas):
            every, together = other, cost
    changes = [change for change, _ in found]
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
        program = _rewrite(program, kernel, module.make())
    return program


def _rewrite(program: Rewritten, kernel: Kernel, made: Rewriting) -> Rewritten:
    trace, ksm, calls = program.trace, program.ksm, program.calls
    if made.looks_ahead:
        for step in Replay(trace, kernel, ksm).steps():
            made.seen(step)
    start, start_ksm = made.started(trace, ksm)
    events: list[Event] = []
    run = Replay(trace, kernel, ksm)
    for step in run.steps():
        made.places.note(step)
        instead = made.rewritten(step)
        if instead is None:
            events.append(made.kept(step))
        else:
            calls += 1
            events += instead
    more = made.finished(run)
    return Rewritten(with_events(start, events + more), start_ksm, calls + len(more))


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
