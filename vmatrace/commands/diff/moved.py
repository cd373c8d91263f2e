"""Whether two layouts are one and the same but for where the kernel put things.

An address that the kernel chose (mmap() without an address, the break, the stack, all that execve()
maps) is another one in every run of a program, and what the program derives from it moves along.
What the program itself placed elsewhere is a difference.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Final

from vmatrace import abi
from vmatrace.event import Event
from vmatrace.layout import Layout, Mapping
from vmatrace.trace.file import Trace

#: Ranges [start, end), in order, none touching another.
Ranges = list[tuple[int, int]]

#: What the kernel places without a call that asks for it.
_ITS_OWN: Final = ("[heap]", "[stack]", "[vdso]", "[vvar]", "[vvar_vclock]", "[vsyscall]")
#: Layouts of more VMAs are compared from both ends only: a full match takes quadratic time.
_MATCHED: Final = 4_000


def chosen_by_kernel(trace: Trace) -> Ranges:
    """Where the kernel put memory in *trace*, as far as the trace records that."""
    found = [(m.start, m.end) for m in trace.maps]
    for item in trace.items():
        if isinstance(item, Event):
            found += [(m.start, m.end) for m in item.maps or ()]
            place = _placed(item)
            found += [place] if place is not None else []
    return _union(found)


def is_recording(trace: Trace) -> bool:
    """Whether the trace records an address that the kernel chose."""
    return any(isinstance(item, Event) and _placed(item) is not None for item in trace.items())


def _placed(event: Event) -> tuple[int, int] | None:
    """The range that the kernel chose in a call, by the result that is recorded of it."""
    at, args = event.recorded, event.args
    if at is None or at <= 0 or event.name not in ("mmap", "mremap", "shmat"):
        return None
    if event.name == "shmat":
        return (at, at + 1) if args[1] != at else None
    if event.name == "mremap":
        new, flags = args[2], args[3] if len(args) > 3 else 0
        moved = isinstance(flags, int) and not flags & abi.MREMAP_FIXED and args[0] != at
        return (at, at + max(new, 1)) if moved and isinstance(new, int) else None
    length, flags = args[1], args[3]
    free = isinstance(flags, int) and not flags & (abi.MAP_FIXED | abi.MAP_FIXED_NOREPLACE)
    return (at, at + max(length, 1)) if free and args[0] != at and isinstance(length, int) else None


def _union(ranges: Iterable[tuple[int, int]]) -> Ranges:
    found: Ranges = []
    for start, end in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found


def only_moved(from_: Layout, to: Layout, chosen: Ranges | None) -> bool:
    """Whether each VMA of *from_* is one of *to*, in the same order, and none is left over.

    *chosen* are the ranges of *to* that the kernel chose (None: not known). All else has to be
    where it was, or to have moved by as much as something that the kernel placed.
    """
    if len(from_) != len(to) or any(_kind(a) != _kind(b) for a, b in zip(from_, to, strict=True)):
        return False
    pairs = list(zip(from_, to, strict=True))
    allowed = _shifts(pairs, chosen)
    return all(new.start - old.start in allowed or _is_placed(new, chosen) for old, new in pairs)


def brought_along(from_: Layout, to: Layout, chosen: Ranges | None) -> Layout:
    """*from_* with each VMA where *to* has it, the others beside them; else *from_* as it is.

    What the program itself placed (only_moved()) stays where it is.
    """
    matched = {i: to[j] for i, j in _matches(from_, to)}
    allowed = _shifts([(from_[i], new) for i, new in matched.items()], chosen)
    own = {
        i: new.start - from_[i].start
        if _is_placed(new, chosen) or new.start - from_[i].start in allowed
        else 0
        for i, new in matched.items()
    }
    shift = next(iter(own.values()), 0)
    placed: Layout = []
    for i, mapping in enumerate(from_):
        shift = own.get(i, shift)
        placed.append(_at(mapping, mapping.start + shift))
    return placed if all(a.end <= b.start for a, b in pairwise(placed)) else from_


def _shifts(pairs: Iterable[tuple[Mapping, Mapping]], chosen: Ranges | None) -> set[int]:
    """By how much what the kernel placed has moved; what did not move has done so by 0."""
    return {0} | {new.start - old.start for old, new in pairs if _is_placed(new, chosen)}


def _is_placed(mapping: Mapping, chosen: Ranges | None) -> bool:
    return chosen is None or mapping.name in _ITS_OWN or _meets(chosen, mapping)


def _matches(from_: Layout, to: Layout) -> Iterator[tuple[int, int]]:
    """Pairs of VMAs that are the same but for their addresses, in order."""
    ours, theirs = ([_kind(m) for m in layout] for layout in (from_, to))
    if max(len(ours), len(theirs)) <= _MATCHED:
        for i, j, size in SequenceMatcher(None, ours, theirs, False).get_matching_blocks():
            yield from ((i + k, j + k) for k in range(size))
        return
    first, least = 0, min(len(ours), len(theirs))
    while first < least and ours[first] == theirs[first]:
        yield first, first
        first += 1
    last = 1
    while last <= least - first and ours[-last] == theirs[-last]:
        last += 1
    yield from ((len(ours) - k, len(theirs) - k) for k in range(last - 1, 0, -1))


def _kind(mapping: Mapping) -> tuple[int, int, int, str]:
    """All of a VMA but its address. How large a new stack is depends on where it starts."""
    size = 0 if mapping.name == "[stack]" else mapping.end - mapping.start
    return size, mapping.vm_flags, mapping.offset, mapping.name


def _meets(ranges: Ranges, mapping: Mapping) -> bool:
    """Whether the last of *ranges* that starts before the end of *mapping* reaches into it."""
    at = bisect_left(ranges, (mapping.end,))
    return at > 0 and ranges[at - 1][1] > mapping.start


def _at(m: Mapping, start: int) -> Mapping:
    end = start + m.end - m.start
    return Mapping(start, end, m.vm_flags, m.offset, m.name, m.device, m.inode)
