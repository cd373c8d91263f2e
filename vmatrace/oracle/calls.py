"""From the calls of a trace to the calls of the kernel: names, descriptors, text, buffers.

Knows which calls stay within the process, and how each argument that is not a number is passed.
Refuses (Unsupported) what would reach beyond the process, and arguments of unknown form.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from resource import RLIM_INFINITY, getrlimit
from typing import Final

from vmatrace import abi
from vmatrace.calls import BIRTHS, LIMITED, PRCTL_OPTIONS, shares_memory
from vmatrace.event import Arg, Expr, Fd
from vmatrace.oracle.errors import Unsupported
from vmatrace.structures import iovec, nodemask, soft_limit

#: These advices take pages away from the whole machine.
_ADVICE_BEYOND: Final = frozenset({abi.MADV_HWPOISON, abi.MADV_SOFT_OFFLINE})

#: Puts bytes where the process can read them; the address.
Memory = Callable[[bytes], int]
#: The descriptor that a name or number of the trace stands for.
Descriptor = Callable[[Fd], int]


def number(arg: Arg, labels: Mapping[str, int], descriptor: Descriptor) -> int | str:
    """*arg* as a number, or as the text that it is."""
    if isinstance(arg, Expr):
        return arg.evaluate(labels)
    return descriptor(arg) if isinstance(arg, Fd) else arg


def arguments(name: str, args: Sequence[int | str], memory: Memory) -> tuple[str, list[int]]:
    """The kernel's call and its arguments for call *name* of a trace. Raises Unsupported."""
    if name in BIRTHS:
        flags = abi.CLONE_PARENT | (abi.CLONE_VM if shares_memory(name, args) else 0)
        return "clone", [flags, 0, 0, 0, 0]
    special = _SPECIAL.get(name)
    name = "prlimit64" if name == "setrlimit" else name
    values = list(args) if special is None else special(args, memory)
    for value in values:
        if isinstance(value, str):
            raise Unsupported(f"{name}: no way to pass the argument {value!r}")
    return name, [value for value in values if isinstance(value, int)]


def _prctl(args: Sequence[int | str], memory: Memory) -> list[int | str]:
    if args[0] not in PRCTL_OPTIONS:
        raise Unsupported(f"prctl option {args[0]} may reach beyond the address space")
    values = [*args, 0, 0, 0, 0][:5]
    if args[0] == abi.PR_SET_VMA and isinstance(values[4], str):
        values[4] = memory(values[4].strip('"').encode(errors="surrogateescape") + b"\0")
    return values


def _setrlimit(args: Sequence[int | str], memory: Memory) -> list[int | str]:
    return _limit(0, args[0], args[1], memory)


def _prlimit(args: Sequence[int | str], memory: Memory) -> list[int | str]:
    if args[0]:
        raise Unsupported("prlimit64: the limits of another process stay as they are")
    return _limit(0, args[1], args[2], memory)


def _limit(pid: int, resource: int | str, new: int | str, memory: Memory) -> list[int | str]:
    """The arguments of prlimit64, whose hard limit stays where it is."""
    soft = soft_limit(new)
    if resource not in LIMITED or soft is None:
        raise Unsupported(f"limit {resource}: no rlim_cur in {new!r}")
    hard = getrlimit(int(resource))[1]
    most = abi.RLIM_INFINITY if hard == RLIM_INFINITY else hard
    return [pid, resource, memory(struct.pack("<QQ", min(soft, most), most)), 0]


def _io_setup(args: Sequence[int | str], memory: Memory) -> list[int | str]:
    return [args[0], memory(bytes(8))]


def _madvise(args: Sequence[int | str], memory: Memory) -> list[int | str]:
    if args[1]:  # of no memory it says only whether the kernel knows the advice
        _check_advice(args[2])
    return list(args)


def _check_advice(advice: int | str) -> None:
    if advice in _ADVICE_BEYOND:
        raise Unsupported("MADV_HWPOISON and MADV_SOFT_OFFLINE take memory away from the machine")


def _mremap(args: Sequence[int | str], memory: Memory) -> list[int | str]:
    return [*args, 0][:5]


def _mbind(args: Sequence[int | str], memory: Memory) -> list[int | str]:
    values = list(args)
    if isinstance(values[3], str):
        words = nodemask(values[3])
        values[3] = memory(struct.pack(f"<{len(words)}Q", *words)) if words else 0
    return values


def _process_madvise(args: Sequence[int | str], memory: Memory) -> list[int | str]:
    _check_advice(args[3])
    values = list(args)
    if isinstance(values[1], str):
        pairs = iovec(values[1])
        if not pairs and values[1].strip() != "[]":
            raise Unsupported(f"process_madvise: no iov_base and iov_len in {values[1]!r}")
        data = b"".join(struct.pack("<QQ", *pair) for pair in pairs)
        values[1] = memory(data) if data else 0
    return values


_SPECIAL: Final[dict[str, Callable[[Sequence[int | str], Memory], list[int | str]]]] = {
    "prctl": _prctl,
    "madvise": _madvise,
    "mremap": _mremap,
    "setrlimit": _setrlimit,
    "prlimit64": _prlimit,
    "io_setup": _io_setup,
    "mbind": _mbind,
    "process_madvise": _process_madvise,
}
