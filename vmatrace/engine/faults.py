"""What touching memory does to the layout: anon_vma creation, stack growth, population.

Mirrors handle_mm_fault(), expand_downwards() and populate_vma_page_range(). Pages themselves are
not modelled: only whether a VMA has had a private page, and whether the access is allowed.
"""

from __future__ import annotations

from vmatrace import abi
from vmatrace.engine.mm import Mm
from vmatrace.engine.vma import Vma


def fault(mm: Mm, addr: int, length: int, access: int) -> int:
    """Access each page of [addr, addr+length) once: 0, or -EFAULT at the first that cannot be.

    *access* is PROT_READ, PROT_WRITE or PROT_EXEC. Pages before the failing one have been touched.
    """
    position = addr & ~mm.world.page_mask
    end = addr + max(length, 1)
    vma = mm.vmas.find(position)
    while position < end:
        if vma is None or position >= abi.TASK_SIZE:
            return -abi.EFAULT
        if vma.start > position and not _expand_downwards(mm, vma, position):
            return -abi.EFAULT
        if not _allowed(vma, access):
            return -abi.EFAULT
        if access & abi.PROT_WRITE and not vma.flags & abi.VM_SHARED:
            mm.prepare_anon(vma)
        stop = min(end, vma.end)
        if stop > end_of_file(vma, mm.world.page_mask):
            return -abi.EFAULT
        position = stop
        vma = vma.next
    return 0


def _allowed(vma: Vma, access: int) -> bool:
    """access_error() of x86: what can be accessed at all can be read."""
    if access & abi.PROT_WRITE:
        return bool(vma.flags & abi.VM_WRITE)
    if access & abi.PROT_EXEC:
        return bool(vma.flags & abi.VM_EXEC)
    return bool(vma.flags & abi.VM_ACCESS_FLAGS)


def end_of_file(vma: Vma, page_mask: int) -> int:
    """The address from which the VMA's pages lie beyond the end of its file (SIGBUS)."""
    if vma.file is None or vma.file.size is None or vma.is_anonymous:
        return vma.end
    size = (vma.file.size + page_mask) & ~page_mask
    return size - vma.skew


def _expand_downwards(mm: Mm, vma: Vma, position: int) -> bool:
    """Extend a VM_GROWSDOWN VMA down to *position*; whether that was possible.

    Mirrors expand_downwards(): the stack guard gap is kept from a VMA before it, unless that one
    is inaccessible or grows down itself. Never merges.
    """
    world = mm.world
    if not vma.flags & abi.VM_GROWSDOWN or position < world.min_addr:
        return False
    prev = vma.prev
    if (
        prev is not None
        and not prev.flags & abi.VM_GROWSDOWN
        and prev.flags & abi.VM_ACCESS_FLAGS
        and position - prev.end < world.guard
    ):
        return False
    mm.prepare_anon(vma)
    mm.vmas.set_start(vma, position)
    return True


def populate(mm: Mm, start: int, end: int) -> int:
    """Fault in [start, end) as mlock and MAP_POPULATE do: 0, or -EFAULT for the first failure.

    Writable private VMAs get an anon_vma; gaps are skipped. With the error ignored by the caller,
    the VMAs behind it are populated all the same (__mm_populate(), ignore_errors).
    """
    error = 0
    vma = mm.vmas.find(start)
    while vma is not None and vma.start < end:
        failed = populate_vma(mm, vma, min(end, vma.end))
        error = error or failed
        vma = vma.next
    return error


def populate_vma(mm: Mm, vma: Vma, end: int) -> int:
    """Fault in *vma* up to *end* (populate_vma_page_range())."""
    flags = vma.flags
    if flags & (abi.VM_LOCKONFAULT | abi.VM_IO | abi.VM_PFNMAP):
        return 0
    if not flags & abi.VM_ACCESS_FLAGS:
        return -abi.EFAULT
    if flags & (abi.VM_WRITE | abi.VM_SHARED) == abi.VM_WRITE:
        mm.prepare_anon(vma)
    return -abi.EFAULT if end > end_of_file(vma, mm.world.page_mask) else 0
