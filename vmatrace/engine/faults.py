"""What touching memory does to the layout: anon_vma creation, stack growth, population.

Mirrors handle_mm_fault(), expand_downwards() and populate_vma_page_range(). Pages themselves are
not modelled: only whether a VMA has had a private page, and whether the access is allowed.
"""

from __future__ import annotations

from vmatrace import abi
from vmatrace.engine.merge import IGNORED_FLAGS
from vmatrace.engine.mm import Mm
from vmatrace.engine.vma import NO_EXTRA, Extra, Vma


def fault(mm: Mm, addr: int, length: int, access: int) -> int:
    """Access each page of [addr, addr+length) once: 0, or -EFAULT at the first that cannot be.

    *access* is PROT_READ, PROT_WRITE or PROT_EXEC. Pages before the failing one have been touched.
    """
    if not length or not access & abi.VM_ACCESS_FLAGS:
        return 0
    position = addr & ~mm.world.page_mask
    end = addr + length
    vma = mm.vmas.find(position)
    while position < end:
        if vma is None or position >= mm.world.task_size:
            return -abi.EFAULT
        if vma.start > position and not _expand_downwards(mm, vma, position):
            return -abi.EFAULT
        if not _allowed(vma, access):
            return -abi.EFAULT
        if guarded(mm, position):
            return -abi.EFAULT
        if access & abi.PROT_WRITE and not vma.flags & abi.VM_SHARED:
            prepare_anon(mm, vma)
        stop = min(end, vma.end)
        if reachable_end(mm, vma, position, stop) < stop:
            return -abi.EFAULT
        position = stop
        vma = vma.next
    return 0


def _allowed(vma: Vma, access: int) -> bool:
    """access_error() of x86: what can be accessed at all can be read."""
    needed = access & (abi.VM_WRITE | abi.VM_EXEC)
    return vma.flags & needed == needed and bool(vma.flags & abi.VM_ACCESS_FLAGS)


def reachable_end(mm: Mm, vma: Vma, start: int, end: int) -> int:
    """How far pages of *vma* can be touched from *start* on, at most to *end*.

    A guard marker stops it, and so do pages beyond the end of the file (SIGBUS) and huge pages
    that nobody reserved when there are none.
    """
    if mm.guards:
        guard = mm.guards.first(start, end)
        if guard is not None:
            end = guard
    file = vma.file
    if file is None or vma.is_anonymous:
        return end
    huge_unreserved = abi.VM_HUGETLB | abi.VM_NORESERVE
    if vma.flags & huge_unreserved == huge_unreserved and not mm.world.huge_pages:
        return start  # alloc_hugetlb_folio() finds none: SIGBUS
    if file.size is None:
        return end
    return min(end, abi.page_align(file.size, mm.world.page_mask) - vma.skew)


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
    prepare_anon(mm, vma)  # before the limits are asked, so a failure leaves it
    growth = vma.start - position
    limits = mm.limits
    if (
        vma.end - position > limits.stack
        or not limits.may_expand(mm.vmas, vma.flags, growth)
        or (vma.flags & abi.VM_LOCKED and not limits.may_lock(mm.vmas, growth))
    ):
        return False
    mm.vmas.set_start(vma, position)
    return True


def populate(mm: Mm, start: int, end: int, ignore_errors: bool = True) -> int:
    """Fault in [start, end) as mlock and MAP_POPULATE do: 0, or -EFAULT for the first failure.

    Writable private VMAs get an anon_vma; gaps are skipped. Unless errors are ignored, nothing
    behind the first failure is populated (__mm_populate()).
    """
    for vma in mm.vmas.overlapping(start, end):
        error = populate_vma(mm, vma, max(start, vma.start), min(end, vma.end))
        if error and not ignore_errors:
            return error
    return 0


def populate_vma(mm: Mm, vma: Vma, start: int, end: int) -> int:
    """Fault in [start, end) of *vma*: 0 or -EFAULT (populate_vma_page_range())."""
    flags = vma.flags
    if flags & (abi.VM_LOCKONFAULT | abi.VM_IO | abi.VM_PFNMAP):
        return 0
    if not flags & abi.VM_ACCESS_FLAGS or out_of_reach(vma) or guarded(mm, start):
        return -abi.EFAULT
    if flags & (abi.VM_WRITE | abi.VM_SHARED) == abi.VM_WRITE:
        prepare_anon(mm, vma)
    return -abi.EFAULT if reachable_end(mm, vma, start, end) < end else 0


def out_of_reach(vma: Vma) -> bool:
    """Whether the kernel itself may not touch the pages of *vma* (check_vma_flags(): secretmem)."""
    return vma.file is not None and vma.file.fs == "secretmem"


def guarded(mm: Mm, addr: int) -> bool:
    """Whether the page at *addr* is a guard."""
    return bool(mm.guards) and mm.guards.first(addr, addr + 1) is not None


def prepare_anon(mm: Mm, vma: Vma) -> None:
    """Give *vma* an anon_vma for its first private page (__anon_vma_prepare()).

    One of a neighbour is reused where that keeps a later merge possible
    (find_mergeable_anon_vma(): the next VMA first).
    """
    if vma.anon:
        return
    following, prev = vma.next, vma.prev
    if following is not None and _reusable(following, vma, following):
        vma.anon = following.anon
    elif prev is not None and _reusable(prev, prev, vma):
        vma.anon = prev.anon
    else:
        vma.anon = mm.world.new_anon()
    vma.chain = 1


def _reusable(old: Vma, a: Vma, b: Vma) -> bool:
    """reusable_anon_vma(): *a* and *b* could be one VMA after an mprotect, and *old* has a chain
    that no fork made longer.
    """
    return (
        old.anon != 0
        and old.chain == 1
        and a.end == b.start
        and not (a.flags ^ b.flags) & ~(abi.VM_ACCESS_FLAGS | IGNORED_FLAGS)
        and a.file is b.file
        and a.skew == b.skew
        and (a.extra is b.extra or _shareable(a.extra or NO_EXTRA, b.extra or NO_EXTRA))
    )


def _shareable(a: Extra, b: Extra) -> bool:
    """What anon_vma_compatible() compares of the rare attributes."""
    return a.policy == b.policy and a.displaced == b.displaced
