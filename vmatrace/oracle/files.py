"""Real files for the files of a trace: on the same file system, open in the child, unlinked.

The child makes them itself, where its machine has that file system. What the machine has not got is
refused (Unsupported), rather than take another file system for it: what backs a file
decides how its mappings merge.
"""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Callable, Mapping
from typing import Final

from vmatrace import abi
from vmatrace.event import File
from vmatrace.oracle.errors import Unsupported
from vmatrace.oracle.machine import Machine

#: Bytes of a file whose size the trace leaves open: as good as endless. Sparse: it takes no room.
DEFAULT_SIZE: Final = 1 << 33
_OPEN: Final = {"r": os.O_RDONLY, "w": os.O_WRONLY, "rw": os.O_RDWR}
#: Descriptors of files that the trace knows by a name start here.
_NAMED: Final = 200
#: Descriptors of the trace are below, those that are being prepared from here on.
_HIGH: Final = 600
#: RLIMIT_NOFILE of the child.
DESCRIPTORS: Final = 1024
_MFD_HUGETLB: Final = 4
_AT_FDCWD: Final = -100
_HUGE: Final = 2 << 20

#: call(name, *args) in the child; text and bytes arguments are passed by address.
ChildCall = Callable[..., int]


class ChildFiles:
    """The descriptors of a trace, opened in the child. ``numbers`` maps each key to its descriptor.

    ``names`` maps the names that the kernel prints for these files to the paths of the trace.
    Files of one path are one file, opened once for each key.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.numbers: dict[int | str, int] = {}
        self.names: dict[str, str] = {}
        self._of_path: dict[str, int] = {}
        self._high = itertools.count(_HIGH)

    def open(self, files: Mapping[int | str, File], call: ChildCall) -> None:
        """Open each of *files*; a number as a key is the descriptor itself. Raises Unsupported."""
        free = (n for n in range(_NAMED, _HIGH) if n not in files)
        numbers = {key: key if isinstance(key, int) else next(free) for key in files}
        for key, number in numbers.items():
            if not 0 <= number < _HIGH:
                raise Unsupported(
                    f"{files[key].path}: no descriptor {number} here (0 … {_HIGH - 1})"
                )
        opened = {key: self._open(file, call) for key, file in files.items()}
        # Every descriptor is moved out of the way first: a wanted number may be in use by another.
        for key, fd in opened.items():
            number = numbers[key]
            self._check(call("dup3", fd, number, 0), files[key], f"have descriptor {number}")
            self.numbers[key] = number
        for fd in {*opened.values(), *self._of_path.values()}:
            call("close", fd)

    def _open(self, file: File, call: ChildCall) -> int:
        """A new open file description of *file*, at a descriptor of _HIGH or more."""
        flags = _OPEN.get(file.mode)
        if flags is None:
            raise Unsupported(f"{file.path}: no mode {file.mode!r} (expected r, w or rw)")
        if any(abi.driver_flags(file.vmflags)):
            raise Unsupported(f"{file.path}: no file with vmflags {' '.join(file.vmflags)} here")
        if file.fs == "legacy":
            if file.path != "/dev/zero":
                raise Unsupported(f"{file.path}: of drivers with only .mmap, /dev/zero is at hand")
            return self._move_high(call("openat", _AT_FDCWD, "/dev/zero", flags, 0), file, call)
        if file.path not in self._of_path:
            self._of_path[file.path] = self._create(file, call)
        own = f"/proc/self/fd/{self._of_path[file.path]}"
        return self._move_high(call("openat", _AT_FDCWD, own, flags, 0), file, call)

    def _create(self, file: File, call: ChildCall) -> int:
        size = DEFAULT_SIZE if file.size is None else file.size
        if not file.path.startswith("/memfd:"):
            for directory in self._machine.directories(file.fs):
                return self._temporary(file, directory, size, call)
        if file.fs in ("tmpfs", "hugetlbfs"):
            return self._memfd(file, size, call)
        raise Unsupported(
            f"{file.path}: no writable directory on {file.fs} here "
            f"(the temporary directory is on {self._machine.filesystem()})"
        )

    def _memfd(self, file: File, size: int, call: ChildCall) -> int:
        huge = file.fs == "hugetlbfs"
        name = f"vmatrace-{len(self._of_path)}"
        fd = call("memfd_create", name, _MFD_HUGETLB if huge else 0)
        self._check(fd, file, "make a memfd")
        self.names[f"/memfd:{name} (deleted)"] = file.path
        if huge:
            size = -(-size // _HUGE) * _HUGE
        self._check(call("ftruncate", fd, size), file, f"make it {size} bytes long")
        return self._move_high(fd, file, call)

    def _temporary(self, file: File, directory: str, size: int, call: ChildCall) -> int:
        path = f"{directory}/vmatrace-{secrets.token_hex(8)}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        fd = call("openat", _AT_FDCWD, path, flags, 0o600)
        self._check(fd, file, f"make a file in {directory}")
        call("unlinkat", _AT_FDCWD, path, 0)
        self._check(call("ftruncate", fd, size), file, f"make it {size} bytes long")
        self.names[f"{path} (deleted)"] = file.path
        return self._move_high(fd, file, call)

    def _move_high(self, fd: int, file: File, call: ChildCall) -> int:
        """*fd* of the child, moved to _HIGH or more so that the trace's own numbers stay free."""
        self._check(fd, file, "open it")
        high = next(self._high)
        self._check(call("dup3", fd, high, 0), file, "move its descriptor")
        call("close", fd)
        return high

    @staticmethod
    def _check(result: int, file: File, what: str) -> None:
        if result < 0:
            error = abi.ERRNO_NAME.get(-result, str(-result))
            raise Unsupported(f"{file.path}: the child cannot {what}: {error}")
