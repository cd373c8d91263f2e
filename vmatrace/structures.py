"""The structures that calls point to, in the form in which strace prints them.

Knows that form, both ways; nothing of which call takes what.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from vmatrace import abi

#: What abi.c_integer() takes, and no more.
_CONSTANT: Final = r"(?:0[xX][0-9a-fA-F]{1,16}|0[0-7]{0,22}|[1-9][0-9]{0,19})"
_NUMBER: Final = rf"({_CONSTANT}|NULL)(?!\w)"
_IOVEC: Final = re.compile(rf"iov_base={_NUMBER}, *iov_len={_NUMBER}")
_WORDS: Final = re.compile(rf"(?<!\w){_CONSTANT}(?!\w)")
_START: Final = re.compile(rf"\bstart={_NUMBER}")
_SOFT: Final = re.compile(
    rf"rlim_cur=(RLIM(?:64)?_INFINITY|{_CONSTANT}(?:\*{_CONSTANT}){{0,3}})(?!\w)"
)
_RING: Final = re.compile(rf"\[{_NUMBER}\]")
_SIZE: Final = re.compile(rf"\blen={_NUMBER}")


def iovec(text: object) -> list[tuple[int, int]]:
    """Base and length of each part of an iovec as strace prints it; none where it has no text."""
    parts = _IOVEC.findall(text) if isinstance(text, str) else ()
    return [(abi.c_integer(base), abi.c_integer(length)) for base, length in parts]


def soft_limit(text: object) -> int | None:
    """The soft limit in bytes of a struct rlimit as strace prints it, None where there is none."""
    match = _SOFT.search(text) if isinstance(text, str) else None
    if match is None:
        return None
    value = 1
    for factor in match[1].split("*"):
        value *= abi.RLIM_INFINITY if factor.startswith("RLIM") else abi.c_integer(factor)
    return min(value, abi.RLIM_INFINITY)


def format_limit(soft: int, hard: int) -> str:
    """``{rlim_cur=…, rlim_max=…}``."""
    cur, most = ("RLIM64_INFINITY" if n == abi.RLIM_INFINITY else str(n) for n in (soft, hard))
    return f"{{rlim_cur={cur}, rlim_max={most}}}"


def ring(text: object) -> int | None:
    """The address that io_setup() wrote, from ``[0x…]`` as strace prints it; None without."""
    match = _RING.fullmatch(text.strip()) if isinstance(text, str) else None
    return None if match is None else abi.c_integer(match[1])


def format_iovec(parts: Iterable[tuple[int, int]]) -> str:
    """``[{iov_base=0x…, iov_len=0x…}, …]``."""
    return f"[{', '.join(f'{{iov_base={base:#x}, iov_len={size:#x}}}' for base, size in parts)}]"


def nodemask(text: str) -> list[int]:
    """The words of a nodemask as strace prints it: ``[0x1, 0000000000000000]``."""
    return [abi.c_integer(word) for word in _WORDS.findall(text)]


def uffdio_range(text: object) -> tuple[int, int] | None:
    """Start and length in a uffdio_range or uffdio_register as strace prints it, None without."""
    start, size = (p.search(text) if isinstance(text, str) else None for p in (_START, _SIZE))
    if start is None or size is None:
        return None
    return abi.c_integer(start[1]), abi.c_integer(size[1])


def format_uffdio(start: int, length: int, mode: str = "") -> str:
    """``{start=0x…, len=0x…}``, or with *mode* ``{range={…}, mode=…}``."""
    area = f"{{start={start:#x}, len={length:#x}}}"
    return f"{{range={area}, mode={mode}}}" if mode else area
