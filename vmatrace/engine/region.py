"""Mapping a range over whatever is there, and unmapping one.

Mirrors __mmap_region(), do_brk_flags() and vms_gather_munmap_vmas() with what follows it, in
mm/vma.c and mm/mmap.c. Arguments have been checked; ranges are bytes and page aligned.
"""

from __future__ import annotations

from typing import Final

from vmatrace import abi
from vmatrace.engine import ksm, merge
from vmatrace.engine.merge import Attributes
from vmatrace.engine.mm import Mm, may_split
from vmatrace.engine.vma import Vma
from vmatrace.engine.vmfile import VmFile

_new: Final = tuple.__new__  # see merge.py
#: From VM_READ to VM_MAYREAD, and so on.
_MAY_SHIFT: Final = 4
_CUT_CAREFULLY: Final = abi.VM_SEALED | abi.VM_HUGETLB | abi.VM_DONTEXPAND


def permitted(flags: int, file: VmFile) -> int:
    """The *flags* that a mapping of *file* may have (VmFile.clears), or -errno.

    Source: path_noexec() in do_mmap(), shmem's seals, a driver's own check (EACCES, as in
    btf_sysfs_vmlinux_mmap()).
    """
    lacks = file.clears
    if file.is_shmem and not flags & abi.VM_MAYSHARE:  # is_readonly_sealed() is of shared ones
        lacks &= ~abi.VM_MAYWRITE
    if asked := flags << _MAY_SHIFT & lacks:
        return -abi.EPERM if asked & abi.VM_MAYEXEC or file.is_shmem else -abi.EACCES
    return flags & ~lacks


def map_region(
    mm: Mm, start: int, end: int, flags: int, skew: int, file: VmFile | None, overlap: Vma | None
) -> Vma:
    """Map a range over whatever is there: __mmap_region() after its checks.

    *overlap* is find(start). With KSM by default the flag is set before the merge attempt
    where the kernel can (feature ksm-before-merge), else on the new VMA if none merged.
    Source: __mmap_region(), __mmap_new_vma(), vma_set_flags/ksm_add_vma().
    """
    if overlap is not None and overlap.start < end:
        prev, following = cut(mm, overlap, start, end)
    elif overlap is not None:
        prev, following = overlap.prev, overlap
    else:
        prev, following = mm.vmas.last, None
    late = mm.merge_any
    if file is not None and file.sets and file.hook == "mmap_prepare":
        flags |= file.sets
    if late and mm.world.ksm_early and ksm.can_set_early(file):
        late = False
        if ksm.compatible(flags, file):
            flags |= abi.VM_MERGEABLE
    source = _new(Attributes, (flags, skew, file, 0, 0, None))
    merged = mm.merge_new("new", start, end, source, prev, following)
    if merged is not None:
        return merged
    if file is not None:
        return _map_new(mm, start, end, source, prev, following, late)
    if late and not flags & ksm.INCOMPATIBLE:
        flags |= abi.VM_MERGEABLE
    if flags & abi.VM_LOCKED and flags & abi.VM_DROPPABLE and mm.world.droppable_unlocked:
        flags &= ~abi.VM_LOCKED_MASK  # only now, so the merge was tried with them
    return mm.insert_apart(Vma(start, end, flags, skew), prev)


def _map_new(
    mm: Mm,
    start: int,
    end: int,
    source: Attributes,
    prev: Vma | None,
    following: Vma | None,
    late: bool,
) -> Vma:
    """A file's range that merged with nothing: run the driver's hook, set the KSM flag late."""
    before, file = source.flags, source.file
    assert file is not None
    flags = before
    if late and mm.world.ksm_early_bug and ksm.compatible(flags, file):
        flags |= abi.VM_MERGEABLE
        late = False
    flags |= file.sets
    if flags & (abi.VM_SPECIAL | abi.VM_HUGETLB):
        flags &= ~abi.VM_LOCKED_MASK
    if file.fresh:
        file = file.reopened()
    if flags != before and prev is not None and mm.world.retries:
        again = merge.attributes(flags, source.skew, file, 0, 0, None)
        merged = mm.merge_new("new", start, end, again, prev, following)
        if merged is not None:
            if late and ksm.compatible(merged.flags, file):
                merged.flags |= abi.VM_MERGEABLE
            return merged
    if late and ksm.compatible(flags, file):
        flags |= abi.VM_MERGEABLE
    return mm.insert_apart(Vma(start, end, flags, source.skew, file), prev)


