"""Make a failing program minimal: fewer events first, then simpler arguments.

Delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input") over
the events, then a greedy descent over the arguments. Knows events and their dependence on labels
and processes; whether a program fails, only the caller knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from vmatrace import abi
from vmatrace.calls import BIRTHS, CALLS, DEATHS
from vmatrace.event import Arg, Event, Expr

#: Whether a program still shows what is looked for: how many of its events that takes, or None.
Fails = Callable[[Sequence[Event]], "int | None"]
T = TypeVar("T")
_PAGE: Final = 4096
#: More events than this are made simpler together, first.
_MANY: Final = 32
#: Of no more events than this each is made simpler alone, and several can go at once after that.
_FEW: Final = 64
#: Into so many parts many events are divided, to be made simpler together.
_PARTS: Final = 32
#: Runs of a program that are worth an argument less.
BUDGET: Final = 4000


class Shrinker:
    """Reduces one program. ``runs`` counts how often it was tried.

    ``minimal``: the last pass over the events left each of them out, and none could go.
    """

    def __init__(
        self, fails: Fails, budget: int = BUDGET, late: Callable[[], bool] = lambda: False
    ) -> None:
        """Ends after *budget* runs, or as soon as it is *late*, with what it has then."""
        self._fails = fails
        self._budget = budget
        self._late = late
        self.runs = 0
        self.minimal = False

    def shrink(self, events: Sequence[Event]) -> list[Event]:
        """The shortest program found that still fails; *events* itself has to."""
        best = self._try(events)
        if best is None:
            raise ValueError("the program does not fail when it is run again")
        before = None
        while before is None or len(best) < len(before) or _texts(best) != _texts(before):
            chunk = None if before is None or len(best) <= _FEW else 1
            before = best
            best = self.fewer(best, chunk)
            best = self._simpler(best)
        return best

    def _try(self, events: Sequence[Event]) -> list[Event] | None:
        """What is left of *events* up to where they fail; None if they do not."""
        if self.runs >= self._budget or self._late():
            return None
        self.runs += 1
        candidate = consistent(events)
        count = self._fails(candidate) if candidate else None
        return None if count is None else candidate[:count]

    def fewer(self, events: list[Event], chunk: int | None = None) -> list[Event]:
        """*events*, which fail, without those that can go; their arguments stay.

        At first *chunk* of them go at once, half of them where it is None.
        """
        events = fewest(events, self._try, chunk)
        self.minimal = self.runs < self._budget and not self._late()
        return events

    def _simpler(self, events: list[Event]) -> list[Event]:
        if len(events) > _MANY:
            events = self._simpler_together(events)
        if len(events) > _FEW:
            return events
        position = 0
        while position < len(events):
            for variant in _variants(events[position]):
                tried = self._try([*events[:position], variant, *events[position + 1 :]])
                if tried is not None:
                    events = tried
                    break
            else:
                position += 1
                continue
            position = min(position, len(events) - 1)
        return events

    def _simpler_together(self, events: list[Event]) -> list[Event]:
        """The boldest variants of many events at once, of half of them, of a quarter…"""
        chunk, least = len(events), max(len(events) // _PARTS, 1)
        while chunk > least:
            for start in range(0, len(events), chunk):
                bold = [next(_variants(e), e) for e in events[start : start + chunk]]
                if bold == events[start : start + chunk]:
                    continue
                tried = self._try([*events[:start], *bold, *events[start + chunk :]])
                if tried is not None and len(tried) == len(events):
                    events = tried
            chunk //= 2
        return events


def fewest(
    items: list[T], smaller: Callable[[list[T]], list[T] | None], chunk: int | None = None
) -> list[T]:
    """*items* without those that can go: 1-minimal.

    *smaller* gives what is left of fewer items, None where they will not do; at first *chunk* go at
    once, half of them where it is None.
    """
    chunk = max(len(items) // 2, 1) if chunk is None else chunk
    while True:
        removed = False
        end = len(items)
        while end > 0:
            start = max(end - chunk, 0)
            rest = smaller(items[:start] + items[end:])
            if rest is not None and len(rest) < len(items):
                items, removed = rest, True
            end = min(start, len(items))
        if chunk == 1 and not removed:
            return items
        chunk = max(chunk // 2, 1)


def _texts(events: Sequence[Event]) -> list[tuple[str, tuple[Arg, ...]]]:
    return [(event.name, event.args) for event in events]


def consistent(events: Sequence[Event]) -> list[Event]:
    """*events* without those whose process or label does not exist where they stand."""
    alive, labels = {"main"}, set[str]()
    kept: list[Event] = []
    for event in events:
        needed = {name for a in event.args if isinstance(a, Expr) for name in a.labels()}
        if event.pid not in alive or not needed <= labels:
            continue
        kept.append(event)
        if event.label is not None:
            labels.add(event.label)
        if event.name in BIRTHS:
            alive.add(event.label or str(event.recorded))
        if event.name in DEATHS:
            alive.discard(event.pid)
    return kept


# --- simpler events -------------------------------------------------------------------------------


def _variants(event: Event) -> Iterator[Event]:
    """Events like *event* with one thing simpler, the boldest first."""
    for i, arg in enumerate(event.args):
        if type(arg) is not int:
            continue
        for value in _simpler_values(event, i, arg):
            if value != arg:
                yield _with_argument(event, i, value)


def _simpler_values(event: Event, position: int, value: int) -> list[int]:
    params = CALLS[event.name].params
    param = params[position] if position < len(params) else None
    if param is None:
        return [0] if value > 0 else []
    if param.kind == "size":
        if param.name in ("offset", "pgoff"):
            return [0] if value else []
        smaller = [_PAGE, value // 2 & -_PAGE, value - _PAGE, value & -_PAGE]
        return [n for n in dict.fromkeys(smaller) if 0 < n < value]
    if param.kind == "flags" and param.families == ("PROT_",):
        return [p for p in (abi.PROT_READ | abi.PROT_WRITE, abi.PROT_READ, 0) if _below(p, value)]
    if param.kind == "flags" and param.families in (("MAP_",), ("MREMAP_",), ("MCL_",)):
        keep = abi.MAP_TYPE if param.families == ("MAP_",) else 0
        if keep and event.args[4] == -1:
            keep |= abi.MAP_ANONYMOUS  # without it the call would fail
        bits = [1 << n for n in range(64) if value >> n & 1 and not 1 << n & keep]
        return [value & ~bit for bit in reversed(bits)]
    return []


def _below(prot: int, value: int) -> bool:
    """Read and write is the simplest protection, then read, then none; others can become these."""
    order = (abi.PROT_READ | abi.PROT_WRITE, abi.PROT_READ, 0)
    return value not in order or order.index(prot) < order.index(value)


def _with_argument(event: Event, position: int, value: int) -> Event:
    args = (*event.args[:position], value, *event.args[position + 1 :])
    return Event(
        event.name, args, "", event.line, event.column, event.pid, event.label, event.recorded,
        event.symbolic,
    )  # fmt: skip
