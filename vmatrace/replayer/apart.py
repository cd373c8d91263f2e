"""Which VMAs models have that merge otherwise than a replay, where they part from it: ``Apart``.

A merge changes what is near. So where such a model decides otherwise, the VMAs around are copied
into a replay of its own, and what calls do with them later is done there too; elsewhere it has what
the replay has. So a model costs as much as it differs. Says ``lost`` where that cannot be told.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast

from vmatrace import abi
from vmatrace.calls import LIFE, Range
from vmatrace.engine import view
from vmatrace.engine.limits import UNLIMITED
from vmatrace.engine.mm import Mm
from vmatrace.engine.ranges import Ranges
from vmatrace.engine.vma import Vma
from vmatrace.event import Event
from vmatrace.layout import Mapping
from vmatrace.replayer.alike import WatchedKernel, watched
from vmatrace.replayer.processes import fork
from vmatrace.replayer.result import Step
from vmatrace.replayer.run import Replay

#: What these return, and which pages they change, does not depend on how pages are VMAs.
_OF_PAGES: Final = frozenset({"mmap", "munmap", "mprotect", "madvise", "brk", "fault"})
#: These may work on the memory of another process.
_OF_OTHERS: Final = frozenset({"process_madvise", "ioctl"})
_ALL: Final = abi.ULONG_MAX
_FIXED: Final = abi.MAP_FIXED | abi.MAP_FIXED_NOREPLACE
#: From here on are the anon_vmas of a branch; those that it has copied are fewer.
_OWN: Final = 1 << 48
#: So many borders of VMAs can an event draw.
_DRAWN: Final = 4

#: What is around a range: two ranges, see _around().
_Hull = tuple[int, int, int, int]


class _Space:
    """Of an address space *mm*: ``apart``, where others have other VMAs, which are in ``mms``.

    There is one of these for each branch. ``beside`` holds at least where the VMAs apart are and
    what touches them: an event that does not reach it changes nothing of that.
    """

    __slots__ = ("apart", "beside", "mm", "mms")

    def __init__(self, mm: Mm) -> None:
        self.mm = mm
        self.apart = Ranges()
        self.beside = Ranges()
        self.mms: list[Mm] = []

    def forked(self, child: Mm) -> _Space:
        """That of a child, which has no less apart."""
        space = _Space(child)
        space.apart, space.beside = self.apart.copy(), self.beside.copy()
        for mm in self.mms:
            _assimilate(mm, self.mm, (self.mm.start_brk, self.mm.brk))
            space.mms.append(fork(mm))
        return space


class _Branch:
    """Models that merge otherwise, all in the same way."""

    def __init__(self, lead: Replay, ksm: bool | None, kernel: WatchedKernel) -> None:
        self._kernel = kernel
        self._others = set(kernel.agree)
        self.run = watched(lead.trace, kernel, ksm)
        self.run.files = lead.files
        self.run.world.last_anon = _OWN

    def does(self, step: Step, mm: Mm, agree: set[int]) -> bool:
        """Make the call in *mm*; whether it returned the same, for all that are in *agree*."""
        self.run.alive[step.pid] = mm
        if self.run.feed(step.event) != step.result:
            return False
        parted = self._others - self._kernel.agree
        return not parted & agree


class Apart:
    """Where models that answer otherwise to what *kernel* sets aside are apart from its *replay*.

    Each event has to be shown, in order: before() and after() it is replayed.
    """

    def __init__(self, replay: Replay, kernel: WatchedKernel, ksm: bool | None) -> None:
        self._replay = replay
        self._kernel = kernel
        self._ksm = ksm
        self._spaces = {"main": _Space(replay.process("main"))}
        self._branches: list[_Branch] = []
        self._branch_of: dict[int, int] = {}  # by model
        self._within = 0  # events where they may have been apart
        self._event: Event | None = None  # the one under way
        self._range: Range | None = None  # of that, as _foreseen()
        self._hull: _Hull | None = None  # what is _around() it, if that is near
        self.lost = False
        kernel.note = self._note

    @property
    def branches(self) -> int:
        """How many ways to merge otherwise there are."""
        return len(self._branches)

    def branch_of(self, model: int) -> int | None:
        """In which of these ways *model* merges, None if as the replay does."""
        return self._branch_of.get(model)

    def reaches(self, pid: str, address: int) -> bool:
        """Whether what is at *address* of the process, or right before it, may be other VMAs."""
        return self._spaces[pid].apart.overlaps(max(address - 1, 0), address + 1)

    def mapping(self, branch: int, pid: str, mm: Mm, address: int) -> Mapping | None:
        """What is at *address* of the process, in the replay in *mm*, for who merges that way."""
        space, there = self._spaces[pid], mm
        if space.apart.overlaps(address, address + 1):
            there = space.mms[branch]
            _assimilate(there, mm, (mm.start_brk, mm.brk))
        vma = there.vmas.at(address)
        return view.mapping(there, vma) if vma is not None else None

    def stop(self) -> None:
        """Let the models that answer otherwise part from the replay."""
        self._kernel.note = lambda: None
        self._kernel.part({model for models in self._kernel.groups() for model in models})

    def before(self, event: Event) -> None:
        """The event is about to be replayed."""
        self._event, self._range = event, None
        space = self._spaces.get(event.pid)
        if event.name in _OF_PAGES and space is not None and space.beside:
            where = self._range = _foreseen(event, space.mm)
            if where is not None and space.beside.overlaps(where[0] - 1, where[1] + 1):
                self._prepare(space, noted=False)

    def after(self, step: Step) -> None:
        """The event has been replayed."""
        where, hull = self._range, self._hull
        self._event = None
        if where is not None and (step.event.name != "mmap" or _is_at(where, step)):
            step.foreseen([where])
            if hull is None:
                return
        self._hull = None
        name = step.event.name
        if self.lost or (name in LIFE and self._live(step)):
            return
        space = self._spaces[step.pid]
        if hull is not None:
            self._follow(step, space, hull)
        elif name in _OF_OTHERS:
            self.lost = any(one.apart for one in self._spaces.values())
        elif space.apart:
            mms = (step.mm, *space.mms)
            self.lost = step.reach is None or any(
                space.apart.overlaps(*_around(mms, low, high)[2:]) for low, high in step.reach
            )

    def _note(self) -> None:
        """In the midst of an event another model decides otherwise, for the first time in it.

        What the event has done already it does again there, which changes nothing.
        """
        event = self._event
        if event is None or event.name in LIFE or self.lost or self._hull is not None:
            return  # it is prepared, or only asked what is between VMAs
        space, recorded = self._spaces[event.pid], event.recorded
        tried = recorded is not None and (recorded < 0 or event.name == "brk")  # maybe taken back
        if event.name in _OF_PAGES and not tried:
            self._range = _foreseen(event, space.mm)
        else:
            self._range = None
        self._prepare(space, noted=True)

    def _prepare(self, space: _Space, noted: bool) -> None:
        """Copy what is around the event to where models may be apart, if it is near."""
        mm = space.mm
        hull = _around((mm, *space.mms), *self._range) if self._range is not None else None
        if not noted and hull is not None and not space.apart.overlaps(*hull[2:]):
            space.beside.discard(*hull[:2])
            return
        self._within += 1
        most = mm.world.max_map_count - _DRAWN * self._within
        whole = mm.limits is not UNLIMITED or mm.guards or mm.contexts
        if hull is None or whole or mm.peak_vmas >= most:
            self.lost = True
            return
        self._hull = hull
        if not self._branches:
            self._branch()
        while len(space.mms) < len(self._branches):
            run = self._branches[len(space.mms)].run
            space.mms.append(Mm(run.world, mm.mmap_base, mm.brk))
        for vma in mm.vmas.overlapping(*hull[2:]):
            if not space.apart.overlaps(vma.start, vma.end):
                for there in space.mms:
                    _copy(vma, there)

    def _branch(self) -> None:
        for models in self._kernel.groups():
            first, *others = models
            both = self._kernel.others
            kernel = WatchedKernel(both[first], {n: both[n] for n in others}, reasons=False)
            for model in models:
                self._branch_of[model] = len(self._branches)
            self._branches.append(_Branch(self._replay, self._ksm, kernel))

    def _follow(self, step: Step, space: _Space, hull: _Hull) -> None:
        """Do in the branches what the event did, and take in what it changed."""
        where = self._range
        if where is None or step.reach is None or any(
            low < where[0] or where[1] < high for low, high in step.reach
        ):  # fmt: skip
            self.lost = True
            return
        for branch, mm in zip(self._branches, space.mms, strict=True):
            _assimilate(mm, step.mm, step.heap)
            if not branch.does(step, mm, self._kernel.agree):
                self.lost = True
                return
        start, end, near, far = hull
        if step.event.name == "munmap" and step.result == 0:
            space.apart.discard(*where)  # and it merges nothing
        else:
            space.apart.add(start, end)
            space.beside.add(near, far)
        for mm in space.mms:
            for vma in list(mm.vmas.overlapping(near, far)):
                if not space.apart.overlaps(vma.start, vma.end):
                    mm.vmas.remove(vma)

    def _live(self, step: Step) -> bool:
        """Take in what made, replaced or ended a process, if the event did."""
        pid, born = step.pid, step.born
        if born is not None:
            mm, space = self._replay.process(born), self._spaces[pid]
            self._spaces[born] = space if mm is step.mm else space.forked(mm)
        elif step.executed:
            self._spaces[pid] = _Space(step.mm)
        elif step.ended:
            if pid != "main":
                self._spaces.pop(pid, None)
        else:
            return False
        return True


def _foreseen(event: Event, mm: Mm) -> Range | None:
    """Where the event, which is to be replayed in *mm*, can change VMAs; None: that is not known.

    Of mmap() it is where it places memory, if its result is the recorded one.
    """
    name, args, recorded = event.name, cast("tuple[int, ...]", event.args), event.recorded
    if event.symbolic or (name == "brk" and not mm.brk_known):
        return None
    if name == "brk":
        breaks = [mm.brk, args[0] or mm.brk, mm.brk if recorded is None else recorded]
        low, high = min(breaks), max(breaks)
    else:
        low = args[0] & _ALL
        if name == "mmap":
            if recorded is not None and recorded >= 0:
                low = recorded
            elif not args[3] & _FIXED:
                return None
        high = low + (args[1] & _ALL)
        if name == "mprotect":
            if args[2] & abi.PROT_GROWSDOWN:
                return None
        elif name == "fault":
            vma = mm.vmas.find(low)
            if vma is not None and vma.flags & abi.VM_GROWSDOWN:
                low, high = min(low, vma.start), vma.end
    mask = mm.world.page_mask
    if (low | high) & mask:
        return low & ~mask, high + mask & ~mask
    return low, high


def _is_at(where: Range, step: Step) -> bool:
    """Whether what an mmap() placed is there, if it did."""
    if step.result < 0:
        return True
    decisions = step.decisions
    return step.result == where[0] and (not decisions or decisions[-1].end <= where[1])


def _around(mms: Iterable[Mm], low: int, high: int) -> _Hull:
    """[low, high) with the VMAs that overlap or touch it; the same with those that touch these.

    What is done to a VMA may depend on what touches it.
    """
    start, end = _stretched(mms, low, high)
    return start, end, *_stretched(mms, start, end)


def _stretched(mms: Iterable[Mm], low: int, high: int) -> Range:
    start, end = low, high
    for mm in mms:
        vma = mm.vmas.find(low - 1 if low else 0)
        if vma is None or vma.start > high:
            continue
        start = min(start, vma.start)
        while vma is not None and vma.start <= high:
            end = max(end, vma.end)
            vma = vma.next
    return start, end


def _copy(vma: Vma, mm: Mm) -> None:
    of = (vma.flags, vma.skew, vma.file, vma.anon, vma.chain, vma.extra)
    mm.insert(Vma(vma.start, vma.end, *of), mm.vmas.around(vma.start)[0])


def _assimilate(mm: Mm, like: Mm, heap: Range) -> None:
    """Make *mm*, which holds only some VMAs, else as *like*; *heap* is (start_brk, brk)."""
    mm.start_brk, mm.brk, mm.start_stack = *heap, like.start_stack
    mm.brk_known, mm.brk_assumed, mm.fresh = like.brk_known, like.brk_assumed, like.fresh
    mm.merge_any, mm.thp_disable = like.merge_any, like.thp_disable
    mm.def_flags, mm.mdwe, mm.persona = like.def_flags, like.mdwe, like.persona
    mm.world.assumed = like.world.assumed
    mm.world.max_map_count = like.world.max_map_count
