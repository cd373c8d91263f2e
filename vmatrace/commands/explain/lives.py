"""How what is there at the end of a replay came to be: the life of one address, and of borders.

Looks only where an event reaches; so the cost of an event does not depend on how many VMAs or
borders there are. Who asks for one address is told of the borders around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from vmatrace.calls import LIFE
from vmatrace.commands.explain.borders import TOUCHING, BorderLife, Borders, state_at
from vmatrace.commands.explain.placements import PLACING
from vmatrace.commands.explain.survey import Moment
from vmatrace.engine.merge import Side, attributes
from vmatrace.engine.mm import Mm
from vmatrace.engine.vma import Vma
from vmatrace.replayer.result import Step
from vmatrace.replayer.run import Replay

#: What an event can do to the VMA at an address, in the order in which it is told.
KINDS: Final = (
    "started", "mapped", "replaced", "moved-here", "forked", "grew", "split", "shrank", "flags",
    "written", "attributes", "unmapped", "moved-away",
)  # fmt: skip


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


class _Life:
    """What is watched of one address space: an address and the borders around it, or all borders.

    ``address`` is None where no address is asked for.
    """

    __slots__ = ("address", "borders", "high", "low")

    def __init__(self, address: AddressLife | None, borders: Borders) -> None:
        self.address = address
        self.borders = borders
        self._settle()

    def _settle(self) -> None:
        """Note where events matter: they reach from ``low`` to ``high``, both included."""
        self.low, self.high = self.borders.low, self.borders.high
        now = self.address.now if self.address is not None else None
        if now is not None:
            self.low, self.high = min(self.low, now.start), max(self.high, now.end)

    def see(self, step: Step) -> None:
        """Take in what the event did."""
        if self.address is None:
            self.borders.see(step)
            return
        ranges = step.reach
        if ranges is not None:
            for low, high in ranges:
                if low <= self.high and self.low <= high:
                    break
            else:
                return
        self.address.see(step)
        self.borders.see(step)
        self._settle()


class Watch:
    """Watches an address and the borders around it, or all borders, in each process of *replay*."""

    def __init__(self, replay: Replay, address: int | None) -> None:
        self._replay = replay
        self._address = address
        self._lives = {"main": self._begin(replay.process("main"), None)}

    def address(self, pid: str) -> AddressLife:
        """The life of the address in the process."""
        life = self._lives[pid].address
        assert life is not None
        return life

    def knows(self, pid: str, address: int) -> bool:
        """Whether the life of a border at *address* can be told."""
        return self._lives[pid].borders.knows(address)

    def border(self, pid: str, address: int) -> BorderLife:
        """The life of the border of two VMAs that touch at *address* in the process."""
        return self._lives[pid].borders.lives[address]

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
        self._lives[pid].see(step)

    def _begin(self, mm: Mm, moment: Moment | None) -> _Life:
        around = self._address
        address = AddressLife(around, mm, moment) if around is not None else None
        return _Life(address, Borders(mm, moment, around))

    def _fork(self, step: Step, child: str) -> None:
        mm, life = self._replay.process(child), self._lives[step.pid]
        if mm is step.mm:
            self._lives[child] = life
            return
        moment = Moment(step.index, step.event)
        self._lives[child] = _Life(
            life.address.forked(mm, moment) if life.address is not None else None,
            life.borders.forked(step.mm, mm, moment),
        )
