"""What a descriptor of a traced process refers to: which open file, its path, its file system.

The kernel compares ``struct file``, not paths: a duplicate of each descriptor that is mapped is
kept, for kcmp(2) to compare the next one with, until its last mapping is gone. So nothing is held
open that the traced process does not hold open itself. Knows nothing of calls.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import re
import resource
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from vmatrace import abi
from vmatrace.calls import CALLS
from vmatrace.event import File
from vmatrace.kernels import FILE_SYSTEMS
from vmatrace.layout import Layout, Mapping
from vmatrace.oracle.errors import Unavailable
from vmatrace.oracle.proc import check_proc
from vmatrace.record.smaps import vmflags_at
from vmatrace.trace.grammar import is_reserved

_KCMP_FILE: Final = 0
#: So many descriptors are left for everything but duplicates.
_SPARE: Final = 40
_O_PATH: Final = 0o10000000
_MODES: Final = {os.O_RDONLY: "r", os.O_WRONLY: "w", os.O_RDWR: "rw"}
#: statfs(2) f_type of file systems that are mounted nowhere.
_MAGIC: Final = {
    0x01021994: "tmpfs", 0x958458F6: "hugetlbfs", 0x5345434D: "secretmem", 0x858458F6: "ramfs",
}  # fmt: skip
_ST_NOEXEC: Final = 8
_SEAL_WRITE: Final = 0x08 | 0x10  # F_SEAL_WRITE, F_SEAL_FUTURE_WRITE
#: File systems whose files map as their drivers like.
_ODD: Final = frozenset(
    {"legacy", "devmem", "devdax", "proc", "sysfs", "secretmem", "cgroup2", "selinuxfs"}
)
_WITH_MW: Final = ("mr", "mw", "me", *abi.DRIVER_CODES)
_DEV_ZERO, _DEV_MEM = (1, 5), (1, 1)

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [ctypes.c_long] * 6


def _sealed(fd: int) -> bool:
    """Whether a file is a memfd that may not be written to any more."""
    try:
        return bool(fcntl.fcntl(fd, fcntl.F_GET_SEALS) & _SEAL_WRITE)
    except OSError:
        return False


def _ipc(pid: int) -> str:
    """The number of the IPC namespace of *pid*, empty where that is not to be had."""
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/ns/ipc")[5:-1]
    return ""


def printable(path: str) -> str:
    """*path* as /proc/PID/maps prints it, with bytes that are not UTF-8 written as escapes."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return text.replace("\n", "\\012")


@dataclass
class Opened:
    """One open file description, as ``file``.

    ``keys`` are its names among the trace's files, by the VmFlags of its mappings. ``odd``:
    what they are, smaps has to tell.
    """

    file: File
    duplicate: int
    identity: tuple[int, int]
    odd: bool
    pieces: int = 0
    keys: dict[tuple[str, ...], str] = field(default_factory=dict)

    def __hash__(self) -> int:
        return id(self)


