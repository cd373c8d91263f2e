"""mmap and munmap: check arguments in the kernel's order, then map.

Mirrors ksys_mmap_pgoff() and do_mmap() (mm/mmap.c), __get_unmapped_area() and __vm_munmap().
"""

from __future__ import annotations

from typing import Final

from vmatrace import abi, kernels
from vmatrace.engine import placement
from vmatrace.engine.faults import populate
from vmatrace.engine.limits import UNLIMITED
from vmatrace.engine.limits import overlap as replaced
from vmatrace.engine.mm import Mm
from vmatrace.engine.region import cut, map_region, may_unmap, permitted, split_borders, unmap
from vmatrace.engine.vmfile import VmFile

_SHARED_TYPES: Final = (abi.MAP_SHARED, abi.MAP_SHARED_VALIDATE)
_FIXED: Final = abi.MAP_FIXED | abi.MAP_FIXED_NOREPLACE
_GIGANTIC: Final = 30
_HUGE_SIZES: Final = (21, _GIGANTIC)  # 2 MiB and 1 GiB, as powers of two
_MAX_LFS_FILESIZE: Final = (1 << 63) - 1
_SYNC_FILE_SYSTEMS: Final = frozenset({"ext4", "xfs"})  # FOP_MMAP_SYNC


def mmap(
    mm: Mm,
    addr: int,
    length: int,
    prot: int,
    flags: int,
    file: VmFile | None,
    offset: int,
    recorded: int | None = None,
) -> int:
    """mmap(2): the address, or -errno. *file* is what the descriptor refers to, None: nothing.

    *recorded* is the address that a real call returned: it is taken where the kernel was free to
    choose and the range is free here.
    """
    mask = mm.world.page_mask
    if offset & mask:
        return -abi.EINVAL
    if flags & abi.MAP_ANONYMOUS:
        file = None
    elif file is None:
        return -abi.EBADF
    if flags & abi.MAP_HUGETLB or (file is not None and file.fs == "hugetlbfs"):
        huge = _huge_file(length, flags, file)
        if isinstance(huge, int):
            return huge
        file = huge
        length = abi.page_align(length, placement.PMD_SIZE - 1)
    if not length:
        return -abi.EINVAL
    if mm.persona & abi.READ_IMPLIES_EXEC and prot & abi.PROT_READ:
        prot |= 0 if file is not None and file.clears & abi.VM_MAYEXEC else abi.PROT_EXEC
    length = abi.page_align(length, mask)
    if length > abi.ULONG_MAX or mm.vmas.count > mm.world.max_map_count:
        return -abi.ENOMEM
    addr = _place(mm, addr, length, flags, file, offset, recorded)
    if addr < 0:
        return addr
    if mm.limits.memlock is not None:
        error = _lock_refusal(mm, length, flags)
        if error:
            return error
    vm_flags = _vm_flags(mm, prot, flags, file, length, offset)
    if vm_flags < 0:
        return vm_flags
    refusal = 0
    if file is not None and not (recorded is not None and recorded > 0):
        refusal = _driver_refusal(mm, vm_flags, file, length, offset)
    error = _mmap_region(mm, addr, length, vm_flags, file, offset, refusal)
    if error:
        return error
    if vm_flags & abi.VM_LOCKED or (
        flags & (abi.MAP_POPULATE | abi.MAP_NONBLOCK) == abi.MAP_POPULATE
    ):
        populate(mm, addr, addr + length)
    return addr


def _place(
    mm: Mm,
    addr: int,
    length: int,
    flags: int,
    file: VmFile | None,
    offset: int,
    recorded: int | None,
) -> int:
    """The address of the mapping, given or chosen, or -errno (__get_unmapped_area())."""
    if not flags & _FIXED:
        return _choose_address(mm, addr, length, flags, file, offset, recorded)
    if length > mm.world.task_size or addr > mm.world.task_size - length:
        return -abi.ENOMEM
    if addr & mm.world.page_mask:
        return -abi.EINVAL
    if file is not None and file.fs == "hugetlbfs" and addr % placement.PMD_SIZE:
        return -abi.EINVAL
    if flags & abi.MAP_FIXED_NOREPLACE:
        overlap = mm.vmas.find(addr)
        if overlap is not None and overlap.start < addr + length:
            return -abi.EEXIST
    return addr


