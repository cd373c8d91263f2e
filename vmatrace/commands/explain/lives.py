"""How what is there at the end of a replay came to be: the life of one address, and of all borders.

Looks at an address after each event of its process, and at borders only where an event reaches; so
the cost of an event does not depend on how many VMAs or borders there are.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, NamedTuple, cast

from vmatrace import abi
from vmatrace.calls import LIFE
from vmatrace.commands.explain.placements import PLACING
from vmatrace.commands.explain.survey import Moment
from vmatrace.engine.merge import MergeDecision, Side, attributes
from vmatrace.engine.mm import Mm
from vmatrace.engine.vma import Vma
from vmatrace.replayer.result import Step
from vmatrace.replayer.run import Replay

#: What an event can do to the VMA at an address, in the order in which it is told.
KINDS: Final = (
    "started", "mapped", "replaced", "moved-here", "forked", "grew", "split", "shrank", "flags",
    "written", "attributes", "unmapped", "moved-away",
)  # fmt: skip
#: What an address can be to the VMAs around it: within one, between two that touch, at the edge of
#: one with nothing on the other side, or in the middle of nothing.
INSIDE: Final = "inside"
TOUCHING: Final = "touching"
EDGE: Final = "edge"
NOTHING: Final = "nothing"
#: Calls that change VMAs only by merging and splitting.
_CHANGING: Final = frozenset({"mprotect", "madvise"})


def standing(vma: Vma) -> Side:
    """A copy of what *vma* is now."""
    of = attributes(vma.flags, vma.skew, vma.file, vma.anon, vma.chain, vma.extra)
    return Side(vma.start, vma.end, of)


@dataclass
class LifeEvent:
    """What events did to the VMA at an address; alike ones in a row are one Change.

    ``after`` is the VMA as the last of them left it, None where nothing was left. ``set`` and
    ``cleared`` are the vm_flags that the last one changed.
    """

    kinds: tuple[str, ...]
    first: Moment | None
    last: Moment | None
    after: Side | None
    times: int = 1
    set: int = 0
    cleared: int = 0


class AddressLife:
    """The life of the VMA at one address; ``changes`` from its mapping on, or its unmapping.

    ``before`` is what was there before that, if anything was.
    """

    __slots__ = ("_seen", "address", "before", "changes", "now")

    def __init__(self, address: int, mm: Mm, moment: Moment | None) -> None:
        vma = mm.vmas.at(address)
        self._seen = _look(vma)
        self.address = address
        self.before: Side | None = None
        self.now = standing(vma) if vma is not None else None
        self.changes: list[LifeEvent] = []
        if self.now is not None:
            self.changes.append(LifeEvent(("started",), moment, moment, self.now))

    def forked(self, mm: Mm, moment: Moment) -> AddressLife:
        """The same life in a child."""
        child = AddressLife(self.address, mm, moment)
        child.before = self.before
        child.changes = [replace(change) for change in self.changes]
        if child.now is not None:
            child.changes.append(LifeEvent(("forked",), moment, moment, child.now))
        elif self.now is not None:
            child.before = self.now
            child.changes = [LifeEvent(("unmapped",), moment, moment, None)]
        return child

    def see(self, step: Step) -> None:
        """Take in what the event did."""
        vma = step.mm.vmas.at(self.address)
        seen = _look(vma)
        placed = False
        for d in step.decisions:
            if d.start <= self.address < d.end and d.op in PLACING and step.result >= 0:
                placed = True
        if seen == self._seen and not placed:
            return
        self._seen = seen
        then = self.now
        self.now = now = standing(vma) if vma is not None else None
        moment = Moment(step.index, step.event)
        moved = step.event.name == "mremap"
        if now is None:
            self._anew("moved-away" if moved else "unmapped", moment, then)
        elif then is None or placed:
            kind = "moved-here" if moved else "mapped" if then is None else "replaced"
            self._anew(kind, moment, then)
        else:
            kinds = tuple(_kinds(step.mm, then, now))
            gone, come = then.attributes.flags, now.attributes.flags
            self._add(LifeEvent(kinds, moment, moment, now, 1, come & ~gone, gone & ~come))

    def _anew(self, kind: str, moment: Moment, then: Side | None) -> None:
        self.before = then if then is not None else self.before
        self.changes = [LifeEvent((kind,), moment, moment, self.now)]

    def _add(self, change: LifeEvent) -> None:
        last = self.changes[-1]
        alike = last.kinds, last.set, last.cleared
        if alike == (change.kinds, change.set, change.cleared):
            last.last, last.after = change.last, change.after
            last.times += 1
        else:
            self.changes.append(change)


def _look(vma: Vma | None) -> tuple[object, ...] | None:
    """What standing() tells, for comparing."""
    if vma is None:
        return None
    return vma.start, vma.end, vma.flags, vma.skew, vma.file, vma.anon, vma.chain, vma.extra


def _kinds(mm: Mm, then: Side, now: Side) -> Iterator[str]:
    """What is different now; there was a VMA at the address, and there is."""
    if now.start < then.start or now.end > then.end:
        yield "grew"
    cut = [edge for edge, at in ((now.start, then.start), (now.end, then.end)) if edge != at]
    inner = [edge for edge in cut if then.start < edge < then.end]
    if any(state_at(mm, edge) == TOUCHING for edge in inner):
        yield "split"
    if any(state_at(mm, edge) != TOUCHING for edge in inner):
        yield "shrank"
    a, b = then.attributes, now.attributes
    if a.flags != b.flags:
        yield "flags"
    if a.anon != b.anon and not a.anon:
        yield "written"
    if (a.file, a.skew, a.extra) != (b.file, b.skew, b.extra) or (a.anon and a.anon != b.anon):
        yield "attributes"


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


class _Borders:
    """The borders of one address space as it was when it was last looked at.

    ``spans`` are the VMAs, in order, with their ``starts``, which are found faster among numbers;
    ``lives`` the addresses where two touch.
    """

    __slots__ = ("lives", "spans", "starts")

    def __init__(self, mm: Mm, moment: Moment | None) -> None:
        self.spans: list[_Span] = [(vma.start, vma.end) for vma in mm.vmas]
        self.starts = [start for start, _ in self.spans]
        touching = _touching(self.spans)
        self.lives = {at: BorderLife(moment, NOTHING) for at in touching}

    def forked(self, parent: Mm, child: Mm, moment: Moment) -> _Borders:
        """Those of a child."""
        borders = _Borders(child, moment)
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
        if ranges is None:
            self._compare(step, 0, len(self.spans), [(vma.start, vma.end) for vma in mm.vmas])
            return
        for low, high in ranges:
            self._look(step, low, high)

    def _look(self, step: Step, low: int, high: int) -> None:
        """Compare the VMAs that overlap or touch [low, high]."""
        spans, starts, find = self.spans, self.starts, step.mm.vmas.find
        low, high = low - 1 if low else 0, high + 1  # so that what touches overlaps
        while True:
            first = bisect_right(starts, low) - 1
            if first < 0 or spans[first][1] <= low:
                first += 1
            last = bisect_left(starts, high, first)
            old = spans[first:last]
            if old:  # what they left may be anywhere in them
                low, high = min(low, starts[first]), max(high, old[-1][1])
            now: list[_Span] = []
            vma = find(low)
            while vma is not None and vma.start < high:
                now.append((vma.start, vma.end))
                vma = vma.next
            if old == now:
                return
            # A VMA that reaches further may have swallowed others out there: look again.
            if not now or (now[0][0] >= low and now[-1][1] <= high):
                break
            low, high = min(low, now[0][0]), max(high, now[-1][1])
        self._compare(step, first, last, now)

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


class _Life:
    """What is watched of one address space."""

    __slots__ = ("address", "borders")

    def __init__(self, address: AddressLife | None, borders: _Borders | None) -> None:
        self.address = address
        self.borders = borders


class Watch:
    """Watches an address, or none, and the *borders*, or not, in every process of *replay*."""

    def __init__(self, replay: Replay, address: int | None, borders: bool = True) -> None:
        self._replay = replay
        self._borders = borders
        self._address = address
        self._lives = {"main": self._begin(replay.process("main"), None)}

    def address(self, pid: str) -> AddressLife:
        """The life of the address in the process."""
        life = self._lives[pid].address
        assert life is not None
        return life

    def border(self, pid: str, address: int) -> BorderLife:
        """The life of the border of two VMAs that touch at *address* in the process."""
        borders = self._lives[pid].borders
        assert borders is not None
        return borders.lives[address]

    def see(self, step: Step) -> None:
        """Take in what an event did."""
        pid = step.pid
        if step.event.name in LIFE:
            if step.born is not None:
                self._fork(step, step.born)
                return
            if step.executed:
                self._lives[pid] = self._begin(step.mm, Moment(step.index, step.event))
                return
            if step.ended:
                if pid != "main":
                    self._lives.pop(pid, None)
                return
        life = self._lives[pid]
        if life.address is not None:
            life.address.see(step)
        if life.borders is not None:
            life.borders.see(step)

    def _begin(self, mm: Mm, moment: Moment | None) -> _Life:
        address = AddressLife(self._address, mm, moment) if self._address is not None else None
        return _Life(address, _Borders(mm, moment) if self._borders else None)

    def _fork(self, step: Step, child: str) -> None:
        mm, life = self._replay.process(child), self._lives[step.pid]
        if mm is step.mm:
            self._lives[child] = life
            return
        moment = Moment(step.index, step.event)
        self._lives[child] = _Life(
            life.address.forked(mm, moment) if life.address is not None else None,
            life.borders.forked(step.mm, mm, moment) if life.borders is not None else None,
        )


def _refusal(mm: Mm, at: int) -> MergeDecision | None:
    vma = mm.vmas.at(at)
    last = vma.refusal if vma is not None and vma.start == at else None
    return last if isinstance(last, MergeDecision) and last.touches(at) else None
