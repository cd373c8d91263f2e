"""Large inputs: a strace log of real programs, repeated with other pids and addresses, and one of
memory calls alone; a snapshot and a trace of very many VMAs.
"""

from __future__ import annotations

import lzma
import re
from collections.abc import Iterator
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Final

from streams import Process

_REAL: Final = Path(__file__).parent.parent / "importers" / "strace" / "shell.log.xz"
_ADDRESS: Final = re.compile(r"\b0x(?:7[ef]|5[56])[0-9a-f]{10}\b")
#: So far is each repetition from the one before it, and so many are there before the first again.
_STEP: Final = 0x3D000
_PLACES: Final = 1 << 14


def everything(lines: int) -> Iterator[str]:
    """*lines* lines: a shell runs the same few programs again and again."""
    with lzma.open(_REAL, "rt", encoding="utf-8") as file:
        real = file.read().splitlines()
    shell = real[0].split(" ", 1)[0]
    inside = [i for i, line in enumerate(real) if not line.startswith(shell)]
    # From the shell's first fork to what it does when its last child has ended.
    first = next(i for i in range(inside[0], 0, -1) if "fork(" in real[i] or "clone" in real[i])
    last = inside[-1] + 2
    children = sorted({line.split(" ", 1)[0] for line in real} - {shell})
    pids = re.compile(rf"\b({'|'.join(children)})\b")
    body = "\n".join(real[first:last])

    def repeated() -> Iterator[str]:
        yield from real[:first]
        for turn in count():
            shift = turn % _PLACES * _STEP
            base = 10000 + turn * len(children) % 4_000_000
            names = {pid: str(base + i) for i, pid in enumerate(children)}
            text = pids.sub(partial(_renamed, names), body)
            yield from _ADDRESS.sub(partial(_moved, shift), text).split("\n")

    return islice(repeated(), lines)


def _renamed(names: dict[str, str], found: re.Match[str]) -> str:
    return names[found[0]]


def _moved(shift: int, found: re.Match[str]) -> str:
    return hex(int(found[0], 16) - shift)


def memory_calls(lines: int) -> Iterator[str]:
    """*lines* lines: the calls of an invented process, as strace -e trace=memory -y shows them."""
    yield "brk(NULL) = 0x555555559000"
    for text in Process().calls(lines - 1):
        yield text.replace(", 3, ", ", 3</usr/lib/libc.so.6>, ")


#: The fields of a VMA in smaps between its size and its flags, of a 6.18 on x86-64.
_FIELDS: Final = (
    "KernelPageSize", "MMUPageSize", "Rss", "Pss", "Pss_Dirty", "Shared_Clean", "Shared_Dirty",
    "Private_Clean", "Private_Dirty", "Referenced", "Anonymous", "KSM", "LazyFree",
    "AnonHugePages", "ShmemPmdMapped", "FilePmdMapped", "Shared_Hugetlb", "Private_Hugetlb",
    "Swap", "SwapPss", "Locked",
)  # fmt: skip


def snapshot(vmas: int) -> str:
    """/proc/PID/smaps of so many VMAs: stacks of 4 KiB with guards between them."""
    lines = []
    start = 0x7F0000000000
    for i in range(vmas):
        size, perms, flags = (
            (4, "rw-p", "rd wr mr mw me ac ") if i % 2 else (32, "---p", "mr mw me ")
        )
        end = start + (size << 10)
        lines.append(f"{start:x}-{end:x} {perms} 00000000 00:00 0 ")
        lines.append(f"Size:           {size:8} kB")
        values = {"KernelPageSize": 4, "MMUPageSize": 4}
        lines += [f"{field + ':':<15} {values.get(field, 0):8} kB" for field in _FIELDS]
        lines.append("THPeligible:           0")
        lines.append(f"VmFlags: {flags}")
        start = end
    return "\n".join(lines) + "\n"


def mappings(vmas: int) -> str:
    """A trace that maps so many VMAs, none of which can merge with the next."""
    first = 0x100000000
    lines = ["vmatrace: 1", f"sysctl: {{max_map_count: {2 * vmas}}}", "events:"]
    for i in range(vmas):
        prot = "PROT_READ|PROT_WRITE" if i % 2 else "PROT_NONE"
        lines.append(
            f"  - mmap({first + 0x1000 * i:#x}, 0x1000, {prot},"
            " MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)"
        )
    return "\n".join(lines) + "\n"
