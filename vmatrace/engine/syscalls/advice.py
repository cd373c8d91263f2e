"""madvise. Mirrors do_madvise(), madvise_walk_vmas() and madvise_vma_behavior(), mm/madvise.c."""

from __future__ import annotations

from typing import Final

from vmatrace import abi, kernels
from vmatrace.engine import ksm, placement
from vmatrace.engine.faults import guarded, out_of_reach, prepare_anon, reachable_end
from vmatrace.engine.mm import Mm
from vmatrace.engine.region import any_sealed
from vmatrace.engine.vma import Vma
from vmatrace.engine.walk import Holes, walk
from vmatrace.structures import iovec

_READ_HINTS: Final = abi.VM_RAND_READ | abi.VM_SEQ_READ
#: advice -> (flags cleared, flags set), where nothing else decides.
_FLAG_ADVICE: Final[dict[int, tuple[int, int]]] = {
    abi.MADV_NORMAL: (_READ_HINTS, 0),
    abi.MADV_RANDOM: (_READ_HINTS, abi.VM_RAND_READ),
    abi.MADV_SEQUENTIAL: (_READ_HINTS, abi.VM_SEQ_READ),
    abi.MADV_DONTFORK: (0, abi.VM_DONTCOPY),
    abi.MADV_DOFORK: (abi.VM_DONTCOPY, 0),
    abi.MADV_DONTDUMP: (0, abi.VM_DONTDUMP),
    abi.MADV_DODUMP: (abi.VM_DONTDUMP, 0),
    abi.MADV_WIPEONFORK: (0, abi.VM_WIPEONFORK),
    abi.MADV_KEEPONFORK: (abi.VM_WIPEONFORK, 0),
    abi.MADV_HUGEPAGE: (abi.VM_NOHUGEPAGE, abi.VM_HUGEPAGE),
    abi.MADV_NOHUGEPAGE: (abi.VM_HUGEPAGE, abi.VM_NOHUGEPAGE),
    abi.MADV_MERGEABLE: (0, abi.VM_MERGEABLE),
    abi.MADV_UNMERGEABLE: (abi.VM_MERGEABLE, 0),
}
_NO_FLAG_ADVICE: Final = frozenset(
    {
        abi.MADV_WILLNEED, abi.MADV_DONTNEED, abi.MADV_FREE, abi.MADV_REMOVE, abi.MADV_COLD,
        abi.MADV_PAGEOUT, abi.MADV_POPULATE_READ, abi.MADV_POPULATE_WRITE,
        abi.MADV_DONTNEED_LOCKED, abi.MADV_COLLAPSE, abi.MADV_HWPOISON, abi.MADV_SOFT_OFFLINE,
    }
)  # fmt: skip
_GUARDS: Final = (abi.MADV_GUARD_INSTALL, abi.MADV_GUARD_REMOVE)
_THP_ADVICE: Final = (abi.MADV_HUGEPAGE, abi.MADV_NOHUGEPAGE, abi.MADV_COLLAPSE)
_POISONS: Final = (abi.MADV_HWPOISON, abi.MADV_SOFT_OFFLINE)
_POPULATE: Final = (abi.MADV_POPULATE_READ, abi.MADV_POPULATE_WRITE)
#: is_discard(): refused on a sealed VMA that its owner could not write.
_DISCARDS: Final = frozenset(
    {
        abi.MADV_FREE, abi.MADV_DONTNEED, abi.MADV_DONTNEED_LOCKED, abi.MADV_REMOVE,
        abi.MADV_DONTFORK, abi.MADV_WIPEONFORK, abi.MADV_GUARD_INSTALL,
    }
)  # fmt: skip


def madvise(mm: Mm, addr: int, length: int, advice: int) -> int:
    """madvise(2): 0 or -errno. Gaps are skipped and end in -ENOMEM; errors stop the walk."""
    if not _known(mm, advice):
        return -abi.EINVAL
    mask = mm.world.page_mask
    if addr & mask:
        return -abi.EINVAL
    rounded = abi.page_align(length, mask)
    end = addr + rounded
    if rounded > abi.ULONG_MAX or end > abi.ULONG_MAX + 1:
        return -abi.EINVAL
    if not rounded:
        return 0
    if advice in _POPULATE:
        return _populate(mm, addr, end, advice)
    return _walk(mm, addr, end, advice)


def _walk(mm: Mm, start: int, end: int, advice: int) -> int:
    first = mm.vmas.find(start)
    if (
        any_sealed(first, end)
        and mm.world.seals_first
        and _refused_by_seals(mm, advice)
        and _any_protected(mm, start, end)
    ):
        return -abi.EPERM
    return walk(mm, first, start, end, Holes.REPORTED, _advise, advice)


