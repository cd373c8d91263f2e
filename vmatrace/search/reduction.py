"""The smallest program that still does it: ``Reducer``, from a log to a scenario.

Slices first, which are guesses that cost one replay each; then delta debugging over what is left;
then simpler starts, processes, arguments, addresses and names. The last thing done to the calls is
a pass in which each is left out once: that the result is 1-minimal is seen, not hoped.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vmatrace.calls import CALLS
from vmatrace.event import Event, File
from vmatrace.layout import Layout
from vmatrace.search import folding, rewriting, slicing
from vmatrace.search.goals import Goal
from vmatrace.search.rewriting import Reduction
from vmatrace.search.shrink import Shrinker, consistent, fewest
from vmatrace.trace.file import Trace

#: Values of vm.max_map_count that are tried where a call meets the limit.
_LIMITS: Final = tuple(2**n for n in range(2, 16))
_RUNS: Final = 1 << 30
#: So many calls, or mappings of a start, are too many to be read.
_LONG: Final = 32


class TellingError(ValueError):
    """The program needs its addresses, or its names, as they are."""


class NotReachedError(ValueError):
    """The program that was to be reduced does not do it."""


@dataclass
class Smallest:
    """A reduced program: its start and calls, and how it was found.

    ``tries`` are the replays that it took. ``minimal``: without any one of its calls it does not do
    it any more, which the last pass has seen; False where the time was over before.
    """

    base: Trace
    events: list[Event]
    tries: int
    minimal: bool


class Reducer:
    """Reduces one program for one goal. ``seconds`` bound the work; None: it ends by itself."""

    def __init__(
        self,
        goal: Goal,
        base: Trace,
        events: Sequence[Event],
        seconds: float | None = None,
        tell: Callable[[int, int], None] = lambda calls, tries: None,
        tries: int = _RUNS,
    ) -> None:
        """*tell* hears how many calls are left after how many tries, *tries* at the most."""
        self._goal = goal
        self._best = Reduction(base, list(events))
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._tell = tell
        self._tries = tries

    def reduce(self, anonymize: bool = False) -> Smallest:
        """The smallest program found. Raises NotReachedError."""
        base, events = self._best
        count = self._goal.reach(base, events)
        if count is None:
            raise NotReachedError
        self._best = Reduction(base, events[:count])
        # What a log proves helps a program that lacks the calls to it: rather without.
        self._adopt([dataclasses.replace(base, partial=False)])
        self._lower_limit()
        self._slice()
        fold = self._fold()
        if fold is not None and len(fold.base.maps) > _LONG:
            self._best, fold = fold, None
        self._fewer()
        if fold is not None and len(self._best.events) > _LONG:
            self._best = fold
        self._adopt([dataclasses.replace(self._best.base, files=self._used_files())])
        self._simplify()
        self._fewer(simpler=True)
        self._rewrite(anonymize)
        minimal = self._fewer(simpler=True)
        while self._fewer_mappings():
            minimal = self._fewer()
        self._take(rewriting.labelled(self._best))
        self._adopt([dataclasses.replace(self._best.base, files=self._used_files())])
        return Smallest(*self._best, self._goal.tries, minimal)

    # --- trying ----------------------------------------------------------------------------------

    def _reach(self, base: Trace, events: Sequence[Event]) -> int | None:
        if self._late():
            return None
        found = self._goal.reach(base, events)
        self._tell(len(self._best.events), self._goal.tries)
        return found

    def _late(self) -> bool:
        if self._goal.tries > self._tries:
            return True
        return self._deadline is not None and time.monotonic() > self._deadline

    def _take(self, guess: Reduction | None) -> bool:
        """Go on with *guess* if it does it as well."""
        if guess is None:
            return False
        events = consistent(guess.events)
        count = self._reach(guess.base, events) if events else None
        if count is None:
            return False
        self._best = Reduction(guess.base, events[:count])
        return True

    def _adopt(self, starts: Iterable[Trace]) -> bool:
        return any(self._take(Reduction(start, self._best.events)) for start in starts)

    # --- the steps -------------------------------------------------------------------------------

    def _lower_limit(self) -> None:
        """Where a call meets vm.max_map_count: meet it with fewer VMAs."""
        if not self._goal.limits:
            return
        sysctl = self._best.base.sysctl
        limits = [n for n in _LIMITS if n < sysctl.max_map_count]
        self._adopt(
            dataclasses.replace(
                self._best.base, sysctl=dataclasses.replace(sysctl, max_map_count=limit)
            )
            for limit in limits
        )

    def _slice(self) -> None:
        if len(self._best.events) < 8:
            return
        base, events = self._best
        goal = self._goal
        past = slicing.history(base, goal.models[-1], goal.ksm, events, goal.hints)
        tried: set[int] = set()
        for guess in past.guesses():
            if len(guess) < len(events) and len(guess) not in tried:
                tried.add(len(guess))
                if self._take(Reduction(base, guess)):
                    return

    def _fold(self) -> Reduction | None:
        """A program with a start in place of nearly all its calls, where it has many and can."""
        unfolded = self._best
        if len(unfolded.events) <= _LONG:
            return None
        try:
            for model in reversed(self._goal.models):
                plain = rewriting.concrete(unfolded, model, self._goal.ksm)
                for guess in folding.folded(plain, model, self._goal.ksm):
                    if self._take(guess):
                        self._fewer()
                        self._fewer_mappings()
                        return self._best
            return None
        finally:
            self._best = unfolded

    def _fewer(self, simpler: bool = False) -> bool:
        """Without the calls that can go; whether each that is left was left out, and may not."""
        base = self._best.base
        known: set[int] = set()

        def reach(events: Sequence[Event]) -> int | None:
            key = hash(tuple((e.name, e.args, e.pid, e.label, e.line) for e in events))
            if key in known:
                return None
            count = self._reach(base, events)
            if count is None:
                known.add(key)
            return count

        shrinker = Shrinker(reach, _RUNS, self._late)
        events = self._best.events
        best = shrinker.shrink(events) if simpler else shrinker.fewer(events)
        self._best = Reduction(base, best)
        return shrinker.minimal

    def _fewer_mappings(self) -> bool:
        """Without the mappings of the start that can go; whether one did."""
        base, events = self._best
        before = len(base.maps)
        if self._take(Reduction(dataclasses.replace(base, maps=[]), events)):
            return before > 0

        def smaller(maps: Layout) -> Layout | None:
            other = dataclasses.replace(base, maps=maps)
            return maps if self._take(Reduction(other, self._best.events)) else None

        return len(fewest(base.maps, smaller)) < before

    def _simplify(self) -> None:
        self._fewer_mappings()
        while self._adopt(rewriting.simpler_starts(self._best.base)):
            pass
        while any(self._take(guess) for guess in rewriting.one_process_less(self._best)):
            pass
        self._take(rewriting.processes_named(self._best))

    def _rewrite(self, anonymize: bool) -> None:
        # Where that fails, results of the log say where things are.
        given = any(
            self._take(rewriting.concrete(self._best, model, self._goal.ksm))
            for model in reversed(self._goal.models)
        )
        places = any(self._take(rewriting.moved(self._best, squeeze)) for squeeze in (True, False))
        if anonymize and not (given and places and self._take(rewriting.anonymous(self._best))):
            raise TellingError

    def _used_files(self) -> dict[int | str, File]:
        return used_files(self._best.base.files, self._best.events)


def used_files(files: Mapping[int | str, File], events: Sequence[Event]) -> dict[int | str, File]:
    """Those of *files* that a descriptor argument of *events* refers to."""
    keys = {
        getattr(arg, "key", arg)
        for event in events
        for param, arg in zip(CALLS[event.name].params, event.args, strict=False)
        if param.kind == "fd" and not isinstance(arg, bool)
    }
    return {key: file for key, file in files.items() if key in keys}
