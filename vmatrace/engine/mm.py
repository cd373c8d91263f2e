"""One address space: the operations that change its VMAs. Decide (merge.py), then commit (here).

Mirrors the merging and splitting in mm/vma.c. Knows nothing of system calls' arguments. Ranges are
bytes and page aligned; an operation returns a Vma, or -errno where it can fail.
"""

from __future__ import annotations

from typing import Final

from vmatrace import abi
from vmatrace.engine import ksm, merge
from vmatrace.engine.limits import UNLIMITED
from vmatrace.engine.merge import Attributes, MergeDecision
from vmatrace.engine.ranges import Ranges
from vmatrace.engine.vma import Extra, Vma
from vmatrace.engine.vmamap import VmaMap
from vmatrace.engine.world import World

_new: Final = tuple.__new__  # see merge.py
#: Of a process without randomization, as traces start with: ADDR_NO_RANDOMIZE.
START_PERSONA: Final = 0x40000
_STICKY: Final = abi.VM_MAYBE_GUARD


class Mm:
    """``mm_struct``: the VMAs and what governs new ones. All addresses in bytes.

    ``def_flags`` are or-ed into new mappings (mlockall(MCL_FUTURE)); ``merge_any`` is
    MMF_VM_MERGE_ANY, KSM-by-default; ``start_brk``/``brk`` bound the heap. ``guards`` is where
    MADV_GUARD_INSTALL has put markers, which make an access fail. ``persona`` is personality(2)'s.
    ``contexts`` are the userfaultfds of this memory, as numbers, by descriptor.
    """

    __slots__ = (
        "brk", "brk_assumed", "brk_known", "contexts", "def_flags", "fresh", "guards",
        "limits", "mdwe", "merge_any", "mmap_base", "peak_vmas", "persona", "start_brk",
        "start_stack", "thp_disable", "vmas", "world",
    )  # fmt: skip

    def __init__(self, world: World, mmap_base: int, brk: int) -> None:
        self.world = world
        self.vmas = VmaMap()
        self.mmap_base = mmap_base
        self.start_brk = brk
        self.brk = brk
        self.brk_known = True
        self.brk_assumed = False  # start_brk is where a log first saw the heap
        self.fresh = False  # its exec is in the trace
        self.start_stack = 0
        self.def_flags = 0
        self.guards = Ranges()
        self.limits = UNLIMITED
        self.merge_any = False
        self.mdwe = 0
        self.thp_disable = 0
        self.contexts: dict[int | str, int] = {}
        self.persona = START_PERSONA
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
        refused: int = 0,
    ) -> Vma | None:
        """Merge a new range with its neighbours; the merged VMA, or None where it stays alone.

        *source* holds the range's attributes; its chain is that of the VMA it was copied from, 0
        where none is looked at. *refused*: a Blocker that forbids it whatever is there. Mirrors
        vma_merge_new_range() and vma_expand().
        """
        world = self.world
        decision = merge.decide(
            op, start, end, prev, None, following, source, world, world.event, refused,
        )  # fmt: skip
        world.decisions.append(decision)
        if not decision.left:
            assert prev is not None
            if not decision.right:
                assert following is not None
                self._absorb(prev, following)
                prev.flags |= following.flags & _STICKY
            else:
                self.vmas.set_end(prev, end)
            merged = prev
        elif not decision.right:
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
        self.vmas.insert(vma, prev)
        return vma

    def insert_apart(self, vma: Vma, prev: Vma | None) -> Vma:
        """Put a new VMA behind *prev* that the last decision found nothing to merge with."""
        self.vmas.insert(vma, prev)
        _remember(self.world.decisions[-1], vma, vma.next)
        return vma

    # --- existing ranges -----------------------------------------------------------------------

    def modify(
        self, vma: Vma, start: int, end: int, flags: int, extra: Extra | None,
        asks_prev: bool = True,
    ) -> Vma | int:  # fmt: skip
        """Give [start, end) of *vma* new attributes: merge with neighbours or split.

        Unless *asks_prev*, the VMA before it is not considered. Returns the VMA that holds the
        range; -ENOMEM at max_map_count and -EINVAL where the VMA cannot be split (splits made
        before stay). Mirrors vma_modify(), vma_merge_existing_range().
        """
        world = self.world
        prev, following = vma.prev, vma.next
        proposed = _new(Attributes, (flags, vma.skew, vma.file, vma.anon, vma.chain, extra))
        decision = merge.decide(
            "modify", start, end, prev if asks_prev else None, vma, following, proposed,
            world, world.event,
        )  # fmt: skip
        world.decisions.append(decision)
        if not decision.left:
            assert prev is not None
            _remember(decision, prev, following)
            return self._merge_left(prev, vma, end, both=not decision.right)
        if not decision.right:
            assert following is not None
            _remember(decision, vma, following)
            return self._merge_right(vma, start, following)
        _remember(decision, vma, following)
        return self._modify_alone(vma, start, end, flags, extra)

    def _modify_alone(
        self, vma: Vma, start: int, end: int, flags: int, extra: Extra | None
    ) -> Vma | int:
        """What vma_modify() does where nothing merges: split both borders, set the attributes."""
        if vma.start != start:
            upper = self.split(vma, start)
            if isinstance(upper, int):
                return upper
            vma = upper
        if vma.end != end:
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
        return merge.between(vma, following, self.world)

    # --- KSM by default -------------------------------------------------------------------------

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
