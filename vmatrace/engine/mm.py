"""One address space: the operations that change it. Decide (merge.py), then commit (here).

Mirrors mm/vma.c. The only module that changes VMAs. Knows nothing of system calls' arguments.
Ranges are bytes and page aligned; an operation returns a Vma, or -errno where it can fail.
"""

from __future__ import annotations

from typing import Final

from vmatrace import abi
from vmatrace.engine import ksm, merge
from vmatrace.engine.limits import UNLIMITED
from vmatrace.engine.merge import Attributes, MergeDecision
from vmatrace.engine.ranges import Ranges
from vmatrace.engine.vma import Extra, Vma, VmaMap, VmFile
from vmatrace.engine.world import World

_new = tuple.__new__  # see merge.py
_SPECIAL: Final = abi.VM_SPECIAL
_STICKY: Final = abi.VM_MAYBE_GUARD
_CUT_CAREFULLY: Final = abi.VM_SEALED | abi.VM_HUGETLB | abi.VM_DONTEXPAND


class Mm:
    """``mm_struct``: the VMAs and what governs new ones. All addresses in bytes.

    ``def_flags`` are or-ed into new mappings (mlockall(MCL_FUTURE)); ``merge_any`` is
    MMF_VM_MERGE_ANY, KSM-by-default; ``start_brk``/``brk`` bound the heap. ``guards`` is where
    MADV_GUARD_INSTALL has put markers, which make an access fail.
    """

    __slots__ = (
        "brk", "brk_known", "def_flags", "guards", "limits", "mdwe", "merge_any", "mmap_base",
        "peak_vmas", "start_brk", "start_stack", "thp_disable", "vmas", "world",
    )  # fmt: skip

    def __init__(self, world: World, mmap_base: int, brk: int) -> None:
        self.world = world
        self.vmas = VmaMap()
        self.mmap_base = mmap_base
        self.start_brk = brk
        self.brk = brk
        self.brk_known = True
        self.start_stack = 0
        self.def_flags = 0
        self.guards = Ranges()
        self.limits = UNLIMITED
        self.merge_any = False
        self.mdwe = 0
        self.thp_disable = 0
        self.peak_vmas = 0

    # --- new ranges ----------------------------------------------------------------------------

    def merge_new(
        self,
        op: str,
        start: int,
        end: int,
        source: Attributes,
        prev: Vma | None,
        following: Vma | None,
    ) -> Vma | None:
        """Merge a new range with its neighbours; the merged VMA, or None where it stays alone.

        *source* holds the range's attributes; its chain is that of the VMA it was copied from, 0
        where none is looked at. Mirrors vma_merge_new_range() and vma_expand().
        """
        world = self.world
        if prev is None:
            left = merge.NO_NEIGHBOUR
        elif prev.end != start:
            left = merge.NOT_ADJACENT
        else:
            left = merge.compare(prev, source, world.unfaulted_target)
        if following is None:
            right = merge.NO_NEIGHBOUR
        elif following.start != end:
            right = merge.NOT_ADJACENT
        elif op == "brk":
            right = merge.NOT_CONSIDERED
        else:
            right = merge.compare(following, source, world.unfaulted_target)
        if left == 0 and right == 0:
            assert prev is not None
            assert following is not None
            if merge.anon_conflict(prev, following):
                right = merge.OTHER_SIDE
            elif following.has_close:
                right = merge.CLOSE
        decision = merge.decision(op, start, end, left, right, source, prev, following, world.event)
        world.decisions.append(decision)
        if left == 0:
            assert prev is not None
            if right == 0:
                assert following is not None
                self._absorb(prev, following)
                prev.flags |= following.flags & _STICKY
            else:
                self.vmas.set_end(prev, end)
            merged = prev
        elif right == 0:
            assert following is not None
            self.vmas.set_start(following, start)
            merged = following
        else:
            return None
        _remember(decision, merged, following)
        merged.flags |= source.flags & _STICKY
        if source.anon and not merged.anon and world.copied_from:
            merged.anon, merged.chain = source.anon, max(source.chain, 1)
        return merged

    def _absorb(self, vma: Vma, following: Vma) -> None:
        """Let *vma* grow over *following*, which vanishes (dup_anon_vma() included)."""
        # First the border, then the removal: so the map never takes the range for free.
        vma.end = following.end
        self.vmas.remove(following)
        if not vma.anon and following.anon:
            vma.anon, vma.chain = following.anon, following.chain

    def insert(self, vma: Vma, prev: Vma | None) -> Vma:
        """Put a new VMA behind *prev*."""
        vmas = self.vmas
        vmas.insert(vma, prev)
        if vmas.count > self.peak_vmas:
            self.peak_vmas = vmas.count
        return vma

    def insert_apart(self, vma: Vma, prev: Vma | None) -> Vma:
        """Put a new VMA behind *prev* that the last decision found nothing to merge with."""
        self.insert(vma, prev)
        _remember(self.world.decisions[-1], vma, vma.next)
        return vma

    def map_region(
        self, start: int, end: int, flags: int, skew: int, file: VmFile | None, overlap: Vma | None
    ) -> Vma:
        """Map a range over whatever is there: __mmap_region() after its checks.

        *overlap* is find(start). With KSM by default the flag is set before the merge attempt
        where the kernel can (feature ksm-before-merge), else on the new VMA if none merged.
        Source: __mmap_region(), __mmap_new_vma(), vma_set_flags/ksm_add_vma().
        """
        if overlap is not None and overlap.start < end:
            prev, following = self.cut(overlap, start, end)
        elif overlap is not None:
            prev, following = overlap.prev, overlap
        else:
            prev, following = self.vmas.last, None
        late = self.merge_any
        if file is not None and file.sets and file.hook == "mmap_prepare":
            flags |= file.sets
        if late and self.world.ksm_early and ksm.can_set_early(file):
            late = False
            if ksm.compatible(flags, file):
                flags |= abi.VM_MERGEABLE
        source = _new(Attributes, (flags, skew, file, 0, 0, None))
        merged = self.merge_new("new", start, end, source, prev, following)
        if merged is not None:
            return merged
        return self._map_new(start, end, source, prev, following, late)

    def _map_new(
        self,
        start: int,
        end: int,
        source: Attributes,
        prev: Vma | None,
        following: Vma | None,
        late: bool,
    ) -> Vma:
        """A range that merged with nothing: run the driver's hook, set the KSM flag late."""
        flags, file = source.flags, source.file
        if file is not None:
            before = flags
            if late and self.world.ksm_early_bug and ksm.compatible(flags, file):
                flags |= abi.VM_MERGEABLE
                late = False
            flags |= file.sets
            if flags & (_SPECIAL | abi.VM_HUGETLB):
                flags &= ~abi.VM_LOCKED_MASK
            if file.fresh:
                file = file.reopened()
            if flags != before and prev is not None and self._retries():
                again = merge.attributes(flags, source.skew, file, 0, 0, None)
                merged = self.merge_new("new", start, end, again, prev, following)
                if merged is not None:
                    if late and ksm.compatible(merged.flags, file):
                        merged.flags |= abi.VM_MERGEABLE
                    return merged
        if late and ksm.compatible(flags, file):
            flags |= abi.VM_MERGEABLE
        return self.insert_apart(Vma(start, end, flags, source.skew, file), prev)

    def _retries(self) -> bool:
        """Whether a driver that changed the flags gets a second merge attempt (until 6.15)."""
        return self.world.retry_new or self.world.retry_existing

    def brk_region(self, start: int, end: int, flags: int) -> Vma:
        """Grow the heap by a range (do_brk_flags()): only the VMA before it may take it in."""
        following = self.vmas.find(start)
        prev = following.prev if following is not None else self.vmas.last
        late = self.merge_any
        if late and self.world.ksm_early:
            late = False
            if ksm.compatible(flags, None):
                flags |= abi.VM_MERGEABLE
        # vma_prev_limit(): a VMA that ends at start_brk or below is not the heap.
        heap = prev if prev is not None and prev.end > self.start_brk else None
        source = merge.attributes(flags, 0, None, 0, 0, None)
        merged = self.merge_new("brk", start, end, source, heap, following)
        if merged is not None:
            return merged
        if late and ksm.compatible(flags, None):
            flags |= abi.VM_MERGEABLE
        return self.insert_apart(Vma(start, end, flags), prev)

    # --- existing ranges -----------------------------------------------------------------------

    def modify(self, vma: Vma, start: int, end: int, flags: int, extra: Extra | None) -> Vma | int:
        """Give [start, end) of *vma* new attributes: merge with neighbours or split.

        Returns the VMA that holds the range; -ENOMEM at max_map_count and -EINVAL where the VMA
        cannot be split (splits made before stay). Mirrors vma_modify(), vma_merge_existing_range().
        """
        world = self.world
        prev, following = vma.prev, vma.next
        at_start, at_end = start == vma.start, end == vma.end
        proposed = _new(Attributes, (flags, vma.skew, vma.file, vma.anon, vma.chain, extra))
        if not at_start:
            left = merge.NOT_AT_BORDER
        elif prev is None:
            left = merge.NO_NEIGHBOUR
        elif prev.end != start:
            left = merge.NOT_ADJACENT
        else:
            left = merge.compare(prev, proposed, world.unfaulted_target)
        if not at_end:
            right = merge.NOT_AT_BORDER
        elif following is None:
            right = merge.NO_NEIGHBOUR
        elif following.start != end:
            right = merge.NOT_ADJACENT
        else:
            right = merge.compare(following, proposed, world.unfaulted_target)
        if at_start and at_end and vma.has_close:
            left, right = left or merge.CLOSE, right or merge.CLOSE
        if left == 0 and right == 0:
            assert prev is not None
            assert following is not None
            if merge.anon_conflict(prev, following):
                right = merge.OTHER_SIDE
            elif following.has_close:
                right = merge.CLOSE
        decision = merge.decision(
            "modify", start, end, left, right, proposed, prev, following, world.event
        )
        world.decisions.append(decision)
        if left == 0:
            assert prev is not None
            _remember(decision, prev, following)
            return self._merge_left(prev, vma, end, right == 0)
        if right == 0:
            assert following is not None
            _remember(decision, vma, following)
            return self._merge_right(vma, start, following)
        _remember(decision, vma, following)
        if not at_start:
            upper = self.split(vma, start)
            if isinstance(upper, int):
                return upper
            vma = upper
        if not at_end:
            upper = self.split(vma, end)
            if isinstance(upper, int):
                return upper
        vma.flags = flags
        vma.extra = extra
        return vma

    def _merge_left(self, prev: Vma, vma: Vma, end: int, both: bool) -> Vma:
        sticky = vma.flags & _STICKY
        if end == vma.end:
            following = vma.next
            self._absorb(prev, vma)
            if both:
                assert following is not None
                sticky |= following.flags & _STICKY
                self._absorb(prev, following)
        else:
            prev.end = end
            self.vmas.set_start(vma, end)
            if not prev.anon and vma.anon:
                prev.anon, prev.chain = vma.anon, vma.chain
        prev.flags |= sticky
        return prev

    def _merge_right(self, vma: Vma, start: int, following: Vma) -> Vma:
        sticky = (vma.flags | following.flags) & _STICKY
        if start == vma.start:
            # The kernel keeps the other one; which it is shows nowhere, and this moves no start.
            vma.flags, vma.extra = following.flags, following.extra
            if following.anon:
                vma.anon, vma.chain = following.anon, following.chain
            vma.end = following.end
            self.vmas.remove(following)
            following = vma
        else:
            vma.end = start
            self.vmas.set_start(following, start)
            if not following.anon and vma.anon:
                following.anon, following.chain = vma.anon, vma.chain
        following.flags |= sticky
        return following

    def split(self, vma: Vma, addr: int) -> Vma | int:
        """Cut *vma* in two at *addr* (split_vma()); the upper part, which is the new VMA.

        -ENOMEM at max_map_count, -EINVAL where the mapping refuses (vm_ops->may_split).
        """
        if self.vmas.count >= self.world.max_map_count:
            return -abi.ENOMEM
        return self.split_unchecked(vma, addr)

    def split_unchecked(self, vma: Vma, addr: int) -> Vma | int:
        """__split_vma(): as split(), without asking for max_map_count."""
        file = vma.file
        if file is not None and not may_split(vma, addr):
            return -abi.EINVAL
        upper = Vma(addr, vma.end, vma.flags, vma.skew, file, vma.anon, vma.chain, vma.extra)
        vma.end = addr  # the upper part fills what this leaves
        self.world.splits += 1
        return self.insert(upper, vma)

    def between(self, vma: Vma, following: Vma) -> int:
        """The Blockers between two touching VMAs as they are now, 0 if they could be one."""
        of = merge.attributes(vma.flags, vma.skew, vma.file, vma.anon, vma.chain, vma.extra)
        mask = merge.compare(following, of, self.world.unfaulted_target)
        if mask & ~merge.CLOSE == 0 and following.has_close:
            mask |= merge.CLOSE
        return mask

    # --- removing ------------------------------------------------------------------------------

    def may_unmap(self, first: Vma, start: int, end: int) -> int:
        """Whether [start, end) may be unmapped: 0, or -errno with the splits that stay made.

        *first* is find(start) and overlaps. Mirrors vms_gather_munmap_vmas().
        """
        if self.world.seals_first and self.any_sealed(start, end):
            return -abi.EPERM
        hole = first.start < start and end < first.end
        if hole and self.vmas.count >= self.world.max_map_count:
            return -abi.ENOMEM
        vma: Vma | None = first
        while vma is not None and vma.start < end:
            if vma.flags & _CUT_CAREFULLY:
                return self._gather_carefully(first, start, end)
            vma = vma.next
        return 0

    def _gather_carefully(self, first: Vma, start: int, end: int) -> int:
        if first.start < start:
            if first.flags & abi.VM_SEALED:
                return -abi.EPERM
            if not may_split(first, start):
                return -abi.EINVAL
        vma: Vma | None = first
        while vma is not None and vma.start < end:
            error = 0
            if vma.flags & abi.VM_SEALED:
                error = -abi.EPERM
            elif vma.end > end and not may_split(vma, end):
                error = -abi.EINVAL
            if error:
                if first.start < start:
                    self.split_unchecked(first, start)
                return error
            vma = vma.next
        return 0

    def any_sealed(self, start: int, end: int) -> bool:
        """Whether a sealed VMA overlaps the range (can_modify_mm(), which 6.12 removed)."""
        vma = self.vmas.find(start)
        while vma is not None and vma.start < end:
            if vma.flags & abi.VM_SEALED:
                return True
            vma = vma.next
        return False

    def split_borders(self, first: Vma, start: int, end: int) -> None:
        """What a failure after the gathering leaves behind: both borders split, nothing removed."""
        vma: Vma | None = first
        if first.start < start:
            self.split_unchecked(first, start)
        while vma is not None and vma.start < end:
            if vma.end > end:
                self.split_unchecked(vma, end)
            vma = vma.next

    def cut(self, first: Vma, start: int, end: int) -> tuple[Vma | None, Vma | None]:
        """Remove [start, end); the VMAs before and behind it. *first* is find(start), overlapping.

        Trims instead of splitting and removing, which leaves the same VMAs.
        """
        if self.guards:
            self.guards.discard(start, end)
        vmas = self.vmas
        vma: Vma | None = first
        if first.start < start:
            if first.end > end:
                upper = self.split_unchecked(first, end)
                assert isinstance(upper, Vma)
                vmas.set_end(first, start)
                return first, upper
            vmas.set_end(first, start)
            prev: Vma | None = first
            vma = first.next
        else:
            prev = first.prev
        while vma is not None and vma.end <= end:
            following = vma.next
            vmas.remove(vma)
            vma = following
        if vma is not None and vma.start < end:
            vmas.set_start(vma, end)
        return prev, vma

    def unmap(self, start: int, end: int) -> int:
        """Unmap [start, end): 0, or -errno (do_vmi_align_munmap()). Never merges."""
        first = self.vmas.find(start)
        if first is None or first.start >= end:
            return 0
        error = self.may_unmap(first, start, end)
        if error:
            return error
        self.cut(first, start, end)
        return 0

    # --- anon_vma ------------------------------------------------------------------------------

    def guarded(self, addr: int) -> bool:
        """Whether the page at *addr* is a guard."""
        return bool(self.guards) and self.guards.first(addr, addr + 1) is not None

    def prepare_anon(self, vma: Vma) -> None:
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
            vma.anon = self.world.new_anon()
        vma.chain = 1

    # --- the whole address space ---------------------------------------------------------------

    def fork(self) -> Mm:
        """The child's copy (dup_mmap()). Merges nothing; every faulted VMA gets a longer chain."""
        world = self.world
        child = Mm(world, self.mmap_base, self.brk)
        child.start_brk = self.start_brk
        child.brk_known = self.brk_known
        child.start_stack = self.start_stack
        child.merge_any = self.merge_any
        child.mdwe = self.mdwe
        child.limits = self.limits
        child.thp_disable = self.thp_disable
        last: Vma | None = None
        for vma in self.vmas:
            if vma.flags & abi.VM_DONTCOPY:
                continue
            flags = vma.flags & ~(abi.VM_LOCKED_MASK | abi.VM_UFFD_FLAGS)
            extra = vma.extra
            if extra is not None and extra.uffd:
                extra = Extra(extra.policy, 0, extra.name)
                extra = None if extra == Extra() else extra
            copy = Vma(vma.start, vma.end, flags, vma.skew, vma.file, extra=extra)
            if vma.anon and not flags & abi.VM_WIPEONFORK:
                copy.anon, copy.chain = world.new_anon(), 2
            copied = copy.anon or flags & (abi.VM_MAYBE_GUARD | abi.VM_WIPEONFORK) == _STICKY
            if self.guards and copied:
                for start, end in self.guards.within(vma.start, vma.end):
                    child.guards.add(start, end)
            last = child.insert(copy, last)
        return child

    def set_mergeable(self) -> None:
        """PR_SET_MEMORY_MERGE 1: mark every compatible VMA; merges nothing (ksm_add_vmas())."""
        self.merge_any = True
        for vma in self.vmas:
            if ksm.compatible(vma.flags, vma.file):
                vma.flags |= abi.VM_MERGEABLE

    def clear_mergeable(self) -> None:
        """PR_SET_MEMORY_MERGE 0: unmark every VMA; merges nothing (ksm_del_vmas())."""
        self.merge_any = False
        for vma in self.vmas:
            vma.flags &= ~abi.VM_MERGEABLE


def _remember(decision: MergeDecision, vma: Vma, following: Vma | None) -> None:
    """Note a refusal at the borders where it was."""
    if decision.prev is not None:
        vma.refusal = decision
    if decision.next is not None and following is not None:
        following.refusal = decision


def may_split(vma: Vma, addr: int) -> bool:
    """vm_ops->may_split: huge pages and special mappings are not cut inside."""
    if vma.file is not None and vma.file.special:
        return False
    if vma.flags & abi.VM_HUGETLB:
        return addr % (2 << 20) == 0
    return True


def _reusable(old: Vma, a: Vma, b: Vma) -> bool:
    """reusable_anon_vma(): *a* and *b* could be one VMA after an mprotect, and *old* has a chain
    that no fork made longer.
    """
    return (
        old.anon != 0
        and old.chain == 1
        and a.end == b.start
        and not (a.flags ^ b.flags) & ~(abi.VM_ACCESS_FLAGS | merge.IGNORED_FLAGS)
        and a.file is b.file
        and a.skew == b.skew
        and (a.extra is b.extra or _policy(a) == _policy(b))
    )


def _policy(vma: Vma) -> tuple[object, ...] | None:
    return vma.extra.policy if vma.extra is not None else None
