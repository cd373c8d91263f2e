"""What kind of kernel this is, found out by experiments and not from its version.

Each experiment is one function named after the feature it decides, run in a sandbox of its own. It
returns True, False, or None where this machine cannot tell (a missing call, a limit, a file system
that is not there). Names are those of the kernel table, which this module does not import.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from vmatrace import abi
from vmatrace.event import File
from vmatrace.oracle.errors import Unsupported
from vmatrace.oracle.experiments import EXPERIMENTS
from vmatrace.oracle.lab import ANON, BASE, MOVE, PAGE, RW, Lab
from vmatrace.oracle.machine import Machine, RunningKernel
from vmatrace.oracle.sandbox import Sandbox
from vmatrace.structures import format_iovec

Answer = bool | None
_MEMFD: Final = File("/memfd:probed (deleted)", "tmpfs", "rw", 1 << 16)

_HUGE: Final = 2 << 20
_COPY: Final = MOVE | abi.MREMAP_DONTUNMAP
#: File systems whose page-cache files got .mmap_prepare() together.
_DISK: Final = frozenset({"ext4", "ext2", "xfs", "btrfs", "f2fs"})


Experiment = Callable[[Lab], Answer]
_EXPERIMENTS: Final[dict[str, Experiment]] = {}


def _experiment(function: Experiment) -> Experiment:
    _EXPERIMENTS[function.__name__.strip("_").replace("_", "-")] = function
    return function


def probe(machine: Machine | None = None) -> dict[str, Answer]:
    """The features of *machine*'s kernel by name, of the running one if there is none.

    Takes about 0.1 s there. Raises Unavailable.
    """
    machine = machine or RunningKernel()
    results: dict[str, Answer] = {}
    for name, experiment in {**_EXPERIMENTS, **EXPERIMENTS}.items():
        with Sandbox(machine=machine) as sandbox:
            try:
                results[name] = experiment(Lab(sandbox))
            except Unsupported:
                results[name] = None
    return results


# --- configuration and KSM ------------------------------------------------------------------------


@_experiment
def _ksm(lab: Lab) -> Answer:
    lab.map(0, 1)
    return lab.on("madvise", 0, 1, abi.MADV_MERGEABLE) == 0


@_experiment
def _transparent_hugepage(lab: Lab) -> Answer:
    lab.map(0, 1)
    return lab.on("madvise", 0, 1, abi.MADV_HUGEPAGE) == 0


@_experiment
def _memory_failure(lab: Lab) -> Answer:
    """Asked of no memory at all, for it would be taken away."""
    return lab.on("madvise", 0, 0, abi.MADV_SOFT_OFFLINE) == 0


@_experiment
def _anon_vma_name(lab: Lab) -> Answer:
    lab.map(0, 1)
    arguments = (abi.PR_SET_VMA, abi.PR_SET_VMA_ANON_NAME, lab.at(0), PAGE, "name")
    return lab.call("prctl", *arguments) == 0


@_experiment
def _ksm_prctl(lab: Lab) -> Answer:
    return lab.call("prctl", abi.PR_GET_MEMORY_MERGE) >= 0


@_experiment
def _ksm_exec_inherit(lab: Lab) -> Answer:
    if not lab.ksm():
        return None
    lab.call("execve", "")
    return lab.call("prctl", abi.PR_GET_MEMORY_MERGE) == 1


@_experiment
def _ksm_unmerge_keeps_flags(lab: Lab) -> Answer:
    """A seal is above VM_MERGEABLE among the vm_flags."""
    lab.map(0, 1)
    if lab.on("madvise", 0, 1, abi.MADV_MERGEABLE) < 0 or lab.on("mseal", 0, 1, 0) < 0:
        return None
    lab.on("madvise", 0, 1, abi.MADV_UNMERGEABLE)
    return "sl" in lab.codes(0)


@_experiment
def _ksm_before_merge(lab: Lab) -> Answer:
    if not lab.ksm():
        return None
    lab.map(0, 4)
    lab.map(4, 4)
    return lab.ranges() == [(0, 8)]


@_experiment
def _ksm_late_check_before_hook(lab: Lab) -> Answer:
    if not lab.ksm():
        return None
    flags = ANON | abi.MAP_HUGETLB | abi.MAP_NORESERVE
    address = lab.call("mmap", 0, _HUGE, RW, flags, -1, 0)
    if address < 0:
        return None
    return "mg" in lab.codes((address - BASE) // PAGE)


@_experiment
def _fs_mmap_prepare(lab: Lab) -> Answer:
    machine = lab.sandbox.machine
    fs = next((fs for fs in sorted(_DISK) if any(machine.directories(fs))), None)
    if fs is None or not _ksm_before_merge(lab):
        return None
    with Sandbox({3: File("/file", fs)}, ksm=True, machine=machine) as sandbox:
        return _merges_private_file(Lab(sandbox))


@_experiment
def _shmem_mmap_prepare(lab: Lab) -> Answer:
    if not _ksm_before_merge(lab):
        return None
    zero = File("/dev/zero", "legacy")
    with Sandbox({3: zero}, ksm=True, machine=lab.sandbox.machine) as sandbox:
        return _merges_private_file(Lab(sandbox))


def _merges_private_file(lab: Lab) -> bool:
    lab.map(0, 4, flags=abi.MAP_PRIVATE, fd=3)
    lab.map(4, 4, flags=abi.MAP_PRIVATE, fd=3)
    return lab.ranges() == [(0, 8)]


# --- merging --------------------------------------------------------------------------------------


@_experiment
def _merge_unfaulted_target(lab: Lab) -> Answer:
    lab.map(0, 4)
    lab.map(4, 4, RW | abi.PROT_EXEC)
    lab.on("fault", 4, 1, abi.PROT_WRITE)
    lab.on("mprotect", 4, 4, RW)
    return lab.ranges() == [(0, 8)]


@_experiment
def _mremap_copied_from(lab: Lab) -> Answer:
    """A child's faulted VMA goes away and comes back to a new neighbour: does it merge?"""
    with Sandbox(machine=lab.sandbox.machine) as sandbox:
        if not _merge_unfaulted_target(Lab(sandbox)):
            return None
    lab.map(0, 4)
    lab.on("fault", 0, 4, abi.PROT_WRITE)
    lab.sandbox.call("fork", child="child")
    lab.move(0, 4, 100, pid="child")
    lab.map(4, 4, pid="child")
    lab.move(100, 4, 0, pid="child")
    return lab.ranges("child") == [(0, 4), (4, 8)]


