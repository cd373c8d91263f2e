"""What is mapped: the open file behind a VMA. Knows what its driver does, and no VMA.

It stays uncompiled (`make compiled`): a compiled class takes no weak reference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_SHMEM: Final = frozenset({"tmpfs", "memfd", "shmem"})


class VmFile:
    """What the kernel calls ``struct file``: two mappings share one only if they share this object.

    ``hook`` says how its driver maps: "mmap_prepare", "shmem" or "legacy" (kernels.mmap_hook());
    where it is given as a function, that is asked when it first matters.
    ``fs`` is the file system's name in the trace. ``anonymous`` marks a file whose private mapping
    has no vm_ops, as /dev/zero (vma_is_anonymous() is true for it). ``close``: its vm_ops have a
    close hook, so a VMA of it cannot vanish in a merge (can_merge_remove_vma()). ``readable`` and
    ``writable`` are the FMODE bits. ``size`` in bytes, None: large enough.
    ``sets``: vm_flags that its ``.mmap`` hook adds; ``clears``: VM_MAY* that its mappings lack
    (path_noexec(), seals, drivers). ``fresh``: each mmap replaces vm_file by a new
    one, as overlayfs does. ``special``: not a file but a kernel mapping such as [vdso], which
    cannot be split. ``inode`` is the device column and the inode number of /proc/PID/maps.
    """

    __slots__ = (
        "__weakref__", "_hook", "anonymous", "clears", "close", "fresh", "fs", "inode", "path",
        "readable", "sets", "size", "special", "writable",
    )  # fmt: skip

    def __init__(
        self,
        path: str,
        fs: str,
        hook: str | Callable[[], str],
        *,
        readable: bool = True,
        writable: bool = True,
        anonymous: bool = False,
        close: bool = False,
        sets: int = 0,
        clears: int = 0,
        fresh: bool = False,
        special: bool = False,
        size: int | None = None,
        inode: tuple[str, int] = ("00:00", 0),
    ) -> None:
        self.path = path
        self.fs = fs
        self._hook = hook
        self.readable = readable
        self.writable = writable
        self.anonymous = anonymous
        self.close = close
        self.sets = sets
        self.clears = clears
        self.fresh = fresh
        self.special = special
        self.size = size
        self.inode = inode

    def __repr__(self) -> str:
        return f"VmFile({self.path!r}, {self.fs})"

    @property
    def hook(self) -> str:
        """How its driver maps."""
        if not isinstance(self._hook, str):
            self._hook = self._hook()
        return self._hook

    @property
    def is_shmem(self) -> bool:
        """vma_is_shmem(): its mappings have shmem's vm_ops, which those of SysV segments hide."""
        return self.fs in _SHMEM and not self.close

    def reopened(self) -> VmFile:
        """Another open file description of the same file."""
        return VmFile(
            self.path, self.fs, self._hook, readable=self.readable, writable=self.writable,
            anonymous=self.anonymous, close=self.close, sets=self.sets, clears=self.clears,
            fresh=self.fresh, special=self.special, size=self.size, inode=self.inode,
        )  # fmt: skip
