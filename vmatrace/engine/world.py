"""What all processes of one replay share: the kernel's features, its knobs, counters, the log.

Features are read once into attributes, because the engine asks for them on every call.
"""

from __future__ import annotations

from typing import Final

from vmatrace import abi, kernels
from vmatrace.engine.merge import MergeDecision
from vmatrace.engine.vmfile import VmFile
from vmatrace.event import Event
from vmatrace.kernels import Kernel

_ARM64_PROT: Final = abi.PROT_BTI | abi.PROT_MTE


class World:
    """One machine: a kernel model and its sysctls. ``page_size`` and ``min_addr`` are bytes.

    ``decisions`` is where address spaces put their merge decisions, in order; the owner empties
    it. ``huge_pages`` is the size of the pool of 2 MiB pages. ``arch`` is a key of abi.TASK_SIZES;
    None: nobody says, and what only one of them has is allowed. ``splits`` counts how often one VMA
    became two.
    """

    __slots__ = (
        "anon_flags",
        "anon_pgoff",
        "arch",
        "assumed",
        "copied_from",
        "cpus",
        "decisions",
        "devzero_anonymous",
        "devzero_shared",
        "dontunmap_no_self_merge",
        "dontunmap_resets_pgoff",
        "dontunmap_splits_locked",
        "dontunmap_unaccounts",
        "droppable_unlocked",
        "event",
        "guard",
        "huge_pages",
        "kernel",
        "ksm_early",
        "ksm_early_bug",
        "last_anon",
        "map_count_anew",
        "max_map_count",
        "min_addr",
        "mremap_checks_first",
        "mremap_multi",
        "mremap_target_first",
        "next_first",
        "overcommit_memory",
        "page_mask",
        "page_shift",
        "page_size",
        "retries",
        "seals_first",
        "splits",
        "stack_nohugepage",
        "task_size",
        "thp",
        "thp_anon",
        "thp_devzero",
        "thp_files",
        "thp_multiple",
        "thp_unhinted",
        "uffd_features",
        "uffd_no_merge",
        "unaccount",
        "unfaulted_reason",
        "unfaulted_target",
    )  # fmt: skip

    def __init__(
        self,
        kernel: Kernel,
        page_size: int = 4096,
        max_map_count: int = 65530,
        overcommit_memory: int = 0,
        min_addr: int = 65536,
        huge_pages: int = 0,
        arch: str | None = "x86_64",
        cpus: int = 1,
    ) -> None:
        self.kernel = kernel
        self.page_size = page_size
        self.page_shift = page_size.bit_length() - 1
        self.page_mask = page_size - 1
        self.guard = 256 * page_size  # stack_guard_gap, mm/mmap.c
        self.max_map_count = max_map_count
        self.overcommit_memory = overcommit_memory
        self.min_addr = min_addr
        self.huge_pages = huge_pages
        self.arch = arch
        self.cpus = cpus
        self.task_size = abi.ANY_TASK_SIZE if arch is None else abi.TASK_SIZES[arch]
        self.decisions: list[MergeDecision] = []
        self.event: Event | None = None  # the call under way
        self.assumed: VmFile | None = None  # backs memory that a log did not show
        self.splits = 0
        self.last_anon = 0
        self.ksm_early = kernel.has(kernels.KSM_BEFORE_MERGE)
        self.ksm_early_bug = kernel.has(kernels.KSM_LATE_CHECK_BEFORE_HOOK)
        self.unfaulted_target = kernel.has(kernels.MERGE_UNFAULTED_TARGET)
        self.unfaulted_reason = self.unfaulted_target
        self.copied_from = kernel.has(kernels.MREMAP_COPIED_FROM)
        self.unaccount = kernel.has(kernels.MPROTECT_UNACCOUNT)
        self.seals_first = kernel.has(kernels.MSEAL) and not kernel.has(kernels.MSEAL_IN_LOOP)
        self.droppable_unlocked = kernel.has(kernels.DROPPABLE_NEVER_LOCKED)
        self.thp = kernel.has(kernels.TRANSPARENT_HUGEPAGE)
        self.stack_nohugepage = self.thp and kernel.has(kernels.MAP_STACK_NOHUGEPAGE)
        self.thp_anon = self.thp and kernel.has(kernels.THP_ALIGN_ANON)
        self.thp_multiple = kernel.has(kernels.THP_ALIGN_MULTIPLE)
        self.thp_unhinted = kernel.has(kernels.THP_ALIGN_UNHINTED)
        self.thp_files = kernel.has(kernels.THP_ALIGN_FILES)
        self.mremap_checks_first = kernel.has(kernels.MREMAP_CHECKS_FIRST)
        self.mremap_multi = kernel.has(kernels.MREMAP_MULTI_VMA)
        self.dontunmap_no_self_merge = kernel.has(kernels.DONTUNMAP_NO_SELF_MERGE)
        self.dontunmap_resets_pgoff = kernel.has(kernels.DONTUNMAP_RESETS_PGOFF)
        self.dontunmap_splits_locked = kernel.has(kernels.DONTUNMAP_SPLITS_LOCKED)
        self.dontunmap_unaccounts = kernel.has(kernels.DONTUNMAP_UNACCOUNTS_SOURCE)
        # Memo of the flags of anonymous mappings by (prot, flags, def_flags); -errno where refused.
        self.anon_flags: dict[tuple[int, int, int], int] = {}
        self.anon_pgoff = kernel.has(kernels.ANON_PGOFF)
        self.next_first = kernel.has(kernels.FILL_NEXT_FIRST)
        self.map_count_anew = kernel.has(kernels.MREMAP_MAP_COUNT)
        self.mremap_target_first = kernel.has(kernels.MREMAP_TARGET_FIRST)
        self.thp_devzero = self.thp and kernel.has(kernels.THP_ALIGN_DEVZERO)
        self.devzero_shared = kernel.has(kernels.DEVZERO_SHARED_READONLY)
        self.devzero_anonymous = kernel.has(kernels.DEVZERO_ANONYMOUS)
        self.uffd_no_merge = kernel.has(kernels.UFFD_NO_MERGE_ON_COPY)
        self.uffd_features: dict[int, int] = {}  # by context, where the trace has its UFFDIO_API
        # Whether a driver that changed the flags gets a second merge attempt (until 6.15).
        self.retries = kernel.has(kernels.DRIVER_FLAGS_RETRY_NEW) or kernel.has(
            kernels.DRIVER_FLAGS_RETRY_EXISTING
        )

    def arch_prot(self, prot: int) -> int:
        """The bits of *prot* that the architecture has beside the common ones."""
        return prot & _ARM64_PROT if self.arch in (None, "aarch64") else 0

    def arch_flags(self, prot: int) -> int:
        """The vm_flags that these bits mean (arch_calc_vm_prot_bits())."""
        bits = self.arch_prot(prot)
        flags = abi.VM_ARM64_BTI if bits & abi.PROT_BTI else 0
        return flags | (abi.VM_MTE if bits & abi.PROT_MTE else 0)

    def new_anon(self) -> int:
        """The identity of a new anon_vma."""
        self.last_anon += 1
        return self.last_anon
