"""Where models that merge otherwise than a replay does may have other VMAs than it: ``Apart``.

A merge changes what is near; so where a model would have decided otherwise, the VMAs around are
noted, and what calls do with them later. Elsewhere that model has what the replay has, and need not
be replayed for it. Says too much rather than too little, and ``lost`` where it cannot say.
"""

from __future__ import annotations

from typing import Final, cast

from vmatrace import abi
from vmatrace.calls import LIFE, Range
from vmatrace.engine.mm import Mm
from vmatrace.engine.ranges import Ranges
from vmatrace.replayer.alike import WatchedKernel
from vmatrace.replayer.result import Step
from vmatrace.replayer.run import Replay

#: What these return, and which pages they change, does not depend on how pages are VMAs.
_OF_PAGES: Final = frozenset({"mmap", "munmap", "mprotect", "madvise", "brk", "fault"})
#: These may work on the memory of another process.
_OF_OTHERS: Final = frozenset({"process_madvise", "ioctl"})
#: So many borders of VMAs can an event draw.
_DRAWN: Final = 4


class _Space:
    """Of an address space: ``apart``, where the others may have other VMAs, and ``beside``.

    That holds at least these VMAs and what touches them: an event that does not reach it changes
    nothing of that, and is passed over fast.
    """

    __slots__ = ("apart", "beside")

    def __init__(self) -> None:
        self.apart = Ranges()
        self.beside = Ranges()

    def copy(self) -> _Space:
        other = _Space()
        other.apart, other.beside = self.apart.copy(), self.beside.copy()
        return other


class Apart:
    """Where the others that *kernel* notes (WatchedKernel.noted) may be apart from its *replay*.

    Each of its steps has to be shown, in order.
    """

    def __init__(self, replay: Replay, kernel: WatchedKernel) -> None:
        self._replay = replay
        self._noted = kernel.noted
        self._spaces = {"main": _Space()}
        self._within = 0  # events where they may have been apart
        self.lost = False

    def reaches(self, pid: str, address: int) -> bool:
        """Whether what is at *address* of the process, or right before it, may be other VMAs."""
        return self.lost or self._spaces[pid].apart.overlaps(max(address - 1, 0), address + 1)

    def see(self, step: Step) -> None:
        """Take in what the event did."""
        if self.lost:
            return
        name, noted = step.event.name, bool(self._noted)
        self._noted.clear()
        if name in LIFE and self._live(step):
            return
        space, ranges = self._spaces[step.pid], step.reach
        if ranges is None or name in _OF_OTHERS:
            concerned = [space] if ranges is None else self._spaces.values()
            self.lost = noted or any(one.apart for one in concerned)
            return
        if not noted:
            for low, high in ranges:
                if space.beside.overlaps(low - 1, high + 1):
                    break
            else:
                return
        self._spread(step, space, ranges, noted)

    def _spread(self, step: Step, space: _Space, ranges: list[Range], noted: bool) -> None:
        mm, name = step.mm, step.event.name
        around = [_around(mm, low, high) for low, high in ranges]
        if not noted and not any(space.apart.overlaps(near, far) for *_, near, far in around):
            for start, end, *_ in around:
                space.beside.discard(start, end)
            return
        self._within += 1
        most = mm.world.max_map_count - _DRAWN * self._within
        if (
            name not in _OF_PAGES
            or mm.peak_vmas >= most
            or (name == "mprotect" and cast(int, step.args[2]) & abi.PROT_GROWSDOWN)
        ):
            self.lost = True
        elif name == "munmap" and step.result == 0:
            for low, high in ranges:  # and it merges nothing
                space.apart.discard(low, high)
        else:
            for start, end, near, far in around:
                space.apart.add(start, end)
                space.beside.add(near, far)

    def _live(self, step: Step) -> bool:
        """Take in what made, replaced or ended a process, if the event did."""
        pid, born = step.pid, step.born
        if born is not None:
            shared = self._replay.process(born) is step.mm
            self._spaces[born] = self._spaces[pid] if shared else self._spaces[pid].copy()
        elif step.executed:
            self._spaces[pid] = _Space()
        elif step.ended:
            if pid != "main":
                self._spaces.pop(pid, None)
        else:
            return False
        return True


def _around(mm: Mm, low: int, high: int) -> tuple[int, int, int, int]:
    """[low, high) with the VMAs that overlap or touch it; the same with those that touch these.

    What is done to a VMA may depend on what touches it.
    """
    vma = mm.vmas.find(low - 1 if low else 0)
    if vma is None or vma.start > high:
        return low, high, low, high
    start, end = min(low, vma.start), high
    before = vma.prev
    near = before.start if before is not None and before.end == start else start
    while vma is not None and vma.start <= high:
        end = vma.end
        vma = vma.next
    end = max(end, high)
    return start, end, near, vma.end if vma is not None and vma.start == end else end