def _refused_by_seals(mm: Mm, advice: int) -> bool:
    """is_madv_discard(), which 6.10 asked with ``&`` where it meant ``==``."""
    if mm.world.kernel.has(kernels.MSEAL_REFUSES_ADVICE):
        return any(advice & discard for discard in _DISCARDS - set(_GUARDS))
    return advice in _DISCARDS


#: process_madvise_remote_valid(): what one process may advise of another.
_REMOTE: Final = (abi.MADV_COLD, abi.MADV_PAGEOUT, abi.MADV_WILLNEED, abi.MADV_COLLAPSE)


def process_madvise(mm: Mm, own: bool, vector: int | str, advice: int, flags: int) -> int:
    """process_madvise(2) on *mm*: the bytes advised, or -errno. *own*: it is the caller's."""
    if flags:
        return -abi.EINVAL
    kernel = mm.world.kernel
    unrestricted = own and kernel.has(kernels.PROCESS_MADVISE_SELF)
    if not unrestricted and advice not in _REMOTE:
        return -abi.EINVAL
    areas = iovec(vector)
    something = any(size for _, size in areas)
    if not _known(mm, advice) and (
        something or not unrestricted or kernel.has(kernels.PROCESS_MADVISE_ADVICE_FIRST)
    ):
        return -abi.EINVAL
    done = 0
    for base, size in areas if something else ():
        error = madvise(mm, base, size, advice)
        if error:
            return done or error
        done += size
    return done


def _known(mm: Mm, advice: int) -> bool:
    """madvise_behavior_valid()."""
    if advice in _POISONS:
        return mm.world.kernel.has(kernels.MEMORY_FAILURE)
    if advice in _GUARDS:
        return mm.world.kernel.has(kernels.GUARD_REGIONS)
    if advice in _THP_ADVICE:
        return mm.world.thp
    return advice in _FLAG_ADVICE or advice in _NO_FLAG_ADVICE


def _advise(mm: Mm, vma: Vma, start: int, end: int, advice: int) -> Vma | int:
    """madvise_vma_behavior(): the VMA that holds the range afterwards, or -errno."""
    flags = vma.flags
    if flags & abi.VM_SEALED and advice in _DISCARDS and _protected(mm, vma):
        return -abi.EPERM
    if advice in _GUARDS:
        return _guard(mm, vma, start, end, advice)
    error = _refusal(mm, vma, advice)
    if error:
        return error
    change = _FLAG_ADVICE.get(advice)
    if change is None:
        return vma if advice != abi.MADV_COLLAPSE else _collapse(mm, vma, start, end)
    if advice == abi.MADV_MERGEABLE and not ksm.compatible(flags, vma.file):
        return vma
    new = (flags & ~change[0]) | change[1]
    if (
        advice == abi.MADV_UNMERGEABLE
        and flags & abi.VM_MERGEABLE
        and not mm.world.kernel.has(kernels.KSM_UNMERGE_KEEPS_FLAGS)
    ):
        new &= abi.VM_MERGEABLE - 1
    if new == flags:
        return vma
    changed = mm.modify(vma, start, end, new, vma.extra)
    return -abi.EAGAIN if changed == -abi.ENOMEM else changed


def _collapse(mm: Mm, vma: Vma, start: int, end: int) -> Vma | int:
    """madvise_collapse() as far as VMAs decide; whether the pages are there is not modelled.

    Source: thp_vma_allowable_order().
    """
    size = placement.PMD_SIZE
    holds_one = abi.page_align(vma.start, size - 1) + size <= vma.end
    anonymous, shmem = vma.is_anonymous, vma.file is not None and vma.file.is_shmem
    if (
        vma.flags & (abi.VM_SPECIAL | abi.VM_HUGETLB | abi.VM_NOHUGEPAGE)
        or mm.thp_disable == 1
        or not holds_one
        or (anonymous and not vma.anon)
        or not (anonymous or shmem or vma.flags & abi.VM_EXEC)
    ):
        return -abi.EINVAL
    first, last = abi.page_align(start, size - 1), end & -size
    if mm.guards and first < last and mm.guards.first(first, last) is not None:
        return -abi.EINVAL
    return vma


def _protected(mm: Mm, vma: Vma) -> bool:
    """can_madvise_modify(), is_ro_anon(): a sealed VMA whose content its owner could not write."""
    if not vma.flags & abi.VM_SEALED or vma.flags & abi.VM_WRITE or not vma.is_anonymous:
        return False
    return vma.file is None or mm.world.kernel.has(kernels.MSEAL_ASKS_VM_OPS)


