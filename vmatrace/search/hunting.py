"""Programs on which two models part: found by guided mutation, reduced, and their cause named.

What guides is coverage of merge decisions: a program whose calls lead to a decision (operation,
blockers of both sides, flags that differ) or to an error that none before had is kept and changed
further. A hunt is made of slices, each with random numbers of its own, and slices of rounds; what
a round has found, the next one knows. So the outcome depends on the seed and the number of
programs, and not on how many processes work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from random import Random
from typing import Final

from vmatrace import abi
from vmatrace.calls import BIRTHS
from vmatrace.event import Event
from vmatrace.kernels import FEATURES, Feature, Kernel
from vmatrace.replayer.uses import words_of
from vmatrace.search import generate, rare, trials
from vmatrace.search.finds import Find, Ground, describe
from vmatrace.search.goals import Goal
from vmatrace.search.program import Maker, Program
from vmatrace.search.reduction import Reducer
from vmatrace.search.shrink import consistent
from vmatrace.trace.file import Trace

#: Programs of a slice, and slices of a round.
SLICE: Final = 60
ROUND: Final = 4
#: Makers of what the sides differ in are so much likelier.
_LIKELIER: Final = 40
_POOL: Final = 200
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
        self._makers, self._weights = _table(ground, self.differing)

    def slice(
        self, number: int, known: Mapping[tuple[str, ...], Find], deadline: float | None = None
    ) -> SliceResult:
        """Run slice *number* up to the *deadline* (time.time(), which other machines share).

        *known* are the kinds that the rounds before have found, the same for every slice of one.
        """
        ground = self.ground
        random = Random(f"{ground.seed}/hunt/{number}")
        pool = [(base, list(events)) for base, events in ground.corpus]
        seen: set[object] = set()
        tried: set[object] = set()
        finds: dict[tuple[str, ...], Find] = {}
        done = 0
        enough = _enough(known)
        for i in range(SLICE):
            if deadline is not None and time.time() > deadline:
                break
            done += 1
            if number == 0 and i < len(ground.corpus):
                base, events = ground.corpus[i][0], list(ground.corpus[i][1])
            else:
                base, events = self._program(random, pool)
            masked = enough if i % 2 else ()
            newer = ground.newer.switched(masked)
            if newer.features == ground.older.features:
                newer = ground.newer
            try:
                trial = trials.run(base, events, ground.older, newer, ground.worse)
            except trials.UnmodelledError:
                continue
            if not trial.covered <= seen:
                seen |= trial.covered
                pool = [*pool[-_POOL:], (base, events)]
            if trial.count is None or trial.signature in tried:
                continue
            tried.add(trial.signature)
            find = self._reduced(base, events[: trial.count], newer, number * SLICE + i)
            if find is not None and _better(find, finds.get(find.kind) or known.get(find.kind)):
                finds[find.kind] = find
        return SliceResult(list(finds.values()), done, len(seen))

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

    # --- programs --------------------------------------------------------------------------------

    def _program(
        self, random: Random, pool: Sequence[tuple[Trace, list[Event]]]
    ) -> tuple[Trace, list[Event]]:
        if pool and random.random() < 0.5:
            base, events = random.choice(pool)
            if random.random() < 0.3:
                _, others = random.choice(pool)
                events = events[: random.randint(1, len(events))] + others
            return base, self._mutated(random, events)
        base = random.choice(self._starts)
        return base, self._made(random, random.randint(3, 16))

    def _made(self, random: Random, count: int) -> list[Event]:
        program = Program(random)
        ksm = self.ground.ksm
        if ksm or (ksm is None and random.random() < 0.5):
            program.emit("prctl", abi.PR_SET_MEMORY_MERGE, 1, 0, 0, 0)
        for maker in random.choices(self._makers, cum_weights=self._weights, k=count):
            program.turn()
            maker(program)
        return allowed(self.ground, program.events)

    def _mutated(self, random: Random, events: list[Event]) -> list[Event]:
        events = list(events[:40])
        for _ in range(random.randint(1, 3)):
            at = random.randrange(len(events) + 1)
            kind = random.randrange(3)
            if kind == 0:
                events[at:at] = self._made(random, random.randint(1, 2))
            elif kind == 1 and len(events) > 1:
                del events[at : at + random.randint(1, 2)]
            elif events:
                other = random.randrange(len(events))
                events.insert(at, events[other])
        return allowed(self.ground, events)

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


def allowed(ground: Ground, events: Sequence[Event]) -> list[Event]:
    """Those of *events* that *ground* allows, and that can be without the others."""
    kept = []
    for event in events:
        if ground.calls and event.name not in ground.calls:
            continue
        if ground.processes is False and event.name in BIRTHS:
            continue
        if ground.ksm is False and _switches_ksm(event):
            continue
        if ground.files is False and _maps_file(event):
            continue
        kept.append(event)
    return consistent(_unlabelled_twice(kept))


def _enough(known: Mapping[tuple[str, ...], Find]) -> list[Feature]:
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


# --- which makers ---------------------------------------------------------------------------------


def _all_makers() -> list[Maker]:
    makers = dict.fromkeys(m for table in generate.FAMILIES.values() for m, _ in table)
    return [*makers, *rare.MAKERS]


def _table(ground: Ground, differing: Sequence[Feature]) -> tuple[list[Maker], list[float]]:
    """All makers, those likelier that make what the sides differ in can matter to."""
    wanted = {word for feature in differing for word in feature.matters or ()}
    makers, weights = [], []
    for maker in _all_makers():
        events = rare.sample(maker)
        if ground.calls and not any(event.name in ground.calls for event in events):
            continue
        words = {word for event in events for word in words_of(event, event.args)}
        hits = len(words & wanted) / max(len(words), 1)
        makers.append(maker)
        weights.append(1 + _LIKELIER * hits)
    if not makers:
        raise ValueError("no program can be made of these calls alone")
    return makers, list(accumulate(weights))


def _switches_ksm(event: Event) -> bool:
    return event.name == "prctl" and event.args[0] == abi.PR_SET_MEMORY_MERGE


def _maps_file(event: Event) -> bool:
    if event.name == "shmat":
        return True
    flags = event.args[3] if event.name == "mmap" else 0
    return event.name == "mmap" and isinstance(flags, int) and not flags & abi.MAP_ANONYMOUS


def _unlabelled_twice(events: Sequence[Event]) -> list[Event]:
    """*events* without a second binding of a label, which mutation can make."""
    bound: set[str] = set()
    kept = []
    for event in events:
        if event.label is not None and event.label in bound:
            continue
        if event.label is not None:
            bound.add(event.label)
        kept.append(event)
    return kept


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
