"""Programs on which a real kernel and a model part: the hunt of search, with the kernel as judge.

Programs are those of random verification, and such as are bred (search.breeding): as long as model
and kernel do the same, what the model covers the kernel does. What no feature explains has no
cause: a discovery.
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
from vmatrace.search.breeding import Breeder, Pool, allowed, unwatched
from vmatrace.search.conditions import Named, parse
from vmatrace.search.finds import Find, Ground
from vmatrace.search.generate import FAMILIES
from vmatrace.search.goals import Goal
from vmatrace.search.hunting import HuntTotal, well_known
from vmatrace.search.program import Maker
from vmatrace.search.reduction import Reducer, Smallest
from vmatrace.search.shrink import consistent
from vmatrace.trace.file import Trace
from vmatrace.verify import exhibit, findings
from vmatrace.verify.campaign import Bench, Campaign, readable
from vmatrace.verify.mismatch import KernelGoal, MismatchGoal
from vmatrace.verify.realtrial import BLOCKED_SIDES, Judge
from vmatrace.verify.skip import Skip
from vmatrace.verify.witness import Mismatch

#: Every fourth program starts with the vdso, the others without.
_START: Final = 1
#: So many programs that part alike at first sight are reduced.
_ALIKE: Final = 3
#: One of so many programs is one of random verification.
_PLAIN: Final = 3
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
#: What is worse by each reason that a Judge has, as a condition on models.
_REASONS: Final = {
    "result": "differs and to.errors > from.errors",
    "number of VMAs": "differs and to.vmas > from.vmas",
    BLOCKED_SIDES: "differs and to.blocked > from.blocked",
}
#: Of what merges came to, nothing is known.
_NOT_TOLD: Final = ("", "")


class _BenchGoal(KernelGoal):
    """For programs that start as random ones do."""

    def __init__(self, bench: Bench, kernel: Kernel, judge: Judge, deaths: bool) -> None:
        super().__init__(kernel, judge, deaths)
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
        like = findings.look(machine).kernel
        self._differing = _differing(ground.newer, like)
        self._first = first
        self._like = like
        self._judge = Judge(like, ground.worse, first)
        self._deaths = not (ground.worse and first)
        self._pool = Pool()
        self._known: dict[tuple[str, ...], Find] = {}
        self._tried: dict[object, int] = {}
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
            goal = _BenchGoal(bench, self._ground.newer, self._judge, self._deaths)
            files = bench.start(_START).files
            base = Trace("hunt", "hunt", lambda: iter(()), files=files)
            breeder = Breeder(self._ground, _makers(), self._differing)
            empty = 0
            for index in count():
                events = self._made(bench, breeder, base, index)
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
            with MismatchGoal(
                self._ground.newer, self._machine, base, self._judge, self._deaths
            ) as goal:
                for variant in filter(None, (allowed(self._ground, v) for v in variants)):
                    yield _Program(number, base, variant, goal)
                    number += 1
        except (Skip, Unsupported) as reason:
            if not changes:
                self.total.skipped.append(f"{base.path}: {reason}")

    def _made(self, bench: Bench, breeder: Breeder, base: Trace, index: int) -> list[Event]:
        """Program *index*: every third is one of random verification, the others are bred."""
        ground, campaign = self._ground, self._campaign
        if index % _PLAIN:
            random = Random(f"{ground.seed}/real/{index}")
            _, events = breeder.bred(random, self._pool.programs, [base])
            return consistent(bench.allowed(unwatched(events)))
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

    def _model(self, number: int) -> Kernel:
        """Half of the programs do not see causes of which enough kinds are known."""
        model = self._ground.newer
        known = well_known(self._known) if number % 2 else []
        masked = [feature for feature in known if feature in self._differing]
        return model.switched(masked) if masked else model

    def _look(self, one: _Program, seconds: float | None) -> Find | None:
        goal, model = one.goal, self._model(one.number)
        self._judge.reason = None
        first = goal.look(one.base, one.events, model)
        if isinstance(goal, _BenchGoal):
            self._pool.keep(one.base, one.events, self._judge.shown.covered)
        if first is None or not self._is_new(one, *first):
            return None
        length, found = first
        events = one.events[:length]
        tries = _BOOTS if isinstance(found, KernelDied) else _TRIES
        self._judge.reason = getattr(found, "field", None)
        try:
            smallest = self._reduced(goal, one.base, events, model, tries, seconds)
        except ValueError:  # it does not do it again
            return None
        except KernelDied as died:  # what it was dying of is worth more than a shorter program
            self.total.ended = _ended(died)
            return self._find(one.base, readable(events), found, (), one.number, _NOT_TOLD)
        events = readable(smallest.events)
        self._judge.thorough = True
        again = goal.look(smallest.base, events)
        self._judge.thorough = False
        told = self._judge.shown.outcomes
        start = goal.begin(smallest.base)
        if again is None or start is None:
            return None
        names: tuple[str, ...] = ()
        together = False
        if isinstance(again[1], Mismatch):
            names, together = self._causes(goal, smallest.base, events)
        find = self._find(start, events, again[1], names, one.number, told)
        return dataclasses.replace(find, together=together)

    def _is_new(self, one: _Program, length: int, found: Mismatch | KernelDied) -> bool:
        """Whether a parting is worth being reduced: few that look alike are."""
        alike = self._judge.shown.signature
        if isinstance(found, KernelDied):
            alike = one.events[length - 1].name
        self._tried[alike] = self._tried.get(alike, 0) + 1
        return self._tried[alike] <= _ALIKE

    def _reduced(
        self, goal: KernelGoal, base: Trace, events: list[Event], model: Kernel, tries: int,
        seconds: float | None,
    ) -> Smallest:  # fmt: skip
        """The smallest program by which the kernel and *model* part, and ground.newer as well."""
        events = self._ahead(goal, base, events, model)
        with goal.judging(model):
            found = Reducer(goal, base, events, seconds, tries=goal.tries + tries).reduce()
        if model is self._ground.newer:
            return found
        again = Reducer(goal, found.base, found.events, seconds, tries=goal.tries + tries)
        return again.reduce()

    def _ahead(
        self, goal: KernelGoal, base: Trace, events: list[Event], model: Kernel
    ) -> list[Event]:
        """*events* as few as models make them, which costs a fraction, if the kernel does it, too.

        All of them where the model that the kernel was found to be does not.
        """
        reason = self._judge.reason
        condition = parse(_REASONS[reason]) if self._ground.worse and reason else Named("differs")
        sides = [self._like, model] if self._first else [model, self._like]
        start = goal.begin(base)
        if start is None:
            return events
        of_models = Goal(condition, sides)
        try:
            like = dataclasses.replace(base, process=start.process, sysctl=start.sysctl)
            fewer = Reducer(of_models, like, events, tries=_TRIES).reduce().events
        except ValueError:
            return events
        return fewer if goal.look(base, fewer, model) is not None else events

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

    def _find(
        self, start: Trace, events: list[Event], found: Mismatch | KernelDied,
        names: tuple[str, ...], number: int, told: tuple[str, str],
    ) -> Find:  # fmt: skip
        campaign, model = self._campaign, self._campaign.kernel
        what = found.field if isinstance(found, Mismatch) else "the kernel died"
        sides = (campaign.release, model.name)
        outcomes = zip(sides if self._first else sides[::-1], told, strict=True)
        about = "\n".join([
            f"The kernel {campaign.release} and the model {model.name} part at the last call: "
            f"found by vmatrace hunt, seed {campaign.seed}, program {number}.",
            f"They part in: {what}.",
            *(f"  {side}: {came}" for side, came in outcomes if came),
            f"Cause: {', '.join(names)}." if names else "Cause unknown: no feature explains it.",
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
        kind = (*names, last.name, what, *told)
        return Find(kind, names, False, last.name, what, told, len(events), text, number, lines)


def _ended(died: KernelDied) -> str:
    return f"the kernel {died} and cannot be booted again"


def _differing(model: Kernel, like: Kernel) -> list[Feature]:
    """The features in which *model* is not *like* the kernel, as experiments found it; else all."""
    found = [f for f in FEATURES.values() if model.has(f) != like.has(f)]
    return found or list(FEATURES.values())


def _makers() -> list[Maker]:
    """Those of random verification, which any machine can run."""
    return list(dict.fromkeys(maker for table in FAMILIES.values() for maker, _ in table))


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
