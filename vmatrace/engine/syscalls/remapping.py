"""mremap. Mirrors mm/mremap.c, as it was before 6.15, before 6.17, and as it is since.

6.15 moved some of the argument checks in front of everything else, 6.17 all of them; 6.17 lets one
call move several VMAs, 7.1 counts maps anew (features mremap-target-first, mremap-checks-first,
mremap-multi-vma and mremap-map-count).
"""

from __future__ import annotations

from typing import Final

from vmatrace import abi
from vmatrace.engine import merge, placement
from vmatrace.engine.faults import populate
from vmatrace.engine.mm import Mm, may_split
from vmatrace.engine.region import unmap
from vmatrace.engine.syscalls.mapping import is_free, unmapped_area
from vmatrace.engine.vma import NO_EXTRA, Extra, Vma, some

_KNOWN: Final = abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED | abi.MREMAP_DONTUNMAP
_IMPLIES_ADDRESS: Final = abi.MREMAP_FIXED | abi.MREMAP_DONTUNMAP
_NO_GROWTH: Final = abi.VM_DONTEXPAND | abi.VM_PFNMAP


class Remap:
    """One mremap under way (struct vma_remap_struct). Addresses and lengths in bytes."""

    __slots__ = ("addr", "flags", "mm", "new_addr", "new_len", "old_len", "recorded")

    def __init__(
        self, mm: Mm, addr: int, old_len: int, new_len: int, flags: int, new_addr: int,
        recorded: int | None,
    ) -> None:  # fmt: skip
        self.mm = mm
        self.addr = addr
        self.old_len = old_len
        self.new_len = new_len
        self.flags = flags
        self.new_addr = new_addr
        self.recorded = recorded


def mremap(
    mm: Mm,
    addr: int,
    old_len: int,
    new_len: int,
    flags: int,
    new_addr: int = 0,
    recorded: int | None = None,
) -> int:
    """mremap(2): the address of the mapping, or -errno. *recorded* as for mmap."""
    mask = mm.world.page_mask
    rounded_old = abi.page_align(old_len, mask) & abi.ULONG_MAX
    rounded_new = abi.page_align(new_len, mask) & abi.ULONG_MAX
    if flags & ~_KNOWN or addr & mask or not rounded_new:
        return -abi.EINVAL
    if flags & _IMPLIES_ADDRESS and not flags & abi.MREMAP_MAYMOVE:
        return -abi.EINVAL
    remap = Remap(mm, addr, rounded_old, rounded_new, flags, new_addr, recorded)
    if not mm.world.mremap_checks_first:
        if flags & abi.MREMAP_DONTUNMAP and old_len != new_len:
            return -abi.EINVAL
        return _mremap_old(remap)
    if rounded_new > remap.mm.world.task_size:
        return -abi.EINVAL
    error = _check_target(remap) if flags & _IMPLIES_ADDRESS else 0
    if not error and mm.world.map_count_anew:
        error = _check_count(remap)
    if error:
        return error
    if mm.world.mremap_multi and flags & abi.MREMAP_FIXED and rounded_old == rounded_new:
        return _move_all(remap)
    return _remap_one(remap)


def _check_target(remap: Remap) -> int:
    """The checks of a given new address: check_mremap_params(), before 6.17 mremap_to()."""
    mm, new_addr, new_len = remap.mm, remap.new_addr, remap.new_len
    if new_addr & mm.world.page_mask or new_len > remap.mm.world.task_size:
        return -abi.EINVAL
    if new_addr > remap.mm.world.task_size - new_len:
        return -abi.EINVAL
    if remap.flags & abi.MREMAP_DONTUNMAP and remap.old_len != new_len:
        return -abi.EINVAL
    old_end = (remap.addr + remap.old_len) & abi.ULONG_MAX  # which may have gone round
    if old_end > new_addr and new_addr + new_len > remap.addr:
        return -abi.EINVAL
    return 0 if mm.world.map_count_anew else _check_old_count(mm)


def _check_old_count(mm: Mm) -> int:
    """Whether a given new address leaves room for the maps it may need, up to 7.0."""
    return -abi.ENOMEM if mm.vmas.count + 2 >= mm.world.max_map_count - 3 else 0