def _any_protected(mm: Mm, start: int, end: int) -> bool:
    """can_modify_mm_madv(): asked for the whole range first, before 6.12."""
    return any(_protected(mm, vma) for vma in mm.vmas.overlapping(start, end))


#: advice -> vm_flags of a VMA that it is refused on.
_REFUSED_FLAGS: Final[dict[int, int]] = {
    abi.MADV_DOFORK: abi.VM_IO,
    abi.MADV_WIPEONFORK: abi.VM_SHARED,
    abi.MADV_KEEPONFORK: abi.VM_DROPPABLE,
    abi.MADV_DONTNEED: abi.VM_LOCKED | abi.VM_PFNMAP,
    abi.MADV_COLD: abi.VM_LOCKED | abi.VM_PFNMAP | abi.VM_HUGETLB,
    abi.MADV_PAGEOUT: abi.VM_LOCKED | abi.VM_PFNMAP | abi.VM_HUGETLB,
    abi.MADV_DONTNEED_LOCKED: abi.VM_PFNMAP,
    abi.MADV_FREE: abi.VM_LOCKED | abi.VM_PFNMAP,
    abi.MADV_REMOVE: abi.VM_LOCKED,
}
_REFUSED_OTHERWISE: Final = frozenset(
    {abi.MADV_DOFORK, abi.MADV_WIPEONFORK, abi.MADV_DODUMP, abi.MADV_FREE, abi.MADV_REMOVE}
)


def _refusal(mm: Mm, vma: Vma, advice: int) -> int:
    """0, or the -errno for a VMA that this advice does not apply to."""
    flags = vma.flags
    if flags & _REFUSED_FLAGS.get(advice, 0):
        return -abi.EINVAL
    if advice not in _REFUSED_OTHERWISE:
        return 0
    if advice == abi.MADV_DOFORK:
        refused = mm.world.kernel.has(kernels.DOFORK_SPECIAL_STRICT) and flags & abi.VM_SPECIAL
    elif advice == abi.MADV_WIPEONFORK:
        refused = vma.file is not None
    elif advice == abi.MADV_DODUMP:
        special = flags & abi.VM_SPECIAL and not flags & abi.VM_HUGETLB
        refused = special or flags & abi.VM_DROPPABLE
    elif advice == abi.MADV_FREE:
        refused = not vma.is_anonymous
    else:
        if vma.file is None or vma.is_anonymous:
            return -abi.EINVAL
        may = mm.world.kernel.has(kernels.REMOVE_ASKS_MAYWRITE)
        needed = abi.VM_SHARED | (abi.VM_MAYWRITE if may else abi.VM_WRITE)
        if flags & needed != needed:
            return -abi.EACCES
        refused = False
    return -abi.EINVAL if refused else 0


def _guard(mm: Mm, vma: Vma, start: int, end: int, advice: int) -> Vma | int:
    """madvise_guard_install() and madvise_guard_remove()."""
    kernel = mm.world.kernel
    disallowed = abi.VM_SPECIAL | abi.VM_HUGETLB
    if advice == abi.MADV_GUARD_INSTALL:
        disallowed |= abi.VM_LOCKED
    if vma.flags & disallowed:
        return -abi.EINVAL
    if not kernel.has(kernels.GUARD_FILES) and (
        not vma.is_anonymous or not vma.flags & abi.VM_MAYWRITE
    ):
        return -abi.EINVAL
    if advice == abi.MADV_GUARD_INSTALL:
        if vma.is_anonymous or not kernel.has(kernels.GUARD_ANON_ONLY):
            prepare_anon(mm, vma)
        if kernel.has(kernels.MAYBE_GUARD_FLAG):
            vma.flags |= abi.VM_MAYBE_GUARD
        mm.guards.add(start, end)
    else:
        mm.guards.discard(start, end)
    return vma


def _populate(mm: Mm, start: int, end: int, advice: int) -> int:
    """madvise_populate(): faults pages in; changes no flags."""
    write = advice == abi.MADV_POPULATE_WRITE
    needed = abi.VM_WRITE if write else abi.VM_READ

    def visit(mm: Mm, vma: Vma, first: int, last: int) -> Vma | int:
        refused = vma.flags & (abi.VM_IO | abi.VM_PFNMAP) or out_of_reach(vma)
        if refused or not vma.flags & needed:
            return -abi.EINVAL
        reached = reachable_end(mm, vma, first, last)
        if write and not vma.flags & abi.VM_SHARED and not guarded(mm, first):
            prepare_anon(mm, vma)
        return vma if reached >= last else -abi.EFAULT

    return walk(mm, mm.vmas.find(start), start, end, Holes.FATAL, visit)
