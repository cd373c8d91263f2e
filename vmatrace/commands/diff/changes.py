"""What each event changed in the layouts of a replay, found without reading whole layouts.

A call touches only VMAs that overlap or touch the ranges in its arguments and its result, so these
are read again and compared with what was there before. Calls that reach further (and those that are
rare) have the whole address space read. Knows arguments; no rule of merging.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection
from typing import Final

from vmatrace import abi
from vmatrace.calls import BIRTHS, CALLS, DEATHS
from vmatrace.engine import view
from vmatrace.engine.mm import Mm
from vmatrace.engine.vma import Vma
from vmatrace.event import Expr
from vmatrace.layout import Mapping
from vmatrace.replayer.result import Step
from vmatrace.replayer.run import Replay

#: What two layouts are compared by, as Mapping.key(): start, end, vm_flags, offset, name.
Key = tuple[int, int, int, int, str]
#: Of one process: its name, the VMAs that went and those that came, each in address order.
Change = tuple[str, list[Key], list[Key]]

_MASK: Final = abi.ULONG_MAX
_RANGED: Final = frozenset(call.name for call in CALLS.values() if call.ranged)
#: The calls that change no VMA of the process that makes them.
_ELSEWHERE: Final = BIRTHS | DEATHS
#: So few VMAs are compared each with each: making a set costs more.
_FEW: Final = 6


def key_of(mm: Mm, vma: Vma) -> Key:
    """``view.mapping(mm, vma).key()``, faster for plain anonymous memory."""
    start, end = vma.start, vma.end
    if (
        vma.file is None
        and vma.extra is None
        and (start >= mm.brk or end <= mm.start_brk)
        and not mm.start_stack
    ):
        return (start, end, vma.flags, 0, "")
    return view.mapping(mm, vma).key()


def mapping_of(key: Key) -> Mapping:
    """The mapping with that key; which device its file is on is not in it."""
    start, end, flags, offset, name = key
    return Mapping(start, end, flags, offset, name)


class _Seen:
    """The layout of one address space (``keys``) as it was after the last event that changed it."""

    __slots__ = ("brk", "keys", "mm", "pid")

    def __init__(self, pid: str, mm: Mm) -> None:
        self.pid = pid
        self.mm = mm
        self.brk = (mm.start_brk, mm.brk)
        self.keys: list[Key] = []

    def reread(self) -> list[Change]:
        """What changed anywhere."""
        mm = self.mm
        self.brk = (mm.start_brk, mm.brk)
        before, self.keys = self.keys, [key_of(mm, vma) for vma in mm.vmas]
        return _changes(self.pid, before, self.keys)

    def look(self, low: int, high: int) -> list[Change]:
        """What changed in VMAs that overlap or touch [low, high]."""
        mm, keys = self.mm, self.keys
        low, high = max(low - 1, 0), high + 1  # so that what touches overlaps
        while True:
            first = bisect_left(keys, (low + 1,)) - 1
            if first < 0 or keys[first][1] <= low:
                first += 1
            last = bisect_left(keys, (high,), first)
            old = keys[first:last]
            now: list[Key] = []
            vma = mm.vmas.find(low)
            while vma is not None and vma.start < high:
                now.append(key_of(mm, vma))
                vma = vma.next
            if old == now:
                return []
            # A VMA that reaches further may have swallowed, or left, others out there: look again,
            # unless both states begin and end alike.
            if old and now and old[0][0] == now[0][0] and old[-1][1] == now[-1][1]:
                break
            ends = [(part[0][0], part[-1][1]) for part in (old, now) if part]
            wider = min(low, *[start for start, _ in ends]), max(high, *[end for _, end in ends])
            if wider == (low, high):
                break
            low, high = wider
        keys[first:last] = now
        return _changes(self.pid, old, now)


def _changes(pid: str, before: list[Key], after: list[Key]) -> list[Change]:
    if before == after:
        return []
    old: Collection[Key] = before if len(before) <= _FEW else set(before)
    new: Collection[Key] = after if len(after) <= _FEW else set(after)
    return [
        (pid, [key for key in before if key not in new], [key for key in after if key not in old])
    ]


class Follower:
    """Follows the steps of one replay. Each step has to be shown to it, in order."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._labels: dict[str, int] = {}
        self._seen: dict[str, _Seen] = {}
        self._begin("main", replay.process("main")).reread()

    def name(self, pid: str) -> str:
        """The name under which changes of a process are reported: a thread's is its process's."""
        return self._seen[pid].pid

    def follow(self, step: Step) -> list[Change]:
        """What the step changed: nearly always that of one process, or nothing."""
        event, mm = step.event, step.mm
        seen = self._seen.get(step.pid)
        if seen is None or seen.mm is not mm:
            return self._renew(step.pid, mm, seen)
        changes = self._look(step, seen)
        if event.name in BIRTHS and step.result > 0:
            child = event.label or str(step.result)
            born = self._replay.process(child)
            if born is mm:
                self._seen[child] = seen
            else:
                changes += self._begin(child, born).reread()
        elif event.name == "process_madvise":
            others = {id(other): other for other in self._seen.values() if other is not seen}
            changes += [change for other in others.values() for change in other.reread()]
        if event.label is not None:
            self._labels[event.label] = step.result
        return changes

    def _begin(self, pid: str, mm: Mm) -> _Seen:
        seen = self._seen[pid] = _Seen(pid, mm)
        return seen

    def _renew(self, pid: str, mm: Mm, old: _Seen | None) -> list[Change]:
        """The process has another address space than before: it made an execve."""
        if old is None or sum(seen is old for seen in self._seen.values()) > 1:
            return self._begin(pid, mm).reread()
        old.mm = mm
        return old.reread()

    def _look(self, step: Step, seen: _Seen) -> list[Change]:
        name = step.event.name
        if name in _ELSEWHERE:
            return []
        if name == "brk":
            (start, old), new = seen.brk, seen.mm.brk
            if start != seen.mm.start_brk:
                return seen.reread()
            seen.brk = start, new
            return seen.look(min(old, new), max(old, new))
        if name not in _RANGED and name not in _PLACING:
            return seen.reread()
        arguments = step.event.args
        if step.event.symbolic:
            labels = self._labels
            arguments = tuple(a.evaluate(labels) if isinstance(a, Expr) else a for a in arguments)
        given = [a & _MASK if type(a) is int else 0 for a in arguments]
        if name in _RANGED:
            return seen.look(given[0], given[0] + given[1])
        ranges = _PLACING[name](given, step.result)
        recorded = step.event.recorded
        if recorded is not None and recorded >= 0 and recorded != step.result:
            ranges.append((recorded, recorded + max(given[1:3])))
        changes = [change for one in ranges for change in seen.look(*one)]
        if len(changes) < 2:
            return changes
        went = sorted(key for _, went, _ in changes for key in went)
        return [(seen.pid, went, sorted(key for _, _, came in changes for key in came))]


def _mapped(a: list[int], result: int) -> list[tuple[int, int]]:
    # An address that was not taken is only a hint; MAP_FIXED that fails may have unmapped there.
    at = a[0] if result < 0 else result
    return [(at, at + a[1])]


def _moved(a: list[int], result: int) -> list[tuple[int, int]]:
    old, size, new_size = a[:3]
    places = {old: max(size, new_size), **({a[4]: new_size} if len(a) > 4 else {})}
    if result >= 0:
        places.setdefault(result, new_size)
    return [(at, at + length) for at, length in places.items()]


#: The calls that place memory: which ranges they change, from their arguments and the result.
_PLACING: Final[dict[str, Callable[[list[int], int], list[tuple[int, int]]]]] = {
    "mmap": _mapped,
    "mremap": _moved,
}