@_experiment
def _anon_pgoff(lab: Lab) -> Answer:
    """Does a written file mapping that was moved merge with the file's page before it?"""
    if not _merge_unfaulted_target(lab):
        return None
    with Sandbox({3: _MEMFD}, machine=lab.sandbox.machine) as sandbox:
        moved = Lab(sandbox)
        moved.map(8, 2, flags=abi.MAP_PRIVATE, fd=3)
        moved.on("fault", 8, 2, abi.PROT_WRITE)
        moved.move(8, 2, 2)
        flags = abi.MAP_PRIVATE | abi.MAP_FIXED
        moved.call("mmap", moved.at(0), 2 * PAGE, RW, flags, 3, 6 * PAGE)
        return moved.ranges() == [(0, 2), (2, 4)]


@_experiment
def _maybe_guard_flag(lab: Lab) -> Answer:
    if not _guard_regions(lab):
        return None
    return "gu" in lab.codes(0)


@_experiment
def _mprotect_unaccount(lab: Lab) -> Answer:
    lab.map(0, 1)
    lab.on("mprotect", 0, 1, abi.PROT_READ)
    return "ac" not in lab.codes(0)


# --- mmap -----------------------------------------------------------------------------------------


@_experiment
def _map_stack_nohugepage(lab: Lab) -> Answer:
    if not _transparent_hugepage(lab):
        return None
    lab.map(0, 1, flags=ANON | abi.MAP_STACK)
    return "nh" in lab.codes(0)


