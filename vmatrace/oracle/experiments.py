"""More of what probe() asks a kernel: userfaultfd, seals, /dev/zero, what came with 7.x.

As in ``probe``, each is one function named after the feature it decides, which returns None where
this machine cannot tell.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from vmatrace import abi
from vmatrace.oracle.lab import ANON, MOVE, PAGE, RW, Lab

Answer = bool | None
Experiment = Callable[[Lab], Answer]
EXPERIMENTS: Final[dict[str, Experiment]] = {}

_HUGE: Final = 2 << 20
_LOW: Final = 0x8000  # below the usual vm.mmap_min_addr
_AT_FDCWD: Final = -100
_O_RDONLY, _O_RDWR = 0, 2
_USER_MODE_ONLY: Final = 1


def _experiment(function: Experiment) -> Experiment:
    EXPERIMENTS[function.__name__.strip("_").replace("_", "-")] = function
    return function


# --- merging --------------------------------------------------------------------------------------


@_experiment
def _fill_next_first(lab: Lab) -> Answer:
    """Unwritten memory, a gap, written memory: which of them takes what fills the gap?"""
    lab.map(0, 2)
    lab.map(4, 2)
    lab.on("fault", 4, 2, abi.PROT_WRITE)
    lab.map(2, 2)
    return lab.ranges() == [(0, 2), (2, 6)]


@_experiment
def _anon_pgoff(lab: Lab) -> Answer:
    """A new mapping whose file offset continues that of one that was written to and moved."""
    fd = _memfd(lab)
    if fd < 0:
        return None
    lab.map(0, 4, flags=abi.MAP_PRIVATE, fd=fd)
    lab.on("fault", 0, 1, abi.PROT_WRITE)
    lab.move(0, 4, 100)
    lab.call("mmap", lab.at(104), 4 * PAGE, RW, _PRIVATE_FIXED, fd, 4 * PAGE)
    return lab.ranges() == [(100, 104), (104, 108)]


_PRIVATE_FIXED: Final = abi.MAP_PRIVATE | abi.MAP_FIXED


def _memfd(lab: Lab) -> int:
    fd = lab.sandbox.inject("memfd_create", "probe", 0)
    return fd if fd < 0 or lab.sandbox.inject("ftruncate", fd, 16 * PAGE) == 0 else -1


# --- /dev/zero ------------------------------------------------------------------------------------


def _zero(lab: Lab, mode: int) -> int:
    return lab.sandbox.inject("openat", _AT_FDCWD, "/dev/zero", mode, 0)


@_experiment
def _thp_align_devzero(lab: Lab) -> Answer:
    fd = _zero(lab, _O_RDWR)
    if fd < 0 or lab.on("madvise", 0, 0, abi.MADV_HUGEPAGE) != 0:
        return None
    starts = []
    for _ in range(3):
        lab.call("mmap", 0, PAGE, abi.PROT_READ, ANON, -1, 0)
        starts.append(lab.call("mmap", 0, _HUGE, RW, abi.MAP_PRIVATE, fd, 0))
    return all(start % _HUGE == 0 for start in starts)


@_experiment
def _devzero_shared_readonly(lab: Lab) -> Answer:
    fd = _zero(lab, _O_RDONLY)
    if fd < 0 or lab.map(0, 1, abi.PROT_READ, abi.MAP_SHARED, fd) < 0:
        return None
    return _name(lab, 0).endswith("(deleted)")


@_experiment
def _devzero_anonymous(lab: Lab) -> Answer:
    fd = _zero(lab, _O_RDWR)
    if fd < 0 or lab.map(0, 1, flags=abi.MAP_PRIVATE, fd=fd) < 0:
        return None
    return not _name(lab, 0)


def _name(lab: Lab, page: int) -> str:
    address = lab.at(page)
    return next(m.name for m in lab.sandbox.layout() if m.start <= address < m.end)


# --- the vdso -------------------------------------------------------------------------------------


def _vvar(lab: Lab) -> tuple[str, ...]:
    return next((m.codes for m in lab.sandbox.start.layout if m.name == "[vvar]"), ())


@_experiment
def _vvar_mixedmap(lab: Lab) -> Answer:
    return "mm" in codes if (codes := _vvar(lab)) else None


@_experiment
def _vvar_no_io(lab: Lab) -> Answer:
    return "io" not in codes if (codes := _vvar(lab)) else None


# --- seals, guards, process_madvise ---------------------------------------------------------------


@_experiment
def _mseal_refuses_advice(lab: Lab) -> Answer:
    lab.map(0, 1, abi.PROT_READ)
    if lab.on("mseal", 0, 1, 0) < 0:
        return None
    return lab.on("madvise", 0, 1, abi.MADV_RANDOM) == -abi.EPERM


@_experiment
def _mseal_stale_start(lab: Lab) -> Answer:
    lab.map(0, 3)
    if lab.on("mseal", 1, 1, 0) < 0 or lab.on("mseal", 0, 3, 0) < 0:
        return None
    return lab.ranges() == [(0, 2), (2, 3)]


@_experiment
def _guard_anon_only(lab: Lab) -> Answer:
    """A child's mapping beside one with a guard: had the parent's an anon_vma?"""
    fd = _memfd(lab)
    if fd < 0:
        return None
    lab.map(0, 4, flags=abi.MAP_PRIVATE, fd=fd)
    if lab.on("madvise", 0, 1, abi.MADV_GUARD_INSTALL) < 0:
        return None
    lab.sandbox.call("fork", child="child")
    lab.map(4, 4, flags=abi.MAP_PRIVATE, fd=fd, pid="child")
    return lab.ranges("child") == [(0, 8)]


def _process_madvise(lab: Lab, pidfd: int, advice: int) -> int:
    lab.map(0, 1)
    area = struct.pack("<QQ", lab.at(0), PAGE)
    return lab.sandbox.inject("process_madvise", pidfd, area, 1, advice, 0)


@_experiment
def _pidfd_self(lab: Lab) -> Answer:
    return _process_madvise(lab, -10000, abi.MADV_COLD) == PAGE


@_experiment
def _pidfd_self_10001(lab: Lab) -> Answer:
    if not _pidfd_self(lab):
        return None
    return _process_madvise(lab, -10001, abi.MADV_COLD) == PAGE


@_experiment
def _process_madvise_advice_first(lab: Lab) -> Answer:
    """Nothing to advise, and advice that nobody knows; oneself, so that all advice is asked."""
    if _process_madvise(lab, -10000, abi.MADV_DONTDUMP) != PAGE:
        return None
    return lab.sandbox.inject("process_madvise", -10000, b"\0" * 16, 0, -1, 0) == -abi.EINVAL


# --- userfaultfd ----------------------------------------------------------------------------------


def _uffd(lab: Lab, features: int = 0) -> int:
    """A new userfaultfd that was asked for *features*, or -errno."""
    fd = lab.sandbox.inject("userfaultfd", _USER_MODE_ONLY)
    if fd < 0:
        return fd
    error = lab.sandbox.inject("ioctl", fd, abi.UFFDIO_API, struct.pack("<QQQ", 0xAA, features, 0))
    return error or fd


def _register(lab: Lab, fd: int, start: int, length: int, mode: int) -> int:
    area = struct.pack("<QQQQ", start, length, mode, 0)
    return lab.sandbox.inject("ioctl", fd, abi.UFFDIO_REGISTER, area)


@_experiment
def _userfaultfd(lab: Lab) -> Answer:
    fd = _uffd(lab)
    return None if fd == -abi.EPERM else fd >= 0


def _registers(lab: Lab, flags: int, mode: int) -> Answer:
    """Whether memory mapped with *flags* can be registered; None where nothing can."""
    fd = _uffd(lab)
    if fd < 0:
        return None
    lab.map(0, 1)
    if _register(lab, fd, lab.at(0), PAGE, abi.UFFDIO_REGISTER_MODE_MISSING) < 0:
        return None
    if lab.map(4, 1, flags=flags) < 0:
        return None
    return _register(lab, fd, lab.at(4), PAGE, mode) == 0


@_experiment
def _uffd_wp(lab: Lab) -> Answer:
    return _registers(lab, ANON, abi.UFFDIO_REGISTER_MODE_WP)


@_experiment
def _uffd_minor(lab: Lab) -> Answer:
    shared = abi.MAP_SHARED | abi.MAP_ANONYMOUS
    return _registers(lab, shared, abi.UFFDIO_REGISTER_MODE_MINOR)


@_experiment
def _uffd_not_droppable(lab: Lab) -> Answer:
    droppable = abi.MAP_DROPPABLE | abi.MAP_ANONYMOUS
    done = _registers(lab, droppable, abi.UFFDIO_REGISTER_MODE_MISSING)
    return None if done is None else not done


@_experiment
def _uffd_below_min_addr(lab: Lab) -> Answer:
    fd = _uffd(lab)
    if fd < 0 or lab.call("mmap", _LOW, PAGE, RW, ANON | abi.MAP_FIXED, -1, 0) < 0:
        return None
    return _register(lab, fd, _LOW, PAGE, abi.UFFDIO_REGISTER_MODE_MISSING) == 0


@_experiment
def _uffd_refuses_special(lab: Lab) -> Answer:
    fd = _uffd(lab, abi.UFFD_FEATURE_WP_ASYNC)
    vdso = next((m for m in lab.sandbox.start.layout if m.name == "[vdso]"), None)
    if fd < 0 or vdso is None:
        return None
    size = vdso.end - vdso.start
    return _register(lab, fd, vdso.start, size, abi.UFFDIO_REGISTER_MODE_WP) == -abi.EINVAL


@_experiment
def _uffd_mode_sticky(lab: Lab) -> Answer:
    fd = _uffd(lab)
    both = abi.UFFDIO_REGISTER_MODE_MISSING | abi.UFFDIO_REGISTER_MODE_WP
    lab.map(0, 1)
    if fd < 0 or _register(lab, fd, lab.at(0), PAGE, both) < 0:
        return None
    again = _register(lab, fd, lab.at(0), PAGE, abi.UFFDIO_REGISTER_MODE_MISSING)
    return again == -abi.EBUSY


@_experiment
def _uffd_rwp(lab: Lab) -> Answer:
    if _uffd(lab) < 0:
        return None
    fd = _uffd(lab, abi.UFFD_FEATURE_RWP)
    lab.map(0, 1)
    return fd >= 0 and _register(lab, fd, lab.at(0), PAGE, abi.UFFDIO_REGISTER_MODE_RWP) == 0


@_experiment
def _uffd_no_merge_on_copy(lab: Lab) -> Answer:
    fd = _uffd(lab)
    lab.map(0, 4)
    lab.map(20, 4)
    if fd < 0 or any(
        _register(lab, fd, lab.at(page), 4 * PAGE, abi.UFFDIO_REGISTER_MODE_MISSING) < 0
        for page in (0, 20)
    ):
        return None
    lab.move(20, 4, 4)
    return lab.ranges() == [(0, 4), (4, 8)]


# --- mremap ---------------------------------------------------------------------------------------


@_experiment
def _mremap_target_first(lab: Lab) -> Answer:
    """No source, and a target that is not aligned: which is found first?"""
    result = lab.call("mremap", lab.at(0), PAGE, PAGE, MOVE, lab.at(16) + 16)
    return result == -abi.EINVAL
