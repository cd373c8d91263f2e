"""mprotect and pkey_mprotect. Mirrors do_mprotect_pkey() and mprotect_fixup(), mm/mprotect.c."""

from __future__ import annotations

from typing import Final

from vmatrace import abi
from vmatrace.engine.faults import populate_vma
from vmatrace.engine.mm import Mm
from vmatrace.engine.vma import Vma

_GROWS: Final = abi.PROT_GROWSDOWN | abi.PROT_GROWSUP
_KNOWN_PROT: Final = abi.PROT_READ | abi.PROT_WRITE | abi.PROT_EXEC | abi.PROT_SEM
_NEVER_CHARGED: Final = (
    abi.VM_ACCOUNT | abi.VM_WRITE | abi.VM_HUGETLB | abi.VM_SHARED | abi.VM_NORESERVE
)
_CLEARED: Final = abi.VM_ACCESS_FLAGS | abi.VM_PKEY_MASK


def mprotect(mm: Mm, addr: int, length: int, prot: int) -> int:
    """mprotect(2): 0 or -errno. What lies before a failure stays changed."""
    grows = prot & _GROWS
    if grows == _GROWS:
        return -abi.EINVAL
    prot &= ~_GROWS
    mask = mm.world.page_mask
    if addr & mask:
        return -abi.EINVAL
    if not length:
        return 0
    start, end = addr, addr + ((length + mask) & ~mask)
    if end <= start or end > abi.ULONG_MAX:
        return -abi.ENOMEM
    if prot & ~_KNOWN_PROT:
        return -abi.EINVAL
    vma = mm.vmas.find(start)
    if vma is None:
        return -abi.ENOMEM
    if grows & abi.PROT_GROWSDOWN:
        if vma.start >= end:
            return -abi.ENOMEM
        start = vma.start
        if not vma.flags & abi.VM_GROWSDOWN:
            return -abi.EINVAL
    elif vma.start > start:
        return -abi.ENOMEM
    elif grows:
        return -abi.EINVAL  # PROT_GROWSUP: no such VMA on these architectures
    access = prot & abi.VM_ACCESS_FLAGS
    position = start
    while True:
        changed = _protect(mm, vma, position, min(vma.end, end), access)
        if isinstance(changed, int):
            return changed
        position = changed.end
        if position >= end:
            return 0
        following = changed.next
        if following is None or following.start != position:
            return -abi.ENOMEM
        vma = following


def _protect(mm: Mm, vma: Vma, start: int, end: int, access: int) -> Vma | int:
    """Protect [start, end) of one VMA; the VMA that holds it afterwards, or -errno."""
    old = vma.flags
    new = (old & ~_CLEARED) | access
    if access & ~(new >> 4):
        return -abi.EACCES
    if mm.mdwe and _denied(old, new):
        return -abi.EACCES
    if old & abi.VM_SEALED:
        return -abi.EPERM
    if new == old:
        return vma
    if new & abi.VM_WRITE:
        if not old & _NEVER_CHARGED:
            new |= abi.VM_ACCOUNT
    elif old & abi.VM_ACCOUNT and not vma.anon and mm.world.unaccount and vma.is_anonymous:
        new &= ~abi.VM_ACCOUNT
    changed = mm.modify(vma, start, end, new, vma.extra)
    if (
        isinstance(changed, Vma)
        and new & abi.VM_WRITE
        and old & (abi.VM_WRITE | abi.VM_SHARED | abi.VM_LOCKED) == abi.VM_LOCKED
    ):
        populate_vma(mm, changed, start, end)
    return changed


def _denied(old: int, new: int) -> bool:
    """map_deny_write_exec(): PR_SET_MDWE refuses to gain execution or be both."""
    if not new & abi.VM_EXEC:
        return False
    return bool(new & abi.VM_WRITE) or not old & abi.VM_EXEC