def _check_count(remap: Remap) -> int:
    """check_map_count_against_split_early(): room for two unmaps and a move."""
    world = remap.mm.world
    needed = 4
    if remap.flags & abi.MREMAP_DONTUNMAP and world.dontunmap_splits_locked:
        needed = 5
    return -abi.ENOMEM if remap.mm.vmas.count + needed > world.max_map_count else 0


def _prepare(remap: Remap, vma: Vma | None) -> int:
    """The checks of the source VMA: check_prep_vma(), before 6.17 vma_to_resize()."""
    addr, old_len, new_len = remap.addr, remap.old_len, remap.new_len
    if vma is None:
        return -abi.EFAULT
    if not old_len and not vma.flags & (abi.VM_SHARED | abi.VM_MAYSHARE):
        return -abi.EINVAL
    if remap.flags & abi.MREMAP_DONTUNMAP and vma.flags & _NO_GROWTH:
        return -abi.EINVAL
    # A shrinking move has cut the tail already, or will: what counts is the part that is kept.
    if min(old_len, new_len) > vma.end - addr:
        return -abi.EFAULT
    if new_len > old_len:
        if vma.flags & _NO_GROWTH:
            return -abi.EFAULT
        limits, growth = remap.mm.limits, new_len - old_len
        if vma.flags & abi.VM_LOCKED and not limits.may_lock(remap.mm.vmas, growth):
            return -abi.EAGAIN
        if not limits.may_expand(remap.mm.vmas, vma.flags, growth):
            return -abi.ENOMEM
    return 0


def _source_error(vma: Vma | None, remap: Remap) -> int:
    """No source, a sealed one, or huge pages that do not fit: 0 or -errno.

    Lengths in huge pages are rounded up to whole ones, which cannot become more (align_hugetlb(),
    before 6.17 in mremap() itself).
    """
    if vma is None:
        return -abi.EFAULT
    if vma.flags & abi.VM_SEALED:
        return -abi.EPERM
    if vma.flags & abi.VM_HUGETLB:
        mask = placement.PMD_SIZE - 1
        remap.old_len = abi.page_align(remap.old_len, mask)
        remap.new_len = abi.page_align(remap.new_len, mask)
        if (remap.addr | remap.new_addr) & mask or remap.new_len > remap.old_len:
            return -abi.EINVAL
    return 0


def _mremap_old(remap: Remap) -> int:
    """mremap(2) as it was before 6.17."""
    mm = remap.mm
    if remap.flags & _IMPLIES_ADDRESS and mm.world.mremap_target_first:
        misaligned = remap.new_addr & mm.world.page_mask
        error = -abi.EINVAL if misaligned else _check_old_count(mm)
        if error:
            return error
    vma = mm.vmas.at(remap.addr)
    error = _source_error(vma, remap)
    if error:
        return error
    if remap.flags & _IMPLIES_ADDRESS:
        error = _check_target(remap)
        return error or _remap_to(remap, prepared=False)
    if remap.old_len >= remap.new_len:
        return _shrink_in_place(remap)
    error = _prepare(remap, vma)
    return error or _expand(remap)


def _remap_one(remap: Remap) -> int:
    """do_mremap() of 6.17 for one VMA."""
    vma = remap.mm.vmas.at(remap.addr)
    error = _source_error(vma, remap)
    if error:
        return error
    implied = remap.flags & _IMPLIES_ADDRESS
    if implied or remap.new_len > remap.old_len:
        error = _prepare(remap, vma)
        if error:
            return error
    if implied:
        return _remap_to(remap, prepared=True)
    if remap.old_len >= remap.new_len:
        return _shrink_in_place(remap)
    return _expand(remap)


def _move_all(remap: Remap) -> int:
    """remap_move() of 6.17: each VMA of the range by itself, the gaps between them kept."""
    mm = remap.mm
    start, end = remap.addr, remap.addr + remap.old_len
    target = remap.new_addr
    result = -abi.EFAULT
    last_end = 0
    position = start
    vma = mm.vmas.find(start)
    while vma is not None and vma.start < end:
        first = position == start
        if first and start < vma.start:
            return -abi.EFAULT
        addr = max(vma.start, position)
        length = min(vma.end, end) - addr
        if not first:
            target += vma.start - last_end
        last_end = vma.end
        if not _multi_allowed(vma) and (not first or vma.end < end):
            return -abi.EFAULT
        one = Remap(mm, addr, length, length, remap.flags, target, None)
        moved = _remap_one(one)
        if moved < 0:
            return moved
        if first:
            result = moved
        target = moved + one.new_len
        position = addr + length
        if position >= end:
            break
        vma = mm.vmas.find(position)
    return result