def _placed_on_huge_boundary(lab: Lab, length: int) -> bool:
    """Whether mappings of *length* bytes are, wherever the free range ends."""
    starts = []
    for _ in range(3):
        lab.call("mmap", 0, PAGE, abi.PROT_READ, ANON, -1, 0)
        starts.append(lab.call("mmap", 0, length, RW, ANON, -1, 0))
    return all(start % _HUGE == 0 for start in starts)


@_experiment
def _thp_align_anon(lab: Lab) -> Answer:
    return _placed_on_huge_boundary(lab, _HUGE) if _transparent_hugepage(lab) else None


@_experiment
def _thp_align_multiple(lab: Lab) -> Answer:
    if not _thp_align_anon(lab):
        return None
    return not _placed_on_huge_boundary(lab, _HUGE + PAGE)


@_experiment
def _thp_align_unhinted(lab: Lab) -> Answer:
    """Where does a mapping go whose hint is taken?"""
    with Sandbox(machine=lab.sandbox.machine) as sandbox:
        if not _thp_align_anon(Lab(sandbox)):
            return None
    lab.call("mmap", 0, PAGE, abi.PROT_READ, ANON, -1, 0)
    lab.map(0, 1)
    return lab.call("mmap", lab.at(0), _HUGE, RW, ANON, -1, 0) % _HUGE != 0


@_experiment
def _droppable(lab: Lab) -> Answer:
    lab.map(0, 1, flags=abi.MAP_DROPPABLE | abi.MAP_ANONYMOUS)
    return "dp" in lab.codes(0)


@_experiment
def _droppable_never_locked(lab: Lab) -> Answer:
    if lab.call("mlockall", abi.MCL_FUTURE | abi.MCL_ONFAULT) < 0 or not _droppable(lab):
        return None
    return "lo" not in lab.codes(0)


@_experiment
def _map_fixed_keeps_on_failure(lab: Lab) -> Answer:
    lab.map(0, 12, abi.PROT_READ)
    if lab.map(4, 1 << 34) != -abi.ENOMEM:
        return None
    return lab.codes(4) != ()


@_experiment
def _secretmem_unlocked(lab: Lab) -> Answer:
    fd = lab.sandbox.inject("memfd_secret", 0)
    if fd < 0 or lab.sandbox.inject("ftruncate", fd, PAGE) < 0:
        return None
    if lab.map(0, 1, flags=abi.MAP_SHARED, fd=fd) < 0:
        return None
    return "lo" not in lab.codes(0)


@_experiment
def _vvar_vclock(lab: Lab) -> Answer:
    return any(m.name == "[vvar_vclock]" for m in lab.sandbox.start.layout)


# --- seals, guards, userfaultfd, prctl ------------------------------------------------------------


@_experiment
def _mseal(lab: Lab) -> Answer:
    lab.map(0, 1)
    return lab.on("mseal", 0, 1, 0) == 0


@_experiment
def _mseal_in_loop(lab: Lab) -> Answer:
    lab.map(0, 8)
    if lab.on("mseal", 4, 4, 0) < 0:
        return None
    lab.on("mprotect", 0, 8, abi.PROT_READ)
    return "wr" not in lab.codes(0)


@_experiment
def _guard_regions(lab: Lab) -> Answer:
    lab.map(0, 1)
    return lab.on("madvise", 0, 1, abi.MADV_GUARD_INSTALL) == 0


@_experiment
def _guard_files(lab: Lab) -> Answer:
    lab.map(0, 1, flags=abi.MAP_SHARED | abi.MAP_ANONYMOUS)
    return lab.on("madvise", 0, 1, abi.MADV_GUARD_INSTALL) == 0


@_experiment
def _guard_anon_only(lab: Lab) -> Answer:
    """Two shared ranges with guards have an anon_vma each, or none, when they become neighbours."""
    with Sandbox({3: _MEMFD}, machine=lab.sandbox.machine) as sandbox:
        shared = Lab(sandbox)
        flags = abi.MAP_SHARED | abi.MAP_FIXED
        shared.call("mmap", shared.at(0), 4 * PAGE, RW, flags, 3, 0)
        shared.call("mmap", shared.at(100), 4 * PAGE, RW, flags, 3, 4 * PAGE)
        for page in (0, 100):
            if shared.on("madvise", page, 1, abi.MADV_GUARD_INSTALL) < 0:
                return None
        shared.move(100, 4, 4)
        return shared.ranges() == [(0, 8)]


