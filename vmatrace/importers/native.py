"""Flags as numbers, on architectures that count them in their own way.

Knows nothing of names, which are the same everywhere. Source: asm/mman.h of each architecture in
the headers of Linux; those that are not here have the numbers of asm-generic, as vmatrace.abi.
"""

from __future__ import annotations

import re
from typing import Final

from vmatrace import abi

_MCL: Final = {0x2000: "MCL_CURRENT", 0x4000: "MCL_FUTURE", 0x8000: "MCL_ONFAULT"}
_PPC: Final = {
    "mmap": (3, {0x40: "MAP_NORESERVE", 0x80: "MAP_LOCKED"}), "mlockall": (0, _MCL),
}  # fmt: skip
#: By architecture and call: which argument holds flags, and what each bit of its own means.
_FLAGS: Final[dict[str, dict[str, tuple[int, dict[int, str]]]]] = {
    "ppc64": _PPC,
    "ppc64le": _PPC,
    "sparc64": {
        "mmap": (3, {0x40: "MAP_NORESERVE", 0x100: "MAP_LOCKED", 0x200: "MAP_GROWSDOWN"}),
        "mlockall": (0, _MCL),
    },
    "mips64": {
        "mmap": (3, {
            0x400: "MAP_NORESERVE", 0x800: "MAP_ANONYMOUS", 0x1000: "MAP_GROWSDOWN",
            0x2000: "MAP_DENYWRITE", 0x4000: "MAP_EXECUTABLE", 0x8000: "MAP_LOCKED",
            0x10000: "MAP_POPULATE", 0x20000: "MAP_NONBLOCK", 0x40000: "MAP_STACK",
            0x80000: "MAP_HUGETLB",
        }),
    },
}  # fmt: skip
_NUMBER: Final = re.compile(r"0x[0-9a-fA-F]{1,16}|[0-9]{1,20}")


def calls(arch: str | None) -> frozenset[str]:
    """The calls some of whose flags have other numbers on *arch*."""
    return frozenset(_FLAGS.get(arch or "", ()))


def text(arch: str | None, name: str, call: str) -> str:
    """*call*, in strace's spelling, with the numbers of vmatrace.abi where its flags are one."""
    at, bits = _FLAGS[arch or ""][name]
    before, opened, rest = call.partition("(")
    inside, closed, after = rest.partition(")")
    arguments = inside.split(", ")
    if at < len(arguments) and _NUMBER.fullmatch(arguments[at]):
        arguments[at] = hex(_flags(abi.c_integer(arguments[at]), bits))
    return f"{before}{opened}{', '.join(arguments)}{closed}{after}"


def _flags(value: int, bits: dict[int, str]) -> int:
    own = sum(bits)
    return value & ~own | sum(abi.CONSTANTS[name] for bit, name in bits.items() if value & bit)
