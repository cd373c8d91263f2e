"""Programs on which a real kernel and a model part: the hunt of search, with the kernel as judge.

Programs are those of random verification. What no feature explains has no cause: a discovery.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Final

from vmatrace.event import Event
from vmatrace.kernels import FEATURES, Feature, Kernel
from vmatrace.oracle import KernelDied, Machine, OracleError
from vmatrace.search import scenario
from vmatrace.search.conditions import Named
from vmatrace.search.finds import Find
from vmatrace.search.goals import Goal
from vmatrace.search.hunting import HuntTotal
from vmatrace.search.reduction import Reducer
from vmatrace.trace.file import Trace
from vmatrace.verify import exhibit, findings
from vmatrace.verify.campaign import Bench, Campaign, readable
from vmatrace.verify.witness import Mismatch

#: Every fourth program starts with the vdso, the others without.
_START: Final = 1
#: So many programs that part alike at first sight are reduced.
_ALIKE: Final = 3


class _BenchGoal(Goal):
    """Reached where the kernel of *bench* and a model part."""

    def __init__(self, bench: Bench, kernel: Kernel) -> None:
        super().__init__(Named("mismatch"), [kernel])
        self._bench = bench

    def reach(self, base: Trace, events: Sequence[Event]) -> int | None:
        self.tries += 1
        self._bench.kernel = self.models[0]
        return self._bench.fails(_START, events)


def hunt_real(
    campaign: Campaign,
    machine: Machine,
    programs: int | None,
    seconds: float | None,
    most: int | None,
    tell: Callable[[HuntTotal], None],
) -> HuntTotal:
    """Hunt with the kernel of *machine* against campaign.kernel, as search.hunting.hunt()."""
    began = time.monotonic()
    total = HuntTotal()
    known: dict[tuple[str, ...], Find] = {}
    differing = _differing(campaign.kernel, findings.look(machine).kernel)
    tried: dict[object, int] = {}
    with Bench(campaign, machine) as bench:
        try:
            while programs is None or total.programs < programs:
                left = None if seconds is None else seconds - total.seconds
                find = _program(bench, campaign, total.programs, differing, tried, left)
                total.programs += 1
                total.seconds = time.monotonic() - began
                if find is not None and find.kind not in known:
                    known[find.kind] = find
                    total.finds = list(known.values())
                tell(total)
                if most is not None and len(total.finds) >= most:
                    break
                if seconds is not None and total.seconds > seconds:
                    break
        except KeyboardInterrupt:
            total.interrupted = True
    return total


def _differing(model: Kernel, like: Kernel) -> list[Feature]:
    """The features in which *model* is not *like* the kernel, as experiments found it; else all."""
    found = [f for f in FEATURES.values() if model.has(f) != like.has(f)]
    return found or list(FEATURES.values())


def _program(
    bench: Bench,
    campaign: Campaign,
    number: int,
    differing: Sequence[Feature],
    tried: dict[object, int],
    seconds: float | None,
) -> Find | None:
    goal = _BenchGoal(bench, campaign.kernel)
    base = Trace("hunt", "hunt", lambda: iter(()), files=bench.start(_START).files)
    events = bench.events(campaign, number)
    count = goal.reach(base, events)
    if count is None:
        return None
    first = _mismatch(bench, campaign.kernel, events[:count])
    alike = (events[count - 1].name, getattr(first, "field", ""))
    tried[alike] = tried.get(alike, 0) + 1
    if tried[alike] > _ALIKE:
        return None
    try:
        smallest = Reducer(goal, base, events[:count], seconds).reduce()
    except ValueError:  # it does not do it again
        return None
    events = readable(smallest.events)
    found = _mismatch(bench, campaign.kernel, events)
    if found is None:
        return None
    names, together = _causes(bench, campaign.kernel, base, events, differing)
    find = _find(campaign, bench.start(_START), events, found, names, number)
    return dataclasses.replace(find, together=together)


def _causes(
    bench: Bench, model: Kernel, base: Trace, events: Sequence[Event], differing: Sequence[Feature]
) -> tuple[tuple[str, ...], bool]:
    """The features any one of which, switched, lets the two agree; else those that do together."""

    def parts(kernel: Kernel) -> bool:
        return _BenchGoal(bench, kernel).reach(base, events) is not None

    alone = tuple(f.name for f in differing if not parts(model.switched([f])))
    if alone or parts(model.switched(differing)):
        return alone, False
    like = model.switched(differing)
    return tuple(f.name for f in differing if parts(like.switched([f]))), True


def _mismatch(
    bench: Bench, kernel: Kernel, events: Sequence[Event]
) -> Mismatch | KernelDied | None:
    bench.kernel = kernel
    try:
        return next(filter(None, bench.run(_START, events)), None)
    except KernelDied as died:
        return died
    except OracleError:
        return None


def _find(
    campaign: Campaign,
    start: Trace,
    events: list[Event],
    found: Mismatch | KernelDied,
    names: tuple[str, ...],
    number: int,
) -> Find:
    model = campaign.kernel
    what = found.field if isinstance(found, Mismatch) else "the kernel died"
    cause = f"Cause: {', '.join(names)}." if names else "Cause unknown: no feature explains it."
    about = "\n".join([
        f"The kernel {campaign.release} and the model {model.name} part at the last call: found by "
        f"vmatrace hunt, seed {campaign.seed}, program {number}.",
        f"They part in: {what}.", cause,
    ])  # fmt: skip
    last = events[-1]
    name = "-".join([*(names or ("unknown",)), last.name])
    base = model.base or model.name
    text = (
        exhibit.exhibit(name, start, events, found, about, base)
        if isinstance(found, Mismatch)
        else exhibit.deadly(name, start, events, about)
    )
    lines = tuple(scenario.call_lines(start, events))
    kind = (*names, last.name, what)
    return Find(kind, names, False, last.name, what, ("", ""), len(events), text, number, lines)
