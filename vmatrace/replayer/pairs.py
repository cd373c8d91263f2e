"""Whether two replays of one trace that were the same so far are so after the next event: ``Pair``.

A call changes only VMAs at the ranges that it touches (Step.touched), so only these are compared;
where it may reach anywhere, the whole address spaces are. Keeps no layout and knows no rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from vmatrace.engine.mm import Mm
from vmatrace.engine.vma import Vma
from vmatrace.replayer.changes import Key, key_of
from vmatrace.replayer.result import Step
from vmatrace.replayer.run import Replay


def start_of(replay: Replay) -> list[Key]:
    """The layout with which a replay that has made no event starts."""
    mm = replay.process("main")
    return [key_of(mm, vma) for vma in mm.vmas]


class Pair:
    """Two replays of one trace. Each step of both has to be shown, in order.

    *starts*: the start_of() each. Of a snapshot without flags each model makes its own ([vvar]);
    what is unlike from the start is no difference as long as both keep it.
    """

    def __init__(self, one: Replay, other: Replay, starts: tuple[list[Key], list[Key]]) -> None:
        self._one = one
        self._other = other
        self._unlike = {keys for keys in zip(*starts, strict=True) if keys[0] != keys[1]}

    def is_same_after(self, a: Step, b: Step) -> bool:
        """Whether both did the same: the same result, and the same VMAs where there were any."""
        if a.result != b.result:
            return False
        mine, theirs = a.mm, b.mm
        if a.executed:
            return self._same(mine, theirs)
        ranges, others = a.touched, b.touched
        if ranges is None or others is None:
            return self._same(mine, theirs)
        if ranges != others:
            ranges += others
        if not self._same_in(mine, theirs, ranges):
            return False
        born = a.born
        if born is not None:
            child = self._one.process(born)
            return child is mine or self._same(child, self._other.process(born))
        if a.event.name == "process_madvise":
            return all(
                self._same_in(mm, self._other.process(name), ranges)
                for name, mm in self._one.living()
            )
        return True

    def _same(self, mine: Mm, theirs: Mm) -> bool:
        return all(
            a is not None and b is not None and self._like(mine, a, theirs, b)
            for a, b in zip_longest(mine.vmas, theirs.vmas)
        )

    def _same_in(self, mine: Mm, theirs: Mm, ranges: list[tuple[int, int]]) -> bool:
        """Whether the VMAs that overlap or touch one of *ranges* are the same in both."""
        for low, high in ranges:
            a, b = (mm.vmas.find(low - 1 if low else 0) for mm in (mine, theirs))
            while a is not None and a.start <= high:
                if b is None or not self._like(mine, a, theirs, b):
                    return False
                a, b = a.next, b.next
            if b is not None and b.start <= high:
                return False
        return True

    def _like(self, mine: Mm, a: Vma, theirs: Mm, b: Vma) -> bool:
        """Whether two VMAs show as the same."""
        if a.start != b.start or a.end != b.end:
            return False
        plain = a.file is b.file is None and a.extra is b.extra is None
        if plain and a.flags == b.flags and not mine.start_stack:
            return True  # the heap is where it is in both, or brk() has told them apart
        one, other = key_of(mine, a), key_of(theirs, b)
        return one == other or (one, other) in self._unlike


def pairs_of(runs: Sequence[Replay]) -> list[Pair]:
    """The first of *runs* with each other one; none has made an event yet."""
    first, *others = ((run, start_of(run)) for run in runs)
    return [Pair(first[0], run, (first[1], start)) for run, start in others]
