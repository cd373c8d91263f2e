"""mprotect and pkey_mprotect. Mirrors do_mprotect_pkey() and mprotect_fixup(), mm/mprotect.c."""

from __future__ import annotations

from typing import Final

from vmatrace import abi, kernels
from vmatrace.engine.faults import populate_vma
from vmatrace.engine.mm import Mm
from vmatrace.engine.region import any_sealed
from vmatrace.engine.vma import Vma
from vmatrace.engine.walk import Holes, walk

_GROWS: Final = abi.PROT_GROWSDOWN | abi.PROT_GROWSUP
_KNOWN_PROT: Final = abi.PROT_READ | abi.PROT_WRITE | abi.PROT_EXEC | abi.PROT_SEM
#: What mprotect takes from its argument (VM_ACCESS_FLAGS and VM_ARCH_CLEAR).
_GIVEN: Final = abi.VM_ACCESS_FLAGS | abi.VM_ARM64_BTI
_NEVER_CHARGED: Final = (
    abi.VM_ACCOUNT | abi.VM_WRITE | abi.VM_HUGETLB | abi.VM_SHARED | abi.VM_NORESERVE
)


def mprotect(mm: Mm, addr: int, length: int, prot: int, pkey: int = -1) -> int:
    """mprotect(2), or with *pkey* pkey_mprotect(2): 0 or -errno.

    What lies before a failure stays changed. A *pkey* of -1 leaves the key as it is.
    """
    mask = mm.world.page_mask
    if prot & _GROWS == _GROWS or addr & mask:
        return -abi.EINVAL
    if not length:
        return 0
    start, end = addr, addr + abi.page_align(length, mask)
    if end > abi.ULONG_MAX:
        return -abi.ENOMEM
    if prot & ~(_KNOWN_PROT | _GROWS | mm.world.arch_prot(prot)):
        return -abi.EINVAL
    vma = mm.vmas.find(start)
    if vma is None:
        return -abi.ENOMEM
    if prot & abi.PROT_GROWSDOWN:
        if vma.start >= end:
            return -abi.ENOMEM
        if not vma.flags & abi.VM_GROWSDOWN:
            return -abi.EINVAL
        start = vma.start
    elif vma.start > start:
        return -abi.ENOMEM
    elif prot & abi.PROT_GROWSUP:
        return -abi.EINVAL  # on these architectures no VMA grows up
    if any_sealed(vma, end) and mm.world.seals_first:
        return -abi.EPERM
    access = (prot & abi.VM_ACCESS_FLAGS) | mm.world.arch_flags(prot)
    if mm.persona & abi.READ_IMPLIES_EXEC and prot & abi.PROT_READ:
        return walk(mm, vma, start, end, Holes.FATAL, _protect_all, access, pkey)
    return walk(mm, vma, start, end, Holes.FATAL, _protect, access, pkey)


def pkey_mprotect(
    mm: Mm, addr: int, length: int, prot: int, pkey: int, recorded: int | None = None
) -> int:
    """pkey_mprotect(2): 0 or -errno.

    Key 0 exists where the CPU has keys; that another was allocated is only known where the call is
    recorded as a success.
    """
    keys = mm.world.kernel.has(kernels.PKEYS)
    known = pkey == -1 or (keys and (pkey == 0 or (0 < pkey < 16 and recorded == 0)))
    if not known and length and not addr & mm.world.page_mask and _valid(mm, addr, length, prot):
        return -abi.EINVAL
    return mprotect(mm, addr, length, prot, pkey)


def _valid(mm: Mm, addr: int, length: int, prot: int) -> bool:
    """Whether the checks before that of the key pass."""
    end = addr + abi.page_align(length, mm.world.page_mask)
    return addr < end <= abi.ULONG_MAX and not prot & ~(
        _KNOWN_PROT | _GROWS | mm.world.arch_prot(prot)
    )


def _protect_all(mm: Mm, vma: Vma, start: int, end: int, access: int, pkey: int) -> Vma | int:
    """_protect() under READ_IMPLIES_EXEC, of reading."""
    gained = abi.VM_EXEC if vma.flags & abi.VM_MAYEXEC else 0
    return _protect(mm, vma, start, end, access | gained, pkey)


def _protect(mm: Mm, vma: Vma, start: int, end: int, access: int, pkey: int) -> Vma | int:
    """Protect [start, end) of one VMA; the VMA that holds it afterwards, or -errno."""
    old = vma.flags
    new = (old & ~_GIVEN) | access  # VM_MTE stays once it is there
    if pkey >= 0:
        new = (new & ~abi.VM_PKEY_MASK) | pkey << abi.VM_PKEY_SHIFT
    if access & abi.VM_ACCESS_FLAGS & ~(new >> 4):
        return -abi.EACCES
    if mm.mdwe and _denied(old, new):
        return -abi.EACCES
    if old & abi.VM_SEALED:
        return -abi.EPERM
    if new == old:
        return vma
    if new & abi.VM_WRITE:
        limits = mm.limits
        if (
            limits.data is not None
            and limits.may_expand(mm.vmas, old, end - start)
            and not limits.may_expand(mm.vmas, new, end - start)
        ):
            return -abi.ENOMEM  # the range counts as data only from now on
        if not old & _NEVER_CHARGED:
            new |= abi.VM_ACCOUNT
    elif old & abi.VM_ACCOUNT and not vma.anon and vma.is_anonymous and mm.world.unaccount:
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
