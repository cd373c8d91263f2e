"""A second model of an address space that is too simple to share the engine's mistakes.

One entry per page and, besides, the set of pages at which a VMA starts; a VMA is derived: from a
start up to the next start or hole. There is no list to keep in order, nothing is trimmed, split
or absorbed: an operation changes pages, and decides for two borders whether they stay. All
positions and lengths are pages. Knows anonymous memory alone, private and shared, no limits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from vmatrace import abi

RW_BITS = abi.VM_READ | abi.VM_WRITE
NOT_FOR_KSM = abi.VM_SHARED | abi.VM_MAYSHARE
LOCKS = abi.VM_LOCKED | abi.VM_LOCKONFAULT


class Rules(NamedTuple):
    """Where kernels differ.

    ``ksm_first``: a new range is marked for KSM before it looks for neighbours (6.17).
    ``into_unfaulted``: a written range may join a VMA that was never written (6.16).
    ``copies_checked``: mremap's copy looks at where it came from, and hands its anon_vma on (6.19).
    ``mremap_new``: mremap checks before it unmaps, and moves several VMAs at once (6.17).
    """

    ksm_first: bool
    into_unfaulted: bool
    copies_checked: bool
    mremap_new: bool


class Page(NamedTuple):
    """``shift`` is page offset minus page number; ``anon`` 0 for none; ``forked``: long chain."""

    flags: int
    file: int = 0
    shift: int = 0
    anon: int = 0
    forked: bool = False


ADVICE = {
    abi.MADV_NORMAL: (abi.VM_RAND_READ | abi.VM_SEQ_READ, 0),
    abi.MADV_RANDOM: (abi.VM_SEQ_READ, abi.VM_RAND_READ),
    abi.MADV_SEQUENTIAL: (abi.VM_RAND_READ, abi.VM_SEQ_READ),
    abi.MADV_DONTFORK: (0, abi.VM_DONTCOPY),
    abi.MADV_DOFORK: (abi.VM_DONTCOPY, 0),
    abi.MADV_MERGEABLE: (0, abi.VM_MERGEABLE),
    abi.MADV_UNMERGEABLE: (abi.VM_MERGEABLE, 0),
    abi.MADV_HUGEPAGE: (abi.VM_NOHUGEPAGE, abi.VM_HUGEPAGE),
    abi.MADV_NOHUGEPAGE: (abi.VM_HUGEPAGE, abi.VM_NOHUGEPAGE),
    abi.MADV_DONTDUMP: (0, abi.VM_DONTDUMP),
    abi.MADV_DODUMP: (abi.VM_DONTDUMP, 0),
    abi.MADV_WIPEONFORK: (0, abi.VM_WIPEONFORK),
    abi.MADV_KEEPONFORK: (abi.VM_WIPEONFORK, 0),
}


@dataclass
class Names:
    """Fresh numbers for anon_vmas and shmem files, shared by a process and its children."""

    last: int = 0
    sizes: dict[int, int] = field(default_factory=dict)  # pages of a shmem file

    def new(self) -> int:
        self.last += 1
        return self.last


@dataclass
class Naive:
    """One address space."""

    rules: Rules
    names: Names = field(default_factory=Names)
    pages: dict[int, Page] = field(default_factory=dict)
    starts: set[int] = field(default_factory=set)
    ksm: bool = False

    # --- what is there -------------------------------------------------------------------------

    def vma(self, page: int) -> tuple[int, int]:
        """The VMA around a mapped page: its first page, and the first behind it."""
        start, end = page, page + 1
        while start not in self.starts:
            start -= 1
        while end in self.pages and end not in self.starts:
            end += 1
        return start, end

    def vmas(self) -> list[tuple[int, int, Page]]:
        """All VMAs in order, each with what its pages have in common."""
        found = []
        for start in sorted(self.starts):
            start, end = self.vma(start)
            assert len({self.pages[p] for p in range(start, end)}) == 1, "one VMA, one attribute"
            found.append((start, end, self.pages[start]))
        return found

    # --- borders -------------------------------------------------------------------------------

    def _joins(self, page: int, new: Page, source_forked: bool) -> bool:
        """Whether the VMA at *page* can take in a touching range of these attributes."""
        old = self.pages.get(page)
        if old is None or (old.flags, old.file, old.shift) != (new.flags, new.file, new.shift):
            return False
        if old.anon == new.anon:
            return True
        if not new.anon:
            return not old.forked
        return not old.anon and self.rules.into_unfaulted and not source_forked

    def _sides(self, start: int, end: int, new: Page, source_forked: bool) -> tuple[bool, bool]:
        left = self._joins(start - 1, new, source_forked)
        right = self._joins(end, new, source_forked)
        if left and right:
            two = {self.pages[start - 1].anon, self.pages[end].anon} - {0}
            right = len(two) < 2
        return left, right

    def _border(self, page: int, there: bool) -> None:
        self.starts.discard(page)
        if there and page in self.pages:
            self.starts.add(page)

    def _share_anon(self, page: int) -> None:
        """Give every page of the VMA at *page* the one anon_vma that is in it."""
        start, end = self.vma(page)
        faulted = [self.pages[p] for p in range(start, end) if self.pages[p].anon]
        if faulted:
            anon, forked = faulted[0].anon, faulted[0].forked
            assert {p.anon for p in faulted} == {anon}
            for p in range(start, end):
                self.pages[p] = self.pages[p]._replace(anon=anon, forked=forked)

    def _place(self, start: int, end: int, new: Page, source_forked: bool) -> bool:
        """Put a new range into free pages; whether it became part of a VMA that was there."""
        left, right = self._sides(start, end, new, source_forked)
        kept = new
        if (left or right) and not self.rules.copies_checked:
            kept = new._replace(anon=0, forked=False)  # only the neighbours' anon_vma counts
        for p in range(start, end):
            self.pages[p] = kept
        self._border(start, not left)
        self._border(end, not right)
        self._share_anon(start)
        return left or right

    def _change(self, start: int, end: int, flags: int) -> None:
        """New flags for a range inside one VMA."""
        new = self.pages[start]._replace(flags=flags)
        left, right = self._sides(start, end, new, new.forked)  # the rest of the VMA never joins
        for p in range(start, end):
            self.pages[p] = new
        self._border(start, not left)
        self._border(end, not right)
        self._share_anon(start)

    def _drop(self, start: int, end: int) -> None:
        """Unmap whatever is in the range."""
        self._border(end, there=start < end or end in self.starts)
        for p in range(start, end):
            self.pages.pop(p, None)
            self.starts.discard(p)

    # --- calls: 0 or the first page's number on success, -errno otherwise -----------------------

    def mmap(self, start: int, length: int, prot: int, shared: bool, noreserve: bool) -> int:
        """mmap(MAP_FIXED|MAP_ANONYMOUS)."""
        end = start + length
        flags = prot | abi.VM_MAYREAD | abi.VM_MAYWRITE | abi.VM_MAYEXEC
        if shared:
            flags |= abi.VM_SHARED | abi.VM_MAYSHARE
        if noreserve:
            flags |= abi.VM_NORESERVE
        elif prot & abi.PROT_WRITE and not shared:
            flags |= abi.VM_ACCOUNT
        marked = self.ksm and not flags & NOT_FOR_KSM
        if marked and self.rules.ksm_first:
            flags |= abi.VM_MERGEABLE
        page = Page(flags)
        if shared:
            page = Page(flags, self.names.new(), -start)
            self.names.sizes[page.file] = length
        self._drop(start, end)
        joined = self._place(start, end, page, False)
        if marked and not joined:
            for p in range(start, end):
                self.pages[p] = page._replace(flags=flags | abi.VM_MERGEABLE)
        return start

    def munmap(self, start: int, length: int) -> int:
        self._drop(start, start + length)
        return 0

    def mprotect(self, start: int, length: int, prot: int) -> int:
        p, end = start, start + length
        while p < end:
            if p not in self.pages:
                return -abi.ENOMEM
            old = self.pages[p]
            stop = min(end, self.vma(p)[1])
            new = old.flags & ~(RW_BITS | abi.VM_EXEC) | prot
            if new != old.flags:
                free = abi.VM_ACCOUNT | abi.VM_WRITE | abi.VM_SHARED | abi.VM_NORESERVE
                if prot & abi.PROT_WRITE and not old.flags & free:
                    new |= abi.VM_ACCOUNT
                elif not prot & abi.PROT_WRITE and not old.anon and not old.file:
                    new &= ~abi.VM_ACCOUNT
                self._change(p, stop, new)
            p = stop
        return 0

    def madvise(self, start: int, length: int, advice: int) -> int:
        clear, set_ = ADVICE[advice]
        p, end, result = start, start + length, 0
        while p < end:
            if p not in self.pages:
                result, p = -abi.ENOMEM, p + 1
                continue
            old, stop = self.pages[p], min(end, self.vma(p)[1])
            if advice == abi.MADV_WIPEONFORK and old.file:
                return -abi.EINVAL
            new = old.flags & ~clear | set_
            refused = advice == abi.MADV_MERGEABLE and old.flags & NOT_FOR_KSM
            if new != old.flags and not refused:
                self._change(p, stop, new)
            p = stop
        return result

    def lock(self, start: int, length: int, flags: int) -> int:
        """mlock2(MLOCK_ONFAULT) with lo|lf, munlock with 0."""
        p, end = start, start + length
        while p < end:
            if p not in self.pages:
                return -abi.ENOMEM
            old, stop = self.pages[p], min(end, self.vma(p)[1])
            new = old.flags & ~LOCKS | flags
            if new != old.flags:
                self._change(p, stop, new)
            p = stop
        return 0

    def write(self, start: int, length: int) -> int:
        """One write to each page in order, up to the first that faults fatally."""
        for p in range(start, start + length):
            page = self.pages.get(p)
            if page is None or not page.flags & abi.VM_WRITE:
                return -abi.EFAULT
            if page.file and p + page.shift >= self.names.sizes[page.file]:
                return -abi.EFAULT  # SIGBUS: the mapping grew, its file did not
            if not page.anon and not page.file:
                self._new_anon(p)
        return 0

    def _new_anon(self, page: int) -> None:
        start, end = self.vma(page)
        mine = self.pages[page]
        anon = self._lends(end, mine) or self._lends(start - 1, mine) or self.names.new()
        for p in range(start, end):
            self.pages[p] = mine._replace(anon=anon)

    def _lends(self, page: int, to: Page) -> int:
        """The anon_vma that the VMA at *page* shares with a neighbour like *to*, or 0."""
        other = self.pages.get(page)
        if other is None or other.forked:
            return 0
        different = (other.flags ^ to.flags) & ~(RW_BITS | abi.VM_EXEC)
        same = not different and (other.file, other.shift) == (to.file, to.shift)
        return other.anon if same else 0

    def prctl_ksm(self, on: bool) -> int:
        """prctl(PR_SET_MEMORY_MERGE)."""
        if on != self.ksm:
            self.ksm = on
            for p, page in self.pages.items():
                flags = page.flags & ~abi.VM_MERGEABLE
                if on and not flags & NOT_FOR_KSM:
                    flags |= abi.VM_MERGEABLE
                self.pages[p] = page._replace(flags=flags)
        return 0

    def fork(self) -> Naive:
        """The child."""
        child = Naive(self.rules, self.names, ksm=self.ksm)
        for start, end, page in self.vmas():
            if page.flags & abi.VM_DONTCOPY:
                continue
            anon, forked = 0, False
            if page.anon and not page.flags & abi.VM_WIPEONFORK:
                anon, forked = self.names.new(), True
            copy = page._replace(flags=page.flags & ~LOCKS, anon=anon, forked=forked)
            child.pages |= dict.fromkeys(range(start, end), copy)
            child.starts.add(start)
        return child

    # --- mremap --------------------------------------------------------------------------------

    def resize(self, start: int, old: int, new: int) -> int:
        """mremap(…, 0): shrink or grow where it is."""
        if start not in self.pages:
            return -abi.EFAULT
        if new <= old:
            self._drop(start + new, start + old)
            return start
        end = self.vma(start)[1]
        if start + old > end:
            return -abi.EFAULT
        if start + old < end or any(p in self.pages for p in range(end, start + new)):
            return -abi.ENOMEM
        grown = self.pages[start]
        self._place(end, start + new, grown, False)
        if grown.anon:
            assert self.pages[end].anon == grown.anon
        return start

    def move(self, start: int, old: int, new: int, to: int) -> int:
        """mremap(…, MREMAP_MAYMOVE|MREMAP_FIXED)."""
        overlapping = start < to + new and to < start + old
        if self.rules.mremap_new:
            if overlapping:
                return -abi.EINVAL
            if old == new:
                return self._move_each(start, old, to)
            if start not in self.pages or start + min(old, new) > self.vma(start)[1]:
                return -abi.EFAULT
        elif start not in self.pages:
            return -abi.EFAULT
        elif overlapping:
            return -abi.EINVAL
        self._drop(to, to + new)
        if new < old:
            self._drop(start + new, start + old)
            old = new
        if start not in self.pages or start + old > self.vma(start)[1]:
            return -abi.EFAULT
        self._move_one(start, old, new, to)
        return to

    def _move_each(self, start: int, length: int, to: int) -> int:
        if start not in self.pages:
            return -abi.EFAULT
        p, end = start, start + length
        while p < end:
            if p not in self.pages:
                p += 1
                continue
            stop = min(end, self.vma(p)[1])
            there = p - start + to
            self._drop(there, there + stop - p)
            self._move_one(p, stop - p, stop - p, there)
            p = stop
        return to

    def _move_one(self, start: int, old: int, new: int, to: int) -> None:
        page = self.pages[start]
        shift = page.shift + start - to
        if not page.file and not page.anon:
            shift = 0
        source_forked = page.forked and self.rules.copies_checked
        self._place(to, to + new, page._replace(shift=shift), source_forked)
        self._drop(start, start + old)
