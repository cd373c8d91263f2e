"""What a log does not show and its results prove: memory that was there, memory that was gone.

A log has no initial mappings after an exec and none of calls it left out. A call that succeeded on
memory never shown implies a mapping (fill(), fill_heap()); one placed where the model has memory
implies that this is gone (clear()). Used only for traces that say so (Trace.partial); each is
counted. What failed is the matter of believed.
"""

from __future__ import annotations

from typing import Final

from vmatrace import abi
from vmatrace.calls import CALLS
from vmatrace.engine import ksm
from vmatrace.engine.mm import Mm
from vmatrace.engine.region import unmap
from vmatrace.engine.vma import Vma
from vmatrace.engine.vmfile import VmFile

#: The name of assumed memory in a layout. It is private and merges with nothing but itself.
NAME: Final = "[assumed]"
_FLAGS: Final = abi.VM_READ | abi.VM_WRITE | abi.VM_MAY_ALL | abi.VM_ACCOUNT

#: Calls for which clear() has something to say: where their length and flags are among the
#: arguments, and which flags say that the caller chose the place.
PLACED: Final = {
    call.name: (call.placed, call.flags[-1], call.fixed)
    for call in CALLS.values()
    if call.placed is not None
}


def range_of(name: str, arguments: tuple[object, ...]) -> tuple[int, int] | None:
    """The bytes [start, end) that the call needs mapped, None where it needs none."""
    if name == "prctl" and arguments[0] == abi.PR_SET_VMA and len(arguments) > 3:
        start, length = arguments[2:4]
    elif CALLS[name].mapped:
        start, length = arguments[:2]
    else:
        return None
    if not isinstance(start, int) or not isinstance(length, int):
        return None
    start, length = start & abi.ULONG_MAX, length & abi.ULONG_MAX
    return (start, start + length) if 0 < length <= abi.ANY_TASK_SIZE - start else None


def fill(mm: Mm, start: int, end: int) -> int:
    """Map what of [start, end) is not mapped as assumed memory; how many VMAs that took."""
    mask = mm.world.page_mask
    start, end = start & ~mask, abi.page_align(end, mask)
    filled = 0
    while start < end:
        vma = mm.vmas.find(start)
        hole = end if vma is None else min(vma.start, end)
        if start < hole:
            below = vma.prev if vma is not None else mm.vmas.last
            if below is not None and below.end == start and _is_unmeasured(below):
                mm.vmas.set_end(below, hole)
                start = hole
                filled += 1
                continue
            _assume(mm, start, hole)
            filled += 1
            vma = mm.vmas.find(start)
        assert vma is not None
        start = vma.end
    return filled


def _is_unmeasured(vma: Vma) -> bool:
    """Whether it is of a System V segment whose size nobody told: what follows shows it."""
    file = vma.file
    return file is not None and file.close and file.fs == "tmpfs" and file.size is None


def _assume(mm: Mm, start: int, end: int) -> None:
    file = mm.world.assumed
    if file is None:
        file = mm.world.assumed = VmFile(NAME, NAME, "legacy")
    flags = _FLAGS
    if mm.merge_any and ksm.compatible(flags, file):
        flags |= abi.VM_MERGEABLE
    prev, _ = mm.vmas.around(start)
    mm.insert(Vma(start, end, flags, 0, file), prev)


def fill_heap(mm: Mm, recorded: int) -> int:
    """Map heap below a break that was set, and below which no heap is known; how many VMAs.

    A log that starts within a run (strace -p) shows no first brk(NULL). Where its heap starts is
    not known: a page of it is below what is set first, and wherever it is shrunk to.
    """
    if recorded <= mm.world.page_mask:
        return 0  # no address
    if not mm.brk_known:
        mm.start_brk = mm.brk = recorded
        mm.brk_known = mm.brk_assumed = True
    if not mm.brk_assumed or recorded > mm.start_brk - mm.fresh:
        return 0
    mask = mm.world.page_mask
    start, end = (recorded - 1) & ~mask, (mm.start_brk + mask) & ~mask
    mm.start_brk = start
    above = mm.vmas.find(start)
    if above is not None and above.start < end:
        return 0
    if above is not None and above.start == end < mm.brk and above.file is None:
        mm.vmas.set_start(above, start)
        return 0
    flags = _FLAGS | mm.def_flags
    if mm.merge_any and ksm.compatible(flags, None):
        flags |= abi.VM_MERGEABLE
    mm.insert(Vma(start, end, flags), above.prev if above is not None else mm.vmas.last)
    return 1


def obstruct(mm: Mm, arguments: tuple[object, ...], recorded: int) -> int:
    """Map a page behind what an mremap moved although it could have grown there; how many.

    Where it could, vma_to_resize() and vma_expandable() would have grown it in place.
    """
    numbers = [a for a in arguments if isinstance(a, int)]
    if len(numbers) < len(arguments) or numbers[3] != abi.MREMAP_MAYMOVE or recorded == numbers[0]:
        return 0
    mask = mm.world.page_mask
    start, old, new = numbers[0], numbers[1] + mask & ~mask, numbers[2] + mask & ~mask
    end = start + old
    vma = mm.vmas.at(start)
    if new <= old or vma is None or vma.end != end:
        return 0
    if vma.next is not None and vma.next.start < start + new:
        return 0
    return 0 if recorded < end + mask and recorded + new > end else fill(mm, end, end + mask + 1)


def clear(mm: Mm, name: str, arguments: tuple[object, ...], recorded: int) -> int:
    """Unmap what is where a call placed memory by its own choice; how many VMAs that hit."""
    at, flags_at, fixed = PLACED[name]
    length, flags = arguments[at], arguments[flags_at]
    if not isinstance(length, int) or not isinstance(flags, int) or flags & fixed or recorded <= 0:
        return 0
    mask = mm.world.page_mask
    start, end = recorded, recorded + abi.page_align(length, mask)
    if name == "mremap":
        old, size = arguments[0], arguments[1]
        if not isinstance(old, int) or not isinstance(size, int):
            return 0
        if recorded == old:  # grown or shrunk in place
            start += abi.page_align(size, mask)
    vma = mm.vmas.find(start)
    if vma is not None and vma.start < start and _is_unmeasured(vma):
        mm.vmas.set_end(vma, start)  # that is how long it is
        vma = vma.next
    hit = 0
    while vma is not None and vma.start < end:  # each mmap comes here: no generator
        hit += 1
        vma = vma.next
    if hit and unmap(mm, start, end):
        return 0
    return hit