def _lock_refusal(mm: Mm, length: int, flags: int) -> int:
    """can_do_mlock() and mlock_future_ok() where RLIMIT_MEMLOCK counts: 0 or -errno."""
    if flags & abi.MAP_LOCKED and not mm.limits.memlock:
        return -abi.EPERM
    locks = flags & abi.MAP_LOCKED or mm.def_flags & abi.VM_LOCKED
    return -abi.EAGAIN if locks and not mm.limits.may_lock(mm.vmas, length) else 0


def _vm_flags(mm: Mm, prot: int, flags: int, file: VmFile | None, length: int, offset: int) -> int:
    """The vm_flags of the mapping, or -errno (do_mmap())."""
    if file is not None:
        return _file_flags(mm, prot, flags, file, length, offset)
    memo = mm.world.anon_flags
    vm_flags = memo.get((prot, flags, mm.def_flags), 0)
    if not vm_flags:
        vm_flags = memo[prot, flags, mm.def_flags] = _anon_flags(mm, prot, flags)
    return vm_flags


def _mmap_region(
    mm: Mm,
    addr: int,
    length: int,
    vm_flags: int,
    file: VmFile | None,
    offset: int,
    refusal: int,
) -> int:
    """mmap_region(): 0, or -errno with what the failure leaves behind.

    *refusal* is what the driver's hook answers.
    """
    skew = 0
    if file is not None:
        skew = offset - addr
    elif vm_flags & abi.VM_SHARED:
        skew = -addr
    if vm_flags & abi.VM_SHARED and (file is None or file.anonymous):
        file = _shared_anonymous(length)
    elif file is not None and file.anonymous:
        if vm_flags & abi.VM_MAYSHARE:  # of a descriptor opened for reading
            file = _shared_anonymous(length) if mm.world.devzero_shared else file
        elif mm.world.devzero_anonymous:
            file, skew = None, 0
    if mm.mdwe and vm_flags & abi.VM_WRITE and vm_flags & abi.VM_EXEC:
        return -abi.EACCES
    end = addr + length
    found = mm.vmas.find(addr)
    overlap = found if found is not None and found.start < end else None
    full = mm.limits is not UNLIMITED and not mm.limits.may_expand(
        mm.vmas, vm_flags, length - replaced(mm.vmas, addr, end)
    )
    if full and not mm.world.kernel.has(kernels.MAP_FIXED_KEEPS_ON_FAILURE):
        return -abi.ENOMEM
    if overlap is not None:
        error = may_unmap(mm, overlap, addr, end)
        if error:
            return error
    if full:
        if overlap is not None:
            split_borders(mm, overlap, addr, end)
        return -abi.ENOMEM
    if refusal:
        # The driver's hook, .mmap_prepare() too, runs when the old mappings are gone already.
        if overlap is not None:
            cut(mm, overlap, addr, end)
        return refusal
    map_region(mm, addr, end, vm_flags, skew, file, found)
    return 0


def _driver_refusal(mm: Mm, vm_flags: int, file: VmFile, length: int, offset: int) -> int:
    """What the driver's hook answers: 0 or -errno."""
    if file.fs == "hugetlbfs":
        return _huge_refusal(mm, vm_flags, length, offset)
    if vm_flags & abi.VM_SYNC and file.fs in _SYNC_FILE_SYSTEMS:
        return -abi.EOPNOTSUPP  # MAP_SYNC without DAX
    if file.fs == "secretmem" and not vm_flags & abi.VM_MAYSHARE:
        return -abi.EINVAL
    return 0


def _huge_refusal(mm: Mm, vm_flags: int, length: int, offset: int) -> int:
    """hugetlbfs_file_mmap(): the offset is one of huge pages, and so many are free.

    Pages of 2 MiB, of which the trace states how many there are. Of pages of 1 GiB there are none.
    """
    if offset % placement.PMD_SIZE:
        return -abi.EINVAL
    if vm_flags & abi.VM_NORESERVE:
        return 0
    kind = abi.VM_HUGETLB | abi.VM_NORESERVE
    huge = (v for v in mm.vmas if v.flags & kind == abi.VM_HUGETLB)
    used = sum(v.end - v.start for v in huge) + length
    return -abi.ENOMEM if used // placement.PMD_SIZE > mm.world.huge_pages else 0


