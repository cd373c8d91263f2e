"""Which kernel has which features: each release as its predecessor plus changes.

With vmatrace.kernels.features the one place that knows
releases: everything else asks ``kernel.has(kernels.FEATURE)``. Also here, since it differs by
release: which mmap hook a file system has, and which kernels an expectation's ``on`` covers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from vmatrace.kernels import features as f
from vmatrace.kernels.features import FEATURES, Feature


class UnknownKernel(ValueError):  # noqa: N818
    """No model of that name; the message carries the nearest one."""


class UnknownFeature(ValueError):  # noqa: N818
    """No feature of that name; the message carries the nearest one."""


class UnknownFileSystem(ValueError):  # noqa: N818
    """No file system of that name; the message carries the nearest one."""


@dataclass(frozen=True)
class Kernel:
    """A kernel model: the set of features it has.

    ``release`` orders it in version ranges. ``changes`` lists what differs from the row before it
    (or, for a derived kernel, from ``base``): (feature, whether it was added).
    """

    name: str
    features: frozenset[str]
    release: tuple[int, ...]
    summary: str
    changes: tuple[tuple[Feature, bool], ...]
    base: str = ""

    def has(self, feature: Feature) -> bool:
        """Whether this kernel behaves as the feature says."""
        return feature.name in self.features

    def with_features(self, names_on: Iterable[str], names_off: Iterable[str] = ()) -> Kernel:
        """This kernel with single features switched, named after the table row it derives from.

        Switching a feature to what it is changes nothing, so undoing a switch gives back the row.
        Raises UnknownFeature, and ValueError for a feature switched both ways.
        """
        on = {get_feature(name).name for name in names_on}
        off = {get_feature(name).name for name in names_off}
        for name in sorted(on & off):
            raise ValueError(f"feature {name!r} is switched both on and off")
        features = (self.features | on) - off
        base = KERNELS[self.base or self.name]
        if features == base.features:
            return base
        changed = [x for x in FEATURES.values() if (x.name in features) != base.has(x)]
        changes = tuple((x, True) for x in changed if x.name in features)
        changes += tuple((x, False) for x in changed if x.name not in features)
        name = base.name + "".join(("+" if added else "-") + x.name for x, added in changes)
        return Kernel(name, features, base.release, base.summary, changes, base.name)


KERNELS: Final[dict[str, Kernel]] = {}
DEFAULT: Final = "post-patch"


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split("."))


def _row(
    name: str,
    after: str | None,
    summary: str,
    added: tuple[Feature, ...] = (),
    dropped: tuple[Feature, ...] = (),
) -> None:
    # Adds a row to KERNELS; a name that is no number has the release of the row it comes after.
    before = KERNELS[after].features if after else frozenset()
    new, gone = {x.name for x in added}, {x.name for x in dropped}
    assert not before & new, name
    assert before >= gone, name
    release = _numbers(name) if name[0].isdigit() else KERNELS[str(after)].release
    changes = tuple((x, True) for x in added) + tuple((x, False) for x in dropped)
    KERNELS[name] = Kernel(name, (before | new) - gone, release, summary, changes)


# fmt: off
_row("6.4", None, "KSM by default: PR_SET_MEMORY_MERGE",
     added=(f.KSM, f.TRANSPARENT_HUGEPAGE, f.ANON_VMA_NAME, f.PKEYS, f.KSM_PRCTL,
            f.DRIVER_FLAGS_RETRY_NEW))
_row("6.5", "6.4", "no change known")
_row("6.6", "6.5", "no change known")
_row("6.7", "6.6", "KSM by default survives execve(); mprotect() gives accounting back",
     added=(f.KSM_EXEC_INHERIT, f.MPROTECT_UNACCOUNT, f.THP_ALIGN_ANON))
_row("6.8", "6.7", "MAP_STACK without huge pages", added=(f.MAP_STACK_NOHUGEPAGE,))
_row("6.9", "6.8", "no change known")
_row("6.10", "6.9", "mseal()", added=(f.MSEAL, f.THP_ALIGN_FILES))
_row("6.11", "6.10", "MAP_DROPPABLE", added=(f.DROPPABLE,))
_row("6.12", "6.11", "mmap() and seals check before they change",
     added=(f.MSEAL_IN_LOOP, f.MAP_FIXED_KEEPS_ON_FAILURE, f.THP_ALIGN_MULTIPLE))
_row("6.13", "6.12", "guard regions",
     added=(f.GUARD_REGIONS, f.PROCESS_MADVISE_SELF, f.VVAR_VCLOCK, f.THP_ALIGN_UNHINTED,
            f.DRIVER_FLAGS_RETRY_EXISTING),
     dropped=(f.DRIVER_FLAGS_RETRY_NEW, f.THP_ALIGN_FILES))
_row("6.14", "6.13", "no change known")
_row("6.15", "6.14", "guard regions in files",
     added=(f.GUARD_FILES, f.DONTUNMAP_UNACCOUNTS_SOURCE, f.PIDFD_SELF))
_row("6.16", "6.15", "merges into unfaulted VMAs; .mmap_prepare()",
     added=(f.MERGE_UNFAULTED_TARGET, f.MMAP_PREPARE), dropped=(f.DRIVER_FLAGS_RETRY_EXISTING,))
_row("6.17", "6.16", "KSM by default no longer breaks merging; mremap() of several VMAs",
     added=(f.KSM_BEFORE_MERGE, f.FS_MMAP_PREPARE, f.MREMAP_MULTI_VMA, f.MREMAP_CHECKS_FIRST,
            f.UFFD_UNREGISTER_STRICT))
_row("6.18", "6.17", "huge pages only where advised",
     added=(f.THP_DISABLE_EXCEPT_ADVISED, f.UFFD_NOT_DROPPABLE),
     dropped=(f.DONTUNMAP_UNACCOUNTS_SOURCE,))
_row("6.12.117", "6.12", "6.12 with the backports of its stable series, as recorded",
     added=(f.THP_ALIGN_UNHINTED, f.DROPPABLE_NEVER_LOCKED, f.DONTUNMAP_SPLITS_LOCKED,
            f.DONTUNMAP_NO_SELF_MERGE, f.DONTUNMAP_RESETS_PGOFF, f.SECRETMEM_UNLOCKED),
     dropped=(f.ANON_VMA_NAME,))
_row("6.18.44", "6.18", "6.18 with the backports of its stable series, as recorded",
     added=(f.DROPPABLE_NEVER_LOCKED, f.MREMAP_COPIED_FROM, f.MAYBE_GUARD_FLAG),
     dropped=(f.ANON_VMA_NAME, f.PKEYS))
_row("pre-patch", "6.17", "6.17 without the KSM series and nothing else different",
     dropped=(f.KSM_BEFORE_MERGE,))
_row("post-patch", "6.17", "6.17: with the KSM series")
_row("series-v2", "post-patch", "6.17 with the KSM series as it was posted in May 2025",
     added=(f.KSM_LATE_CHECK_BEFORE_HOOK,))
# fmt: on


def _nearest(word: str, words: Iterable[str]) -> str:
    import difflib  # only an error needs it

    near = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


def get_kernel(name: str) -> Kernel:
    """The model of that name; a release may have a leading ``v``. Raises UnknownKernel."""
    kernel = KERNELS.get(name) or KERNELS.get(re.sub(r"^v(?=\d)", "", name))
    if kernel is None:
        raise UnknownKernel(f"unknown kernel {name!r}{_nearest(name, KERNELS)}")
    return kernel


def get_feature(name: str) -> Feature:
    """The feature of that name. Raises UnknownFeature."""
    if name not in FEATURES:
        raise UnknownFeature(f"unknown feature {name!r}{_nearest(name, FEATURES)}")
    return FEATURES[name]


# --- expectations: which kernels an `on` names ---------------------------------------------------

_RELEASE = r"v?(\d+(?:\.\d+){1,2})"
_COMPARISON: Final = re.compile(rf"(>=|<=|==|!=|>|<)\s*{_RELEASE}")
_SPAN: Final = re.compile(rf"{_RELEASE}\s*\.\.\s*{_RELEASE}")


def _compare(release: tuple[int, ...], text: str) -> int:
    # "6.12" is the whole series, so 6.12.117 equals it; 6.12 itself is 6.12.0.
    wanted = _numbers(text)
    have = (*release, 0)[: len(wanted)]
    return (have > wanted) - (have < wanted)


def matches(spec: str, kernel: Kernel) -> bool:
    """Whether an expectation's ``on`` covers the kernel. Raises ValueError as check_spec() does.

    A model's name covers exactly that model: `6.12` neither 6.12.117 nor 6.12 with a feature
    switched. A range (`>=6.17`, `<6.12`, `==6.18`, `!=6.16`, `6.4..6.16` with both ends) covers
    what has such a release, switched features or not: a stable kernel counts to the series it is
    named after, and pre-patch, post-patch and series-v2 all count as 6.17, the tree they share
    (pre-patch lacks one feature of 6.17, which does not make it 6.16).
    """
    spec = spec.strip()
    if span := _SPAN.fullmatch(spec):
        if _numbers(span[1]) > _numbers(span[2]):
            raise ValueError(f"empty version range {spec!r} (expected the older release first)")
        return _compare(kernel.release, span[1]) >= 0 >= _compare(kernel.release, span[2])
    if comparison := _COMPARISON.fullmatch(spec):
        sign = _compare(kernel.release, comparison[2])
        return {
            ">=": sign >= 0,
            "<=": sign <= 0,
            "==": sign == 0,
            "!=": sign != 0,
            ">": sign > 0,
            "<": sign < 0,
        }[comparison[1]]
    if re.match(r"[<>=!~^]|.*\.\.", spec):
        raise ValueError(
            f"malformed version range {spec!r} (expected such as '>=6.17', '6.4..6.16')"
        )
    return get_kernel(spec).name == kernel.name


def check_spec(spec: str) -> None:
    """Raise ValueError, with a suggestion, unless ``spec`` is a model's name or a version range."""
    matches(spec, KERNELS[DEFAULT])