def brk_region(mm: Mm, start: int, end: int, flags: int) -> Vma:
    """Grow the heap by a range (do_brk_flags()): only the VMA before it may take it in."""
    prev, following = mm.vmas.around(start)
    late = mm.merge_any
    if late and mm.world.ksm_early:
        late = False
        if ksm.compatible(flags, None):
            flags |= abi.VM_MERGEABLE
    # vma_prev_limit(): a VMA that ends at start_brk or below is not the heap.
    heap = prev if prev is not None and prev.end > mm.start_brk else None
    source = merge.attributes(flags, 0, None, 0, 0, None)
    merged = mm.merge_new("brk", start, end, source, heap, following)
    if merged is not None:
        return merged
    if late and ksm.compatible(flags, None):
        flags |= abi.VM_MERGEABLE
    return mm.insert_apart(Vma(start, end, flags), prev)


def may_unmap(mm: Mm, first: Vma, start: int, end: int) -> int:
    """Whether [start, end) may be unmapped: 0, or -errno with the splits that stay made.

    *first* is find(start) and overlaps. Mirrors vms_gather_munmap_vmas().
    """
    full = first.start < start and end < first.end and mm.vmas.count >= mm.world.max_map_count
    vma: Vma | None = first
    while vma is not None and vma.start < end:  # each munmap comes here: no generator
        if vma.flags & _CUT_CAREFULLY:
            if any_sealed(vma, end) and mm.world.seals_first:
                return -abi.EPERM
            return -abi.ENOMEM if full else _gather_carefully(mm, first, start, end)
        vma = vma.next
    return -abi.ENOMEM if full else 0


def _gather_carefully(mm: Mm, first: Vma, start: int, end: int) -> int:
    if first.start < start:
        if first.flags & abi.VM_SEALED:
            return -abi.EPERM
        if not may_split(first, start):
            return -abi.EINVAL
    for vma in mm.vmas.overlapping(start, end):
        error = 0
        if vma.flags & abi.VM_SEALED:
            error = -abi.EPERM
        elif vma.end > end and not may_split(vma, end):
            error = -abi.EINVAL
        if error:
            if first.start < start:
                mm.split_unchecked(first, start)
            return error
    return 0


def any_sealed(vma: Vma | None, end: int) -> bool:
    """Whether *vma* or one behind it up to *end* is sealed (can_modify_mm(), until 6.12)."""
    while vma is not None and vma.start < end:
        if vma.flags & abi.VM_SEALED:
            return True
        vma = vma.next
    return False


def split_borders(mm: Mm, first: Vma, start: int, end: int) -> None:
    """What a failure after the gathering leaves behind: both borders split, nothing removed."""
    if first.start < start:
        mm.split_unchecked(first, start)
    for vma in mm.vmas.overlapping(start, end):
        if vma.end > end:
            mm.split_unchecked(vma, end)


def cut(mm: Mm, first: Vma, start: int, end: int) -> tuple[Vma | None, Vma | None]:
    """Remove [start, end); the VMAs before and behind it. *first* is find(start), overlapping.

    Trims instead of splitting and removing, which leaves the same VMAs.
    """
    if mm.guards:
        mm.guards.discard(start, end)
    vmas = mm.vmas
    vma: Vma | None = first
    if first.start < start:
        if first.end > end:
            upper = mm.split_unchecked(first, end)
            assert isinstance(upper, Vma)
            vmas.set_end(first, start)
            return first, upper
        vmas.set_end(first, start)
        prev: Vma | None = first
        vma = first.next
    else:
        prev = first.prev
    while vma is not None and vma.end <= end:
        following = vma.next
        vmas.remove(vma)
        vma = following
    if vma is not None and vma.start < end:
        vmas.set_start(vma, end)
    return prev, vma


def unmap(mm: Mm, start: int, end: int) -> int:
    """Unmap [start, end): 0, or -errno (do_vmi_align_munmap()). Never merges."""
    first = mm.vmas.find(start)
    if first is None or first.start >= end:
        return 0
    error = may_unmap(mm, first, start, end)
    if error:
        return error
    cut(mm, first, start, end)
    return 0
