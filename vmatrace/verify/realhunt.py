"""Programs on which a real kernel and a model part: the hunt of search, with the kernel as judge.

Programs are those of random verification. What no feature explains has no cause: a discovery.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Final

from vmatrace import abi
from vmatrace.event import Event
from vmatrace.kernels import FEATURES, Feature, Kernel
from vmatrace.oracle import KernelDied, Machine, OracleError, Sandbox, Unsupported
from vmatrace.search import scenario
from vmatrace.search.finds import Find, Ground
from vmatrace.search.hunting import HuntTotal, allowed
from vmatrace.search.reduction import Reducer
from vmatrace.search.shrink import consistent
from vmatrace.trace.file import Trace
from vmatrace.verify import exhibit, findings, setting
from vmatrace.verify.campaign import Bench, Campaign, readable
from vmatrace.verify.mismatch import KernelGoal, MismatchGoal
from vmatrace.verify.witness import Mismatch

#: Every fourth program starts with the vdso, the others without.
_START: Final = 1
#: So many programs that part alike at first sight are reduced.
_ALIKE: Final = 3
#: Of programs of chosen calls alone so many times the events are made, and those kept.
_MORE: Final = 12
#: So many programs one after the other without an event: no program can be made.
_EMPTY: Final = 300
#: So many programs each trace of the corpus is changed into.
_CHANGED: Final = 8
#: Tries to reduce a program that the kernel dies of: most take a boot.
_BOOTS: Final = 40
#: Tries that any other is worth.
_TRIES: Final = 4000


_Wanted = Callable[["Mismatch | KernelDied"], bool]


class _BenchGoal(KernelGoal):
    """For programs that start as random ones do."""

    def __init__(self, bench: Bench, kernel: Kernel, wanted: _Wanted) -> None:
        super().__init__(kernel, wanted)
        self._bench = bench

    @property
    def revived(self) -> int:
        """See KernelGoal."""
        return self._bench.revived

    def sandbox(self) -> Sandbox:
        """See KernelGoal."""
        return self._bench.sandbox

    def begin(self, base: Trace) -> Trace | None:
        """See KernelGoal. Whatever *base* says, it starts in the same way."""
        try:
            return self._bench.start(_START)
        except OracleError:
            return None


@dataclass(frozen=True)
class _Program:
    """A program, its number, and who judges it: a goal for programs that start as *base* does."""

    number: int
    base: Trace
    events: list[Event]
    goal: KernelGoal


class RealHunt:
    """A hunt with the kernel of *machine* on one side, and ground.newer, a model, on the other.

    *first*: the kernel is the side --from. ``total`` is what it has come to.
    """

    def __init__(
        self, campaign: Campaign, machine: Machine, ground: Ground, first: bool = False
    ) -> None:
        self._campaign = campaign
        self._machine = machine
        self._ground = ground
        self._first = first
        self._known: dict[tuple[str, ...], Find] = {}
        self._tried: dict[object, int] = {}
        self._differing = _differing(ground.newer, findings.look(machine).kernel)
        self.total = HuntTotal()

    def run(
        self,
        programs: int | None,
        seconds: float | None,
        most: int | None,
        tell: Callable[[HuntTotal], None],
    ) -> HuntTotal:
        """Hunt until so many *programs* are run, *seconds* are over or *most* kinds are found.

        Raises ValueError where no program can be made.
        """
        began = time.monotonic()
        total = self.total
        made = self._programs()
        try:
            while (programs is None or total.programs < programs) and not (
                total.ended
                or (seconds is not None and total.seconds > seconds)
                or (most is not None and len(total.finds) >= most)
            ):
                one = next(made)
                before = one.goal.deaths
                left = None if seconds is None else seconds - total.seconds
                try:
                    find = self._look(one, left)
                finally:
                    total.died += one.goal.deaths - before
                total.programs += 1
                total.seconds = time.monotonic() - began
                if find is not None and find.kind not in self._known:
                    self._known[find.kind] = find
                    total.finds = list(self._known.values())
                tell(total)
        except KeyboardInterrupt:
            total.interrupted = True
        except KernelDied as died:
            total.ended = _ended(died)
        finally:
            made.close()
        return total

    # --- programs --------------------------------------------------------------------------------

    def _programs(self) -> Generator[_Program, None, None]:
        number = 0
        # A sandbox after the other, and never two: a machine that is booted anew has none of them.
        for changes in (0, _CHANGED):
            for base, begun in self._ground.corpus:
                for one in self._of_corpus(base, list(begun), number, changes):
                    yield one
                    number += 1
        with Bench(self._campaign, self._machine) as bench:
            goal = _BenchGoal(bench, self._ground.newer, self._wanted)
            files = bench.start(_START).files
            base = Trace("hunt", "hunt", lambda: iter(()), files=files)
            empty = 0
            for index in count():
                events = self._made(bench, index)
                empty = 0 if events else empty + 1
                if empty > _EMPTY:
                    raise ValueError("no program can be made of these calls alone")
                if events:
                    yield _Program(number, base, events, goal)
                    number += 1

    def _of_corpus(
        self, base: Trace, events: list[Event], number: int, changes: int
    ) -> Iterator[_Program]:
        """A trace as it is, or changed so many times; its first program has that number."""
        random = Random(f"{self._ground.seed}/corpus/{number}")
        variants = [_changed(random, events) for _ in range(changes)] if changes else [events]
        try:
            with MismatchGoal(self._ground.newer, self._machine, base, self._wanted) as goal:
                for variant in filter(None, (allowed(self._ground, v) for v in variants)):
                    yield _Program(number, base, variant, goal)
                    number += 1
        except (setting.Skip, Unsupported) as reason:
            if not changes:
                self.total.skipped.append(f"{base.path}: {reason}")

    def _made(self, bench: Bench, index: int) -> list[Event]:
        ground, campaign = self._ground, self._campaign
        size = campaign.events
        if ground.calls:
            campaign = dataclasses.replace(campaign, events=size * _MORE)
        events = allowed(ground, bench.events(campaign, index))
        if ground.calls:
            events = consistent(events[:size])
        if ground.ksm and events:
            events = [Event("prctl", (abi.PR_SET_MEMORY_MERGE, 1, 0, 0, 0), ""), *events]
        return events

    # --- a program -------------------------------------------------------------------------------

    def _wanted(self, found: Mismatch | KernelDied) -> bool:
        """Whether a parting counts: of --worse, whether --to is worse."""
        if not self._ground.worse:
            return True
        if isinstance(found, KernelDied):
            return not self._first
        results = found.modelled, found.actual
        vmas = len(found.model_layout), len(found.kernel_layout)
        if self._first:
            results, vmas = results[::-1], vmas[::-1]
        return vmas[0] < vmas[1] or (results[0] >= 0 > results[1])

    def _look(self, one: _Program, seconds: float | None) -> Find | None:
        goal = one.goal
        first = goal.look(one.base, one.events)
        if first is None:
            return None
        length, found = first
        alike = (one.events[length - 1].name, getattr(found, "field", ""))
        self._tried[alike] = self._tried.get(alike, 0) + 1
        if self._tried[alike] > _ALIKE:
            return None
        tries = goal.tries + (_BOOTS if isinstance(found, KernelDied) else _TRIES)
        try:
            smallest = Reducer(goal, one.base, one.events[:length], seconds, tries=tries).reduce()
        except ValueError:  # it does not do it again
            return None
        except KernelDied as died:  # what it was dying of is worth more than a shorter program
            self.total.ended = _ended(died)
            events = readable(one.events[:length])
            return _find(self._campaign, one.base, events, found, (), one.number)
        events = readable(smallest.events)
        again = goal.look(smallest.base, events)
        start = goal.begin(smallest.base)
        if again is None or start is None:
            return None
        names: tuple[str, ...] = ()
        together = False
        if isinstance(again[1], Mismatch):
            names, together = self._causes(goal, smallest.base, events)
        find = _find(self._campaign, start, events, again[1], names, one.number)
        return dataclasses.replace(find, together=together)

    def _causes(
        self, goal: KernelGoal, base: Trace, events: Sequence[Event]
    ) -> tuple[tuple[str, ...], bool]:
        """The features any one of which, switched, lets the two agree; else those that do all."""
        model, differing = self._ground.newer, self._differing

        def parts(kernel: Kernel) -> bool:
            return goal.look(base, events, kernel) is not None

        alone = tuple(f.name for f in differing if not parts(model.switched([f])))
        if alone or parts(model.switched(differing)):
            return alone, False
        like = model.switched(differing)
        return tuple(f.name for f in differing if parts(like.switched([f]))), True


def _ended(died: KernelDied) -> str:
    return f"the kernel {died} and cannot be booted again"


def _differing(model: Kernel, like: Kernel) -> list[Feature]:
    """The features in which *model* is not *like* the kernel, as experiments found it; else all."""
    found = [f for f in FEATURES.values() if model.has(f) != like.has(f)]
    return found or list(FEATURES.values())


def _changed(random: Random, events: Sequence[Event]) -> list[Event]:
    """*events* with some left out, and some made again."""
    events = list(events)
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(events) + 1)
        if random.randrange(2) and len(events) > 1:
            del events[at : at + random.randint(1, 2)]
        elif events:
            events.insert(at, random.choice(events))
    return events


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
