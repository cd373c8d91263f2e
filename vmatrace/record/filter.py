"""Which system calls a recording stops at: their numbers, and the seccomp filter that says so.

Knows numbers and classic BPF; nothing of what is done at a stop. The filter is what makes a
recording cheap: every other call runs at full speed. Sources: seccomp(2), include/uapi/linux/bpf_
common.h; numbers beyond those of oracle.arch: syscall_64.tbl, asm-generic/unistd.h.
"""

from __future__ import annotations

import ctypes
import struct
from dataclasses import dataclass
from typing import Final

from vmatrace import abi
from vmatrace.calls import ALIASES, CALLS, used_by
from vmatrace.oracle.arch import Arch, native
from vmatrace.record.userfaultfds import NEW, is_made_by

_RECORDED: Final = used_by("record")
#: What else is stopped at, by the first argument: strict seccomp mode (PR_SET_SECCOMP, and
#: SECCOMP_SET_MODE_STRICT), which no program enters that has a filter; and what begins to trace.
STRICT: Final = {"prctl": 22, "seccomp": 0}
#: What is stopped at because it changes memory and no event of a trace says how, with values of the
#: first argument (none: any). Shadow stacks (ARCH_SHSTK_ENABLE) and PR_SET_MM.
UNFOLLOWED: Final = {"map_shadow_stack": (), "arch_prctl": (0x5001,), "prctl": (35,)}
#: AUDIT_ARCH_I386, and its calls that change memory: brk, mmap, munmap, ipc, mprotect, mremap,
#: mmap2, madvise, remap_file_pages. A program of 64 bits may make them (int 0x80).
OTHER_ABI: Final = 0x40000003
_OF_OTHER_ABI: Final = (45, 90, 91, 117, 125, 163, 192, 219, 257)
_GETPID: Final = 39
#: Requests of ptrace(2) by which one process begins to trace another: TRACEME, ATTACH, SEIZE.
TRACING: Final = (0, 16, 0x4206)


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


def calls() -> SyscallTable:
    """The calls of the processor this runs on. Raises oracle.Unavailable for an unknown one."""
    arch = native()
    numbers = arch.calls
    stopped = [name for call in _RECORDED for name in (call.name, *call.also)]
    stopped += ["ptrace", "seccomp", "userfaultfd", *UNFOLLOWED]
    # fork and vfork are no calls of every processor.
    names = {numbers[name]: name for name in stopped if name in numbers}
    audit = 0xC000003E if arch.name == "x86_64" else 0xC00000B7
    return SyscallTable(audit, arch.result, arch.registers, numbers, names)


def wanted(name: str, args: tuple[int, ...]) -> bool:
    """Whether the filter would stop at this call: for a tracer that has to look at every one."""
    if name == "clone":  # a thread is part of its process, unless it would escape us
        return not args[0] & abi.CLONE_THREAD or bool(args[0] & abi.CLONE_UNTRACED)
    if name == "ptrace":
        return args[0] & 0xFFFFFFFF in TRACING
    if is_strict(name, args):
        return True
    if name == "seccomp":
        return False
    if is_unfollowed(name, args) or is_made_by(name, args):
        return True
    if name == "prlimit64" and not args[2]:  # which every program asks at its start
        return False
    if name not in CALLS and name not in ALIASES:
        return False
    return CALLS[ALIASES.get(name, name)].concerns_memory(args)


def is_strict(name: str | None, args: tuple[int, ...]) -> bool:
    """Whether the call may enter strict seccomp mode."""
    return name is not None and args[0] & 0xFFFFFFFF == STRICT.get(name)


def is_unfollowed(name: str, args: tuple[int, ...]) -> bool:
    """Whether the call changes memory in a way that no event says."""
    values: tuple[int, ...] | None = UNFOLLOWED.get(name)
    return values is not None and (not values or args[0] & 0xFFFFFFFF in values)


def in_words(name: str) -> str:
    """How a reader is told of a call that is_unfollowed()."""
    return {"prctl": "prctl(PR_SET_MM)", "arch_prctl": "arch_prctl(ARCH_SHSTK_ENABLE)"}.get(
        name, f"{name}()"
    )


_LOAD, _EQUAL, _SET, _RETURN, _AT_LEAST = 0x20, 0x15, 0x45, 0x06, 0x35
_TRACE, _ALLOW = 0x7FF00000, 0x7FFF0000
_NR, _ARCH, _ARGS = 0, 4, 16
#: SyscallTable of the x32 ABI have this bit in their number.
X32: Final = 0x40000000


