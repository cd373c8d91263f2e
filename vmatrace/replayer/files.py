"""The files of a replay: what a descriptor argument, or a mapping in a layout, is backed by.

Knows which descriptors are one open file and what a file system's driver does; nothing of calls.
"""

from __future__ import annotations

from functools import partial
from typing import Final
from weakref import WeakValueDictionary

from vmatrace import abi, kernels
from vmatrace.engine.vmfile import VmFile
from vmatrace.event import Fd, File
from vmatrace.kernels import Kernel
from vmatrace.layout import Mapping
from vmatrace.trace.file import Trace

#: Mounts that are MNT_NOEXEC or SB_I_NOEXEC wherever they are (path_noexec()).
_NOEXEC: Final = frozenset({"proc", "secretmem", "sysfs"})


class Files:
    """The open files of one replay of *trace* under *kernel*."""

    def __init__(self, trace: Trace, kernel: Kernel) -> None:
        self._trace = trace
        self._kernel = kernel
        self._files: dict[int | str, VmFile] = {
            key: self._open(file) for key, file in trace.files.items()
        }
        self._by_path: dict[Fd, VmFile | None] = {}
        # Of a log, by key: forgotten with the last mapping, so that a long one needs no more room.
        self._described: WeakValueDictionary[int | str, VmFile] = WeakValueDictionary()

    def of(self, fd: object) -> VmFile | None:
        """What the descriptor argument refers to, None where no such descriptor is open."""
        if isinstance(fd, int):
            return self._files.get(fd)
        assert isinstance(fd, Fd)
        if fd.file is not None:
            opened = self._described.get(fd.key)
            if opened is None:
                opened = self._described[fd.key] = self._open(fd.file)
            return opened
        if fd not in self._by_path:
            described = self._trace.file(fd)
            if described is None:
                self._by_path[fd] = None
            elif described is self._trace.files.get(fd.key):
                self._by_path[fd] = self._files[fd.key]
            else:
                self._by_path[fd] = self._open(described)
        return self._by_path[fd]

    def _open(self, file: File) -> VmFile:
        zero = file.path == "/dev/zero"
        huge = file.fs == "hugetlbfs"
        codes = file.vmflags or kernels.well_known_device(file.path)
        sets, clears = abi.driver_flags(codes)
        if file.fs in _NOEXEC:
            clears |= abi.VM_MAYEXEC
        return VmFile(
            file.path,
            file.fs,
            partial(kernels.mmap_hook, "devzero" if zero else file.fs, self._kernel),
            readable="r" in file.mode,
            writable="w" in file.mode,
            anonymous=zero,
            close=huge,
            sets=sets | self._driver_flags(file.fs),
            clears=clears,
            fresh=file.fs == "overlay",
            size=file.size,
        )

    def _driver_flags(self, fs: str) -> int:
        """The vm_flags that a driver's hook adds."""
        if fs == "hugetlbfs":
            return abi.VM_HUGETLB | abi.VM_DONTEXPAND
        if fs == "secretmem":
            unlocked = self._kernel.has(kernels.SECRETMEM_UNLOCKED)
            return abi.VM_DONTDUMP | (0 if unlocked else abi.VM_LOCKED)
        return 0

    def of_mapping(self, item: Mapping) -> VmFile:
        """The file of a mapping in the starting layout, which ``files`` may describe by path."""
        described = next((f for f in self._trace.files.values() if f.path == item.name), None)
        shmem = item.name.startswith(("/dev/zero (deleted)", "/SYSV", "/memfd:"))
        file = described or File(item.name, "tmpfs" if shmem else "ext4")
        opened = self._open(file)
        opened.inode = (item.device, item.inode)
        return opened