_UFFD_USER_MODE_ONLY: Final = 1
_MISSING: Final = abi.UFFDIO_REGISTER_MODE_MISSING


def _userfaultfd(lab: Lab) -> int:
    """A userfaultfd that is ready, negative where there is none."""
    fd = lab.sandbox.inject("userfaultfd", _UFFD_USER_MODE_ONLY)
    api = struct.pack("<QQQ", 0xAA, 0, 0)
    if fd >= 0 and lab.sandbox.inject("ioctl", fd, abi.UFFDIO_API, api) < 0:
        return -abi.EINVAL
    return fd


def _register(lab: Lab, fd: int, start: int, size: int, mode: int) -> int:
    area = struct.pack("<QQQQ", start, size, mode, 0)
    return lab.sandbox.inject("ioctl", fd, abi.UFFDIO_REGISTER, area)


@_experiment
def _uffd_unregister_strict(lab: Lab) -> Answer:
    lab.map(0, 8)
    uffds = []
    for page in (0, 4):
        fd = _userfaultfd(lab)
        if fd < 0 or _register(lab, fd, lab.at(page), 4 * PAGE, _MISSING) < 0:
            return None
        uffds.append(fd)
    both = struct.pack("<QQ", lab.at(0), 8 * PAGE)
    return lab.sandbox.inject("ioctl", uffds[0], abi.UFFDIO_UNREGISTER, both) == -abi.EINVAL


@_experiment
def _uffd_mode_sticky(lab: Lab) -> Answer:
    lab.map(0, 4)
    fd = _userfaultfd(lab)
    both = _MISSING | abi.UFFDIO_REGISTER_MODE_WP
    if fd < 0 or _register(lab, fd, lab.at(0), 4 * PAGE, both) < 0:
        return None
    return _register(lab, fd, lab.at(0), 4 * PAGE, _MISSING) == -abi.EBUSY


@_experiment
def _uffd_no_merge_on_copy(lab: Lab) -> Answer:
    """A registered range moves beside another; both lose their registration."""
    fd = _userfaultfd(lab)
    for page in (0, 100):
        lab.map(page, 2)
        if fd < 0 or _register(lab, fd, lab.at(page), 2 * PAGE, _MISSING) < 0:
            return None
    return lab.ranges() == [(0, 2), (2, 4)] if lab.move(100, 2, 2) > 0 else None


@_experiment
def _uffd_not_droppable(lab: Lab) -> Answer:
    fd = _userfaultfd(lab)
    if fd < 0 or not _droppable(lab):
        return None
    return _register(lab, fd, lab.at(0), PAGE, _MISSING) == -abi.EINVAL


@_experiment
def _uffd_below_min_addr(lab: Lab) -> Answer:
    """Only root can map there."""
    fd, low = _userfaultfd(lab), 8 * PAGE
    flags = ANON | abi.MAP_FIXED
    if fd < 0 or lab.call("mmap", low, PAGE, RW, flags, -1, 0) < 0:
        return None
    least = int(lab.sandbox.machine.read("/proc/sys/vm/mmap_min_addr"))
    return _register(lab, fd, low, PAGE, _MISSING) == 0 if low < least else None


@_experiment
def _process_madvise_self(lab: Lab) -> Answer:
    lab.map(0, 1)
    area = format_iovec([(lab.at(0), PAGE)])
    return lab.call("process_madvise", "main", area, 1, abi.MADV_DONTDUMP, 0) == PAGE


def _advise_self(lab: Lab, pidfd: int | str, size: int, advice: int) -> int:
    area = format_iovec([(lab.at(0), size)])
    return lab.call("process_madvise", pidfd, area, 1, advice, 0)


@_experiment
def _pidfd_self_10001(lab: Lab) -> Answer:
    lab.map(0, 1)
    return _advise_self(lab, -10001, PAGE, abi.MADV_COLD) == PAGE


