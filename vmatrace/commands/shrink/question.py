"""The smallest trace that keeps a condition: how it is asked for, and the answer as values."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vmatrace import abi
from vmatrace.diagnostic import Diagnostic, TraceError
from vmatrace.event import Event
from vmatrace.kernels import Kernel
from vmatrace.printable import Printable
from vmatrace.search import scenario
from vmatrace.search.conditions import Condition, OfLine, has, leaves
from vmatrace.search.goals import Goal
from vmatrace.search.reduction import NotReachedError, Reducer, Smallest, TellingError
from vmatrace.search.rewriting import changed
from vmatrace.trace.file import Trace, load_trace


@dataclass
class Shrunk(Printable):
    """A reduced trace: of how many events and processes how many are left.

    ``text`` is the trace file, ``path`` where it goes (None: standard output). ``tries`` replays
    took ``seconds``. ``minimal``: the last pass saw that no call of it can go.
    """

    shown_by = "vmatrace.commands.shrink.as_table:write"

    trace: str
    source: str
    keep: str
    models: tuple[str, ...]
    before: int
    after: int
    processes: tuple[int, int]
    tries: int
    seconds: float
    minimal: bool
    text: str
    path: str | None = None


@dataclass(frozen=True)
class ShrinkWish:
    """What to keep (``keep`` is its text), under which models, and how."""

    keep: str
    condition: Condition
    models: tuple[Kernel, ...]
    ksm: bool | None = None
    anonymize: bool = False
    seconds: float | None = None


def shrink(
    trace: Trace, wish: ShrinkWish, tell: Callable[[int, int], None], goal: Goal | None = None
) -> Shrunk:
    """Reduce *trace*. Raises TraceError for bad input, and where it does not meet the condition.

    *goal* judges in place of the models of *wish*.
    """
    began = time.monotonic()
    events = [item for item in trace.items() if isinstance(item, Event)]
    goal = goal or Goal(wish.condition, wish.models, wish.ksm)
    base = dataclasses.replace(trace, read=lambda: iter(()), notes=None)
    before = len(events)
    processes = len({event.pid for event in events})
    try:
        events = goal.settle(trace, events)
        reduced = Reducer(goal, base, events, wish.seconds, tell).reduce(wish.anonymize)
    except TellingError:
        message = "it cannot be anonymised: what is kept needs its addresses or names as they are"
        raise TraceError([Diagnostic(trace.path, 0, 0, message)]) from None
    except NotReachedError:
        message = _not_met(goal, base, events, wish)
        raise TraceError([Diagnostic(trace.path, 0, 0, message)]) from None
    seconds = time.monotonic() - began
    left = len({event.pid for event in reduced.events})
    about = _about(trace, wish, reduced, before)
    name = "shrunk" if wish.anonymize else f"{trace.name}-shrunk"
    text = scenario.text(
        name, reduced.base, reduced.events, wish.models, about, wish.ksm,
        _remarks(wish.condition, reduced.events),
    )  # fmt: skip
    _check(text, goal, reduced)
    return Shrunk(
        trace.name, trace.path, wish.keep, tuple(model.name for model in wish.models),
        before, len(reduced.events), (processes, left), reduced.tries, seconds, reduced.minimal,
        text,
    )  # fmt: skip


def _not_met(goal: Goal, base: Trace, events: Sequence[Event], wish: ShrinkWish) -> str:
    """Why the trace does not meet the condition, and what may have been meant."""
    under = " and ".join(model.name for model in wish.models)
    reasons = []
    if counts := goal.measured(base, events):
        said = ", ".join(f"{name} is {value}" for name, value in counts.items())
        reasons.append(f"{said} at its end")
    named = {event.line: event.name for event in events}
    told = goal.told(base, events)
    for line in dict.fromkeys(p.line for p in leaves(wish.condition) if isinstance(p, OfLine)):
        if line in told:
            reasons.append(f"{named[line]} in line {line} {_ended(told[line])}")
        else:
            reasons.append(f"no call stands in line {line}")
    if has(wish.condition, "expectation") and goal.expected is None:
        reasons.append("every expectation holds")
    hint = "another --kernel, or --ksm" if len(wish.models) == 1 else "other sides, or --ksm"
    if has(wish.condition, "mismatch"):
        reasons.append("the kernel does what the model does")
        hint = "another --kernel"
    what = f"the trace does not meet the condition {wish.keep!r} under {under}"
    return f"{what}{': ' if reasons else ''}{'; '.join(reasons)} (expected {hint}?)"


def _ended(result: int) -> str:
    if result >= 0:
        return "succeeds"
    return f"fails with {abi.ERRNO_NAME.get(-result, str(-result))}"


def _about(trace: Trace, wish: ShrinkWish, reduced: Smallest, before: int) -> str:
    under = ", then ".join(model.name for model in wish.models)
    source = "a trace" if wish.anonymize else trace.path
    lines = [
        f"The smallest trace that was found for the condition: {wish.keep}",
        f"Models: {under}. Reduced by vmatrace from {source}, {before} events, in "
        f"{reduced.tries} replays.",
    ]
    if reduced.minimal:
        parts = "calls, or of the mappings at its start," if reduced.base.maps else "calls"
        lines.append(f"1-minimal: without any one of its {parts} it is not met any more.")
    else:
        lines.append("Not proven minimal: the time was over before.")
    if reduced.base.sysctl.max_map_count != trace.sysctl.max_map_count:
        lines.append(f"vm.max_map_count was {trace.sysctl.max_map_count} there.")
    return "\n".join(lines)


def _remarks(condition: Condition, events: Sequence[Event]) -> dict[int, str]:
    lines = {leaf.line for leaf in leaves(condition) if isinstance(leaf, OfLine)}
    return {
        i: f"line {event.line} of the input"
        for i, event in enumerate(events)
        if event.line in lines
    }


def _check(text: str, goal: Goal, reduced: Smallest) -> None:
    """Read the file anew and replay it: it has to do what the reduced program does."""
    again = load_trace(text.encode(), "shrunk")
    read = [item for item in again.items() if isinstance(item, Event)]
    events = [changed(new, line=old.line) for new, old in zip(read, reduced.events, strict=True)]
    base = dataclasses.replace(again, read=lambda: iter(()))
    if goal.reach(base, events) is None:
        raise AssertionError("the reduced trace does not meet the condition when it is read again")
