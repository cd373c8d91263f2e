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
from vmatrace.calls import ALIASES, CALLS, used_by
from vmatrace.oracle.arch import Arch, native

_RECORDED: Final = used_by("record")
_OWN_X86: Final = {
    "fork": 57, "vfork": 58, "execveat": 322, "seccomp": 317, "kcmp": 312, "clone3": 435,
    "pidfd_getfd": 438,
}  # fmt: skip
_OWN_ARM64: Final = {
    "execveat": 281, "seccomp": 277, "kcmp": 272, "clone3": 435, "pidfd_getfd": 438,
}  # fmt: skip


@dataclass(frozen=True)
class SyscallTable:
    """The calls of one processor. ``numbers`` by name, ``names`` those that are stopped at.

    ``audit`` is the AUDIT_ARCH_* value of its native calls; ``result`` the index of the result
    register in NT_PRSTATUS.
    """

    audit: int
    result: int
    registers: int
    numbers: dict[str, int]
    names: dict[int, str]


def own_numbers(arch: Arch) -> dict[str, int]:
    """The numbers of calls that the oracle does not need."""
    return _OWN_X86 if arch.name == "x86_64" else _OWN_ARM64


def calls() -> SyscallTable:
    """The calls of the processor this runs on. Raises oracle.Unavailable for an unknown one."""
    arch = native()
    numbers = arch.calls | own_numbers(arch)
    stopped = [name for call in _RECORDED for name in (call.name, *call.also)]
    # fork and vfork are no calls of every processor.
    names = {numbers[name]: name for name in stopped if name in numbers}
    audit = 0xC000003E if arch.name == "x86_64" else 0xC00000B7
    return SyscallTable(audit, arch.result, arch.registers, numbers, names)


def wanted(name: str, args: tuple[int, ...]) -> bool:
    """Whether the filter would stop at this call: for a tracer that has to look at every one."""
    if name == "clone":
        return not args[0] & abi.CLONE_THREAD
    return CALLS[ALIASES.get(name, name)].concerns_memory(args)


_LOAD, _EQUAL, _SET, _RETURN, _AT_LEAST = 0x20, 0x15, 0x45, 0x06, 0x35
_TRACE, _ALLOW = 0x7FF00000, 0x7FFF0000
_NR, _ARCH, _ARGS = 0, 4, 16
#: Calls of the x32 ABI have this bit in their number.
_X32: Final = 0x40000000


def program(table: SyscallTable) -> bytes:
    """The filter as an array of struct sock_filter: RET_TRACE for what is recorded, else ALLOW.

    Calls of another ABI (32-bit programs) are allowed: their arguments cannot be told apart.
    """
    selected = {call.name: call.select for call in _RECORDED if call.select is not None}
    apart = (*selected, "clone")
    lines: list[tuple[int, str, str, int]] = [
        (_LOAD, "", "", _ARCH), (_EQUAL, "", "allow", table.audit), (_LOAD, "", "", _NR),
        (_AT_LEAST, "allow", "", _X32),
        *((_EQUAL, "trace", "", n) for n, name in table.names.items() if name not in apart),
        *((_EQUAL, name, "", table.numbers[name]) for name in selected),
        (_EQUAL, "clone", "allow", table.numbers["clone"]),
    ]  # fmt: skip
    # Blocks: each tests one argument in the accumulator and ends at TRACE or ALLOW.
    places = {}
    for name, select in selected.items():
        places[name] = len(lines)
        lines.append((_LOAD, "", "", _ARGS + 8 * select.param))
        lines += [(_EQUAL, "trace", "", value) for value in select.values]
        lines.append((_RETURN, "", "", _ALLOW))
    places["clone"] = len(lines)
    lines += [(_LOAD, "", "", _ARGS), (_SET, "allow", "trace", abi.CLONE_THREAD)]
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