class OpenFiles:
    """The files of a recording: ``described`` is the ``files`` of its trace."""

    def __init__(self, numbers: dict[str, int]) -> None:
        self.described: dict[int | str, File] = {}
        #: File systems that the model does not know, taken for legacy drivers.
        self.unknown: set[str] = set()
        #: How many open files would be taken for others if they were mapped again.
        self.forgotten = 0
        #: Grows whenever rename() may give another layout than before.
        self.renamed = 0
        self._held = 0
        self._getfd, self._kcmp = numbers["pidfd_getfd"], numbers["kcmp"]
        self._live: dict[tuple[int, int], list[Opened]] = {}
        self._mounts: dict[int, str] = {}
        self._dax: set[int] = set()
        self._devices: dict[str, str] = {}
        self._free: dict[File, list[str]] = {}
        self._names: dict[tuple[str, int], str] = {}
        self._pid = os.getpid()

    def check(self) -> None:
        """Whether the kernel lets open files be told apart at all. Raises Unavailable."""
        check_proc()
        own, pidfd = os.open("/dev/null", os.O_RDONLY), os.pidfd_open(self._pid)
        try:
            for name, number, args in (
                ("pidfd_getfd", self._getfd, (pidfd, own, 0, 0, 0)),
                ("kcmp", self._kcmp, (self._pid, self._pid, _KCMP_FILE, own, own)),
            ):
                result = int(_syscall(number, *args))
                if result < 0:
                    raise Unavailable(
                        f"{name}() is not permitted ({os.strerror(ctypes.get_errno())}), and open "
                        "files cannot be told apart without it: a container needs CAP_SYS_PTRACE "
                        "(--cap-add SYS_PTRACE) or another seccomp profile"
                    )
                if name == "pidfd_getfd":
                    os.close(result)
        finally:
            os.close(own)
            os.close(pidfd)

    # --- descriptors ------------------------------------------------------------------------

    def of(self, pidfd: int, pid: int, fd: int) -> Opened | None:
        """The open file behind descriptor *fd* of process *pid*, None if there is none."""
        own = _syscall(self._getfd, pidfd, fd, 0, 0, 0)
        if own < 0:
            return None
        status = os.fstat(own)
        identity = (status.st_dev, status.st_ino)
        for opened in self._live.get(identity, ()):
            if _syscall(self._kcmp, self._pid, self._pid, _KCMP_FILE, opened.duplicate, own) == 0:
                os.close(own)
                return opened
        flags = fcntl.fcntl(own, fcntl.F_GETFL)
        if flags & _O_PATH:
            os.close(own)
            return None
        path = printable(os.readlink(f"/proc/self/fd/{own}"))
        fs = self._file_system(own, pid, status)
        path = "/dev/zero" if fs == "devzero" else self._first_name(path, identity, pid)
        mode = _MODES.get(flags & 3, "rw")
        noexec = ("mr", "mw") if os.fstatvfs(own).f_flag & _ST_NOEXEC else ()
        file = File(path, "legacy" if fs == "devzero" else fs, mode, vmflags=noexec)
        odd = fs in _ODD or (stat.S_ISREG(status.st_mode) and self._mount(own) in self._dax)
        opened = Opened(file, own, identity, odd)
        self._live.setdefault(identity, []).append(opened)
        self._held += 1
        while self._held > max(resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE, 1):
            self._forget(next(self._everything()))
            self.forgotten += 1
        name = path if path.startswith("/") else f"/{path}"
        known = (name.removesuffix(" (deleted)"), status.st_ino)
        self.renamed += self._names.get(known) != path
        self._names[known] = path
        return opened

    def key(self, opened: Opened, shared: bool = False, at: tuple[int, int] | None = None) -> str:
        """The name of *opened* in the trace's files; *at*: thread and address of its new mapping.

        What the driver made of that mapping is read from its smaps entry, where it may be anything.
        """
        codes = opened.file.vmflags
        sealed = shared and _sealed(opened.duplicate)
        if at is None and sealed:
            codes = ("mr", "me")
        if at is not None and (opened.odd or sealed):
            seen = vmflags_at(*at)
            codes = tuple(c for c in seen if c in abi.DRIVER_CODES or c in ("mr", "mw", "me"))
            if shared and opened.file.mode == "r" and "mw" not in codes:
                codes = tuple(c for c in _WITH_MW if c in codes or c == "mw")
            if seen and codes == ("mr", "mw", "me") and opened.file.fs == "tmpfs":
                codes = ()
        key = opened.keys.get(codes)
        if key is None:
            key = opened.keys[codes] = self._key(replace(opened.file, vmflags=codes))
        return key

    def _forget(self, opened: Opened) -> None:
        """Close the duplicate: it will not be known again."""
        os.close(opened.duplicate)
        opened.duplicate = -1
        self._held -= 1
        several = self._live[opened.identity]
        several.remove(opened)
        if not several:
            del self._live[opened.identity]

    def count(self, opened: object, change: int) -> None:
        """*change* pieces of memory more map the file; with the last, its duplicate is closed."""
        assert isinstance(opened, Opened)
        opened.pieces += change
        if opened.pieces == 0 and change < 0:
            self.release(opened)

    def release(self, opened: Opened) -> None:
        """Close the duplicate of what nothing maps; its name is free for the next like it."""
        if opened.pieces or opened.duplicate < 0:
            return
        self._forget(opened)
        for codes, key in opened.keys.items():
            self._free.setdefault(replace(opened.file, vmflags=codes), []).append(key)
        opened.keys.clear()

    def segment(self, shmid: int, tid: int) -> tuple[str, int] | None:
        """The name of System V segment *shmid* among the files, and its size in bytes.

        None where thread *tid* is in another IPC namespace: there it is another one.
        """
        if _ipc(tid) != _ipc(self._pid):
            return None
        with contextlib.suppress(OSError), open("/proc/sysvipc/shm", encoding="ascii") as table:
            for line in table.readlines()[1:]:
                fields = line.split()
                if int(fields[1]) == shmid:
                    path = f"/SYSV{int(fields[0]) & 0xFFFFFFFF:08x} (deleted)"
                    key, size = f"shm_{shmid}", int(fields[3])
                    self.described[key] = File(path, "tmpfs", size=size)
                    return key, size
        return None

    def huge_segment(self, key: str, at: tuple[int, int]) -> None:
        """Say of segment *key* that it is of huge pages, if it is: thread and address of it."""
        file = self.described[key]
        if file.fs == "tmpfs" and "ht" in vmflags_at(*at):
            self.described[key] = replace(file, fs="hugetlbfs")

    def unseen_segment(self, shmid: int, address: int, tid: int) -> tuple[str, int] | None:
        """As segment(), of one in another IPC namespace that thread *tid* attached at *address*."""
        with contextlib.suppress(OSError), open(f"/proc/{tid}/maps", "rb") as table:
            for line in table:
                start, _, rest = line.partition(b"-")
                if int(start, 16) == address:
                    fields = rest.split(None, 5)
                    key, size = f"shm_{shmid}_{_ipc(tid)}", int(fields[0], 16) - address
                    path = printable(os.fsdecode(fields[5].rstrip(b"\n")))
                    self.described[key] = File(path, "tmpfs", size=size)
                    return key, size
        return None

    def named(self, file: File) -> str:
        """A new name among the trace's files, for *file*."""
        return self._key(file)

    def _key(self, file: File) -> str:
        if free := self._free.get(file):
            return free.pop()
        path = os.path.basename(file.path).removeprefix("anon_inode:")
        base = re.sub(r"\W+", "_", path, flags=re.ASCII).strip("_") or "file"
        if base[0].isdigit() or is_reserved(base) or base in CALLS:
            base = f"f_{base}"
        key, number = base, 1
        while key in self.described:
            number += 1
            key = f"{base}_{number}"
        self.described[key] = file
        return key

    # --- file systems -----------------------------------------------------------------------

    def _file_system(self, fd: int, pid: int, status: os.stat_result) -> str:
        if stat.S_ISCHR(status.st_mode):
            device = (os.major(status.st_rdev), os.minor(status.st_rdev))
            return {_DEV_ZERO: "devzero", _DEV_MEM: "devmem"}.get(device, "legacy")
        if stat.S_ISBLK(status.st_mode):
            return "bdev"
        mount = self._mount(fd)
        if mount not in self._mounts:
            self._read_mounts(pid)
        if mount in self._mounts:
            return self._known(self._mounts[mount])
        return self._unmounted(fd)

    @staticmethod
    def _mount(fd: int) -> int:
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii", errors="replace") as table:
            found = re.search(r"^mnt_id:\s*(\d+)", table.read(), re.MULTILINE)
        return int(found[1]) if found else -1

    def _unmounted(self, fd: int) -> str:
        buffer = (ctypes.c_long * 32)()
        kind = buffer[0] if _libc.fstatfs(fd, buffer) == 0 else 0
        return _MAGIC.get(kind, "legacy")

    def _known(self, kind: str) -> str:
        kind = "tmpfs" if kind == "devtmpfs" else kind
        kind = kind if kind in FILE_SYSTEMS else kind.partition(".")[0]
        if kind in FILE_SYSTEMS:
            return kind
        self.unknown.add(kind)
        return "legacy"

    def _read_mounts(self, pid: int) -> None:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/mountinfo", "rb") as table:
            for line in table:
                head, _, tail = line.decode("utf-8", "replace").partition(" - ")
                fields, kind = head.split(), tail.split()[0]
                self._mounts[int(fields[0])] = kind
                self._devices[fields[2]] = kind
                if re.search(r"\bdax(?:=always|=inode)?(?:,|$)", tail.split()[-1]):
                    self._dax.add(int(fields[0]))

    # --- layouts ----------------------------------------------------------------------------

    def describe(self, layout: Layout, pid: int) -> None:
        """Say of the files in the layout after an exec on which file systems they are."""
        for path, device in dict.fromkeys((m.name, m.device) for m in layout if m.inode):
            major, minor = (int(part, 16) for part in device.split(":"))
            if f"{major}:{minor}" not in self._devices:
                self._read_mounts(pid)
            fs = self._known(self._devices.get(f"{major}:{minor}", "ext4"))
            known = any(file.path == path for file in self.described.values())
            if fs != "ext4" and not known and not path.startswith(("/memfd:", "/SYSV")):
                self._key(File(path, fs))

    def rename(self, layout: Layout) -> Layout:
        """*layout* with the paths that the files had when they were mapped, made printable."""
        for mapping in layout:
            if mapping.name and (mapping.inode or not mapping.name.isascii()):
                name = printable(mapping.name)
                old = self._names.get((name.removesuffix(" (deleted)"), mapping.inode))
                mapping.name = (self._renamed(mapping) or name) if old is None else old
        return layout

    def _renamed(self, mapping: Mapping) -> str | None:
        """The name that the file of *mapping* had when it was mapped first, None: not known."""
        major, minor = (int(part, 16) for part in mapping.device.split(":"))
        several = self._live.get((os.makedev(major, minor), mapping.inode))
        return several[0].file.path if several else None

    def _first_name(self, path: str, identity: tuple[int, int], pid: int) -> str:
        """*path*, or what its file was called when it was mapped and is not called any more."""
        for opened in self._live.get(identity, ()):
            first = opened.file.path
            with contextlib.suppress(OSError):
                status = os.stat(f"/proc/{pid}/root{first}")
                if (status.st_dev, status.st_ino) == identity:
                    continue
            if first.startswith("/") and not first.endswith(" (deleted)"):
                return first
        return path

    def close(self) -> None:
        """Close every duplicate."""
        for opened in self._everything():
            os.close(opened.duplicate)
            opened.duplicate = -1
        self._live.clear()

    def _everything(self) -> Iterator[Opened]:
        for several in self._live.values():
            yield from several