def _huge_file(length: int, flags: int, file: VmFile | None) -> VmFile | int:
    """The hugetlbfs file of a mapping of huge pages, or -errno (ksys_mmap_pgoff())."""
    if file is not None and file.fs != "hugetlbfs":
        return -abi.EINVAL
    if file is None:
        size = flags >> abi.MAP_HUGE_SHIFT & abi.MAP_HUGE_MASK
        if (size and size not in _HUGE_SIZES) or not length:
            return -abi.EINVAL
        if size == _GIGANTIC:
            return -abi.ENOMEM
    return file or VmFile(
        "/anon_hugepage (deleted)", "hugetlbfs", "legacy", close=True,
        sets=abi.VM_HUGETLB | abi.VM_DONTEXPAND,
    )  # fmt: skip


def _shared_anonymous(size: int) -> VmFile:
    """shmem_zero_setup(): each anonymous shared mapping has its own shmem file, as long as it."""
    return VmFile("/dev/zero (deleted)", "tmpfs", "shmem", size=size, inode=("00:01", 0))


def _choose_address(
    mm: Mm,
    hint: int,
    length: int,
    flags: int,
    file: VmFile | None,
    offset: int,
    recorded: int | None,
) -> int:
    world = mm.world
    hint &= ~world.page_mask
    if hint and hint < world.min_addr:
        hint = abi.page_align(world.min_addr, world.page_mask)
    if length > mm.world.task_size:
        return -abi.ENOMEM
    if recorded is not None and recorded > 0 and is_free(mm, recorded, length):
        return recorded
    shared = flags & abi.MAP_TYPE in _SHARED_TYPES
    return unmapped_area(mm, hint, length, flags, file, shared, offset)


def is_free(mm: Mm, addr: int, length: int) -> bool:
    """Whether a mapping of *length* bytes could be at *addr* with nothing in its way."""
    if addr & mm.world.page_mask or addr > mm.world.task_size - length:
        return False
    vma = mm.vmas.find(addr)
    return vma is None or vma.start >= addr + length


def unmapped_area(
    mm: Mm, hint: int, length: int, flags: int, file: VmFile | None, shared: bool, offset: int
) -> int:
    """The address for *length* bytes where the kernel may choose, or -ENOMEM. Bytes.

    Mirrors __get_unmapped_area(). *flags* are those of mmap; *offset* is that of the file.
    """
    if file is not None and file.fs == "hugetlbfs":
        return _huge_area(mm, hint, length)
    # "Always treat pgoff as zero for anonymous memory."
    within = offset if file is not None else 0
    if _wants_huge_alignment(mm, hint, length, file, shared) and placement.huge_alignable(
        length, within
    ):
        padded = length + placement.PMD_SIZE
        found = _plain_area(mm, hint, padded, flags)
        if found > 0:
            return found if found == hint else placement.align_huge(found, within)
    return _plain_area(mm, hint, length, flags)


def _huge_area(mm: Mm, hint: int, length: int) -> int:
    """hugetlb_get_unmapped_area(): on a huge page's border."""
    world, size = mm.world, placement.PMD_SIZE
    hint = abi.page_align(hint, size - 1)
    if hint and placement.hint_is_usable(mm.vmas, hint, length, world.guard):
        return hint
    padded = length + size - world.page_size
    found = placement.search(mm.vmas, padded, mm.mmap_base, world.min_addr, world.guard)
    return found if found < 0 else (found + padded - length) & -size


def _plain_area(mm: Mm, hint: int, length: int, flags: int) -> int:
    """arch_get_unmapped_area_topdown(): a usable hint, else a search."""
    world, vmas = mm.world, mm.vmas
    if flags & abi.MAP_32BIT:
        return placement.search_32bit(vmas, length, world.guard)
    if hint and placement.hint_is_usable(vmas, hint, length, world.guard):
        return hint
    return placement.search(vmas, length, mm.mmap_base, world.min_addr, world.guard)


def _wants_huge_alignment(
    mm: Mm, hint: int, length: int, file: VmFile | None, shared: bool
) -> bool:
    """Whether the search goes through thp_get_unmapped_area()."""
    world = mm.world
    if file is None:
        if shared or not world.thp_anon:
            return False
    elif file.fs in kernels.THP_ALIGNED:
        return world.thp
    elif file.anonymous:  # get_unmapped_area_zero()
        return world.thp_devzero and not shared
    elif file.is_shmem or not world.thp_files:
        return False
    if hint and world.thp_unhinted:
        return False
    return not world.thp_multiple or length % placement.PMD_SIZE == 0