def _multi_allowed(vma: Vma) -> bool:
    """vma_multi_allowed(): not with userfaultfd, nor a driver that chooses addresses itself.

    Such are /dev/zero and System V shared memory.
    """
    if vma.extra is not None and vma.extra.uffd:
        return False
    file = vma.file
    return file is None or not (file.anonymous or (file.close and file.fs != "hugetlbfs"))


def _shrink_in_place(remap: Remap) -> int:
    """Unmap the tail; whatever lies there, the range may span more than one VMA."""
    if remap.old_len > remap.new_len:
        start = remap.addr + remap.new_len
        end = remap.addr + remap.old_len
        if end > remap.mm.world.task_size:
            return -abi.EINVAL
        error = unmap(remap.mm, start, end)
        if error:
            return error
    return remap.addr


def _remap_to(remap: Remap, prepared: bool) -> int:
    """mremap_to(): the new address is given. *prepared*: _prepare() has passed already."""
    mm = remap.mm
    if remap.flags & abi.MREMAP_FIXED:
        error = unmap(mm, remap.new_addr, remap.new_addr + remap.new_len)
        if error:
            return error
        if prepared and mm.vmas.at(remap.addr) is None:
            return -abi.EFAULT
    if remap.old_len > remap.new_len:
        shrunk = _shrink_in_place(remap)
        if shrunk < 0:
            return shrunk
        remap.old_len = remap.new_len
    vma = mm.vmas.at(remap.addr)
    if not prepared:
        error = _prepare(remap, vma)
        if error:
            return error
    if vma is None:
        return -abi.EFAULT
    if remap.flags & abi.MREMAP_DONTUNMAP and not mm.limits.may_expand(
        mm.vmas, vma.flags, remap.old_len
    ):
        return -abi.ENOMEM
    if not remap.flags & abi.MREMAP_FIXED:
        chosen = _choose(remap, vma, remap.new_addr)
        if chosen < 0:
            return chosen
        remap.new_addr = chosen
    return _move(remap, vma)


def _choose(remap: Remap, vma: Vma, hint: int) -> int:
    """vrm_set_new_addr(): where the mapping goes when the kernel may choose."""
    recorded = remap.recorded
    if recorded is not None and recorded > 0 and is_free(remap.mm, recorded, remap.new_len):
        return recorded
    if remap.new_len > remap.mm.world.task_size:
        return -abi.ENOMEM
    shared = bool(vma.flags & abi.VM_MAYSHARE)
    offset = remap.addr + vma.skew
    return unmapped_area(remap.mm, hint, remap.new_len, 0, vma.file, shared, offset)


def _expand(remap: Remap) -> int:
    """Grow: in place where the range ends its VMA and the space behind is free, else move."""
    mm = remap.mm
    vma = mm.vmas.at(remap.addr)
    assert vma is not None
    delta = remap.new_len - remap.old_len
    if vma.end - remap.addr == remap.old_len and is_free(mm, vma.end, delta):
        old_end = vma.end
        following = vma.next
        source = merge.attributes(vma.flags, vma.skew, vma.file, vma.anon, 0, vma.extra)
        grown = mm.merge_new("grow", old_end, old_end + delta, source, vma, following)
        if grown is None:
            return -abi.ENOMEM
        if grown.flags & abi.VM_LOCKED:
            populate(mm, old_end, old_end + delta)
        return remap.addr
    if not remap.flags & abi.MREMAP_MAYMOVE:
        return -abi.ENOMEM
    chosen = _choose(remap, vma, 0)
    if chosen < 0:
        return chosen
    remap.new_addr = chosen
    return _move(remap, vma)


