"""From the registers and memory of a stopped call to the arguments of an event.

Knows the structures that calls point to; nothing of stops. Sources: the man pages; linux/sched.h
for clone_args, linux/userfaultfd.h for uffdio_range and uffdio_register.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import struct
from typing import Final

from vmatrace import abi
from vmatrace.calls import numbers
from vmatrace.event import Arg, format_flags
from vmatrace.structures import format_iovec, format_limit, format_uffdio

#: Flags of mremap that make the kernel look at the fifth argument.
_MREMAP_TO: Final = abi.MREMAP_FIXED | abi.MREMAP_DONTUNMAP
_MPOL_WORDS: Final = 16
_IOVEC_MOST: Final = 1024
_CLONE: Final = sorted(
    (bit, name) for name, bit in abi.CONSTANTS.items() if name.startswith("CLONE_")
)


class Memory:
    """The memory of a stopped thread, read through /proc/TID/mem."""

    def __init__(self, tid: int) -> None:
        self._tid = tid

    def read(self, address: int, size: int) -> bytes:
        """At most *size* bytes at *address*; fewer, or none, where there are no more."""
        try:
            fd = os.open(f"/proc/{self._tid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return b""
        try:
            return os.pread(fd, size, address)
        except (OSError, OverflowError):
            return b""
        finally:
            os.close(fd)

    def write(self, address: int, data: bytes) -> None:
        """Write *data* at *address*, if that is possible."""
        with (
            contextlib.suppress(OSError),
            open(f"/proc/{self._tid}/mem", "r+b", buffering=0) as memory,
        ):
            memory.seek(address)
            memory.write(data)

    def words(self, address: int, count: int) -> tuple[int, ...]:
        """*count* 64-bit words, none where they cannot be read."""
        data = self.read(address, count * 8)
        return struct.unpack(f"<{count}Q", data) if len(data) == count * 8 else ()

    def text(self, address: int) -> str:
        """The string at *address*, printable."""
        data = b""
        while len(data) < 4096 and b"\0" not in data:
            # Not beyond the page: what follows may not be there.
            chunk = self.read(address + len(data), 256 - (address + len(data)) % 256)
            if not chunk:
                break
            data += chunk
        return data.split(b"\0")[0].decode("utf-8", "backslashreplace")


def arguments(name: str, args: tuple[int, ...], memory: Memory) -> list[Arg]:
    """The arguments of call *name* as an event has them, descriptors as plain numbers."""
    values: list[Arg] = list(numbers(name, args))
    if name == "mremap" and not args[3] & _MREMAP_TO:
        return values[:4]
    if name == "prctl":
        return _prctl(values, args, memory)
    if name == "mbind":
        values[3] = _nodes(args[3], args[4], memory)
    elif name == "process_madvise":
        values[1] = _iovec(args[1], args[2], memory)
    elif name in ("setrlimit", "prlimit64"):
        at = 1 if name == "setrlimit" else 2
        values[at] = _limit(args[at], memory)
        values[at + 1 :] = ["NULL"] * (name == "prlimit64")
    elif name == "io_setup":
        values[1] = "NULL"  # written by the call
    elif name == "ioctl":
        values[2] = _uffd(values[1], args[2], memory)
    return values


def clone_flags(name: str, args: tuple[int, ...], memory: Memory) -> int:
    """The CLONE_* flags of a birth."""
    if name == "clone3":
        words = memory.words(args[0], 1)
        return words[0] if words else 0
    if name == "vfork":
        return abi.CLONE_VM | abi.CLONE_VFORK
    return args[0] & 0xFFFFFF00 if name == "clone" else 0


def birth(name: str, flags: int) -> list[Arg]:
    """The arguments of the event of a birth."""
    text = "|".join(word for bit, word in _CLONE if flags & bit) or "0"
    if name == "clone":
        return [f"flags={text}|{signal.Signals(signal.SIGCHLD).name}"]
    return [f"{{flags={text}}}"] if name == "clone3" else []


def pid_of(pid: int, pidfd: int) -> int:
    """The number of the process that a descriptor of process *pid* stands for.

    -1 for a descriptor of something else; *pidfd* where it is none.
    """
    try:
        with open(f"/proc/{pid}/fdinfo/{pidfd}", encoding="ascii") as table:
            found = re.search(r"^Pid:\s*(\d+)", table.read(), re.MULTILINE)
    except OSError:
        return pidfd
    return int(found[1]) if found else -1


def _prctl(values: list[Arg], args: tuple[int, ...], memory: Memory) -> list[Arg]:
    # Only these take an address that may be read.
    if values[0] == abi.PR_SET_VMA and args[4]:
        values[4] = f'"{memory.text(args[4])}"'
    return values


def _nodes(address: int, maxnode: int, memory: Memory) -> Arg:
    # The kernel looks at maxnode - 1 bits.
    count = min((maxnode + 62) // 64, _MPOL_WORDS)
    words = memory.words(address, count) if address and count else ()
    return f"[{', '.join(map(hex, words))}]" if words else address


def _limit(address: int, memory: Memory) -> Arg:
    words = memory.words(address, 2)
    return format_limit(*words) if words else address


def _iovec(address: int, count: int, memory: Memory) -> Arg:
    words = memory.words(address, 2 * min(count, _IOVEC_MOST))
    if not words:
        return address
    pairs = zip(words[::2], words[1::2], strict=True)
    return format_iovec(pairs)


def format_api(features: int, api: int = 0xAA) -> str:
    """``{api=0xaa, features=…}``, as the argument of an event."""
    words = format_flags(features, ("UFFD_FEATURE_",)) if features else "0"
    return f"{{api={api:#x}, features={words}}}"


def _uffd(request: Arg, address: int, memory: Memory) -> Arg:
    if request == abi.UFFDIO_API and (words := memory.words(address, 2)):
        return format_api(words[1], words[0])
    if request == abi.UFFDIO_UNREGISTER and (words := memory.words(address, 2)):
        return format_uffdio(words[0], words[1])
    if request == abi.UFFDIO_REGISTER and (words := memory.words(address, 3)):
        modes = format_flags(words[2], ("UFFDIO_REGISTER_MODE_",))
        return format_uffdio(words[0], words[1], modes)
    return address
