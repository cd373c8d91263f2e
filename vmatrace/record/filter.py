"""Which system calls a recording stops at: their numbers, and the seccomp filter that says so.

Knows numbers and classic BPF; nothing of what is done at a stop. The filter is what makes a
recording cheap: every other call runs at full speed. Sources: seccomp(2), include/uapi/linux/bpf_
common.h; numbers beyond those of oracle.arch: syscall_64.tbl, asm-generic/unistd.h.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from vmatrace import abi
from vmatrace.oracle.arch import native

CLONE_THREAD: Final = 0x10000
IOCTL_REQUESTS: Final = (abi.UFFDIO_REGISTER, abi.UFFDIO_UNREGISTER)
PRCTL_OPTIONS: Final = frozenset(
    {
        abi.PR_SET_MEMORY_MERGE, abi.PR_GET_MEMORY_MERGE, abi.PR_SET_VMA, abi.PR_SET_THP_DISABLE,
        abi.PR_GET_THP_DISABLE, abi.PR_SET_MDWE, abi.PR_GET_MDWE,
    }
)  # fmt: skip
#: Calls of which every one is stopped at.
_ALWAYS: Final = (
    "mmap", "munmap", "mprotect", "brk", "madvise", "mremap", "pkey_mprotect", "mlock", "mlock2",
    "munlock", "mlockall", "munlockall", "mseal", "msync", "remap_file_pages", "mbind", "shmat",
    "shmdt", "process_madvise", "fork", "vfork", "clone3", "execve", "execveat",
    "exit_group",
)  # fmt: skip
_OWN_X86: Final = {
    "fork": 57, "vfork": 58, "execveat": 322, "seccomp": 317, "kcmp": 312, "clone3": 435,
    "pidfd_getfd": 438,
}  # fmt: skip
_OWN_ARM64: Final = {
    "execveat": 281, "seccomp": 277, "kcmp": 272, "clone3": 435, "pidfd_getfd": 438,
}  # fmt: skip


@dataclass(frozen=True)
class Calls:
    """The calls of one processor. ``numbers`` by name, ``names`` those that are stopped at.

    ``audit`` is the AUDIT_ARCH_* value of its native calls; ``result`` the index of the result
    register in NT_PRSTATUS.
    """

    audit: int
    result: int
    registers: int
    numbers: dict[str, int]
    names: dict[int, str]


def calls() -> Calls:
    """The calls of the processor this runs on. Raises oracle.Unavailable for an unknown one."""
    arch = native()
    x86 = arch.name == "x86_64"
    numbers = arch.calls | (_OWN_X86 if x86 else _OWN_ARM64)
    stopped: list[str] = [name for name in (*_ALWAYS, "prctl", "ioctl", "clone") if name in numbers]
    names = {numbers[name]: name for name in stopped}
    return Calls(0xC000003E if x86 else 0xC00000B7, arch.result, arch.registers, numbers, names)


def wanted(name: str, args: tuple[int, ...]) -> bool:
    """Whether the filter would stop at this call: for a tracer that has to look at every one."""
    if name == "prctl":
        return args[0] & 0xFFFFFFFF in PRCTL_OPTIONS
    if name == "ioctl":
        return args[1] & 0xFFFFFFFF in IOCTL_REQUESTS
    return name != "clone" or not args[0] & CLONE_THREAD


_LOAD, _EQUAL, _SET, _RETURN, _AT_LEAST = 0x20, 0x15, 0x45, 0x06, 0x35
_TRACE, _ALLOW = 0x7FF00000, 0x7FFF0000
_NR, _ARCH, _ARG0, _ARG1 = 0, 4, 16, 24
#: Calls of the x32 ABI have this bit in their number.
_X32: Final = 0x40000000


def program(table: Calls) -> bytes:
    """The filter as an array of struct sock_filter: RET_TRACE for what is recorded, else ALLOW.

    Calls of another ABI (32-bit programs) are allowed: their arguments cannot be told apart.
    """
    number = table.numbers
    always = [number[name] for name in _ALWAYS if name in number]
    # Blocks: each tests one thing of the accumulator and ends at TRACE or ALLOW.
    prctl = [(_LOAD, _ARG0), *((_EQUAL, option) for option in sorted(PRCTL_OPTIONS))]
    ioctl = [(_LOAD, _ARG1), *((_EQUAL, request) for request in IOCTL_REQUESTS)]
    lines: list[tuple[int, str, str, int]] = [
        (_LOAD, "", "", _ARCH), (_EQUAL, "", "allow", table.audit), (_LOAD, "", "", _NR),
        (_AT_LEAST, "allow", "", _X32),
        *((_EQUAL, "trace", "", call) for call in always),
        (_EQUAL, "prctl", "", number["prctl"]), (_EQUAL, "ioctl", "", number["ioctl"]),
        (_EQUAL, "clone", "allow", number["clone"]),
    ]  # fmt: skip
    places = {"prctl": len(lines)}
    lines += [(op, "trace" if op == _EQUAL else "", "", k) for op, k in prctl]
    lines.append((_RETURN, "", "", _ALLOW))
    places["ioctl"] = len(lines)
    lines += [(op, "trace" if op == _EQUAL else "", "", k) for op, k in ioctl]
    lines.append((_RETURN, "", "", _ALLOW))
    places["clone"] = len(lines)
    lines += [(_LOAD, "", "", _ARG0), (_SET, "allow", "trace", CLONE_THREAD)]
    places["trace"] = len(lines)
    lines.append((_RETURN, "", "", _TRACE))
    places["allow"] = len(lines)
    lines.append((_RETURN, "", "", _ALLOW))

    def jump(to: str, here: int) -> int:
        return places[to] - here - 1 if to else 0

    return b"".join(
        struct.pack("<HBBI", op, jump(yes, at), jump(no, at), k)
        for at, (op, yes, no, k) in enumerate(lines)
    )
