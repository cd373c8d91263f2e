"""Programs made of others: new ones, changed ones, and the pool of those that covered something.

What guides is coverage of merge decisions: a program whose calls lead to a decision (operation,
blockers of both sides, flags that differ) or to an error that none before had is kept, and changed
further. Knows no kernel: whoever runs a program says what it covered.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from random import Random
from typing import Final

from vmatrace import abi
from vmatrace.calls import BIRTHS
from vmatrace.event import Event
from vmatrace.kernels import Feature
from vmatrace.replayer.uses import words_of
from vmatrace.search import rare
from vmatrace.search.finds import Ground
from vmatrace.search.program import Maker, Program
from vmatrace.search.shrink import consistent
from vmatrace.trace.file import Trace

#: Makers of what the sides differ in are so much likelier.
_LIKELIER: Final = 40
_POOL: Final = 200
_LONGEST: Final = 40
#: Advice that touches pages.
_POPULATING: Final = (abi.MADV_POPULATE_READ, abi.MADV_POPULATE_WRITE, abi.MADV_COLLAPSE)

#: A start, and events.
Bred = tuple[Trace, list[Event]]


class Breeder:
    """Makes programs that *ground* allows. Raises ValueError where none of *makers* can."""

    def __init__(
        self, ground: Ground, makers: Sequence[Maker], differing: Sequence[Feature]
    ) -> None:
        self._ground = ground
        self._makers, self._weights = _table(ground, makers, differing)

    def made(self, random: Random, count: int) -> list[Event]:
        """A new program of so many makers' calls."""
        program = Program(random)
        ksm = self._ground.ksm
        if ksm or (ksm is None and random.random() < 0.5):
            program.emit("prctl", abi.PR_SET_MEMORY_MERGE, 1, 0, 0, 0)
        for maker in random.choices(self._makers, cum_weights=self._weights, k=count):
            program.turn()
            maker(program)
        return allowed(self._ground, program.events)

    def bred(self, random: Random, pool: Sequence[Bred], starts: Sequence[Trace]) -> Bred:
        """Half of the time one of *pool*, changed; else a new one, with one of *starts*."""
        if pool and random.random() < 0.5:
            base, events = random.choice(pool)
            if random.random() < 0.3:
                _, others = random.choice(pool)
                events = events[: random.randint(1, len(events))] + others
            return base, self._mutated(random, events)
        base = random.choice(starts)
        return base, self.made(random, random.randint(3, 16))

    def _mutated(self, random: Random, events: list[Event]) -> list[Event]:
        events = list(events[:_LONGEST])
        for _ in range(random.randint(1, 3)):
            at = random.randrange(len(events) + 1)
            kind = random.randrange(3)
            if kind == 0:
                events[at:at] = self.made(random, random.randint(1, 2))
            elif kind == 1 and len(events) > 1:
                del events[at : at + random.randint(1, 2)]
            elif events:
                other = random.randrange(len(events))
                events.insert(at, events[other])
        return allowed(self._ground, events)


class Pool:
    """The last programs that covered what none before had; ``seen`` is all that was covered."""

    def __init__(self, programs: Sequence[Bred] = ()) -> None:
        self.programs = list(programs)
        self.seen: set[object] = set()

    def keep(self, base: Trace, events: list[Event], covered: set[object]) -> None:
        """Keep a program if it covered something new."""
        if not covered <= self.seen:
            self.seen |= covered
            self.programs = [*self.programs[-_POOL:], (base, events)]


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


def unwatched(events: Sequence[Event]) -> list[Event]:
    """*events* without accesses to what a userfaultfd may watch by then: whether they return is
    its reader's matter, which is not modelled.
    """
    first = next((i for i, event in enumerate(events) if _watches(event)), None)
    if first is None:
        return list(events)
    return [
        event
        for i, event in enumerate(events)
        if not (_locks(event) or (i > first and _accesses(event)))
    ]


def _watches(event: Event) -> bool:
    return event.name == "ioctl" and event.args[1] == abi.UFFDIO_REGISTER


def _locks(event: Event) -> bool:
    """Whether it makes memory present, and what is mapped there later."""
    return event.name in ("mlock", "mlock2", "mlockall") or _has_flags(event, abi.MAP_LOCKED)


def _accesses(event: Event) -> bool:
    if event.name in ("madvise", "process_madvise"):
        return event.args[3 if event.name == "process_madvise" else 2] in _POPULATING
    return event.name == "fault" or _has_flags(event, abi.MAP_POPULATE)


def _has_flags(event: Event, wanted: int) -> bool:
    flags = event.args[3] if event.name == "mmap" else 0
    return isinstance(flags, int) and flags & wanted != 0


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


def _table(
    ground: Ground, all_makers: Sequence[Maker], differing: Sequence[Feature]
) -> tuple[list[Maker], list[float]]:
    """The makers, those likelier that make what the sides differ in can matter to."""
    wanted = {word for feature in differing for word in feature.matters or ()}
    makers, weights = [], []
    for maker in all_makers:
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