@_experiment
def _process_madvise_advice_first(lab: Lab) -> Answer:
    if not _process_madvise_self(lab):  # before, every advice was looked at first
        return None
    return _advise_self(lab, "main", 0, 999) == -abi.EINVAL


@_experiment
def _thp_disable_except_advised(lab: Lab) -> Answer:
    arguments = (abi.PR_SET_THP_DISABLE, 1, abi.PR_THP_DISABLE_EXCEPT_ADVISED)
    return lab.call("prctl", *arguments) == 0 if _transparent_hugepage(lab) else None


@_experiment
def _remove_asks_maywrite(lab: Lab) -> Answer:
    lab.map(0, 1, abi.PROT_READ, abi.MAP_SHARED | abi.MAP_ANONYMOUS)
    return lab.on("madvise", 0, 1, abi.MADV_REMOVE) == 0


@_experiment
def _dofork_special_strict(lab: Lab) -> Answer:
    """The vdso is VM_SPECIAL by VM_DONTEXPAND and not VM_IO."""
    vdso = [m for m in lab.sandbox.start.layout if m.name == "[vdso]"]
    if not vdso:
        return None
    return lab.call("madvise", vdso[0].start, PAGE, abi.MADV_DOFORK) == -abi.EINVAL


def _vvar_codes(lab: Lab) -> tuple[str, ...] | None:
    found = (m.codes for m in lab.sandbox.start.layout if m.name == "[vvar]")
    return next(found, None)


@_experiment
def _vvar_mixedmap(lab: Lab) -> Answer:
    codes = _vvar_codes(lab)
    return None if codes is None else "mm" in codes


@_experiment
def _vvar_no_io(lab: Lab) -> Answer:
    codes = _vvar_codes(lab)
    return None if codes is None else "io" not in codes


@_experiment
def _devzero_shared_readonly(lab: Lab) -> Answer:
    zero = File("/dev/zero", "legacy", "r")
    with Sandbox({3: zero}, machine=lab.sandbox.machine) as sandbox:
        reading = Lab(sandbox)
        if reading.map(0, 1, abi.PROT_READ, abi.MAP_SHARED, 3) < 0:
            return None
        return any(m.start == BASE and "deleted" in m.name for m in sandbox.layout())


# --- mremap ---------------------------------------------------------------------------------------


@_experiment
def _mremap_multi_vma(lab: Lab) -> Answer:
    lab.map(0, 4)
    lab.map(4, 4, abi.PROT_READ)
    return lab.move(0, 8, 100) > 0


@_experiment
def _mremap_checks_first(lab: Lab) -> Answer:
    lab.map(0, 4)
    result = lab.call("mremap", lab.at(0), 4 * PAGE, 1 << 60, abi.MREMAP_MAYMOVE)
    return result == -abi.EINVAL


@_experiment
def _dontunmap_unaccounts_source(lab: Lab) -> Answer:
    lab.map(0, 4)
    return "ac" not in lab.codes(0) if lab.move(0, 4, 100, _COPY) > 0 else None


@_experiment
def _dontunmap_splits_locked(lab: Lab) -> Answer:
    lab.map(0, 12)
    if lab.on("mlock2", 0, 12, abi.MLOCK_ONFAULT) < 0 or lab.move(4, 4, 100, _COPY) < 0:
        return None
    return "lo" in lab.codes(0) and "lo" not in lab.codes(4)


@_experiment
def _dontunmap_no_self_merge(lab: Lab) -> Answer:
    lab.map(0, 4)
    if lab.move(0, 4, 4, _COPY) < 0:
        return None
    return lab.ranges() == [(0, 4), (4, 8)]


@_experiment
def _dontunmap_resets_pgoff(lab: Lab) -> Answer:
    """A faulted VMA keeps its pgoff when moved; does it still have it when emptied?"""
    lab.map(0, 4)
    lab.on("fault", 0, 4, abi.PROT_WRITE)
    lab.move(0, 4, 100)
    if lab.move(100, 4, 200, _COPY) < 0:
        return None
    lab.map(104, 4)
    return lab.ranges()[0] == (100, 108)


#: The features that ``probe`` decides.
NAMES: Final = (*_EXPERIMENTS, *EXPERIMENTS)
