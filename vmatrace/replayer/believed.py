"""Recorded failures that are believed, with what a failed call of that kind leaves.

A log does not show every limit nor the kernel's configuration, and a recording not the machine's
memory, permissions and seccomp filters: a call may have failed that the model would grant. Then
memory is as it was, but for what the kernel had done before it gave up: the parts of a range before
the one that could not be split (at vm.max_map_count), or all that is mapped (madvise() over a
hole). Knows how to undo a call; not what calls do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, cast

from vmatrace import abi
from vmatrace.engine.limits import UNLIMITED
from vmatrace.engine.mm import Mm
from vmatrace.engine.vma import Vma
from vmatrace.event import Event

#: VMAs that an exec maps and no log shows, about: program and loader 5 each, stack, vvar, vdso.
UNSEEN: Final = 13
#: Values of vm.max_map_count beside the trace's that machines have: what Elasticsearch asks for,
#: what Fedora and Ubuntu set, the most there is.
LIMITS: Final = (262144, 1048576, 2147483642)
_NEAR: Final = 64  # so far from the limit, and a thousandth of it, the count may be

#: Errors that arguments and the memory alone decide: of a recording they are not believed.
OF_ARGUMENTS: Final = frozenset({abi.EINVAL, abi.EFAULT, abi.EBADF, abi.EEXIST})
#: Calls whose failures are believed whatever they are: of brk() it is the break that stayed, and
#: io_setup() looks at memory of the program that no trace has.
ALWAYS: Final = frozenset({"brk", "io_setup"})
#: Calls on a range of their first two arguments.
_RANGED: Final = frozenset({
    "munmap", "mprotect", "pkey_mprotect", "madvise", "mlock", "mlock2", "munlock", "mbind",
    "mseal", "msync", "remap_file_pages",
})  # fmt: skip
#: Calls that can be tried on an address space without memory: what is mapped decides nothing that
#: is asked here, and the kernel chooses the place.
_ANYWHERE: Final = frozenset({"mmap", "shmat", "mlockall", "munlockall", "prctl"})
#: Calls that go on behind a hole, and then say ENOMEM (engine.walk).
_WALKS: Final = frozenset({"madvise", "process_madvise", "prctl"})
#: What a VMA too many is called, also by calls that translate it (madvise(), PR_SET_VMA).
_TOO_MANY: Final = (-abi.ENOMEM, -abi.EAGAIN)

_Call = Callable[[Mm], "int | None"]


@dataclass(frozen=True)
class AtLimit:
    """A call that was refused when about ``maps`` VMAs were there, of ``limit`` (vm.max_map_count).

    ``unseen`` of them are an estimate: what an exec maps and a log does not show.
    """

    event: Event
    maps: int
    unseen: int
    limit: int


@dataclass(frozen=True)
class Settled:
    """What became of a recorded failure. ``granted``: the model would have granted the call.

    ``modelled``: what the model says instead. ``crowded``: one VMA too many explains it.
    """

    granted: bool
    modelled: int
    crowded: bool = False


class Checkpoint:
    """Part of an address space as it is now: what touches *ranges*, and what is not VMAs."""

    def __init__(self, mm: Mm, ranges: Iterable[tuple[int, int]]) -> None:
        self._mm = mm
        self._hulls: list[tuple[int, int, list[Vma]]] = []
        low = high = -1
        for start, end in sorted(ranges):
            if self._hulls and start <= high:
                self._hulls.pop()
                end = max(end, high)
            else:
                low = start
            kept = _copies(mm, low, end)
            low = min([low, *(vma.start for vma in kept[:1])])
            high = max([end, *(vma.end for vma in kept[-1:])])
            self._hulls.append((low, high, kept))
        self._guards = mm.guards.within(0, abi.ULONG_MAX) if mm.guards else []
        self._state = (mm.brk, mm.start_brk, mm.brk_known, mm.def_flags, mm.merge_any, mm.mdwe,
                       mm.thp_disable, mm.persona)  # fmt: skip
        self._splits = mm.world.splits
        self._decisions = len(mm.world.decisions)

    def restore(self) -> None:
        """Put everything back."""
        mm = self._mm
        for low, high, kept in self._hulls:
            vma = mm.vmas.find(low)
            while vma is not None and vma.start < high:
                following = vma.next
                mm.vmas.remove(vma)
                vma = following
            last = vma.prev if vma is not None else mm.vmas.last
            for each in kept:
                again = _copy(each)
                mm.vmas.insert(again, last)
                last = again
        if mm.guards or self._guards:
            mm.guards.discard(0, abi.ULONG_MAX)
            for start, end in self._guards:
                mm.guards.add(start, end)
        (mm.brk, mm.start_brk, mm.brk_known, mm.def_flags, mm.merge_any, mm.mdwe,
         mm.thp_disable, mm.persona) = self._state  # fmt: skip
        mm.world.splits = self._splits
        del mm.world.decisions[self._decisions :]


def _copy(vma: Vma) -> Vma:
    copy = Vma(vma.start, vma.end, vma.flags, vma.skew, vma.file, vma.anon, vma.chain, vma.extra)
    copy.refusal = vma.refusal
    return copy


def _copies(mm: Mm, start: int, end: int) -> list[Vma]:
    """Copies of the VMAs that overlap or touch [start, end)."""
    kept = []
    vma = mm.vmas.find(max(start - 1, 0))
    while vma is not None and vma.start <= end:
        kept.append(_copy(vma))
        vma = vma.next
    return kept


def settle(
    mm: Mm, name: str, arguments: tuple[object, ...], recorded: int, call: _Call,
    whole: bool = False,
) -> Settled:  # fmt: skip
    """Leave *mm* as a call that failed with *recorded* leaves it. *call* makes it, on any Mm.

    For brk, *recorded* is the break that stayed. *whole*: all its memory is known.
    """
    if anywhere := _is_anywhere(name, arguments):
        settled = _tried_elsewhere(mm, recorded, call)
        if not (whole and settled.granted and mm.limits is not UNLIMITED):
            return settled
    ranges = [(0, mm.world.task_size)] if anywhere else _ranges(mm, name, arguments)
    before = Checkpoint(mm, ranges)
    result = call(mm)
    if result is None or result == recorded:
        return Settled(False, recorded)
    granted = result >= 0 if name != "brk" else result == arguments[0]
    if granted and recorded == -abi.ENOMEM and name in _WALKS and not whole:
        return Settled(True, result)
    if granted and name == "mremap":
        _unplace(mm, arguments, result)
    before.restore()
    if name == "brk":
        return Settled(granted, result, crowded=granted)
    if granted and recorded in _TOO_MANY and not whole:
        if _with_no_room(mm, call) == recorded:
            return Settled(True, result, crowded=True)
        before.restore()
    return Settled(granted, result)


def _is_anywhere(name: str, arguments: tuple[object, ...]) -> bool:
    if name not in _ANYWHERE:
        return False
    if name == "mmap":
        return not cast(int, arguments[3]) & (abi.MAP_FIXED | abi.MAP_FIXED_NOREPLACE)
    return name != "prctl" or arguments[0] != abi.PR_SET_VMA


def _tried_elsewhere(mm: Mm, recorded: int, call: _Call) -> Settled:
    world = mm.world
    scratch = Mm(world, mm.mmap_base, mm.brk)
    scratch.limits, scratch.def_flags, scratch.mdwe = mm.limits, mm.def_flags, mm.mdwe
    scratch.persona = mm.persona
    scratch.thp_disable, scratch.merge_any = mm.thp_disable, mm.merge_any
    splits, decisions = world.splits, len(world.decisions)
    result = call(scratch)
    world.splits = splits
    del world.decisions[decisions:]
    if result is None or result == recorded:
        return Settled(False, recorded)
    if result >= 0 and mm.vmas.count > world.max_map_count:
        return Settled(False, recorded)
    return Settled(result >= 0, result, crowded=recorded == -abi.ENOMEM)


def _with_no_room(mm: Mm, call: _Call) -> int | None:
    """The result of *call* where no VMA may become two."""
    world = mm.world
    most, world.max_map_count = world.max_map_count, mm.vmas.count
    try:
        return call(mm)
    finally:
        world.max_map_count = most


def _unplace(mm: Mm, arguments: tuple[object, ...], result: int) -> None:
    """Remove what an mremap has moved to a place of the model's choice."""
    from vmatrace.engine.region import unmap

    old, size = cast(int, arguments[0]), cast(int, arguments[2])
    if result != old:
        mask = mm.world.page_mask
        unmap(mm, result, result + (size + mask & ~mask))


