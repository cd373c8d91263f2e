"""shmat, shmdt, remap_file_pages, msync: calls about shared and file memory.

Mirrors do_shmat() and ksys_shmdt() in ipc/shm.c, remap_file_pages() in mm/mmap.c, mm/msync.c.
"""

from __future__ import annotations

from typing import Final

from vmatrace import abi
from vmatrace.engine.faults import populate
from vmatrace.engine.mm import Mm
from vmatrace.engine.region import unmap
from vmatrace.engine.syscalls.mapping import is_free, mmap
from vmatrace.engine.vma import Vma
from vmatrace.engine.vmfile import VmFile
from vmatrace.engine.walk import Holes, walk

_KNOWN_MS: Final = abi.MS_ASYNC | abi.MS_INVALIDATE | abi.MS_SYNC
#: Bytes of a segment of which the trace tells no size.
SEGMENT_SIZE: Final = 1 << 16


def shmat(
    mm: Mm, segment: VmFile | None, addr: int, flags: int, recorded: int | None = None
) -> int:
    """shmat(2): the address or -errno. *segment* is what the identifier names, None: nothing."""
    if segment is None:
        return -abi.EINVAL
    mask = mm.world.page_mask
    if addr & mask:
        if not flags & abi.SHM_RND:
            return -abi.EINVAL
        addr &= ~mask
        if not addr and flags & abi.SHM_REMAP:
            return -abi.EINVAL
    elif not addr and flags & abi.SHM_REMAP:
        return -abi.EINVAL
    size = segment.size or _room(mm, recorded)
    if (
        addr
        and not flags & abi.SHM_REMAP
        and not is_free(mm, addr, size)
        and _taken(mm, addr, size)
    ):
        return -abi.EINVAL
    read_only = flags & abi.SHM_RDONLY
    prot = abi.PROT_READ | (0 if read_only else abi.PROT_WRITE)
    if flags & abi.SHM_EXEC:
        prot |= abi.PROT_EXEC
    # Each attachment has a struct file of its own, with a close hook (shm_vm_ops).
    attached = VmFile(
        segment.path, segment.fs, "legacy", writable=not read_only, close=True,
        sets=segment.sets, clears=segment.clears, size=segment.size, inode=segment.inode,
    )  # fmt: skip
    kind = abi.MAP_SHARED | (abi.MAP_FIXED if addr else 0)
    return mmap(mm, addr, size, prot, kind, attached, 0, recorded)


def _room(mm: Mm, recorded: int | None) -> int:
    """Bytes that a segment of unknown size takes at most at the recorded address."""
    following = mm.vmas.find(recorded) if recorded is not None and recorded > 0 else None
    gap = following.start - recorded if following is not None and recorded is not None else 0
    return min(gap, SEGMENT_SIZE) if gap > 0 else SEGMENT_SIZE


def _taken(mm: Mm, addr: int, size: int) -> bool:
    return any(True for _ in mm.vmas.overlapping(addr, addr + size))


def shmdt(mm: Mm, addr: int) -> int:
    """shmdt(2): 0 or -errno. Removes every piece that is left of the attachment."""
    if addr & mm.world.page_mask:
        return -abi.EINVAL
    found: VmFile | None = None
    vma = mm.vmas.find(addr)
    while vma is not None:
        following = vma.next
        if found is not None and vma.end - addr > (found.size or SEGMENT_SIZE):
            break
        if _is_piece(vma, addr) and (found is None or vma.file is found):
            found = vma.file
            unmap(mm, vma.start, vma.end)
        vma = following
    return 0 if found is not None else -abi.EINVAL


def _is_piece(vma: Vma, addr: int) -> bool:
    """Whether *vma* is a part of a segment attached at *addr*: its page offset tells."""
    file = vma.file
    if file is None or not file.close:
        return False
    return (file.fs == "tmpfs" or file.path.startswith("/SYSV")) and vma.skew == -addr


def remap_file_pages(mm: Mm, addr: int, size: int, prot: int, pgoff: int, flags: int) -> int:
    """remap_file_pages(2), which is emulated by mapping anew: 0 or -errno."""
    world = mm.world
    start, size = addr & ~world.page_mask, size & ~world.page_mask
    end = start + size
    if (
        prot
        or end <= start
        or end > abi.ULONG_MAX
        or pgoff + (size >> world.page_shift) > (abi.ULONG_MAX)
    ):
        return -abi.EINVAL
    vma = mm.vmas.at(start)
    if vma is None or not vma.flags & abi.VM_SHARED:
        return -abi.EINVAL
    last = vma
    while last.end < end:
        following = last.next
        if following is None or following.start != last.end:
            return -abi.EINVAL
        if following.file is not vma.file or following.flags != vma.flags:
            return -abi.EINVAL
        last = following
    kind = abi.MAP_SHARED | abi.MAP_FIXED | abi.MAP_POPULATE | (flags & abi.MAP_NONBLOCK)
    if vma.flags & abi.VM_LOCKED:
        kind |= abi.MAP_LOCKED
    access = vma.flags & abi.VM_ACCESS_FLAGS
    offset = pgoff << world.page_shift  # do_mmap() is given pages, so nothing is cut off
    result = mmap(mm, start, size, access, kind, vma.file, offset)
    if result >= 0 and vma.flags & abi.VM_LOCKED:
        populate(mm, start, end)
    return min(result, 0)


def msync(mm: Mm, addr: int, length: int, flags: int) -> int:
    """msync(2): 0 or -errno; changes no VMA."""
    mask = mm.world.page_mask
    both = abi.MS_ASYNC | abi.MS_SYNC
    if flags & ~_KNOWN_MS or addr & mask or flags & both == both:
        return -abi.EINVAL
    end = addr + (abi.page_align(length, mask) & abi.ULONG_MAX)
    if end > abi.ULONG_MAX:
        return -abi.ENOMEM

    def visit(mm: Mm, vma: Vma, first: int, last: int) -> Vma | int:
        return -abi.EBUSY if flags & abi.MS_INVALIDATE and vma.flags & abi.VM_LOCKED else vma

    return walk(
        mm,
        mm.vmas.find(addr),
        addr,
        end,
        Holes.FATAL if flags == abi.MS_ASYNC else Holes.REPORTED,
        visit,
    )
