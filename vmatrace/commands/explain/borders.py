"""The lives of borders: since when two VMAs touch, and what was there before.

Looks only where an event reaches; so the cost of an event does not depend on how many VMAs or
borders there are.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from typing import Final, NamedTuple, cast

from vmatrace import abi
from vmatrace.commands.explain.placements import PLACING
from vmatrace.commands.explain.survey import Moment
from vmatrace.engine.merge import MergeDecision
from vmatrace.engine.mm import Mm
from vmatrace.replayer.changes import changed
from vmatrace.replayer.result import Step

#: What an address can be to the VMAs around it: within one, between two that touch, at the edge of
#: one with nothing on the other side, or in the middle of nothing.
INSIDE: Final = "inside"
TOUCHING: Final = "touching"
EDGE: Final = "edge"
NOTHING: Final = "nothing"
#: Calls that change VMAs only by merging and splitting.
_CHANGING: Final = frozenset({"mprotect", "madvise"})
#: Around one address, of more than so many VMAs so many on each side are watched on.
_MOST: Final = 64
_KEPT: Final = 16
_BEYOND: Final = abi.ULONG_MAX + 1


def state_at(mm: Mm, address: int) -> str:
    """INSIDE, TOUCHING, EDGE or NOTHING."""
    above = mm.vmas.find(address)
    if above is not None and above.start < address:
        return INSIDE
    below = above.prev if above is not None else mm.vmas.last
    ends = below is not None and below.end == address
    if above is not None and above.start == address:
        return TOUCHING if ends else EDGE
    return EDGE if ends else NOTHING


class BorderLife(NamedTuple):
    """Two VMAs that touch: since when (None: from the start), and what the address was before.

    ``placed``: the event put memory there. ``refusal`` is a merge attempt there that a child's
    border has from its parent.
    """

    since: Moment | None
    was: str
    placed: bool = False
    refusal: MergeDecision | None = None


_Span = tuple[int, int]  # a VMA: its start and end


class Borders:
    """The borders of one address space as it was when it was last looked at.

    ``spans`` are the VMAs, in order, with their ``starts``, which are found faster among numbers;
    ``lives`` the addresses where two touch. All that is between ``low`` and ``high``: everywhere
    or, of one address, in a window *around* it, which only gets narrower.
    """

    __slots__ = ("around", "high", "lives", "low", "spans", "starts")

    def __init__(
        self, mm: Mm, moment: Moment | None, around: int | None, like: Borders | None = None
    ) -> None:
        """*like*: in the window of that."""
        self.around = around
        self.low: int = like.low if like is not None else 0
        self.high: int = like.high if like is not None else _BEYOND
        self.spans: list[_Span] = []
        vma = mm.vmas.find(self.low)
        while vma is not None and vma.start < self.high:
            self.spans.append((vma.start, vma.end))
            vma = vma.next
        self.starts = [start for start, _ in self.spans]
        self.lives = {
            at: BorderLife(moment, NOTHING) for at in _touching(self.spans) if self.knows(at)
        }
        self._narrow()

    def knows(self, address: int) -> bool:
        """Whether the life of a border there is known."""
        return self.low < address < self.high

    def forked(self, parent: Mm, child: Mm, moment: Moment) -> Borders:
        """Those of a child."""
        borders = Borders(child, moment, self.around, self)
        for at in borders.lives:
            life = self.lives.get(at)
            if life is None:
                now = BorderLife(moment, _state_in(self.spans, at))
            else:
                now = life._replace(refusal=_refusal(parent, at) or life.refusal)
            borders.lives[at] = now
        return borders

    def see(self, step: Step) -> None:
        """Take in what the event did."""
        mm, name = step.mm, step.event.name
        if not step.decisions and not step.splits and mm.vmas.count == len(self.spans):
            if name in _CHANGING:
                return  # it had nothing to change, or could not
            if name == "fault":
                vma = mm.vmas.at(cast(int, step.args[0]))
                if vma is None or not vma.flags & abi.VM_GROWSDOWN:
                    return
        ranges = step.reach
        for low, high in [(self.low, self.high)] if ranges is None else ranges:
            if low <= self.high and self.low <= high:
                self._look(step, max(low, self.low), min(high, self.high))
        self._narrow()

    def _narrow(self) -> None:
        spans, around = self.spans, self.around
        if around is None or len(spans) <= _MOST:
            return
        middle = bisect_left(self.starts, around)
        first, last = max(middle - _KEPT, 0), middle + _KEPT
        if first:
            self.low = max(self.low, spans[first][0])
        if last < len(spans):
            self.high = min(self.high, spans[last - 1][1])
        self.spans, self.starts = spans[first:last], self.starts[first:last]
        self.lives = {at: life for at, life in self.lives.items() if self.knows(at)}

    def _look(self, step: Step, low: int, high: int) -> None:
        """Compare the VMAs that overlap or touch [low, high]."""
        vmas = step.mm.vmas

        def read(low: int, high: int) -> list[_Span]:
            return [(vma.start, vma.end) for vma in vmas.overlapping(low, high)]

        found = changed(self.spans, self.starts, low, high, read)
        if found is not None:
            self._compare(step, *found)

    def _compare(self, step: Step, first: int, last: int, now: list[_Span]) -> None:
        """The VMAs between these places have become those of *now*."""
        spans, lives = self.spans, self.lives
        # With the neighbours, which stay: where they touch may have come or gone.
        low, high = max(first - 1, 0), last + 1
        old = spans[low:high]
        spans[first:last] = now
        self.starts[first:last] = [start for start, _ in now]
        touching = _touching(spans[low : first + len(now) + 1])
        for start, _ in old[1:]:
            if start not in touching and start in lives:
                del lives[start]
        for at in touching:
            if at not in lives:
                placed = any(d.op in PLACING and at in (d.start, d.end) for d in step.decisions)
                was = _state_in(old, at)
                lives[at] = BorderLife(Moment(step.index, step.event), was, placed)


def _touching(spans: list[_Span]) -> set[int]:
    """Where one of *spans* ends and another starts."""
    return {b[0] for a, b in pairwise(spans) if a[1] == b[0]}


def _state_in(spans: list[_Span], address: int) -> str:
    """As state_at()."""
    i = bisect_left(spans, (address,))
    starts = i < len(spans) and spans[i][0] == address
    end = spans[i - 1][1] if i else -1
    if end > address:
        return INSIDE
    if end == address:
        return TOUCHING if starts else EDGE
    return EDGE if starts else NOTHING


def _refusal(mm: Mm, at: int) -> MergeDecision | None:
    vma = mm.vmas.at(at)
    last = vma.refusal if vma is not None and vma.start == at else None
    return last if isinstance(last, MergeDecision) and last.touches(at) else None
