"""mlock, mlock2, munlock, mlockall, munlockall. Mirrors mm/mlock.c."""

from __future__ import annotations

from typing import Final

from vmatrace import abi, kernels
from vmatrace.engine.faults import populate
from vmatrace.engine.limits import locked, overlap
from vmatrace.engine.mm import Mm
from vmatrace.engine.vma import Vma
from vmatrace.engine.walk import Holes, walk

_KNOWN_MCL: Final = abi.MCL_CURRENT | abi.MCL_FUTURE | abi.MCL_ONFAULT


def mlock(mm: Mm, addr: int, length: int) -> int:
    """mlock(2): 0 or -errno. What lies before a failure stays locked."""
    return _lock(mm, addr, length, abi.VM_LOCKED)


def mlock2(mm: Mm, addr: int, length: int, flags: int) -> int:
    """mlock2(2): 0 or -errno."""
    if flags & ~abi.MLOCK_ONFAULT:
        return -abi.EINVAL
    on_fault = abi.VM_LOCKONFAULT if flags & abi.MLOCK_ONFAULT else 0
    return _lock(mm, addr, length, abi.VM_LOCKED | on_fault)


def munlock(mm: Mm, addr: int, length: int) -> int:
    """munlock(2): 0 or -errno."""
    start, length = _rounded(mm, addr, length)
    return _apply(mm, start, length, 0)


def mlockall(mm: Mm, flags: int) -> int:
    """mlockall(2): 0 or -errno."""
    if not flags or flags & ~_KNOWN_MCL or flags == abi.MCL_ONFAULT:
        return -abi.EINVAL
    memlock = mm.limits.memlock
    if memlock is not None:
        total = sum(vma.end - vma.start for vma in mm.vmas)
        if not memlock:
            return -abi.EPERM
        if flags & abi.MCL_CURRENT and total > memlock:
            return -abi.ENOMEM
    wanted = abi.VM_LOCKED | (abi.VM_LOCKONFAULT if flags & abi.MCL_ONFAULT else 0)
    mm.def_flags &= ~abi.VM_LOCKED_MASK
    if flags & abi.MCL_FUTURE:
        mm.def_flags |= wanted
    if flags & abi.MCL_CURRENT:
        _apply_to_all(mm, wanted)
        populate(mm, 0, mm.world.task_size)
    return 0


def munlockall(mm: Mm) -> int:
    """munlockall(2): 0."""
    mm.def_flags &= ~abi.VM_LOCKED_MASK
    _apply_to_all(mm, 0)
    return 0


def _rounded(mm: Mm, addr: int, length: int) -> tuple[int, int]:
    mask = mm.world.page_mask
    length = abi.page_align(length + (addr & mask), mask) & abi.ULONG_MAX
    return addr & ~mask, length


def _lock(mm: Mm, addr: int, length: int, flags: int) -> int:
    start, length = _rounded(mm, addr, length)
    memlock = mm.limits.memlock
    if memlock is not None:
        if not memlock:
            return -abi.EPERM
        inside = [v for v in mm.vmas if v.flags & abi.VM_LOCKED]
        again = overlap(inside, start, start + length)
        if locked(mm.vmas) + length - again > memlock:
            return -abi.ENOMEM
    error = _apply(mm, start, length, flags)
    if error:
        return error
    # __mlock_posix_error_return(): what cannot be faulted in is ENOMEM.
    return -abi.ENOMEM if length and populate(mm, start, start + length, False) else 0


def _apply(mm: Mm, start: int, length: int, flags: int) -> int:
    """apply_vma_lock_flags()."""
    end = start + length
    if end > abi.ULONG_MAX:
        return -abi.EINVAL
    return walk(mm, mm.vmas.find(start), start, end, Holes.FATAL, _fixup, flags)


def _apply_to_all(mm: Mm, flags: int) -> None:
    """apply_mlockall_flags(): every VMA by itself, errors ignored."""
    vma = mm.vmas.first
    while vma is not None:
        changed = _fixup(mm, vma, vma.start, vma.end, flags)
        vma = changed.next if isinstance(changed, Vma) else vma.next


def _fixup(mm: Mm, vma: Vma, start: int, end: int, flags: int) -> Vma | int:
    """mlock_fixup(): the VMA that holds the range afterwards, or -errno."""
    old = vma.flags
    new = (old & ~abi.VM_LOCKED_MASK) | flags
    if new == old or old & (abi.VM_SPECIAL | abi.VM_HUGETLB):
        return vma
    if vma.file is not None and vma.file.fs in ("dax", "secretmem"):
        return vma
    if old & abi.VM_DROPPABLE and mm.world.kernel.has(kernels.DROPPABLE):
        return vma
    return mm.modify(vma, start, end, new, vma.extra)