# --- file systems: which hook a file's mmap goes through -----------------------------------------

# The feature that gives a file system .mmap_prepare(); None where no kernel known here has it.
# fmt: off
_PREPARED_BY: Final[dict[str, Feature | None]] = {
    **dict.fromkeys(("mmap_prepare", "secretmem"), f.MMAP_PREPARE),
    **dict.fromkeys((
        "9p", "adfs", "affs", "afs", "bdev", "bfs", "btrfs", "ceph", "cifs", "cramfs", "erofs",
        "exfat", "ext2", "ext3", "ext4", "f2fs", "hfs", "hfsplus", "hostfs", "hpfs", "iso9660",
        "jffs2", "jfs", "minix", "msdos", "nfs", "nfs4", "nilfs2", "ntfs3", "ocfs2", "omfs",
        "orangefs", "ramfs", "rootfs", "smb3", "squashfs", "ubifs", "ufs", "vboxsf", "vfat",
        "xfs", "zonefs"), f.FS_MMAP_PREPARE),
    **dict.fromkeys(("tmpfs", "memfd", "shmem", "hugetlbfs", "devzero", "devmem", "devdax",
                     "resctrl"), f.SHMEM_MMAP_PREPARE),
    **dict.fromkeys((
        "legacy", "overlay", "fuse", "fuseblk", "virtiofs", "gfs2", "udf", "ecryptfs", "coda",
        "proc", "sysfs", "cgroup2", "selinuxfs"), None),
}
# fmt: on
FILE_SYSTEMS: Final = tuple(sorted(_PREPARED_BY))


def mmap_hook(fs: str, kernel: Kernel) -> str:
    """How the kernel asks a file of that file system: "mmap_prepare", "shmem" or "legacy".

    "shmem" is a legacy .mmap() that is known to change no flag (shmem_file() in mm/vma.c). ``fs``
    is one of FILE_SYSTEMS: a type as /proc/filesystems has it, or memfd, shmem, devzero, devmem,
    devdax, or a driver by its hook, mmap_prepare or legacy. Raises UnknownFileSystem for another,
    since nothing can be said about its hook. Source: the file_operations of 6.17 and 6.18.
    """
    if fs not in _PREPARED_BY:
        raise UnknownFileSystem(f"unknown file system {fs!r}{_nearest(fs, FILE_SYSTEMS)}")
    feature = _PREPARED_BY[fs]
    if feature is not None and kernel.has(feature):
        return "mmap_prepare"
    return "shmem" if fs in ("tmpfs", "memfd", "shmem") else "legacy"
