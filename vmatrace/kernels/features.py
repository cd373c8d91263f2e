"""The named features: each one behaviour that some kernels have, with its upstream commit.

A table and nothing else. vmatrace.kernels says which kernel has which, and every name here is a
name there; what a feature does stands in the engine, where it is asked for. A behaviour older than
6.4, the first release modelled, has no name unless a later release dropped it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Feature:
    """One behaviour: ``summary`` says how a kernel with it behaves.

    ``commit`` is the upstream commit (12 hex digits or more) and ``subject`` its first line, or
    None and "" with ``note`` saying why. ``release`` is the mainline release it came in; None when
    older than 6.4, in no mainline release, or not established. ``where`` names the kernel function
    or the configuration symbol. ``note`` also holds the commit that dropped the feature again.
    """

    name: str
    summary: str
    commit: str | None
    subject: str
    release: str | None
    where: str
    note: str = ""


FEATURES: Final[dict[str, Feature]] = {}


def _feature(
    name: str,
    release: str | None,
    where: str,
    summary: str,
    commit: str | None = None,
    subject: str = "",
    note: str = "",
) -> Feature:
    feature = Feature(name, summary, commit, subject, release, where, note)
    assert name not in FEATURES, name
    FEATURES[name] = feature
    return feature


# fmt: off
# --- KSM -----------------------------------------------------------------------------------------

KSM_PRCTL: Final = _feature(
    "ksm-prctl", "6.4", "ksm_enable_merge_any()",
    "PR_SET_MEMORY_MERGE marks every compatible VMA of a process, and fork() hands it on.",
    "d7597f59d1d3", "mm: add new api to enable ksm per process")
KSM_EXEC_INHERIT: Final = _feature(
    "ksm-exec-inherit", "6.7", "ksm_execve()",
    "PR_SET_MEMORY_MERGE survives execve().",
    "3c6f33b7273a", "mm/ksm: support fork/exec for prctl")
KSM_BEFORE_MERGE: Final = _feature(
    "ksm-before-merge", "6.17", "__mmap_region(), do_brk_flags()",
    "A new range gets VM_MERGEABLE before its merge is attempted, where its file allows it.",
    "cf7e7a3503df", "mm: prevent KSM from breaking VMA merging for new VMAs")
KSM_LATE_CHECK_BEFORE_HOOK: Final = _feature(
    "ksm-late-check-before-hook", None, "__mmap_region()",
    "The late VM_MERGEABLE check runs before the driver's .mmap() and cannot see its flags.",
    note="in the series as posted; its fix 'mm/vma: correctly invoke late KSM check after mmap "
    "hook' was folded in before the merge")

# --- merging -------------------------------------------------------------------------------------

MERGE_UNFAULTED_TARGET: Final = _feature(
    "merge-unfaulted-target", "6.16", "is_mergeable_anon_vma()",
    "A range with an anon_vma may merge into a VMA without one.",
    "879bca0a2c4f", "mm/vma: fix incorrectly disallowed anonymous VMA merges")
MREMAP_COPIED_FROM: Final = _feature(
    "mremap-copied-from", "6.19", "vma_merge_copied_range()",
    "A VMA that shares its pages after fork() does not merge, when mremap() moves it, into a VMA "
    "without an anon_vma.",
    "3b617fd3d317", "mm/vma: enforce VMA fork limit on unfaulted,faulted mremap merge too",
    "backported to 6.18.8")
DRIVER_FLAGS_RETRY_NEW: Final = _feature(
    "driver-flags-retry-new", None, "mmap_region()",
    "When .mmap() changed the flags and a VMA precedes, the merge is tried again as a new range's.",
    "d70cec898324", "mm: mmap: merge vma after call_mmap() if possible",
    "older than 6.4; replaced in 6.13 by 5ac87a885aec")
DRIVER_FLAGS_RETRY_EXISTING: Final = _feature(
    "driver-flags-retry-existing", "6.13", "__mmap_region()",
    "When .mmap() changed the flags, the merge is tried again as that of an existing VMA.",
    "5ac87a885aec", "mm: defer second attempt at merge on mmap()",
    "dropped in 6.16 by 3c06ee7c24c2 (mm/vma: remove mmap() retry merge)")

# --- mmap ----------------------------------------------------------------------------------------

MAP_STACK_NOHUGEPAGE: Final = _feature(
    "map-stack-nohugepage", "6.8", "calc_vm_flag_bits()",
    "MAP_STACK sets VM_NOHUGEPAGE.",
    "c4608d1bf7c6", "mm: mmap: map MAP_STACK to VM_NOHUGEPAGE", "backported to 6.7.y")
THP_ALIGN_ANON: Final = _feature(
    "thp-align-anon", "6.7", "__get_unmapped_area()",
    "A private anonymous mapping of 2 MiB or more is placed on a 2 MiB boundary.",
    "efa7df3e3bb5", "mm: align larger anonymous mappings on THP boundaries")
THP_ALIGN_FILES: Final = _feature(
    "thp-align-files", "6.10", "__get_unmapped_area()",
    "The 2 MiB boundary holds also for files without a get_unmapped_area() of their own.",
    "ed48e87c7df3", "thp: add thp_get_unmapped_area_vmflags()",
    "dropped in 6.13 by 34d7cf637c43 (mm: don't try THP alignment for FS without "
    "get_unmapped_area)")
THP_ALIGN_MULTIPLE: Final = _feature(
    "thp-align-multiple", "6.12", "__get_unmapped_area()",
    "Only a mapping of a multiple of 2 MiB is placed on a 2 MiB boundary (file systems with a "
    "get_unmapped_area() of their own aside).",
    "d4148aeab412",
    "mm, mmap: limit THP alignment of anonymous mappings to PMD-aligned sizes")
THP_ALIGN_UNHINTED: Final = _feature(
    "thp-align-unhinted", "6.13", "__get_unmapped_area()",
    "An address hint, taken or not, switches the 2 MiB boundary off.",
    "249608ee4713", "mm: respect mmap hint address when aligning for THP",
    "backported to 6.12.y")
DROPPABLE: Final = _feature(
    "droppable", "6.11", "do_mmap()",
    "MAP_DROPPABLE exists and sets VM_DROPPABLE, which KSM leaves alone.",
    "9651fcedf7b9", "mm: add MAP_DROPPABLE for designating always lazily freeable mappings")
DROPPABLE_NEVER_LOCKED: Final = _feature(
    "droppable-never-locked", None, "vma_supports_mlock()",
    "mlockall(MCL_FUTURE) does not set VM_LOCKED on a droppable VMA.",
    "d239462787b0", "mm: prevent droppable mappings from being locked",
    "newer than 6.18; backported to 6.12.y and 6.18.y")
MAP_FIXED_KEEPS_ON_FAILURE: Final = _feature(
    "map-fixed-keeps-on-failure", "6.12", "mmap_region()",
    "MAP_FIXED that fails on a limit leaves the old mappings in place.",
    "f8d112a4e657", "mm/mmap: avoid zeroing vma tree in mmap_region()")
MMAP_PREPARE: Final = _feature(
    "mmap-prepare", "6.16", "call_mmap_prepare()",
    "A driver may have .mmap_prepare(), which runs before the merge is attempted.",
    "c84bf6dd2b83", "mm: introduce new .mmap_prepare() file callback")
FS_MMAP_PREPARE: Final = _feature(
    "fs-mmap-prepare", "6.17", "file_operations.mmap_prepare",
    "Page-cache file systems have .mmap_prepare() in place of .mmap().",
    "9d5403b1036c", "fs: convert most other generic_file_*mmap() users to .mmap_prepare()",
    "ext4 by 8c90ae8fe5e3, xfs by 6528d29b46d8")
SHMEM_MMAP_PREPARE: Final = _feature(
    "shmem-mmap-prepare", "6.19", "shmem_mmap_prepare(), mmap_zero_prepare()",
    "shmem, hugetlbfs, /dev/zero, /dev/mem and device-dax have .mmap_prepare() too.",
    "ab3c8e7b8687", "mm/shmem: update shmem to use mmap_prepare",
    "in no model: newer than 6.18; the others follow in the same series")
SECRETMEM_UNLOCKED: Final = _feature(
    "secretmem-unlocked", None, "secretmem_mmap()",
    "memfd_secret() memory does not show VM_LOCKED.",
    "97d34aa65c29", "mm/secretmem: properly account locked pages",
    "newer than 6.18; backported to 6.12.117, to 6.18.y after 6.18.44")
VVAR_VCLOCK: Final = _feature(
    "vvar-vclock", "6.13", "map_vdso()",
    "The virtual clock pages are a VMA of their own, [vvar_vclock].",
    "e93d2521b27f", "x86/vdso: Split virtual clock pages into dedicated mapping")

# --- mprotect, mseal, madvise, userfaultfd, prctl ------------------------------------------------

MPROTECT_UNACCOUNT: Final = _feature(
    "mprotect-unaccount", "6.7", "mprotect_fixup()",
    "An unfaulted anonymous VMA that mprotect() makes unwritable drops VM_ACCOUNT.",
    "9b9143298585", "mm/mprotect: allow unfaulted VMAs to be unaccounted on mprotect()")
MSEAL: Final = _feature(
    "mseal", "6.10", "do_mseal()",
    "mseal() exists and sets VM_SEALED.",
    "8be7258aad44", "mseal: add mseal syscall")
MSEAL_IN_LOOP: Final = _feature(
    "mseal-in-loop", "6.12", "can_modify_vma()",
    "Seals are checked VMA by VMA, so a call that meets one may have changed what lies before it.",
    "4a2dd02b0916", "mm/mprotect: replace can_modify_mm with can_modify_vma",
    "munmap by df2a7df9a9aa, mremap by 38075679b5f1")
GUARD_REGIONS: Final = _feature(
    "guard-regions", "6.13", "madvise_guard_install()",
    "MADV_GUARD_INSTALL and MADV_GUARD_REMOVE work on anonymous memory.",
    "662df3e5c376", "mm: madvise: implement lightweight guard page mechanism")
GUARD_FILES: Final = _feature(
    "guard-files", "6.15", "is_valid_guard_vma()",
    "Guard regions work on files, shared memory and read-only mappings too.",
    "f807123d578d", "mm: allow guard regions in file-backed and read-only mappings")
MAYBE_GUARD_FLAG: Final = _feature(
    "maybe-guard-flag", "6.19", "madvise_guard_install()",
    "MADV_GUARD_INSTALL sets VM_MAYBE_GUARD on the VMA, which merges ignore and keep.",
    "5dba5cc2e0ff", "mm: introduce VM_MAYBE_GUARD and make visible in /proc/$pid/smaps",
    "backported to 6.18.y")
PROCESS_MADVISE_SELF: Final = _feature(
    "process-madvise-self", "6.13", "vector_madvise()",
    "process_madvise() on the caller itself takes every advice, not the four for other processes.",
    "021781b01275", "mm/madvise: unrestrict process_madvise() for current process")
PIDFD_SELF: Final = _feature(
    "pidfd-self", "6.15", "pidfd_get_task()",
    "A pidfd of -10000 or -10001 (PIDFD_SELF) is the caller's own.",
    note="commit not established; release from memory")
UFFD_NOT_DROPPABLE: Final = _feature(
    "uffd-not-droppable", "6.18", "vma_can_userfault()",
    "userfaultfd refuses MAP_DROPPABLE memory.",
    note="commit not established; absent from 6.12.117, present in 6.18.44, release in between")
DOFORK_SPECIAL_STRICT: Final = _feature(
    "dofork-special-strict", None, "madvise_vma_behavior()",
    "MADV_DOFORK fails on every VM_SPECIAL VMA, not on VM_IO alone.",
    note="commit not established; in no model: newer than 6.18")
UFFD_UNREGISTER_STRICT: Final = _feature(
    "uffd-unregister-strict", "6.17", "userfaultfd_unregister()",
    "UFFDIO_UNREGISTER fails on a VMA that is registered with another userfaultfd.",
    "23ec90eb122f", "userfaultfd: prevent unregistering VMAs through a different userfaultfd")
THP_DISABLE_EXCEPT_ADVISED: Final = _feature(
    "thp-disable-except-advised", "6.18", "prctl_set_thp_disable()",
    "PR_SET_THP_DISABLE takes PR_THP_DISABLE_EXCEPT_ADVISED.",
    "9dc21bbd62ed", "prctl: extend PR_SET_THP_DISABLE to optionally exclude VM_HUGEPAGE")

# --- mremap --------------------------------------------------------------------------------------

MREMAP_MULTI_VMA: Final = _feature(
    "mremap-multi-vma", "6.17", "remap_move()",
    "MREMAP_FIXED without a change of size moves a range of several VMAs and gaps.",
    "d23cb648e365", "mm/mremap: permit mremap() move of multiple VMAs")
MREMAP_CHECKS_FIRST: Final = _feature(
    "mremap-checks-first", "6.17", "check_mremap_params(), check_prep_vma()",
    "mremap() checks its arguments before it looks at a VMA, and the source VMA before it unmaps.",
    "3215eaceca87", "mm/mremap: refactor initial parameter sanity checks",
    "the source VMA by a85dc37186a5 (mm/mremap: check remap conditions earlier)")
DONTUNMAP_UNACCOUNTS_SOURCE: Final = _feature(
    "dontunmap-unaccounts-source", "6.15", "dontunmap_complete()",
    "MREMAP_DONTUNMAP takes VM_ACCOUNT from the source VMA.",
    "b714ccb02a76", "mm/mremap: complete refactor of move_vma()",
    "a bug, fixed in 6.18 by 0e59f47c15ce (mm/mremap: correctly account old mapping after "
    "MREMAP_DONTUNMAP remap) and in 6.17.y")
DONTUNMAP_SPLITS_LOCKED: Final = _feature(
    "dontunmap-splits-locked", None, "mremap()",
    "MREMAP_DONTUNMAP of a part of a locked VMA splits it, and only that part is unlocked.",
    "597e4b9ab48a", "mm/mremap: fix locked_vm leak by splitting VMA for MREMAP_DONTUNMAP",
    "newer than 6.18; backported to 6.12.117")
DONTUNMAP_NO_SELF_MERGE: Final = _feature(
    "dontunmap-no-self-merge", None, "copy_vma()",
    "The copy that MREMAP_DONTUNMAP makes never merges with its own source.",
    "838bb60dc215", "mm/mremap: fix locked_vm leak from MREMAP_DONTUNMAP self-merge",
    "newer than 6.18; backported to 6.12.117")
DONTUNMAP_RESETS_PGOFF: Final = _feature(
    "dontunmap-resets-pgoff", None, "mremap()",
    "MREMAP_DONTUNMAP of a whole anonymous VMA sets the source's pgoff to its address again.",
    "35b0fb391b0d", "mm/mremap: reset unfaulted VMA page offset for MREMAP_DONTUNMAP",
    "newer than 6.18; backported to 6.12.117")

# --- configuration -------------------------------------------------------------------------------

KSM: Final = _feature(
    "ksm", None, "CONFIG_KSM", "The kernel has KSM.", note="configuration CONFIG_KSM")
TRANSPARENT_HUGEPAGE: Final = _feature(
    "transparent-hugepage", None, "CONFIG_TRANSPARENT_HUGEPAGE",
    "The kernel has transparent huge pages.", note="configuration CONFIG_TRANSPARENT_HUGEPAGE")
ANON_VMA_NAME: Final = _feature(
    "anon-vma-name", None, "CONFIG_ANON_VMA_NAME",
    "PR_SET_VMA_ANON_NAME names anonymous memory.",
    note="configuration CONFIG_ANON_VMA_NAME; off in the two recorded kernels")
PKEYS: Final = _feature(
    "pkeys", None, "mm_pkey_is_allocated()",
    "The CPU has protection keys, so that key 0 exists for pkey_mprotect.",
    note="hardware; the machine of 6.18.44's recordings has none")
# fmt: on
