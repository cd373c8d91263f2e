"""Where the kernel puts a mapping whose address it may choose (x86-64, 4-level page tables).

Mirrors arch_get_unmapped_area_topdown(), generic_get_unmapped_area_topdown(),
mm_get_unmapped_area_vmflags() and thp_get_unmapped_area_vmflags(). Reads the map, changes nothing.
"""

from __future__ import annotations

from typing import Final

from vmatrace import abi
from vmatrace.engine.vmamap import VmaMap

PMD_SIZE: Final = 2 << 20
TASK_UNMAPPED_BASE: Final = abi.TASK_SIZE // 3 & ~0xFFF
LOW_32BIT: Final = (0x40000000, 0x80000000)  # find_start_end() for MAP_32BIT


def hint_is_usable(vmas: VmaMap, addr: int, length: int, guard: int) -> bool:
    """Whether a hint is taken as it is: free, and clear of the next VMA's guard gap."""
    if addr > abi.TASK_SIZE - length:
        return False
    vma = vmas.find(addr)
    if vma is None:
        return True
    floor = max(vma.start - guard, 0) if vma.flags & abi.VM_STARTGAP else vma.start
    return addr + length <= floor


def search(vmas: VmaMap, length: int, base: int, min_addr: int, guard: int) -> int:
    """The address for *length* bytes: top-down from *base*, else bottom-up; -ENOMEM if none."""
    found = vmas.highest_gap(length, min_addr, base, guard)
    if found is None:
        found = vmas.lowest_gap(length, TASK_UNMAPPED_BASE, abi.TASK_SIZE, guard)
    return -abi.ENOMEM if found is None else found


def search_32bit(vmas: VmaMap, length: int, guard: int) -> int:
    """The address for a MAP_32BIT mapping of *length* bytes, bottom-up in [1 GiB, 2 GiB)."""
    found = vmas.lowest_gap(length, *LOW_32BIT, guard)
    return -abi.ENOMEM if found is None else found


def huge_alignable(length: int, offset: int) -> bool:
    """Whether [offset, offset + length) of the backing holds a whole huge page."""
    aligned = abi.page_align(offset, PMD_SIZE - 1)
    return offset + length >= aligned + PMD_SIZE


def align_huge(found: int, offset: int) -> int:
    """The start within free space at *found* that is congruent to *offset* modulo a huge page.

    The space is a huge page longer than needed (__thp_get_unmapped_area()); of two fitting places
    a top-down address space takes the upper.
    """
    return found + (((offset - found) & (PMD_SIZE - 1)) or PMD_SIZE)
