"""Which machine a log is of: its architecture and page size, where its first lines prove them.

Knows the marks of architectures (loaders, triplets, constants, how far addresses go) and what page
sizes allow; knows no format.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from vmatrace import abi

#: What only one architecture's lines have, by a group of its name.
_MARK: Final = re.compile(
    r"(?P<aarch64>aarch64|PROT_BTI|PROT_MTE|PR_SET_TAGGED_ADDR_CTRL|PR_PAC_)"
    r"|(?P<ppc64le>powerpc64le|ppc64le|/ld64\.so\.2)"
    r"|(?P<ppc64>powerpc64-linux|ppc64-linux|/ld64\.so\.1\b|PROT_SAO)"
    r"|(?P<riscv64>riscv64|riscv_flush_icache|riscv_hwprobe)"
    r"|(?P<s390x>s390x-linux)|(?P<loongarch64>loongarch64)"
    r"|(?P<mips64>mips64(?:el)?-linux)|(?P<sparc64>sparc64-linux|PROT_ADI)"
    r"|(?P<armv7l>arm-linux-gnueabi|/ld-linux-armhf|set_tls\()"
    r"|(?P<x86_64>x86_64-linux-gnu|/ld-linux-x86-64|arch_prctl\()"
    r"|(?P<i686>i[3-6]86-linux-gnu|set_thread_area\()"
)
#: A call that places memory: its arguments and where it was placed.
_PLACED: Final = re.compile(
    r"\b(?P<name>mmap2?|mremap|brk|shmat)\((?P<args>.*)\)\s+= 0x0*(?P<result>[0-9a-f]{1,16})\b"
)
_RANGED: Final = re.compile(
    r"\b(?:munmap|mprotect|madvise|mlock2?|munlock|mseal|pkey_mprotect)\("
    r"(?:addr=)?0x0*(?P<addr>[0-9a-f]{1,16}),.*\)\s+= 0\b"
)
_NUMBER: Final = re.compile(r"0x[0-9a-fA-F]{1,16}\b|[1-9][0-9]{0,18}\b")
#: So many small mappings have to be on the borders of larger pages: of random ones not one in a
#: thousand would be (16 KiB), nor one in ten thousand (64 KiB).
_ENOUGH: Final = {65536: 4, 16384: 6}


DEFAULT_PAGE_SIZE: Final = abi.PAGE_SIZES[0]


class LogMachine(NamedTuple):
    """``arch`` is a key of abi.TASK_SIZES, None where nothing shows it. ``page_size`` in bytes."""

    arch: str | None
    page_size: int


def guessed(lines: Sequence[str]) -> LogMachine:
    """The machine that *lines* are of, as far as they prove it."""
    placed = _placed(lines)
    return LogMachine(_arch(lines, placed), _page_size(lines, placed))


def _arch(lines: Sequence[str], placed: Sequence[tuple[int, int]]) -> str | None:
    mark = _MARK.search("\n".join(lines))
    if mark is not None:
        return mark.lastgroup
    highest = max((address for address, _ in placed), default=0)
    # User memory of x86-64 ends at 47 bits and of arm64 at 48; beyond, several go as far.
    return "aarch64" if abi.TASK_SIZE <= highest < 1 << 48 else None


def _placed(lines: Sequence[str]) -> list[tuple[int, int]]:
    """Where memory was placed, and how long it is: 0 where that is not known."""
    found = []
    for line in lines:
        match = _PLACED.search(line) if " = 0x" in line else None
        if match is not None:
            at = {"mmap": 1, "mmap2": 1, "mremap": 2}.get(match["name"])
            chosen = not match["args"].startswith(("0x", "addr=0x")) or match["name"] == "mremap"
            arguments = match["args"].split(", ")
            length = 0
            if at is not None and chosen and len(arguments) > at:
                number = _NUMBER.search(arguments[at].rpartition("=")[2])
                length = abi.c_integer(number[0]) if number else 0
            found.append((int(match["result"], 16), length))
    return found


def _page_size(lines: Sequence[str], placed: Sequence[tuple[int, int]]) -> int:
    if sum(0 < length < min(_ENOUGH) for _, length in placed) < min(_ENOUGH.values()):
        return DEFAULT_PAGE_SIZE
    addresses = [address for address, _ in placed if address]
    addresses += [int(match["addr"], 16) for line in lines if (match := _RANGED.search(line))]
    for size, enough in _ENOUGH.items():
        small = {address for address, length in placed if 0 < length < size}
        if len(small) >= enough and not any(address % size for address in addresses):
            return size
    return DEFAULT_PAGE_SIZE