def _ranges(mm: Mm, name: str, arguments: tuple[object, ...]) -> list[tuple[int, int]]:
    """The ranges in bytes that the call may change."""
    numbers = [a & abi.ULONG_MAX if isinstance(a, int) else 0 for a in arguments]
    if name in _RANGED or name == "mmap":
        spans = [(numbers[0], numbers[1])]
    elif name == "mremap":
        spans = [(numbers[0], max(numbers[1], numbers[2]))]
        if numbers[3] & abi.MREMAP_FIXED and len(numbers) > 4:
            spans.append((numbers[4], numbers[2]))
    elif name == "prctl":
        spans = [(numbers[2], numbers[3])] if len(numbers) > 3 else []
    elif name == "brk":
        low, high = sorted((mm.brk, numbers[0]))
        spans = [(low, high - low)]
    else:
        spans = [(0, mm.world.task_size)]
    mask = mm.world.page_mask
    return [
        (start & ~mask, min((start + length + mask) & ~mask, abi.ULONG_MAX))
        for start, length in spans
    ]


def at_limit(mm: Mm, event: Event, assumed: int) -> AtLimit | None:
    """Whether a refusal is explained by the number of VMAs: that is near a limit that is usual."""
    unseen = max(UNSEEN - assumed, 0)
    maps = mm.vmas.count + unseen
    for limit in (mm.world.max_map_count, *LIMITS):
        if abs(maps - limit) <= _NEAR + limit // 1000:
            return AtLimit(event, maps, unseen, limit)
    return None
