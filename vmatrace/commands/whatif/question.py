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

    ``combined`` are the names of those that save something together, in the order of rewriting:
    no other saves more beside them, and without any one of them it costs more. ``together`` is the
    cost with these, None where nothing applies. ``calls`` are those changed then, ``rewritten`` is
    that trace, which without any is as it was.
    """

    shown_by = "vmatrace.commands.whatif.as_table:write"

    trace: str
    path: str
    kernel: str
    now: Cost
    changes: list[Change]
    together: Cost | None
    combined: list[str]
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
    found.sort(key=lambda one: _saved(one[0].cost))
    chain = _together(start, now, faults, kernel, [module for _, module, _ in found])
    every = chain.program
    return WhatIf(
        trace.name, trace.path, kernel.name, now, [change for change, _, _ in found],
        chain.cost if found else None, [module.NAME for module in chain.modules],
        every.calls, every.trace,
    )  # fmt: skip


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


@dataclass(frozen=True)
class _Chain:
    """Rewritings one after the other, what they make of a program, and what that costs."""

    modules: tuple[ModuleType, ...]
    program: Rewritten
    cost: Cost


def _together(
    start: Rewritten, now: Cost, faults: Faults, kernel: Kernel, modules: Sequence[ModuleType]
) -> _Chain:
    """Each of *modules* that saves something beside those before it, over again until none does.

    Then those are left out again without which, thanks to later ones, it costs no more.
    """

    def longer(chain: _Chain, module: ModuleType) -> _Chain | None:
        program = rewrite(chain.program, kernel, [module])
        if program.calls == chain.program.calls:
            return None
        cost, others = _cost(program, kernel)
        return _Chain((*chain.modules, module), program, cost) if others.beside(faults) else None

    chain, before = _Chain((), start, now), None
    while before is not chain:
        before = chain
        for module in modules:
            other = longer(chain, module) if module not in chain.modules else None
            if other is not None and _saved(other.cost) < _saved(chain.cost):
                chain = other
    for module in chain.modules[:-1]:
        shorter: _Chain | None = _Chain((), start, now)
        for kept in chain.modules:
            if kept is not module and shorter is not None:
                shorter = longer(shorter, kept)
        if shorter is not None and _saved(shorter.cost) <= _saved(chain.cost):
            chain = shorter
    return chain


def _saved(cost: Cost) -> tuple[int, int]:
    """What is to become less."""
    return cost.peak, cost.vmas


def _cost(program: Rewritten, kernel: Kernel) -> tuple[Cost, Faults]:
    """What a program costs, and how much of it did not go as it says."""
    run = Replay(program.trace, kernel, program.ksm)
    failed = {(step.event.line, step.event.name) for step in run.steps() if step.result < 0}
    result = run.result
    cost = Cost(result.vmas, result.peak_vmas, result.max_map_count - result.peak_vmas)
    return cost, Faults(frozenset(failed), result.diverged + result.assumed)
