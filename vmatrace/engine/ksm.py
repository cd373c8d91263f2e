"""KSM at the level of VMAs: who is eligible for VM_MERGEABLE, and when a new range gets it.

Mirrors mm/ksm.c. Pages, ksmd and unmerging are not modelled: they leave the layout alone.
"""

from __future__ import annotations

from typing import Final

from vmatrace import abi
from vmatrace.engine.vmfile import VmFile

#: vma_ksm_compatible() up to 6.16, ksm_compatible() since 6.17: the same set in other words.
INCOMPATIBLE: Final = (
    abi.VM_SHARED | abi.VM_MAYSHARE | abi.VM_SPECIAL | abi.VM_HUGETLB | abi.VM_DROPPABLE
)


def compatible(flags: int, file: VmFile | None) -> bool:
    """Whether a VMA of these flags and file may have VM_MERGEABLE (ksm_compatible()).

    DAX files are refused too (file_is_dax()).
    """
    return not flags & INCOMPATIBLE and (file is None or file.fs != "dax")


def can_set_early(file: VmFile | None) -> bool:
    """Whether the flag may be set before the merge attempt (can_set_ksm_flags_early(), mm/vma.c).

    Post-patch only. A driver with nothing but ``.mmap`` may still change the flags in it, so it is
    asked late; shmem has such a hook but is known not to.
    """
    return file is None or file.hook != "legacy"
