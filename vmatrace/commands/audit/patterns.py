"""What fills a map: each VMA of a layout in one pattern, by what it is and what its neighbours are.

A pattern is what makes VMAs many: thread stacks with a guard page each, memory committed in pieces,
names, MADV_DONTFORK. Knows what a snapshot shows; what usually makes a pattern is said elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from vmatrace import abi, groups
from vmatrace.engine.merge import IGNORED_FLAGS
from vmatrace.layout import Mapping

THREAD_STACKS: Final = "thread-stacks"
GUARD_PAGES: Final = "guard-pages"
ARENAS: Final = "glibc-arenas"
RESERVED: Final = "reserve-and-commit"
JIT: Final = "jit-pages"
PROTECTION: Final = "protection"
NAMES: Final = "names"
DONTFORK: Final = "dontfork"
ACCOUNTING: Final = "accounting"
LOCKED: Final = "locked"
KSM_FLAG: Final = "ksm-flag"
ADVICE: Final = "advice"
LOOKALIKES: Final = "lookalikes"
HOLES: Final = "holes"
SCATTERED: Final = "scattered"
LIBRARIES: Final = "libraries"
PIECES: Final = "file-pieces"
FILES: Final = "files"
SHARED_MEMORY: Final = "shared-memory"
DEVICES: Final = "devices"
KERNEL: Final = "kernel"
SINGLE: Final = "single"
PATTERNS: Final = (
    THREAD_STACKS, GUARD_PAGES, ARENAS, RESERVED, JIT, PROTECTION, NAMES, DONTFORK, ACCOUNTING,
    LOCKED, KSM_FLAG, ADVICE, LOOKALIKES, HOLES, SCATTERED, LIBRARIES, PIECES, FILES,
    SHARED_MEMORY, DEVICES, KERNEL, SINGLE,
)  # fmt: skip

#: In pages: what is inaccessible is a guard up to here (that of whatif's rewriting), and more is
#: memory held in reserve; what is accessible is a stack from here on, and less is an object.
_GUARD: Final = 64
_STACK: Final = 16
#: In bytes: the largest stack, the largest hole, and a heap of glibc's arenas (HEAP_MAX_SIZE).
_LARGEST_STACK: Final = 1 << 28
_HOLE: Final = 64 << 20
_ARENA: Final = 64 << 20
#: So many of a kind make holes, or the pieces of a file; and so many, of one size, are scattered.
_FEW: Final = 3
_SOME: Final = 8
#: Where .NET keeps the code that it makes, mapped twice.
_DOUBLE: Final = "doublemapper"
#: Flags that say of two VMAs why they are two; the first that differs. Others are advice.
_FLAGS: Final = (
    (abi.VM_DONTCOPY, DONTFORK),
    (abi.VM_LOCKED_MASK, LOCKED),
    (abi.VM_NORESERVE | abi.VM_ACCOUNT, ACCOUNTING),
    (abi.VM_MERGEABLE, KSM_FLAG),
)


@dataclass(frozen=True)
class PatternRun:
    """``vmas`` in a row that are of one pattern; between them nothing else is mapped."""

    pattern: str
    start: int
    end: int
    vmas: int


@dataclass(frozen=True)
class PatternUse:
    """What a pattern takes: ``vmas`` and ``bytes``, and its ``runs``, the longest first."""

    name: str
    vmas: int
    bytes: int
    runs: list[PatternRun]


def patterns(layout: Sequence[Mapping]) -> list[PatternUse]:
    """The patterns of *layout*, each VMA in one; the largest first."""
    named = assigned(layout)
    vmas = Counter(named)
    sizes: Counter[str] = Counter()
    runs: dict[str, list[PatternRun]] = {}
    first = 0
    for name, together in groupby(named):
        last = first + len(list(together))
        run = PatternRun(name, layout[first].start, layout[last - 1].end, last - first)
        runs.setdefault(name, []).append(run)
        sizes[name] += sum(mapping.end - mapping.start for mapping in layout[first:last])
        first = last
    found = [
        PatternUse(name, count, sizes[name], sorted(runs[name], key=lambda run: -run.vmas))
        for name, count in vmas.items()
    ]
    return sorted(found, key=lambda use: (-use.vmas, PATTERNS.index(use.name)))


def assigned(layout: Sequence[Mapping]) -> list[str]:
    """The pattern of each VMA of *layout*, in order."""
    sight = _Sight(layout)
    named = sight.named()
    first = 0
    for i in range(1, len(named) + 1):
        if i == len(named) or named[i] != named[first]:
            if named[first] == HOLES and i - first < _FEW:
                named[first:i] = [SINGLE] * (i - first)
            first = i
    alike = [
        (m.end - m.start, m.vm_flags, m.name) if name == SINGLE and sight.memory[i] else None
        for i, (m, name) in enumerate(zip(layout, named, strict=True))
    ]
    times = Counter(alike)
    return [
        SCATTERED if kind is not None and times[kind] >= _SOME else name
        for kind, name in zip(alike, named, strict=True)
    ]


class _Sight:
    """One look at a layout from its lowest VMA to its highest."""

    def __init__(self, layout: Sequence[Mapping]) -> None:
        self._layout = layout
        self._page = groups.page_size(layout)
        self._backings = groups.backings(layout)
        #: Whether each is private memory without a file; and what is behind the last is not.
        self.memory = [backing in groups.PRIVATE for backing in self._backings] + [False]
        files = [m for m, b in zip(layout, self._backings, strict=True) if b == groups.FILE]
        self._libraries = {m.name for m in files if m.vm_flags & abi.VM_EXEC}
        self._times = Counter(mapping.name for mapping in layout if groups.is_file(mapping))
        self._named: list[str] = []

    def named(self) -> list[str]:
        """The pattern of each."""
        named = self._named
        for at, alone in enumerate(groups.of_kinds(self._layout, self._alone)):
            if at < len(named):
                continue  # with the one before it
            if unit := self._pair(at):
                named += [unit, unit]
            else:
                named.append(alone or self._beside(at) or self._what_is_left(at))
        return named

    def _pair(self, at: int) -> str | None:
        """What this VMA and the next are together: an arena, or a stack and its guard."""
        if not (self.memory[at] and self.memory[at + 1]):
            return None
        below, above = self._layout[at], self._layout[at + 1]
        used = _accessible(below)
        if below.end != above.start or _accessible(above) == used:
            return None
        low, high = below.end - below.start, above.end - above.start
        if used:
            found = ARENAS if not below.start % _ARENA and low + high == _ARENA else None
        else:
            stack = low <= _GUARD * self._page and _STACK * self._page <= high <= _LARGEST_STACK
            found = THREAD_STACKS if stack and not above.vm_flags & abi.VM_EXEC else None
        return found if found and not self._guarded(at) else None

    def _guarded(self, at: int) -> bool:
        """Whether guard pages lead up to here: then what is above the last is the rest of them."""
        before = self._named[-_FEW:] == [GUARD_PAGES] * _FEW
        return before and self._layout[at - 1].end == self._layout[at].start

    def _alone(self, mapping: Mapping) -> str | None:
        """What a VMA is whatever its neighbours are."""
        backing = groups.backing(mapping)
        if backing == groups.KERNEL:
            return KERNEL
        if backing == groups.DEVICE:
            return DEVICES
        if backing == groups.FILE and mapping.name in self._libraries:
            return LIBRARIES
        memory = backing in groups.PRIVATE
        if _DOUBLE in mapping.name or (memory and mapping.vm_flags & abi.VM_EXEC):
            return JIT
        return None

    def _beside(self, at: int) -> str | None:
        """What keeps it from being one with a neighbour; with both, what goes on."""
        before = self._border(at - 1) if at else None
        if before is not None and self._named[at - 1] == before:
            return before
        return (self._border(at) if at + 1 < len(self._layout) else None) or before

    def _border(self, at: int) -> str | None:
        """Why a VMA and the next are two, None where they have nothing to do with each other."""
        below, above = self._layout[at], self._layout[at + 1]
        if not (self.memory[at] and self.memory[at + 1]) and not _same_file(below, above):
            return None
        alike = not (below.vm_flags ^ above.vm_flags) & ~IGNORED_FLAGS
        alike = alike and below.foreign == above.foreign
        if below.end != above.start:
            near = above.start - below.end <= _HOLE
            return HOLES if near and alike and below.name == above.name else None
        return self._touching(below, above, alike)

    def _touching(self, below: Mapping, above: Mapping, alike: bool) -> str:
        differ = below.vm_flags ^ above.vm_flags
        if differ & abi.VM_ACCESS_FLAGS:
            if differ & abi.VM_EXEC and (below.vm_flags | above.vm_flags) & abi.VM_EXEC:
                return JIT
            if _accessible(below) and _accessible(above):
                return PROTECTION
            none = above if _accessible(below) else below
            return GUARD_PAGES if none.end - none.start <= _GUARD * self._page else RESERVED
        if below.name != above.name and not alike_but_heap(below, above):
            return NAMES
        if alike:
            return LOOKALIKES
        return next((name for mask, name in _FLAGS if differ & mask), ADVICE)

    def _what_is_left(self, at: int) -> str:
        mapping, backing = self._layout[at], self._backings[at]
        if groups.is_file(mapping) and self._times[mapping.name] >= _FEW:
            return PIECES
        if backing == groups.SHARED:
            return SHARED_MEMORY
        if backing == groups.FILE:
            return FILES
        # The memory of a library that is not in its file (.bss) goes on where that ends.
        below = self._layout[at - 1] if at else None
        bss = below is not None and below.end == mapping.start and self._named[-1] == LIBRARIES
        return LIBRARIES if bss else SINGLE


def alike_but_heap(below: Mapping, above: Mapping) -> bool:
    """Whether the names say no more than where the heap is, which is no attribute of a VMA."""
    plain = ("", "[heap]")
    return below.name in plain and above.name in plain


def _accessible(mapping: Mapping) -> bool:
    return bool(mapping.vm_flags & abi.VM_ACCESS_FLAGS)


def _same_file(below: Mapping, above: Mapping) -> bool:
    """Whether both are of one file, and the upper goes on where the lower would."""
    return (
        groups.is_file(below)
        and (below.name, below.device, below.inode) == (above.name, above.device, above.inode)
        and above.offset - below.offset == above.start - below.start
    )
