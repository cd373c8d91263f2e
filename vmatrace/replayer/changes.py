"""What each event changed in the layouts of a replay, found without reading whole layouts.

A call changes only VMAs at the ranges that it touches (Step.touched), so these are read again and
compared with what was there before; where it may reach anywhere, the whole address space is. Knows
no rule of merging.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection
from typing import Final, TypeVar, cast

from vmatrace import abi
from vmatrace.calls import BIRTHS, Range
from vmatrace.engine import view
from vmatrace.engine.mm import Mm
from vmatrace.engine.vma import Vma
from vmatrace.layout import Mapping
from vmatrace.replayer.result import Step
from vmatrace.replayer.run import Replay

#: What two layouts are compared by, as Mapping.key(): start, end, vm_flags, offset, name.
Key = tuple[int, int, int, int, str]
#: Of one process: its name, the VMAs that went and those that came, each in address order.
Change = tuple[str, list[Key], list[Key]]
#: The same, with the VMAs around them, which stayed: those before and those after.
Window = tuple[str, list[Key], list[Key]]

#: So few VMAs are compared each with each: making a set costs more.
_FEW: Final = 6


def key_of(mm: Mm, vma: Vma) -> Key:
    """``view.mapping(mm, vma).key()``, without the mapping."""
    start, end, file = vma.start, vma.end, vma.file
    if file is None:
        if vma.extra is None and (start >= mm.brk or end <= mm.start_brk) and not mm.start_stack:
            return (start, end, vma.flags, 0, "")
        return (start, end, vma.flags, 0, view.name(mm, vma))
    if file.special or file is mm.world.assumed:
        return (start, end, vma.flags, 0, view.name(mm, vma))
    return (start, end, vma.flags, start + vma.skew & abi.ULONG_MAX, view.name(mm, vma))


def mapping_of(key: Key) -> Mapping:
    """The mapping with that key; which device its file is on is not in it."""
    start, end, flags, offset, name = key
    return Mapping(start, end, flags, offset, name)


_K = TypeVar("_K", Key, tuple[int, int])


def changed(
    known: list[_K], starts: list[int], low: int, high: int,
    read: Callable[[int, int], list[_K]],
) -> tuple[int, int, list[_K]] | None:  # fmt: skip
    """What changed of *known*, VMAs by start and end, that overlap or touch [low, high]: those from
    one place to another have become these; None where nothing did.

    *starts* are theirs; *read* gives those of now that overlap [low, high).
    """
    low, high = low - 1 if low else 0, high + 1  # so that what touches overlaps
    while True:
        first = bisect_right(starts, low) - 1
        if first < 0 or known[first][1] <= low:
            first += 1
        last = bisect_left(starts, high, first)
        old = known[first:last]
        if old:  # what they left may be anywhere in them
            low, high = min(low, starts[first]), max(high, old[-1][1])
        now = read(low, high)
        if old == now:
            return None
        # A VMA that reaches further may have swallowed others out there: look again.
        if not now or (now[0][0] >= low and now[-1][1] <= high):
            return first, last, now
        low, high = min(low, now[0][0]), max(high, now[-1][1])


class _Seen:
    """The layout of one address space (``keys``) as it was after the last event that changed it.

    ``starts`` are those of the keys: numbers are found faster among numbers. ``stacks``: one of
    them may have grown down.
    """

    __slots__ = ("keys", "mm", "pid", "stacks", "starts")

    def __init__(self, pid: str, mm: Mm) -> None:
        self.pid = pid
        self.mm = mm
        self.keys: list[Key] = []
        self.starts: list[int] = []
        self.stacks = False

    def has_stack(self, start: int, end: int) -> bool:
        """Whether a VMA that an access may have moved the border of is in [start, end)."""
        vma = self.mm.vmas.find(start)
        while vma is not None and vma.start < end:
            if vma.flags & abi.VM_GROWSDOWN:
                return True
            vma = vma.next
        return False

    def reread(self) -> list[Window]:
        """Before and after, everywhere."""
        mm = self.mm
        before, self.keys = self.keys, [key_of(mm, vma) for vma in mm.vmas]
        self.starts = [key[0] for key in self.keys]
        self.stacks = any(key[2] & abi.VM_GROWSDOWN for key in self.keys)
        return [(self.pid, before, self.keys.copy())] if before != self.keys else []

    def look_at(self, ranges: list[Range]) -> list[Window]:
        """Before and after, where VMAs changed that overlap or touch one of *ranges*."""
        if len(ranges) == 1:
            window = self.look(*ranges[0])
            return [] if window is None else [window]
        return [window for one in ranges if (window := self.look(*one)) is not None]

    def look(self, low: int, high: int) -> Window | None:
        """The same of one range [low, high]; None where nothing changed."""
        mm, keys, starts = self.mm, self.keys, self.starts
        find, plain, brk, start_brk = mm.vmas.find, not mm.start_stack, mm.brk, mm.start_brk

        def read(low: int, high: int) -> list[Key]:
            now: list[Key] = []
            vma = find(low)
            while vma is not None and (start := vma.start) < high:
                end = vma.end
                if (
                    plain and vma.file is None and vma.extra is None
                    and (start >= brk or end <= start_brk)
                ):  # fmt: skip
                    now.append((start, end, vma.flags, 0, ""))
                else:
                    now.append(key_of(mm, vma))
                vma = vma.next
            return now

        found = changed(keys, starts, low, high, read)
        if found is None:
            return None
        first, last, now = found
        old = keys[first:last]
        keys[first:last] = now
        starts[first:last] = [key[0] for key in now]
        return self.pid, old, now


def changes_in(windows: list[Window]) -> list[Change]:
    """What went and came in *windows*; those of one process are one change."""
    changes: list[Change] = []
    for pid, before, after in windows:
        old: Collection[Key] = before if len(before) <= _FEW else set(before)
        new: Collection[Key] = after if len(after) <= _FEW else set(after)
        went = [key for key in before if key not in new]
        came = [key for key in after if key not in old]
        if changes and changes[-1][0] == pid:
            _, earlier, later = changes.pop()
            went, came = sorted(earlier + went), sorted(later + came)
        changes.append((pid, went, came))
    return changes


class Follower:
    """Follows the steps of one replay. Each step from now on has to be shown to it, in order."""

    def __init__(self, replay: Replay, like: Follower | None = None) -> None:
        """*like* follows another replay of the trace that did the same up to here."""
        self._replay = replay
        self._seen: dict[str, _Seen] = {}
        by_mm: dict[int, _Seen] = {}
        for pid, mm in replay.names():
            if id(mm) not in by_mm:
                by_mm[id(mm)] = self._begin(pid if like is None else like.name(pid), mm)
                by_mm[id(mm)].reread()
            self._seen[pid] = by_mm[id(mm)]

    def name(self, pid: str) -> str:
        """The name under which changes of a process are reported: a thread's is its process's."""
        return self._seen[pid].pid

    def follow(self, step: Step) -> list[Change]:
        """What the step changed: nearly always that of one process, or nothing."""
        return changes_in(self.look(step))

    def look(self, step: Step, ranges: list[Range] | None = None) -> list[Window]:
        """Where the step changed something.

        *ranges* are Step.touched, where the caller has them already.
        """
        mm = step.mm
        seen = self._seen.get(step.pid)
        if seen is None or seen.mm is not mm:
            return self._renew(step.pid, mm, seen)
        name, args = step.event.name, step.args
        if name == "fault":  # every other line of some logs
            start, length = cast("tuple[int, int]", args[:2])
            if not (seen.stacks and seen.has_stack(start, start + length)):
                return []
        elif name == "mmap":
            seen.stacks = seen.stacks or bool(cast(int, args[3]) & abi.MAP_GROWSDOWN)
        elif (
            name == "mprotect"
            and not step.decisions
            and not step.splits
            and mm.vmas.count == len(seen.keys)
        ):
            return []  # the protection was that, or may not be
        if ranges is None:
            ranges = step.touched
        windows = seen.reread() if ranges is None else seen.look_at(ranges)
        born = step.born if name in BIRTHS else None
        if born is not None:
            child = self._replay.process(born)
            if child is mm:
                self._seen[born] = seen
            else:
                windows += self._begin(born, child).reread()
        elif name == "process_madvise":
            others = {id(other): other for other in self._seen.values() if other is not seen}
            windows += [w for other in others.values() for w in other.look_at(ranges or [])]
        return windows

    def _begin(self, pid: str, mm: Mm) -> _Seen:
        seen = self._seen[pid] = _Seen(pid, mm)
        return seen

    def _renew(self, pid: str, mm: Mm, old: _Seen | None) -> list[Window]:
        """The process has another address space than before: it made an execve."""
        if old is None or sum(seen is old for seen in self._seen.values()) > 1:
            return self._begin(pid, mm).reread()
        old.mm = mm
        return old.reread()