def _move(remap: Remap, vma: Vma) -> int:
    """move_vma(): copy to the new address, then unmap (or empty) the source."""
    mm, world = remap.mm, remap.mm.world
    addr, old_end = remap.addr, remap.addr + remap.old_len
    dontunmap = bool(remap.flags & abi.MREMAP_DONTUNMAP)
    splits = dontunmap and world.dontunmap_splits_locked and bool(vma.flags & abi.VM_LOCKED)
    if world.map_count_anew:
        full = mm.vmas.count + 2 + splits > world.max_map_count
    else:
        full = mm.vmas.count >= world.max_map_count - 3
    if full:
        return -abi.ENOMEM
    if not (_border(vma, addr) and _border(vma, old_end)):
        return -abi.EINVAL
    if splits:
        vma = _isolate(mm, vma, addr, old_end)
    whole = addr == vma.start and old_end == vma.end
    locked = vma.flags & abi.VM_LOCKED
    copy = _copy(remap, vma, dontunmap)
    if mm.guards:
        _move_guards(remap)
    if dontunmap:
        source = copy if copy.start <= addr < copy.end else vma
        source.flags &= ~abi.VM_LOCKED_MASK
        if world.dontunmap_unaccounts:
            source.flags &= ~abi.VM_ACCOUNT
        if whole and source is not copy:
            source.anon = source.chain = 0
            if world.dontunmap_resets_pgoff and source.file is None:
                source.skew = 0
            if source.extra is not None:
                source.extra = some(source.extra._replace(displaced=0))
    elif remap.old_len:
        unmap(mm, addr, old_end)
    if locked and remap.new_len > remap.old_len:
        populate(mm, remap.new_addr + remap.old_len, remap.new_addr + remap.new_len)
    return remap.new_addr


def _move_guards(remap: Remap) -> None:
    """Guard markers move with the page tables (move_page_tables())."""
    guards, distance = remap.mm.guards, remap.new_addr - remap.addr
    end = remap.addr + remap.old_len
    parts = guards.within(remap.addr, end)
    guards.discard(remap.addr, end)
    for start, stop in parts:
        guards.add(start + distance, stop + distance)


def _border(vma: Vma, addr: int) -> bool:
    """Whether *addr* is a border of *vma* or may become one (vm_ops->may_split)."""
    return addr in (vma.start, vma.end) or may_split(vma, addr)


def _isolate(mm: Mm, vma: Vma, start: int, end: int) -> Vma:
    """Split a locked VMA so that MREMAP_DONTUNMAP unlocks the moved part alone."""
    if vma.start < start:
        upper = mm.split_unchecked(vma, start)
        assert isinstance(upper, Vma)
        vma = upper
    if end < vma.end:
        mm.split_unchecked(vma, end)
    return vma


def _copy(remap: Remap, vma: Vma, dontunmap: bool) -> Vma:
    """copy_vma(): the range at its new address, merged with what is there or a VMA of its own.

    A VMA that was never faulted takes the page offset of its new place, so that it can merge.
    """
    mm, world = remap.mm, remap.mm.world
    start, end = remap.new_addr, remap.new_addr + remap.new_len
    skew = remap.addr + vma.skew - start
    if vma.is_anonymous and not vma.anon:
        skew = 0
    extra = vma.extra
    if world.anon_pgoff and vma.file is not None and vma.is_cow:
        extra = _displaced(vma, remap.addr - start)
    prev, following = mm.vmas.around(start)
    chain = vma.chain if world.copied_from else 0
    source = merge.attributes(vma.flags, skew, vma.file, vma.anon, chain, extra)
    left, right = prev, following
    if dontunmap and world.dontunmap_no_self_merge:
        left = None if prev is vma else prev
        right = None if following is vma else following
    loses_uffd = _loses_uffd(mm, extra)
    refused = merge.UFFD if loses_uffd and world.uffd_no_merge else 0
    merged = mm.merge_new("copy", start, end, source, left, right, refused)
    copy = merged or mm.insert_apart(
        Vma(start, end, vma.flags, skew, vma.file, vma.anon, vma.chain, extra), prev
    )
    if loses_uffd and copy.extra is not None:
        copy.flags &= ~abi.VM_UFFD_FLAGS
        copy.extra = some(copy.extra._replace(uffd=0))
    return copy


def _displaced(vma: Vma, distance: int) -> Extra | None:
    """The rare attributes of a private file mapping that moves *distance* bytes down.

    Once it has pages of its own, their offset moves along; before that it is the address again.
    """
    extra = vma.extra or NO_EXTRA
    return some(extra._replace(displaced=extra.displaced + distance if vma.anon else 0))


def _loses_uffd(mm: Mm, extra: Extra | None) -> bool:
    """Whether nobody asked for UFFD_FEATURE_EVENT_REMAP (mremap_userfaultfd_prep())."""
    if extra is None or not extra.uffd:
        return False
    features = mm.world.uffd_features.get(extra.uffd, 0)
    return not features & abi.UFFD_FEATURE_EVENT_REMAP
