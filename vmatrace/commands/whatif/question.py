"""What a program's owner could change, and what each change saves: ``whatif()``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType

from vmatrace.commands.whatif import rewritings
from vmatrace.event import Event
from vmatrace.kernels import Kernel
from vmatrace.printable import Printable
from vmatrace.replayer.run import Replay, replay
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
    """The answer: ``changes`` sorted by what they save; ``together``: None without any.

    ``rewritten`` is the trace with all of them.
    """

    shown_by = "vmatrace.commands.whatif.as_table:write"

    trace: str
    path: str
    kernel: str
    now: Cost
    changes: list[Change]
    together: Cost | None
    rewritten: Trace


def whatif(trace: Trace, kernel: Kernel, ksm: bool | None = None) -> WhatIf:
    """What each rewriting would save of *trace* under *kernel*. Raises TraceError."""
    now = _cost(trace, kernel, ksm)
    changes: list[Change] = []
    applied: list[ModuleType] = []
    every, together = trace, None
    for module in rewritings.ALL:
        if not all(kernel.has(feature) for feature in module.FEATURES):
            continue
        other, calls = rewrite(trace, kernel, ksm, [module])
        if calls:
            cost = _cost(other, kernel, ksm)
            changes.append(Change(module.NAME, module.RULE, module.MEANING, calls, cost))
            applied.append(module)
            every, together = other, cost
    changes.sort(key=lambda change: (change.cost.peak, change.cost.vmas))
    if len(applied) > 1:
        every, _ = rewrite(trace, kernel, ksm, applied)
        together = _cost(every, kernel, ksm)
    return WhatIf(trace.name, trace.path, kernel.name, now, changes, together, every)


def rewrite(
    trace: Trace, kernel: Kernel, ksm: bool | None, modules: Sequence[ModuleType]
) -> tuple[Trace, int]:
    """*trace* after *modules*, one after the other, and how many calls they changed.

    Its expectations are not kept: they were about what it did before.
    """
    changed = 0
    for module in modules:
        made = module.make()
        events: list[Event] = []
        for step in Replay(trace, kernel, ksm).steps():
            instead = made.rewritten(step)
            changed += instead is not None
            events += [step.event] if instead is None else instead
        trace = replace(trace, read=partial(iter, events))
    return trace, changed


def _cost(trace: Trace, kernel: Kernel, ksm: bool | None) -> Cost:
    result = replay(trace, kernel, ksm)
    return Cost(result.vmas, result.peak_vmas, result.max_map_count - result.peak_vmas)
