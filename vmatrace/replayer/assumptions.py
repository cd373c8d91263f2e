"""What a log does not show and its results prove: memory that was there, memory that was gone.

A log has no initial mappings after an exec and none of calls it left out. A call that succeeded on
memory never shown implies a mapping (fill()); one placed where the model has memory implies that
this is gone (clear()). Used only for traces that say so (Trace.partial); each is counted.
"""

from __future__ import annotations

from typing import Final

from vmatrace import abi
from vmatrace.calls import CALLS
from vmatrace.engine import ksm
from vmatrace.engine.mm import Mm
from vmatrace.engine.region import unmap
from vmatrace.engine.vma import Vma, VmFile

#: The name of assumed memory in a layout. It is private and merges with nothing but itself.
NAME: Final = "[assumed]"
_FLAGS: Final = abi.VM_READ | abi.VM_WRITE | abi.VM_MAY_ALL | abi.VM_ACCOUNT

#: Calls for which clear() or believed() has something to say.
PLACED: Final = frozenset(call.name for call in CALLS.values() if call.failure_stands)


def range_of(name: str, arguments: tuple[object, ...]) -> tuple[int, int] | None:
    """The bytes [start, end) that the call needs mapped, None where it needs none."""
    if not CALLS[name].mapped:
        return None
    start, length = arguments[:2]
    if not isinstance(start, int) or not isinstance(length, int):
        return None
    start, length = start & abi.ULONG_MAX, length & abi.ULONG_MAX
    return (start, start + length) if 0 < length <= abi.TASK_SIZE - start else None


def believed(name: str, arguments: tuple[object, ...]) -> bool:
    """Whether a recorded failure of a call of PLACED is taken as it is, and the call not made.

    What it would have done could not be undone, and limits or the kernel's configuration, which a
    log does not show, may have refused it. A mapping where nothing was can be taken back.
    """
    flags = arguments[3] if name == "mmap" else 0
    return name != "mmap" or (isinstance(flags, int) and bool(flags & abi.MAP_FIXED))


def fill(mm: Mm, start: int, end: int) -> int:
    """Map what of [start, end) is not mapped as assumed memory; how many VMAs that took."""
    mask = mm.world.page_mask
    start, end = start & ~mask, abi.page_align(end, mask)
    filled = 0
    while start < end:
        vma = mm.vmas.find(start)
        hole = end if vma is None else min(vma.start, end)
        if start < hole:
            _assume(mm, start, hole)
            filled += 1
            vma = mm.vmas.find(start)
        assert vma is not None
        start = vma.end
    return filled


def _assume(mm: Mm, start: int, end: int) -> None:
    file = mm.world.assumed
    if file is None:
        file = mm.world.assumed = VmFile(NAME, NAME, "legacy")
    flags = _FLAGS
    if mm.merge_any and ksm.compatible(flags, file):
        flags |= abi.VM_MERGEABLE
    prev, _ = mm.vmas.around(start)
    mm.insert(Vma(start, end, flags, 0, file), prev)


def clear(mm: Mm, name: str, arguments: tuple[object, ...], recorded: int) -> int:
    """Unmap what is where a call placed memory by its own choice; how many VMAs that hit."""
    call = CALLS[name]
    if call.placed is None or recorded <= 0:
        return 0
    length, flags = arguments[call.placed], arguments[call.flags[-1]]
    if not isinstance(length, int) or not isinstance(flags, int) or flags & call.fixed:
        return 0
    mask = mm.world.page_mask
    start, end = recorded, recorded + abi.page_align(length, mask)
    if name == "mremap":
        old, size = arguments[0], arguments[1]
        if not isinstance(old, int) or not isinstance(size, int):
            return 0
        if recorded == old:  # grown or shrunk in place
            start += abi.page_align(size, mask)
    hit = sum(1 for _ in mm.vmas.overlapping(start, end))
    if hit and unmap(mm, start, end):
        return 0
    return hit
