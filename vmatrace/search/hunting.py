"""Programs on which two models part: found by guided mutation, reduced, and their cause named.

What guides is coverage (breeding). A hunt is made of slices, each with random numbers of its own,
and slices of rounds; what a round has found, the next one knows. So the outcome depends on the seed
and the number of programs, and not on how many processes work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Final

from vmatrace.event import Event
from vmatrace.kernels import FEATURES, Feature, Kernel
from vmatrace.search import generate, rare, trials
from vmatrace.search.breeding import Breeder, Pool
from vmatrace.search.finds import Find, Ground, describe
from vmatrace.search.goals import Goal
from vmatrace.search.reduction import Reducer
from vmatrace.trace.file import Trace

#: Programs of a slice, and slices of a round.
SLICE: Final = 60
ROUND: Final = 4
#: Replays that a find is worth; what is not minimal by then is none.
_TRIES: Final = 4000
#: As many kinds of one cause are looked for before it is switched off in half of the programs.
_ENOUGH: Final = 2


@dataclass
class SliceResult:
    """What a slice came to: its finds, and how much coverage its programs had."""

    finds: list[Find]
    programs: int
    coverage: int


class Hunter:
    """Hunts slice by slice; ``known`` holds the kinds found so far."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.known: dict[tuple[str, ...], Find] = {}
        self.differing = [
            f for f in FEATURES.values() if ground.older.has(f) != ground.newer.has(f)
        ]
        self._starts = rare.starts(ground.older, ground.newer)
        makers = dict.fromkeys(m for table in generate.FAMILIES.values() for m, _ in table)
        self._breeder = Breeder(ground, [*makers, *rare.MAKERS], self.differing)

    def slice(
        self, number: int, known: Mapping[tuple[str, ...], Find], deadline: float | None = None
    ) -> SliceResult:
        """Run slice *number* up to the *deadline* (time.time(), which other machines share).

        *known* are the kinds that the rounds before have found, the same for every slice of one.
        """
        ground = self.ground
        random = Random(f"{ground.seed}/hunt/{number}")
        pool = Pool([(base, list(events)) for base, events in ground.corpus])
        tried: set[object] = set()
        finds: dict[tuple[str, ...], Find] = {}
        done = 0
        enough = well_known(known)
        for i in range(SLICE):
            if deadline is not None and time.time() > deadline:
                break
            done += 1
            if number == 0 and i < len(ground.corpus):
                base, events = ground.corpus[i][0], list(ground.corpus[i][1])
            else:
                base, events = self._breeder.bred(random, pool.programs, self._starts)
            masked = enough if i % 2 else ()
            newer = ground.newer.switched(masked)
            if newer.features == ground.older.features:
                newer = ground.newer
            try:
                trial = trials.run(base, events, ground.older, newer, ground.worse)
            except trials.UnmodelledError:
                continue
            pool.keep(base, events, trial.covered)
            if trial.count is None or trial.signature in tried:
                continue
            tried.add(trial.signature)
            find = self._reduced(base, events[: trial.count], newer, number * SLICE + i)
            if find is not None and _better(find, finds.get(find.kind) or known.get(find.kind)):
                finds[find.kind] = find
        return SliceResult(list(finds.values()), done, len(pool.seen))

    def add(self, found: SliceResult, seconds: float) -> list[Find]:
        """Take over what a slice found; those of its finds that are new."""
        new = []
        for find in found.finds:
            known = self.known.get(find.kind)
            if _better(find, known):
                first = seconds if known is None else known.seconds
                self.known[find.kind] = _at(find, first)
                if known is None:
                    new.append(self.known[find.kind])
        return new

    # --- a find ----------------------------------------------------------------------------------

    def _reduced(self, base: Trace, events: list[Event], newer: Kernel, number: int) -> Find | None:
        goal = Goal(self.ground.condition, [self.ground.older, newer])
        try:
            smallest = Reducer(goal, base, events, tries=_TRIES).reduce()
            if newer is not self.ground.newer:  # with that feature it may part elsewhere, or not
                goal = Goal(self.ground.condition, [self.ground.older, self.ground.newer])
                smallest = Reducer(goal, smallest.base, smallest.events, tries=_TRIES).reduce()
        except ValueError:
            return None
        if not smallest.minimal:
            return None
        return describe(self.ground, smallest, number)


def well_known(known: Mapping[tuple[str, ...], Find]) -> list[Feature]:
    """The features of which enough kinds are known."""
    counts: dict[str, int] = {}
    for find in known.values():
        for name in find.causes:
            counts[name] = counts.get(name, 0) + 1
    return [FEATURES[name] for name, count in counts.items() if count >= _ENOUGH]


def _better(find: Find, known: Find | None) -> bool:
    return known is None or find.calls < known.calls


def _at(find: Find, seconds: float) -> Find:
    from dataclasses import replace

    return replace(find, seconds=seconds)


# --- a whole hunt ---------------------------------------------------------------------------------


@dataclass
class HuntTotal:
    """A hunt so far: its programs, and the kinds found, in the order of finding.

    On a real kernel: how often it ``died`` and was booted anew, which traces of the corpus were
    ``skipped`` and why, and why the hunt ``ended`` before its time.
    """

    programs: int = 0
    seconds: float = 0.0
    finds: list[Find] = field(default_factory=list)
    interrupted: bool = False
    died: int = 0
    skipped: list[str] = field(default_factory=list)
    ended: str = ""


def _slice(
    ground: Ground, known: Mapping[tuple[str, ...], Find], deadline: float | None, number: str
) -> SliceResult:
    return _hunter(ground).slice(int(number), known, deadline)


#: The last one, since a process mostly gets slices of one hunt.
_last: list[Hunter] = []


def _hunter(ground: Ground) -> Hunter:
    if not _last or _last[0].ground != ground:
        _last[:] = [Hunter(ground)]
    return _last[0]


def hunt(
    hunter: Hunter,
    programs: int | None,
    seconds: float | None,
    share: Callable[[Callable[[str], SliceResult], Sequence[str]], Iterator[SliceResult]],
    most: int | None = None,
    tell: Callable[[HuntTotal], None] = lambda total: None,
) -> HuntTotal:
    """Hunt until so many *programs* are run, *seconds* are over or *most* kinds are found.

    *share* runs a function over inputs, in order. An interrupt (Ctrl-C) ends it, too.
    """
    began = time.monotonic()
    deadline = None if seconds is None else time.time() + seconds
    total = HuntTotal()
    number = 0
    last = None if programs is None else -(-programs // SLICE)
    try:
        while last is None or number < last:
            upto = number + ROUND if last is None else min(number + ROUND, last)
            inputs = [str(n) for n in range(number, upto)]
            work = partial(_slice, hunter.ground, dict(hunter.known), deadline)
            for result in share(work, inputs):
                total.programs += result.programs
                total.seconds = time.monotonic() - began
                hunter.add(result, total.seconds)
                total.finds = list(hunter.known.values())
                tell(total)
                if most is not None and len(total.finds) >= most:
                    total.finds = total.finds[:most]
                    return total
            number = upto
            if deadline is not None and time.time() > deadline:
                break
    except KeyboardInterrupt:
        total.interrupted = True
    total.seconds = time.monotonic() - began
    return total
