"""Which mmap hook a file system or driver has in which kernel, and what becomes of its mappings.

Source: the file_operations of the releases. Nothing is said of a file system that is not here.
"""

from __future__ import annotations

from typing import Final

from vmatrace.kernels import features as f
from vmatrace.kernels.errors import UnknownFileSystem, nearest
from vmatrace.kernels.features import Feature
from vmatrace.kernels.models import Kernel, timeline

#: The feature that gives a file system .mmap_prepare(), and the names that it gives it to.
# fmt: off
PREPARED_BY: Final[dict[Feature, tuple[str, ...]]] = {
    f.MMAP_PREPARE: ("mmap_prepare", "secretmem"),
    f.FS_MMAP_PREPARE: (
        "9p", "adfs", "affs", "afs", "aio", "bdev", "bfs", "btrfs", "ceph", "cifs", "cramfs", "dax",
        "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "hfs", "hfsplus", "hostfs", "hpfs",
        "iso9660", "jffs2", "jfs", "minix", "msdos", "nfs", "nfs4", "nilfs2", "ntfs3", "ocfs2",
        "omfs", "orangefs", "ramfs", "rootfs", "smb3", "squashfs", "ubifs", "ufs", "vboxsf",
        "vfat", "xfs", "zonefs"),
    f.SHMEM_MMAP_PREPARE: (
        "devdax", "devmem", "devzero", "memfd", "relay", "resctrl", "shmem", "tmpfs"),
    f.HUGETLBFS_MMAP_PREPARE: ("hugetlbfs",),
    f.DRIVERS_MMAP_PREPARE: ("hpet", "mtdchar", "ntfs", "open-dice", "stm", "vme"),
    f.ALL_MMAP_PREPARE: (
        "alsa", "bpf", "cgroup2", "coda", "drm", "ecryptfs", "fuse", "fuseblk", "gfs2",
        "guest_memfd", "infiniband", "io_uring", "kcov", "legacy", "overlay", "perf", "proc",
        "selinuxfs", "sysfs", "sysvshm", "udf", "uio", "v4l2", "vfio", "virtiofs"),
}
# fmt: on
_FEATURE: Final = {name: feature for feature, names in PREPARED_BY.items() for name in names}
FILE_SYSTEMS: Final = tuple(sorted(_FEATURE))
#: What places large mappings on a 2 MiB boundary itself (thp_get_unmapped_area()).
THP_ALIGNED: Final = frozenset(
    {"btrfs", "erofs", "ext2", "ext3", "ext4", "fuse", "fuseblk", "virtiofs", "xfs"}
)
#: A legacy .mmap() that is known to change no flag (shmem_file() in mm/vma.c).
_SHMEM: Final = frozenset({"tmpfs", "memfd", "shmem"})


def hooks(fs: str) -> list[tuple[str, str]]:
    """From which model on a file system has which hook: ``[("6.4", "legacy"), ("6.17", …)]``.

    The releases in their order, then what is to come. Raises UnknownFileSystem.
    """
    found: list[tuple[str, str]] = []
    for kernel in timeline():
        hook = mmap_hook(fs, kernel)
        if not found or found[-1][1] != hook:
            found.append((kernel.name, hook))
    return found


def mmap_hook(fs: str, kernel: Kernel) -> str:
    """How the kernel asks a file of that file system: "mmap_prepare", "shmem" or "legacy".

    "shmem" is a legacy .mmap() that is known to change no flag. ``fs`` is one of FILE_SYSTEMS: a
    type as /proc/filesystems has it, or memfd, shmem, devzero, devmem, devdax, or a driver by its
    name or its hook, mmap_prepare or legacy. Raises UnknownFileSystem for another, since nothing
    can be said about its hook.
    """
    feature = _FEATURE.get(fs)
    if feature is None:
        raise UnknownFileSystem(f"unknown file system {fs!r}{nearest(fs, FILE_SYSTEMS)}")
    if kernel.has(feature) or kernel.has(f.ALL_MMAP_PREPARE):
        return "mmap_prepare"
    return "shmem" if fs in _SHMEM else "legacy"
