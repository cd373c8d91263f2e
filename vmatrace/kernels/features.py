"""The named features: each one behaviour that some kernels have, with its upstream commit.

A table and nothing else. vmatrace.kernels.models says which kernel has which; what a feature does
stands in the engine, where it is asked for. A behaviour older than 6.4, the first release
modelled, has no name unless a later release dropped it.

Point releases are those of the stable review or of the changelog that has the commit. Where one is
known from kernels that were run on both sides only, the first that has it is taken, and the note
says which one had it not.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Final

from vmatrace import abi

Release = tuple[int, ...]

#: Why a feature is in the table although no release brings it.
CONFIGURATION: Final = "configuration"
PROPOSAL: Final = "proposal"


def numbers(text: str) -> Release:
    """``(6, 12, 117)`` of "6.12.117"."""
    return tuple(int(part) for part in text.split("."))


@dataclass(frozen=True)
class Feature:
    """One behaviour: ``summary`` says how a kernel with it behaves.

    ``since`` is the mainline release it came in, then the point release of each stable series that
    got it too; ``until`` likewise where it went again. Both are empty for what is no release's:
    ``kind`` is then CONFIGURATION (a kernel is built, or a machine made, with it or without) or
    PROPOSAL. ``commit`` is the upstream commit (12 hex digits or more) and ``subject`` its first
    line, or None and "" with ``note`` saying why. ``where`` names the kernel function or the
    configuration symbol. ``matters`` is what a trace needs to contain for the feature to make a
    difference (words of replayer.uses), None: it always can. ``note`` also holds the
    commit that dropped the feature again.
    """

    name: str
    summary: str
    commit: str | None
    subject: str
    since: tuple[str, ...]
    where: str
    note: str = ""
    until: tuple[str, ...] = ()
    matters: tuple[str, ...] | None = None
    kind: str = ""

    @property
    def release(self) -> str | None:
        """The mainline release that brought it; None for what no release brings."""
        return self.since[0] if self.since else None

    def can_matter(self, uses: Container[str]) -> bool:
        """Whether it can make a difference to a trace that uses these things (replayer.uses)."""
        return self.matters is None or any(need in uses for need in self.matters)

    def is_in(self, release: Release) -> bool:
        """Whether a kernel of that release, as it was published, has it."""
        return _reached(self.since, release) and not _reached(self.until, release)


def _reached(points: tuple[str, ...], release: Release) -> bool:
    if not points:
        return False
    mainline, *backports = map(numbers, points)
    if release[:2] >= mainline:
        return True
    return any(release[:2] == point[:2] and release >= point for point in backports)


FEATURES: Final[dict[str, Feature]] = {}


def _feature(
    name: str,
    since: str,
    where: str,
    summary: str,
    commit: str | None = None,
    subject: str = "",
    note: str = "",
    until: str = "",
    matters: tuple[str, ...] | None = None,
    kind: str = "",
) -> Feature:
    feature = Feature(
        name, summary, commit, subject, tuple(since.split()), where, note, tuple(until.split()),
        matters, kind,
    )  # fmt: skip
    assert name not in FEATURES, name
    assert bool(since) != bool(kind), name
    FEATURES[name] = feature
    return feature


_FILES: Final = ("file", "shmat", "maps")
_LARGE: Final = ("large", "mremap", "shmat")
_GUARDS: Final = ("madvise", "process_madvise")
_DROPPABLE: Final = ("droppable", "maps")
_MREMAP: Final = ("mremap",)
_UFFD: Final = ("ioctl",)

# fmt: off
# --- KSM -----------------------------------------------------------------------------------------

KSM_PRCTL: Final = _feature(
    "ksm-prctl", "6.4", "ksm_enable_merge_any()",
    "PR_SET_MEMORY_MERGE marks every compatible VMA of a process, and fork() hands it on.",
    "d7597f59d1d3", "mm: add new api to enable ksm per process")
KSM_EXEC_INHERIT: Final = _feature(
    "ksm-exec-inherit", "6.7", "ksm_execve()",
    "PR_SET_MEMORY_MERGE survives execve().",
    "3c6f33b7273a", "mm/ksm: support fork/exec for prctl", matters=("execve",))
KSM_UNMERGE_KEEPS_FLAGS: Final = _feature(
    "ksm-unmerge-keeps-flags", "6.18 6.17.3 6.12.55 6.6.114", "ksm_madvise()",
    "MADV_UNMERGEABLE takes away VM_MERGEABLE alone; before, all vm_flags above it, such as a seal "
    "or a protection key, which a 32-bit complement cut off.",
    "f04aad36a07c", "mm/ksm: fix flag-dropping behavior in ksm_madvise",
    "CVE-2025-40040; 6.16.12 drops a seal, 6.12.90 and 6.17.8 do not",
    matters=("madvise", "process_madvise"))
KSM_BEFORE_MERGE: Final = _feature(
    "ksm-before-merge", "6.17", "__mmap_region(), do_brk_flags()",
    "A new range gets VM_MERGEABLE before its merge is attempted, where its file allows it.",
    "cf7e7a3503df", "mm: prevent KSM from breaking VMA merging for new VMAs", matters=("ksm",))
KSM_LATE_CHECK_BEFORE_HOOK: Final = _feature(
    "ksm-late-check-before-hook", "", "__mmap_region()",
    "The late VM_MERGEABLE check runs before the driver's .mmap() and cannot see its flags.",
    note="in the series as posted; its fix 'mm/vma: correctly invoke late KSM check after mmap "
    "hook' was folded in before the merge",
    matters=("file", "shmat"), kind=PROPOSAL)

# --- merging -------------------------------------------------------------------------------------

FILL_NEXT_FIRST: Final = _feature(
    "fill-next-first", "6.1", "mmap_region()",
    "mmap() that fills a gap asks the VMA behind it first, and the one before it only whether it "
    "may merge with that one.",
    "4dd1b84140c1", "mm/mmap: use advanced maple tree API for mmap_region()",
    "measured on 6.1; 6.12 asks vma_merge_new_range() (cacded5e42b9, mm: avoid using vma_merge() "
    "for new VMAs)", until="6.12")
MERGE_UNFAULTED_TARGET: Final = _feature(
    "merge-unfaulted-target", "6.16", "is_mergeable_anon_vma()",
    "A range with an anon_vma may merge into a VMA without one.",
    "879bca0a2c4f", "mm/vma: fix incorrectly disallowed anonymous VMA merges")
MREMAP_COPIED_FROM: Final = _feature(
    "mremap-copied-from", "6.19 6.18.8", "vma_merge_copied_range()",
    "A VMA that shares its pages after fork() does not merge, when mremap() moves it, into a VMA "
    "without an anon_vma.",
    "3b617fd3d317", "mm/vma: enforce VMA fork limit on unfaulted,faulted mremap merge too",
    matters=_MREMAP)
ANON_PGOFF: Final = _feature(
    "anon-pgoff", "7.3", "can_vma_merge_before(), can_vma_merge_after(), anon_vma_compatible()",
    "A private file mapping has a second page offset, that of its own pages: its address, kept "
    "when it moves after a write. Neighbours merge only where that offset goes on, too.",
    "6a993c7fbc3e", "mm: propagate VMA anonymous page offset on map, remap, split + merge",
    "reverse mapping uses it from 93c0c8dc87f6 of the same series on", matters=_MREMAP)
DRIVER_FLAGS_RETRY_NEW: Final = _feature(
    "driver-flags-retry-new", "5.9", "mmap_region()",
    "When .mmap() changed the flags and a VMA precedes, the merge is tried again as a new range's.",
    "d70cec898324", "mm: mmap: merge vma after call_mmap() if possible",
    "replaced in 6.13 by 5ac87a885aec", until="6.13", matters=_FILES)
DRIVER_FLAGS_RETRY_EXISTING: Final = _feature(
    "driver-flags-retry-existing", "6.13", "__mmap_region()",
    "When .mmap() changed the flags, the merge is tried again as that of an existing VMA.",
    "5ac87a885aec", "mm: defer second attempt at merge on mmap()",
    "dropped in 6.16 by 3c06ee7c24c2 (mm/vma: remove mmap() retry merge)",
    until="6.16", matters=_FILES)

# --- mmap ----------------------------------------------------------------------------------------

MAP_STACK_NOHUGEPAGE: Final = _feature(
    "map-stack-nohugepage", "6.8 6.7.6", "calc_vm_flag_bits()",
    "MAP_STACK sets VM_NOHUGEPAGE.",
    "c4608d1bf7c6", "mm: mmap: map MAP_STACK to VM_NOHUGEPAGE", matters=("stack",))
THP_ALIGN_ANON: Final = _feature(
    "thp-align-anon", "6.7", "__get_unmapped_area()",
    "A private anonymous mapping of 2 MiB or more is placed on a 2 MiB boundary.",
    "efa7df3e3bb5", "mm: align larger anonymous mappings on THP boundaries", matters=_LARGE)
THP_ALIGN_FILES: Final = _feature(
    "thp-align-files", "6.10", "__get_unmapped_area()",
    "The 2 MiB boundary holds also for files without a get_unmapped_area() of their own.",
    "ed48e87c7df3", "thp: add thp_get_unmapped_area_vmflags()",
    "dropped in 6.13 by 34d7cf637c43 (mm: don't try THP alignment for FS without "
    "get_unmapped_area)", until="6.13", matters=_LARGE)
THP_ALIGN_MULTIPLE: Final = _feature(
    "thp-align-multiple", "6.12", "__get_unmapped_area()",
    "Only a mapping of a multiple of 2 MiB is placed on a 2 MiB boundary (file systems with a "
    "get_unmapped_area() of their own aside).",
    "d4148aeab412",
    "mm, mmap: limit THP alignment of anonymous mappings to PMD-aligned sizes", matters=_LARGE)
THP_ALIGN_UNHINTED: Final = _feature(
    "thp-align-unhinted", "6.13 6.12.5", "__get_unmapped_area()",
    "An address hint, taken or not, switches the 2 MiB boundary off.",
    "249608ee4713", "mm: respect mmap hint address when aligning for THP", matters=_LARGE)
THP_ALIGN_DEVZERO: Final = _feature(
    "thp-align-devzero", "6.18", "get_unmapped_area_zero()",
    "A private mapping of /dev/zero of 2 MiB or more is placed on a 2 MiB boundary.",
    "849d5cff4d48", "/dev/zero: try to align PMD_SIZE for private mapping", matters=_LARGE)
DROPPABLE: Final = _feature(
    "droppable", "6.11", "do_mmap()",
    "MAP_DROPPABLE exists and sets VM_DROPPABLE, which KSM leaves alone.",
    "9651fcedf7b9", "mm: add MAP_DROPPABLE for designating always lazily freeable mappings",
    matters=_DROPPABLE)
DROPPABLE_NEVER_LOCKED: Final = _feature(
    "droppable-never-locked", "7.1 7.0.4 6.18.27 6.12.86", "vma_supports_mlock()",
    "mlockall(MCL_FUTURE) does not set VM_LOCKED on a droppable VMA.",
    "d239462787b0", "mm: prevent droppable mappings from being locked",
    "not in 6.18.15, 6.19.14 nor 7.0-rc6", matters=_DROPPABLE)
MAP_FIXED_KEEPS_ON_FAILURE: Final = _feature(
    "map-fixed-keeps-on-failure", "6.12", "mmap_region()",
    "MAP_FIXED gathers what it replaces before it looks at limits: where it fails on one, the old "
    "mappings stay, split at its borders.",
    "f8d112a4e657", "mm/mmap: avoid zeroing vma tree in mmap_region()", matters=("fixed",))
SECRETMEM_UNLOCKED: Final = _feature(
    "secretmem-unlocked", "7.3 7.2.5 6.18.52 6.12.113", "secretmem_mmap()",
    "memfd_secret() memory does not show VM_LOCKED.",
    "97d34aa65c29", "mm/secretmem: properly account locked pages", "CVE-2026-93243",
    matters=_FILES)
DEVZERO_SHARED_READONLY: Final = _feature(
    "devzero-shared-readonly", "7.3", "mmap_zero_prepare()",
    "A MAP_SHARED mapping of a /dev/zero opened for reading is shared memory, too.",
    note="commit not established: up to 7.2 it is an anonymous VMA of /dev/zero", matters=_FILES)
DEVZERO_ANONYMOUS: Final = _feature(
    "devzero-anonymous", "", "mmap_zero_prepare()",
    "A private mapping of /dev/zero is anonymous memory: no file, no offset, no name.",
    note="commit not established: queued after 7.3 as 'mm/vma: make MAP_PRIVATE-mapped /dev/zero "
    "mappings truly anonymous', in a tree that is rebased",
    matters=_FILES, kind=PROPOSAL)

# --- drivers -------------------------------------------------------------------------------------

MMAP_PREPARE: Final = _feature(
    "mmap-prepare", "6.16", "call_mmap_prepare()",
    "A driver may have .mmap_prepare(), which runs before the merge is attempted.",
    "c84bf6dd2b83", "mm: introduce new .mmap_prepare() file callback", matters=_FILES)
FS_MMAP_PREPARE: Final = _feature(
    "fs-mmap-prepare", "6.17", "file_operations.mmap_prepare",
    "Page-cache file systems have .mmap_prepare() in place of .mmap().",
    "9d5403b1036c", "fs: convert most other generic_file_*mmap() users to .mmap_prepare()",
    "ext4 by 8c90ae8fe5e3, xfs by 6528d29b46d8", matters=_FILES)
SHMEM_MMAP_PREPARE: Final = _feature(
    "shmem-mmap-prepare", "6.19", "shmem_mmap_prepare(), mmap_zero_prepare()",
    "shmem, /dev/zero, /dev/mem and device-dax have .mmap_prepare() too.",
    "ab3c8e7b8687", "mm/shmem: update shmem to use mmap_prepare",
    "the others follow in the same series", matters=_FILES)
HUGETLBFS_MMAP_PREPARE: Final = _feature(
    "hugetlbfs-mmap-prepare", "6.19", "hugetlbfs_file_mmap_prepare()",
    "hugetlbfs has .mmap_prepare() in place of .mmap().",
    "ea52cb24cd3f", "mm/hugetlbfs: update hugetlbfs to use mmap_prepare",
    "taken back by 83f9efcce93f (Revert of it)", until="7.1 7.0.12", matters=_FILES)
DRIVERS_MMAP_PREPARE: Final = _feature(
    "drivers-mmap-prepare", "7.1", "file_operations.mmap_prepare",
    "hpet, stm, open-dice, mtdchar, VME and the new ntfs have .mmap_prepare().",
    note="commit not established: one for each driver, 'replace deprecated mmap hook with "
    "mmap_prepare', posted in March 2026; their mainline numbers were not found", matters=_FILES)
ALL_MMAP_PREPARE: Final = _feature(
    "all-mmap-prepare", "", "file_operations.mmap_prepare",
    "Every driver has .mmap_prepare(), so that the late check for KSM is gone.",
    note="not established: where the conversion is meant to end", matters=_FILES, kind=PROPOSAL)

# --- what /proc shows ----------------------------------------------------------------------------

VVAR_VCLOCK: Final = _feature(
    "vvar-vclock", "6.13", "map_vdso()",
    "The virtual clock pages are a VMA of their own, [vvar_vclock].",
    "e93d2521b27f", "x86/vdso: Split virtual clock pages into dedicated mapping",
    matters=("execve", "maps"))
VVAR_MIXEDMAP: Final = _feature(
    "vvar-mixedmap", "7.1", "vdso_install_vvar_mapping()",
    "[vvar] and [vvar_vclock] have VM_MIXEDMAP in place of VM_PFNMAP.",
    "05988dba1179", "vdso/datastore: Allocate data pages dynamically", matters=("execve", "maps"))
VVAR_NO_IO: Final = _feature(
    "vvar-no-io", "7.3", "vdso_install_vvar_mapping()",
    "[vvar] and [vvar_vclock] have no VM_IO.",
    "c27e727c9a60", "vdso/datastore: Allow prefaulting by mlockall()", matters=("execve", "maps"))

# --- mprotect, mseal, madvise, prctl -------------------------------------------------------------

MPROTECT_UNACCOUNT: Final = _feature(
    "mprotect-unaccount", "6.7", "mprotect_fixup()",
    "An unfaulted anonymous VMA that mprotect() makes unwritable drops VM_ACCOUNT.",
    "9b9143298585", "mm/mprotect: allow unfaulted VMAs to be unaccounted on mprotect()",
    matters=("mprotect", "pkey_mprotect"))
MSEAL: Final = _feature(
    "mseal", "6.10", "do_mseal()",
    "mseal() exists and sets VM_SEALED.",
    "8be7258aad44", "mseal: add mseal syscall", matters=("mseal", "maps"))
MSEAL_REFUSES_ADVICE: Final = _feature(
    "mseal-refuses-advice", "6.10", "is_madv_discard()",
    "A sealed read-only VMA refuses nearly every advice, not only what discards memory.",
    "8be7258aad44", "mseal: add mseal syscall", "a bug, fixed by e46bc2e7eb90 (mseal: fix "
    "is_madv_discard())", until="6.11 6.10.7", matters=("mseal", "maps"))
MSEAL_ASKS_VM_OPS: Final = _feature(
    "mseal-asks-vm-ops", "6.17", "can_madvise_modify()",
    "A sealed read-only private /dev/zero refuses what discards memory, as anonymous memory does; "
    "before, any VMA with a file was free of that.",
    "d0b47a6866f1", "mm/mseal: update madvise() logic",
    "6.12.117 and 6.16.12 ask for the file, 6.17.13 and later for the operations of the VMA",
    matters=("mseal", "maps"))
MSEAL_IN_LOOP: Final = _feature(
    "mseal-in-loop", "6.12", "can_modify_vma()",
    "Seals are checked VMA by VMA, so a call that meets one may have changed what lies before it.",
    "4a2dd02b0916", "mm/mprotect: replace can_modify_mm with can_modify_vma",
    "munmap by df2a7df9a9aa, mremap by 38075679b5f1", matters=("mseal", "maps"))
MSEAL_STALE_START: Final = _feature(
    "mseal-stale-start", "6.17", "mseal_apply()",
    "mseal() of several VMAs does not merge a VMA with the sealed one before it, where that one "
    "has just merged with a later part of the range.",
    "6c2da14ae1e0", "mm/mseal: rework mseal apply logic",
    "a bug, fixed by 2697dd8ae721 ('mm/mseal: update VMA end correctly on merge'); in the source "
    "of 6.18.2 and 6.19.9 still, measured on 6.17.13 and 6.18.15",
    until="7.0 6.19.11 6.18.21", matters=("mseal", "maps"))
GUARD_REGIONS: Final = _feature(
    "guard-regions", "6.13", "madvise_guard_install()",
    "MADV_GUARD_INSTALL and MADV_GUARD_REMOVE work on anonymous memory.",
    "662df3e5c376", "mm: madvise: implement lightweight guard page mechanism", matters=_GUARDS)
GUARD_FILES: Final = _feature(
    "guard-files", "6.15", "is_valid_guard_vma()",
    "Guard regions work on files, shared memory and read-only mappings too.",
    "f807123d578d", "mm: allow guard regions in file-backed and read-only mappings",
    matters=_GUARDS)
MAYBE_GUARD_FLAG: Final = _feature(
    "maybe-guard-flag", "6.19 6.18.37", "madvise_guard_install()",
    "MADV_GUARD_INSTALL sets VM_MAYBE_GUARD on the VMA, which merges ignore and keep.",
    "5dba5cc2e0ff", "mm: introduce VM_MAYBE_GUARD and make visible in /proc/$pid/smaps",
    "not in 6.18.35", matters=_GUARDS)
GUARD_ANON_ONLY: Final = _feature(
    "guard-anon-only", "6.19 6.18.37", "madvise_guard_install()",
    "MADV_GUARD_INSTALL gives an anon_vma to anonymous memory only, not to every VMA.",
    "49e14dabed7a", "mm: set the VM_MAYBE_GUARD flag on guard region install", matters=_GUARDS)
PROCESS_MADVISE_SELF: Final = _feature(
    "process-madvise-self", "6.13", "vector_madvise()",
    "process_madvise() on the caller itself takes every advice, not the four for other processes.",
    "021781b01275", "mm/madvise: unrestrict process_madvise() for current process",
    matters=("process_madvise",))
PROCESS_MADVISE_ADVICE_FIRST: Final = _feature(
    "process-madvise-advice-first", "7.2", "process_madvise()",
    "process_madvise() refuses an unknown advice also where there is nothing to advise.",
    "53556e6bfc50", "mm/madvise: reject invalid process_madvise() advice for zero-length vectors",
    matters=("process_madvise",))
PIDFD_SELF: Final = _feature(
    "pidfd-self", "6.15", "pidfd_get_task()",
    "A pidfd of PIDFD_SELF (-10000, and one for the thread group) is the caller's own.",
    "f08d0c3a7111", "pidfd: add PIDFD_SELF* sentinels to refer to own thread/process",
    matters=("process_madvise",))
PIDFD_SELF_10001: Final = _feature(
    "pidfd-self-10001", "6.17", "PIDFD_SELF_THREAD_GROUP",
    "PIDFD_SELF_THREAD_GROUP is -10001, and -20000 no longer.",
    "67fcec2919e4", "fcntl/pidfd: redefine PIDFD_SELF_THREAD_GROUP", matters=("process_madvise",))
DOFORK_SPECIAL_STRICT: Final = _feature(
    "dofork-special-strict", "7.0", "madvise_vma_behavior()",
    "MADV_DOFORK fails on every VM_SPECIAL VMA, not on VM_IO alone.",
    note="commit not established: 6.19.14 grants it, 7.0.13 does not", matters=_GUARDS)
REMOVE_ASKS_MAYWRITE: Final = _feature(
    "remove-asks-maywrite", "6.7 6.6.103", "madvise_remove()",
    "MADV_REMOVE wants a shared mapping that may become writable, not one that is.",
    "e8e17ee90eaf", "mm: drop the assumption that VM_SHARED always implies writable",
    matters=("madvise",))
THP_DISABLE_EXCEPT_ADVISED: Final = _feature(
    "thp-disable-except-advised", "6.18", "prctl_set_thp_disable()",
    "PR_SET_THP_DISABLE takes PR_THP_DISABLE_EXCEPT_ADVISED.",
    "9dc21bbd62ed", "prctl: extend PR_SET_THP_DISABLE to optionally exclude VM_HUGEPAGE",
    matters=(f"prctl {abi.PR_SET_THP_DISABLE}",))

# --- userfaultfd ---------------------------------------------------------------------------------

UFFD_NOT_DROPPABLE: Final = _feature(
    "uffd-not-droppable", "6.17", "vma_can_userfault()",
    "userfaultfd refuses MAP_DROPPABLE memory.",
    "7208cc6497c2", "userfaultfd: correctly prevent registering VM_DROPPABLE regions",
    "the parent of 23ec90eb122f; 6.16.12 grants it, 6.17.8 does not", matters=_UFFD)
UFFD_UNREGISTER_STRICT: Final = _feature(
    "uffd-unregister-strict", "6.17", "userfaultfd_unregister()",
    "UFFDIO_UNREGISTER fails on a VMA that is registered with another userfaultfd.",
    "23ec90eb122f", "userfaultfd: prevent unregistering VMAs through a different userfaultfd",
    matters=_UFFD)
UFFD_BELOW_MIN_ADDR: Final = _feature(
    "uffd-below-min-addr", "7.1 7.0.4 6.18.27 6.12.86 6.6.140", "validate_range()",
    "userfaultfd takes memory below vm.mmap_min_addr, too.",
    "161ce69c2c89", "userfaultfd: allow registration of ranges below mmap_min_addr",
    "not in 6.18.15 nor 6.19.14", matters=_UFFD)
UFFD_REFUSES_SPECIAL: Final = _feature(
    "uffd-refuses-special", "7.2 7.1.6 6.18.44 6.12.105", "vma_can_userfault()",
    "userfaultfd refuses VM_SPECIAL memory also for asynchronous write protection.",
    "3c58f641e813", "userfaultfd: prevent registration of special VMAs", "CVE-2026-68166",
    matters=_UFFD)
UFFD_MODE_STICKY: Final = _feature(
    "uffd-mode-sticky", "7.3", "userfaultfd_register()",
    "A second registration that would take write protection away fails (EBUSY).",
    note="commit not established: 7.2.13 grants it, 7.3 does not", matters=_UFFD)
UFFD_RWP: Final = _feature(
    "uffd-rwp", "7.3", "userfaultfd_register()",
    "UFFDIO_REGISTER_MODE_RWP tracks every access and sets VM_UFFD_RWP.",
    note="commit not established: 'mm/userfaultfd: add RWP fault delivery and expose "
    "UFFDIO_REGISTER_MODE_RWP'; only its numbers in trees that were rebased later were found",
    matters=_UFFD)
UFFD_POISON: Final = _feature(
    "uffd-poison", "6.6", "userfaultfd_api()", "UFFDIO_API knows UFFD_FEATURE_POISON.",
    "fc71884a5f59", "mm: userfaultfd: add new UFFDIO_POISON ioctl", matters=_UFFD)
UFFD_WP_ASYNC: Final = _feature(
    "uffd-wp-async", "6.7", "userfaultfd_api()", "UFFDIO_API knows UFFD_FEATURE_WP_ASYNC.",
    "d61ea1cb0095", "userfaultfd: UFFD_FEATURE_WP_ASYNC", matters=_UFFD)
UFFD_MOVE: Final = _feature(
    "uffd-move", "6.8", "userfaultfd_api()", "UFFDIO_API knows UFFD_FEATURE_MOVE.",
    "adef440691ba", "userfaultfd: UFFDIO_MOVE uABI", matters=_UFFD)
UFFD_NO_MERGE_ON_COPY: Final = _feature(
    "uffd-no-merge-on-copy", "7.4 7.3.4 6.12.118", "vma_merge_copied_range()",
    "A VMA that mremap() moves and that loses its userfaultfd by it merges with nothing.",
    "68cb098eadda", "mm/vma: avoid broken uffd merge on mremap", matters=_UFFD)

# --- mremap --------------------------------------------------------------------------------------

MREMAP_MULTI_VMA: Final = _feature(
    "mremap-multi-vma", "6.17", "remap_move()",
    "MREMAP_FIXED without a change of size moves a range of several VMAs and gaps.",
    "d23cb648e365", "mm/mremap: permit mremap() move of multiple VMAs", matters=_MREMAP)
MREMAP_TARGET_FIRST: Final = _feature(
    "mremap-target-first", "6.15", "check_mremap_params()",
    "mremap() looks whether a given new address is aligned, and at the number of VMAs, before it "
    "looks at the source.",
    "85ea6bdd88a2", "mm/mremap: refactor mremap() system call implementation", matters=_MREMAP)
MREMAP_CHECKS_FIRST: Final = _feature(
    "mremap-checks-first", "6.17", "check_mremap_params(), check_prep_vma()",
    "mremap() checks all its arguments before it looks at a VMA, and the source VMA before it "
    "unmaps.",
    "3215eaceca87", "mm/mremap: refactor initial parameter sanity checks",
    "the source VMA by a85dc37186a5 (mm/mremap: check remap conditions earlier)", matters=_MREMAP)
MREMAP_MAP_COUNT: Final = _feature(
    "mremap-map-count", "7.1", "check_map_count_against_split()",
    "Every mremap() needs room for four more VMAs, one that moves for two when it does.",
    "9b9b8d4aebf1", "mm/mremap: correct invalid map count check",
    "up to 7.0 only a given new address (six) and a move (four) need room", matters=_MREMAP)
DONTUNMAP_UNACCOUNTS_SOURCE: Final = _feature(
    "dontunmap-unaccounts-source", "6.15", "dontunmap_complete()",
    "MREMAP_DONTUNMAP takes VM_ACCOUNT from the source VMA.",
    "b714ccb02a76", "mm/mremap: complete refactor of move_vma()",
    "a bug, fixed in 6.18 by 0e59f47c15ce (mm/mremap: correctly account old mapping after "
    "MREMAP_DONTUNMAP remap)", until="6.18 6.17.6", matters=_MREMAP)
DONTUNMAP_SPLITS_LOCKED: Final = _feature(
    "dontunmap-splits-locked", "7.3 7.2.11 6.12.114", "prep_move_vma()",
    "MREMAP_DONTUNMAP of a part of a locked VMA splits it, and only that part is unlocked.",
    "597e4b9ab48a", "mm/mremap: fix locked_vm leak by splitting VMA for MREMAP_DONTUNMAP",
    matters=_MREMAP)
DONTUNMAP_NO_SELF_MERGE: Final = _feature(
    "dontunmap-no-self-merge", "7.3 7.2.11 6.12.114", "copy_vma()",
    "The copy that MREMAP_DONTUNMAP makes never merges with its own source.",
    "838bb60dc215", "mm/mremap: fix locked_vm leak from MREMAP_DONTUNMAP self-merge",
    matters=_MREMAP)
DONTUNMAP_RESETS_PGOFF: Final = _feature(
    "dontunmap-resets-pgoff", "7.3 7.2.6 6.12.112", "dontunmap_complete()",
    "MREMAP_DONTUNMAP of a whole VMA without a file sets the source's pgoff to its address again.",
    "35b0fb391b0d", "mm/mremap: reset unfaulted VMA page offset for MREMAP_DONTUNMAP",
    "committed two weeks after 7.2; not in 7.1.13", matters=_MREMAP)

# --- configuration -------------------------------------------------------------------------------

KSM: Final = _feature(
    "ksm", "", "CONFIG_KSM", "The kernel has KSM.",
    note="configuration CONFIG_KSM", kind=CONFIGURATION)
TRANSPARENT_HUGEPAGE: Final = _feature(
    "transparent-hugepage", "", "CONFIG_TRANSPARENT_HUGEPAGE",
    "The kernel has transparent huge pages.",
    note="configuration CONFIG_TRANSPARENT_HUGEPAGE", kind=CONFIGURATION)
MEMORY_FAILURE: Final = _feature(
    "memory-failure", "", "CONFIG_MEMORY_FAILURE",
    "madvise() knows MADV_HWPOISON and MADV_SOFT_OFFLINE.",
    note="configuration CONFIG_MEMORY_FAILURE", matters=("madvise",), kind=CONFIGURATION)
ANON_VMA_NAME: Final = _feature(
    "anon-vma-name", "", "CONFIG_ANON_VMA_NAME",
    "PR_SET_VMA_ANON_NAME names anonymous memory.",
    note="configuration CONFIG_ANON_VMA_NAME; off in Debian's kernels",
    matters=(f"prctl {abi.PR_SET_VMA}",), kind=CONFIGURATION)
USERFAULTFD: Final = _feature(
    "userfaultfd", "", "CONFIG_USERFAULTFD", "The kernel has userfaultfd().",
    note="configuration CONFIG_USERFAULTFD", matters=_UFFD, kind=CONFIGURATION)
UFFD_WP: Final = _feature(
    "uffd-wp", "", "CONFIG_HAVE_ARCH_USERFAULTFD_WP",
    "userfaultfd can write-protect memory (UFFDIO_REGISTER_MODE_WP), shared memory included.",
    note="configuration CONFIG_HAVE_ARCH_USERFAULTFD_WP and CONFIG_PTE_MARKER_UFFD_WP",
    matters=_UFFD, kind=CONFIGURATION)
UFFD_MINOR: Final = _feature(
    "uffd-minor", "", "CONFIG_HAVE_ARCH_USERFAULTFD_MINOR",
    "userfaultfd can report minor faults (UFFDIO_REGISTER_MODE_MINOR).",
    note="configuration CONFIG_HAVE_ARCH_USERFAULTFD_MINOR", matters=_UFFD, kind=CONFIGURATION)
PKEYS: Final = _feature(
    "pkeys", "", "mm_pkey_is_allocated()",
    "The CPU has protection keys, so that key 0 exists for pkey_mprotect.",
    note="hardware; virtual machines often have none", matters=("pkey_mprotect",),
    kind=CONFIGURATION)
# fmt: on
