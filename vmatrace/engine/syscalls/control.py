"""prctl and mseal: calls that change what the VMAs of a process may do.

Mirrors prctl(2) in kernel/sys.c with ksm_enable_merge_any() and ksm_disable_merge_any() in
mm/ksm.c, prctl_set_vma() in mm/madvise.c, and do_mseal() in mm/mseal.c.
"""

from __future__ import annotations

from typing import Final

from vmatrace import abi, kernels
from vmatrace.engine.mm import Mm
from vmatrace.engine.vma import NO_EXTRA, Vma, some
from vmatrace.engine.vmfile import VmFile
from vmatrace.engine.walk import Holes, Visit, walk

_NAME_MAX: Final = 80  # ANON_VMA_NAME_MAX_LEN, with the terminating NUL
_NAME_FORBIDDEN: Final = frozenset("\\`$[]")


def prctl(
    mm: Mm, option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int | str = 0
) -> int:
    """prctl(2) of calls.PRCTL_OPTIONS: a result >= 0, or -errno."""
    if option == abi.PR_SET_MEMORY_MERGE:
        if not _has_ksm_prctl(mm) or arg3 or arg4 or arg5:
            return -abi.EINVAL
        if arg2 and not mm.merge_any:
            mm.set_mergeable()
        elif not arg2 and mm.merge_any:
            mm.clear_mergeable()
        return 0
    if option == abi.PR_GET_MEMORY_MERGE:
        if not _has_ksm_prctl(mm) or arg2 or arg3 or arg4 or arg5:
            return -abi.EINVAL
        return int(mm.merge_any)
    if option == abi.PR_SET_VMA:
        return _set_vma_name(mm, arg2, arg3, arg4, arg5)
    if option == abi.PR_SET_THP_DISABLE:
        return _set_thp_disable(mm, arg2, arg3, arg4, arg5)
    if option == abi.PR_GET_THP_DISABLE:
        return -abi.EINVAL if arg2 or arg3 or arg4 or arg5 else mm.thp_disable
    if option == abi.PR_SET_MDWE:
        return _set_mdwe(mm, arg2, arg3, arg4, arg5)
    if option == abi.PR_GET_MDWE:
        return -abi.EINVAL if arg2 or arg3 or arg4 or arg5 else mm.mdwe
    return 0


def _has_ksm_prctl(mm: Mm) -> bool:
    kernel = mm.world.kernel
    return kernel.has(kernels.KSM) and kernel.has(kernels.KSM_PRCTL)


def _set_thp_disable(mm: Mm, arg2: int, arg3: int, arg4: int, arg5: int | str) -> int:
    known = 0
    if mm.world.kernel.has(kernels.THP_DISABLE_EXCEPT_ADVISED):
        known = abi.PR_THP_DISABLE_EXCEPT_ADVISED
    if arg4 or arg5 or arg3 & ~known or (arg3 and not arg2):
        return -abi.EINVAL
    mm.thp_disable = (1 | arg3) if arg2 else 0
    return 0


def _set_mdwe(mm: Mm, bits: int, arg3: int, arg4: int, arg5: int | str) -> int:
    known = abi.PR_MDWE_REFUSE_EXEC_GAIN | abi.PR_MDWE_NO_INHERIT
    if arg3 or arg4 or arg5 or bits & ~known or bits == abi.PR_MDWE_NO_INHERIT:
        return -abi.EINVAL
    if mm.mdwe and mm.mdwe != bits:
        return -abi.EPERM
    mm.mdwe = bits
    return 0


def _set_vma_name(mm: Mm, what: int, addr: int, length: int, name: int | str) -> int:
    """prctl_set_vma(): name the anonymous VMAs of a range, 0 for no name."""
    if not mm.world.kernel.has(kernels.ANON_VMA_NAME) or what != abi.PR_SET_VMA_ANON_NAME:
        return -abi.EINVAL
    text = name.strip('"') if isinstance(name, str) else None
    if text is not None and (
        len(text) >= _NAME_MAX
        or any(c in _NAME_FORBIDDEN or not 0x20 <= ord(c) < 0x7F for c in text)
    ):
        return -abi.EINVAL
    mask = mm.world.page_mask
    if addr & mask:
        return -abi.EINVAL
    end = addr + abi.page_align(length, mask)
    if end > abi.ULONG_MAX:
        return -abi.EINVAL
    if end == addr:
        return 0
    return walk(mm, mm.vmas.find(addr), addr, end, Holes.REPORTED, _name_one, text)


def _name_one(mm: Mm, vma: Vma, start: int, end: int, name: str | None) -> Vma | int:
    if vma.file is not None and not _is_nameable(mm, vma.file):
        return -abi.EBADF
    old = vma.extra
    extra = some((old or NO_EXTRA)._replace(name=name))
    if extra == old:
        return vma
    changed = mm.modify(vma, start, end, vma.flags, extra)
    return -abi.EAGAIN if changed == -abi.ENOMEM else changed


def _is_nameable(mm: Mm, file: VmFile) -> bool:
    """Whether memory backed by *file* counts as anonymous for a name (vma_is_anon_shmem()).

    So does shmem whose file has no link any more: shared anonymous memory, a memfd, what was
    unlinked (shmem_mmap() looks at i_nlink); not what another driver has wrapped (SysV segments).
    """
    if file is mm.world.assumed:
        return True
    return file.is_shmem and (file.path.endswith(" (deleted)") or file.path.startswith("/memfd:"))


def mseal(mm: Mm, addr: int, length: int, flags: int) -> int:
    """mseal(2): 0 or -errno; nothing is changed where the range has a gap."""
    if not mm.world.kernel.has(kernels.MSEAL):
        return -abi.ENOSYS
    mask = mm.world.page_mask
    rounded = abi.page_align(length, mask)
    end = addr + rounded
    if flags or addr & mask or rounded > abi.ULONG_MAX or end > abi.ULONG_MAX:
        return -abi.EINVAL
    if not rounded:
        return 0
    if not mm.vmas.covers(addr, end):
        return -abi.ENOMEM
    visit = _seal_stale(addr) if mm.world.kernel.has(kernels.MSEAL_STALE_START) else _seal
    return walk(mm, mm.vmas.find(addr), addr, end, Holes.FATAL, visit)


def _seal(mm: Mm, vma: Vma, start: int, end: int, asks_prev: bool = True) -> Vma | int:
    if vma.flags & abi.VM_SEALED:
        return vma
    return mm.modify(vma, start, end, vma.flags | abi.VM_SEALED, vma.extra, asks_prev)


def _seal_stale(start: int) -> Visit:
    """mseal_apply() of 6.17 to 6.19, which goes on where the last part of the range ended.

    The VMA of that part may have merged and end further up; the next one then is not where the
    kernel takes it to be, and not compared with the one before it.
    """
    position = start

    def visit(mm: Mm, vma: Vma, first: int, last: int) -> Vma | int:
        nonlocal position
        asks_prev, position = position == first, last
        return _seal(mm, vma, first, last, asks_prev)

    return visit
