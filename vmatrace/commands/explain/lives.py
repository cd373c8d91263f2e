"""How what is there at the end of a replay came to be: the life of one address, and of borders.

Looks at an address after each event of its process, and at a border only after events whose ranges
reach it; so the cost of an event does not depend on how many VMAs or borders there are.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from vmatrace.commands.explain.survey import PLACING, Moment
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

    __slots__ = ("address", "before", "changes", "now")

    def __init__(self, address: int, mm: Mm, moment: Moment | None) -> None:
        vma = mm.vmas.at(address)
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
        then = self.now
        now = standing(vma) if vma is not None else None
        placed = any(
            d.start <= self.address < d.end and d.op in PLACING and step.result >= 0
            for d in step.decisions
        )
        if now == then and not placed:
            return
        self.now = now
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
    """What an address is to the VMAs around it, since when (None: from the start), and what it was.

    ``placed``: the event put memory there. ``refusal`` is a merge attempt there that a child's
    border has from its parent.
    """

    state: str
    since: Moment | None
    was: str
    placed: bool = False
    refusal: MergeDecision | None = None


class _Life:
    """What is watched of one address space."""

    __slots__ = ("address", "borders")

    def __init__(self, address: AddressLife | None, borders: dict[int, BorderLife]) -> None:
        self.address = address
        self.borders = borders


class Watch:
    """Watches an address, or none, and *borders* (addresses) in every process of *replay*."""

    def __init__(self, replay: Replay, borders: Collection[int], address: int | None) -> None:
        self._replay = replay
        self._wanted = sorted(borders)
        self._address = address
        self._lives = {"main": self._begin(replay.process("main"), None)}

    def address(self, pid: str) -> AddressLife:
        """The life of the address in the process."""
        life = self._lives[pid].address
        assert life is not None
        return life

    def border(self, pid: str, address: int) -> BorderLife:
        """The life of one of the borders in the process."""
        return self._lives[pid].borders[address]

    def see(self, step: Step) -> None:
        """Take in what an event did."""
        pid = step.pid
        if step.born is not None:
            self._fork(step, step.born)
        elif step.executed:
            self._lives[pid] = self._begin(step.mm, Moment(step.index, step.event))
        elif step.ended:
            if pid != "main":
                self._lives.pop(pid, None)
        else:
            life = self._lives[pid]
            if life.address is not None:
                life.address.see(step)
            if self._wanted:
                self._see_borders(step, life)

    def _begin(self, mm: Mm, moment: Moment | None) -> _Life:
        address = AddressLife(self._address, mm, moment) if self._address is not None else None
        borders = {at: BorderLife(state_at(mm, at), moment, NOTHING) for at in self._wanted}
        return _Life(address, borders)

    def _fork(self, step: Step, child: str) -> None:
        mm, life = self._replay.process(child), self._lives[step.pid]
        if mm is step.mm:
            self._lives[child] = life
            return
        moment = Moment(step.index, step.event)
        borders = dict(life.borders)
        for at, border in life.borders.items():
            now = state_at(mm, at)
            if now != border.state:
                borders[at] = BorderLife(now, moment, border.state)
            elif now == TOUCHING:
                borders[at] = border._replace(refusal=_refusal(step.mm, at) or border.refusal)
        address = life.address.forked(mm, moment) if life.address is not None else None
        self._lives[child] = _Life(address, borders)

    def _see_borders(self, step: Step, life: _Life) -> None:
        mm = step.mm
        for at in self._reached(step):
            now, then = state_at(mm, at), life.borders[at]
            if now != then.state:
                placed = any(d.op in PLACING and at in (d.start, d.end) for d in step.decisions)
                moment = Moment(step.index, step.event)
                life.borders[at] = BorderLife(now, moment, then.state, placed)

    def _reached(self, step: Step) -> Collection[int]:
        """The borders that the event can have made or unmade."""
        wanted, touched = self._wanted, step.touched
        if touched is None:
            return wanted
        for d in step.decisions:
            touched += [(d.merged_start, d.merged_end), (d.start, d.end)]
        return {
            at
            for low, high in touched
            for at in wanted[bisect_left(wanted, low) : bisect_right(wanted, high)]
        }


def _refusal(mm: Mm, at: int) -> MergeDecision | None:
    vma = mm.vmas.at(at)
    last = vma.refusal if vma is not None and vma.start == at else None
    return last if isinstance(last, MergeDecision) and last.touches(at) else None