def _common_flags(mm: Mm, prot: int, flags: int) -> int:
    """calc_vm_prot_bits(), calc_vm_flag_bits() and def_flags."""
    vm_flags = (prot & abi.VM_ACCESS_FLAGS) | mm.def_flags | abi.VM_MAY_ALL
    if prot & ~abi.VM_ACCESS_FLAGS:
        vm_flags |= mm.world.arch_flags(prot)
    if flags & abi.MAP_GROWSDOWN:
        vm_flags |= abi.VM_GROWSDOWN
    if flags & abi.MAP_LOCKED:
        vm_flags |= abi.VM_LOCKED
    if flags & abi.MAP_SYNC:
        vm_flags |= abi.VM_SYNC
    if flags & abi.MAP_STACK and mm.world.stack_nohugepage:
        vm_flags |= abi.VM_NOHUGEPAGE
    return vm_flags


def _anon_flags(mm: Mm, prot: int, flags: int) -> int:
    """The vm_flags of an anonymous mapping, or -EINVAL (do_mmap(), the branch without file)."""
    vm_flags = _common_flags(mm, prot, flags)
    kind = flags & abi.MAP_TYPE
    if kind == abi.MAP_SHARED:
        if vm_flags & abi.VM_GROWSDOWN:
            return -abi.EINVAL
        vm_flags |= abi.VM_SHARED | abi.VM_MAYSHARE
    elif kind == abi.MAP_DROPPABLE and mm.world.kernel.has(kernels.DROPPABLE):
        if flags & (abi.MAP_LOCKED | abi.MAP_HUGETLB) or vm_flags & abi.VM_GROWSDOWN:
            return -abi.EINVAL
        vm_flags |= abi.VM_DROPPABLE | abi.VM_NORESERVE | abi.VM_WIPEONFORK | abi.VM_DONTDUMP
    elif kind != abi.MAP_PRIVATE:
        return -abi.EINVAL
    return _account(mm, vm_flags, flags)


def _file_flags(mm: Mm, prot: int, flags: int, file: VmFile, length: int, offset: int) -> int:
    """The vm_flags of a file mapping, or -errno (do_mmap(), the branch with a file)."""
    # file_mmap_ok(): positions are signed but for devices.
    most = abi.ULONG_MAX if file.anonymous else _MAX_LFS_FILESIZE
    if offset > (most - length) & ~mm.world.page_mask:
        return -abi.EOVERFLOW
    vm_flags = _common_flags(mm, prot, flags)
    kind = flags & abi.MAP_TYPE
    if kind in _SHARED_TYPES:
        known = abi.LEGACY_MAP_MASK | (abi.MAP_SYNC if file.fs in _SYNC_FILE_SYSTEMS else 0)
        if kind == abi.MAP_SHARED_VALIDATE and flags & ~known:
            return -abi.EOPNOTSUPP
        if prot & abi.PROT_WRITE and not file.writable:
            return -abi.EACCES
        vm_flags |= abi.VM_SHARED | abi.VM_MAYSHARE
        if not file.writable:
            vm_flags &= ~(abi.VM_MAYWRITE | abi.VM_SHARED)
    elif kind != abi.MAP_PRIVATE:
        return -abi.EINVAL
    if not file.readable:
        return -abi.EACCES
    if file.clears and (vm_flags := permitted(vm_flags, file)) < 0:
        return vm_flags
    if vm_flags & abi.VM_GROWSDOWN:
        return -abi.EINVAL
    return _account(mm, vm_flags, flags, file)


def _account(mm: Mm, vm_flags: int, flags: int, file: VmFile | None = None) -> int:
    """Add VM_NORESERVE and VM_ACCOUNT (do_mmap(), accountable_mapping())."""
    hugetlb = file is not None and file.fs == "hugetlbfs"
    if flags & abi.MAP_NORESERVE and (mm.world.overcommit_memory != 2 or hugetlb):
        vm_flags |= abi.VM_NORESERVE
    if not hugetlb and (
        vm_flags & (abi.VM_NORESERVE | abi.VM_SHARED | abi.VM_WRITE) == abi.VM_WRITE
    ):
        vm_flags |= abi.VM_ACCOUNT
    return vm_flags


def munmap(mm: Mm, addr: int, length: int) -> int:
    """munmap(2): 0 or -errno."""
    mask = mm.world.page_mask
    if addr & mask or addr > mm.world.task_size or length > mm.world.task_size - addr:
        return -abi.EINVAL
    length = abi.page_align(length, mask)
    if not length:
        return -abi.EINVAL
    return unmap(mm, addr, addr + length)