def program(table: SyscallTable, action: int = _TRACE) -> bytes:
    """The filter as an array of struct sock_filter: *action* for what is recorded, else ALLOW.

    Calls of another ABI (32-bit programs) are allowed, but for those that change memory.
    """
    selected = {
        call.name: (call.select.param, call.select.values)
        for call in _RECORDED
        if call.select is not None
    }
    selected["prctl"] = (0, (*selected["prctl"][1], STRICT["prctl"], *UNFOLLOWED["prctl"]))
    if "arch_prctl" in table.names.values():
        selected["arch_prctl"] = (0, UNFOLLOWED["arch_prctl"])
    selected["ioctl"] = (1, (*selected["ioctl"][1], NEW))
    selected |= {"ptrace": (0, TRACING), "seccomp": (0, (STRICT["seccomp"],))}
    apart = (*selected, "clone")
    lines: list[tuple[int, str, str, int]] = [
        (_LOAD, "", "", _ARCH), (_EQUAL, "", "other", table.audit), (_LOAD, "", "", _NR),
        (_AT_LEAST, "x32", "", X32),
        *((_EQUAL, "trace", "", n) for n, name in table.names.items() if name not in apart),
        *((_EQUAL, name, "", table.numbers[name]) for name in selected),
        (_EQUAL, "clone", "allow", table.numbers["clone"]),
    ]  # fmt: skip
    # Blocks: each tests one argument in the accumulator and ends at TRACE or ALLOW.
    places = {}
    for name, (param, values) in selected.items():
        places[name] = len(lines)
        lines.append((_LOAD, "", "", _ARGS + 8 * param))
        then = "changes" if name == "prlimit64" else "trace"
        lines += [(_EQUAL, then, "", value) for value in values]
        lines.append((_RETURN, "", "", _ALLOW))
    places["changes"] = len(lines)
    lines += [
        (_LOAD, "", "", _ARGS + 16), (_EQUAL, "", "trace", 0),
        (_LOAD, "", "", _ARGS + 20), (_EQUAL, "allow", "trace", 0),
    ]  # fmt: skip
    places["clone"] = len(lines)
    lines += [
        (_LOAD, "", "", _ARGS), (_SET, "trace", "", abi.CLONE_UNTRACED),
        (_SET, "allow", "trace", abi.CLONE_THREAD),
    ]  # fmt: skip
    places["other"] = len(lines)
    lines += [(_EQUAL, "", "allow", OTHER_ABI), (_LOAD, "", "", _NR)]
    lines += [(_EQUAL, "trace", "", number) for number in _OF_OTHER_ABI]
    lines.append((_RETURN, "", "", _ALLOW))
    places["x32"] = len(lines)
    lines += [(_EQUAL, "trace", "", X32 | n) for n, name in table.names.items() if of_x32(name)]
    lines.append((_RETURN, "", "", _ALLOW))
    places["trace"] = len(lines)
    lines.append((_RETURN, "", "", action))
    places["allow"] = len(lines)
    lines.append((_RETURN, "", "", _ALLOW))

    def jump(to: str, here: int) -> int:
        return places[to] - here - 1 if to else 0

    return b"".join(
        struct.pack("<HBBI", op, jump(yes, at), jump(no, at), k)
        for at, (op, yes, no, k) in enumerate(lines)
    )


def of_x32(name: str) -> bool:
    """Whether call *name* has the same number in the x32 ABI, and changes memory."""
    call = CALLS.get(name)
    return call is not None and (call.ranged or call.result == "addr" or name == "shmdt")


def has_x32() -> bool:
    """Whether the kernel makes calls of the x32 ABI (CONFIG_X86_X32_ABI); elsewhere they fail."""
    return native().name == "x86_64" and ctypes.CDLL(None).syscall(X32 | _GETPID) > 0


#: What the kernel lets a thread do in strict mode: read, write, rt_sigreturn, exit.
_STRICT_CALLS: Final = {"x86_64": (0, 1, 15, 60), "aarch64": (63, 64, 139, 93)}
#: The data of RET_TRACE by which the strict filter is known from the other.
BEYOND_STRICT: Final = 1


def strict_program(arch: Arch) -> bytes:
    """Strict seccomp mode as a filter: RET_TRACE with BEYOND_STRICT for what it forbids."""
    allowed = _STRICT_CALLS[arch.name]
    lines = [(_LOAD, 0, 0, _NR)]
    lines += [(_EQUAL, len(allowed) - at, 0, number) for at, number in enumerate(allowed)]
    lines += [(_RETURN, 0, 0, _TRACE | BEYOND_STRICT), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("<HBBI", *line) for line in lines)
