"""Large strace logs: one of real programs, repeated with other pids and addresses; one of memory
calls alone.
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
