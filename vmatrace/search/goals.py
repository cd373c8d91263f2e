"""Whether a program does what is looked for, under one model or two: ``Goal.reach()``.

Knows conditions and replays. A goal is reached after an event; what comes behind is not needed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from vmatrace import abi
from vmatrace.event import Event, Expectation, Expr
from vmatrace.kernels import Kernel
from vmatrace.replayer.pairs import pairs_of
from vmatrace.replayer.result import Failure, Step
from vmatrace.replayer.run import Replay
from vmatrace.search.conditions import (
    GROWING,
    Compared,
    Condition,
    Named,
    Not,
    OfLine,
    Several,
    SideCount,
    Sum,
    has,
    leaves,
)
from vmatrace.trace.file import Trace

#: A program as long as this is asked after every event, a longer one so often, where each VMA has
#: to be looked at.
_LOOKS: Final = 512
_OF_MERGES: Final = ("merges", "blocked")
#: mremap() asks for so much room below the limit.
_NEAR_LIMIT: Final = 8
_TOO_MANY: Final = (-abi.ENOMEM, -abi.EAGAIN)


def with_events(base: Trace, events: Sequence[Event]) -> Trace:
    """*base* with these events in place of its own."""
    return dataclasses.replace(base, read=lambda: iter(events))


@dataclass
class Watched:
    """A run of a program under each model, as far as it has come.

    It has to hear of every step (``stepped()``): what merges add up to is counted when one was
    tried, and not for each call.
    """

    runs: list[Replay]
    parted: bool = False
    results: dict[int, int] = field(default_factory=dict)
    limits: set[tuple[str, int]] = field(default_factory=set)
    _known: dict[SideCount, int] = field(default_factory=dict)

    def stepped(self, step: Step) -> None:
        """A run has gone on."""
        if step.decisions:
            self._known.clear()

    def count(self, which: SideCount) -> int:
        """The count of a side as it is now."""
        value = self._known.get(which)
        if value is None:
            value = self._count(which)
            if which.name.startswith(_OF_MERGES):
                self._known[which] = value
        return value

    def _count(self, which: SideCount) -> int:
        run = self.runs[0 if which.side == "from" else -1]
        name, _, part = which.name.partition(".")
        tally, result = run.result.tally, run.result
        if name == "merges":
            return tally.merges[part] if part else tally.total
        if name == "blocked":
            code = part.replace("_", "-")
            return tally.blocked.get(code, 0) if part else tally.blocked_sides
        if name == "blocked_only_by_mergeable":
            return tally.only_mergeable
        if name == "splits":
            return run.world.splits
        if name in ("errors", "events"):
            return int(getattr(result, name))
        if name == "divergences":
            return result.diverged
        mms = [mm for _, mm in run.living()]
        if name == "peak_vmas":
            return max([result.past_peak, *(mm.peak_vmas for mm in mms)])
        if name == "vmas":
            return sum(mm.vmas.count for mm in mms)
        assert name == "mergeable"
        return sum(bool(vma.flags & abi.VM_MERGEABLE) for mm in mms for vma in mm.vmas)


class Goal:
    """A condition under one model, or under two: ``models`` are (kernel,) or (from, to).

    ``expected`` is the expectation that has to fail as it did; ``limits`` are the calls (name,
    errno) of which one has to fail at the limit. ``tries`` counts programs.
    """

    def __init__(
        self, condition: Condition, models: Sequence[Kernel], ksm: bool | None = None
    ) -> None:
        self.condition = condition
        self.models = tuple(models)
        self.ksm = ksm
        self.tries = 0
        self.limits: set[tuple[str, int]] | None = None
        self.expected: tuple[Expectation, list[Failure]] | None = None
        parts = list(leaves(condition))
        self._compares = has(condition, "differs")
        self._lines = frozenset(part.line for part in parts if isinstance(part, OfLine))
        self._limit = has(condition, "limit_hit")
        self._looks_at_all = any(
            count.name == "mergeable"
            for part in parts
            if isinstance(part, Compared)
            for count in part.counts()
        )
        self._expects = has(condition, "expectation")

    def reach(self, base: Trace, events: Sequence[Event]) -> int | None:
        """How many of *events* it takes, None where it is not reached. *base* is the start."""
        self.tries += 1
        watched = Watched(self._runs(base, events))
        pairs = pairs_of(watched.runs) if self._compares else []
        every = max(len(events) // _LOOKS, 1) if self._looks_at_all else 1
        for count, event in enumerate(events, 1):
            steps = []
            for run in watched.runs:
                step = run.step(event)
                if step is None:
                    return None
                watched.stepped(step)
                steps.append(step)
            self._note(watched, event, steps[-1])
            if pairs and not watched.parted:
                beside = zip(pairs, steps[1:], strict=True)
                watched.parted = not all(pair.is_same_after(steps[0], b) for pair, b in beside)
            looks = count % every == 0 or count == len(events) or watched.parted
            if looks and not self._expects and self._holds(self.condition, watched):
                return count
        if self._expects and self._fails_again(watched.runs[-1], events):
            return len(events)
        return None

    def _runs(self, base: Trace, events: Sequence[Event]) -> list[Replay]:
        trace = with_events(base, events)
        return [Replay(trace, model, self.ksm) for model in self.models]

    def _note(self, watched: Watched, event: Event, step: Step) -> None:
        if event.line in self._lines:
            watched.results[event.line] = step.result
        if self._limit and step.result in _TOO_MANY:
            full = watched.runs[-1].world.max_map_count - _NEAR_LIMIT
            if step.mm.vmas.count >= full:
                watched.limits.add((event.name, step.result))

    def _holds(self, condition: Condition, watched: Watched) -> bool:
        if isinstance(condition, Not):
            return not self._holds(condition.part, watched)
        if isinstance(condition, Several):
            found = (self._holds(part, watched) for part in condition.parts)
            return all(found) if condition.word == "and" else any(found)
        if isinstance(condition, Compared):
            return condition.holds(_value(condition.left, watched.count),
                                   _value(condition.right, watched.count))  # fmt: skip
        if isinstance(condition, OfLine):
            result = watched.results.get(condition.line)
            if result is None:
                return False
            if condition.errno is None:
                return result >= 0
            return result < 0 and condition.errno in (0, -result)
        assert isinstance(condition, Named)
        if condition.word == "differs":
            return watched.parted
        assert condition.word == "limit_hit"
        hit = watched.limits if self.limits is None else watched.limits & self.limits
        return bool(hit)

    # --- what the input shows --------------------------------------------------------------------

    def settle(self, trace: Trace, events: list[Event]) -> list[Event]:
        """Note, of the whole input, what makes the goal: which call meets the limit, what fails.

        Those of *events* that it can take.
        """
        if self._limit:
            watched = Watched(self._runs(trace, events))
            for event in events:
                step = watched.runs[-1].step(event)
                if step is not None:
                    watched.stepped(step)
                    self._note(watched, event, step)
            self.limits = watched.limits
        return events[: self._settle_expectation(trace)] if self._expects else events

    def _settle_expectation(self, trace: Trace) -> int | None:
        """How many events stand before the first expectation that fails."""
        replay = Replay(trace, self.models[-1], self.ksm)
        replay.run()
        if not replay.result.failures:
            return None
        line = replay.result.failures[0].line
        failures = [f for f in replay.result.failures if f.line == line]
        count = 0
        for item in trace.items():
            if isinstance(item, Event):
                count += 1
            elif item.line == line:
                self.expected = item, failures
                break
        return count

    def _fails_again(self, run: Replay, events: Sequence[Event]) -> bool:
        if self.expected is None:
            return False
        item, before = self.expected
        bound = {event.label for event in events if event.label is not None}
        if run.live(item.pid) is None or not _labels(item) <= bound:
            return False
        list(run.steps([item]))
        return _actual(run.result.failures) == _actual(before)

    @property
    def hints(self) -> list[SideCount]:
        """The growing counts that the condition wants to be large."""
        found = [c for leaf in leaves(self.condition) if isinstance(leaf, Compared)
                 for c in leaf.counts()]  # fmt: skip
        return [count for count in found if count.name in GROWING]

    def measured(self, base: Trace, events: Sequence[Event]) -> dict[str, int]:
        """The counts that the condition names, at the end of *events*."""
        watched = Watched(self._runs(base, events))
        for event in events:
            for run in watched.runs:
                if (step := run.step(event)) is not None:
                    watched.stepped(step)
        named = [c for leaf in leaves(self.condition) if isinstance(leaf, Compared)
                 for c in leaf.counts()]  # fmt: skip
        return {str(count): watched.count(count) for count in named}

    def told(self, base: Trace, events: Sequence[Event]) -> dict[int, int]:
        """What the calls in the lines that the condition names return under the last model."""
        watched = Watched(self._runs(base, events))
        for event in events:
            step = watched.runs[-1].step(event)
            if step is None:
                break
            self._note(watched, event, step)
        return watched.results


def _value(total: Sum, count: Callable[[SideCount], int]) -> int:
    value = 0
    for sign, part in total:
        value += sign * (part if type(part) is int else count(cast(SideCount, part)))
    return value


def _labels(item: Expectation) -> set[str]:
    ends: Iterable[int | Expr] = [end for row in item.maps or () for end in (row.start, row.end)]
    return {label for end in ends if isinstance(end, Expr) for label in end.labels()}


def _actual(failures: Sequence[Failure]) -> list[tuple[str, object]]:
    """What was there instead; of a layout, how many VMAs and how they differ from each other."""
    return [(f.what, len(f.actual) if isinstance(f.actual, list) else f.actual) for f in failures]
