"""VmFlags of single mappings of a traced process, read from its smaps."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Final

from vmatrace.calls import Range

_RANGE: Final = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) ")


def vmflags_at(tid: int, address: int) -> list[str]:
    """The VmFlags of the mapping at *address* of thread *tid*, in the kernel's order."""
    return next(vmflags_within(tid, [(address, address + 1)]), [])


def vmflags_within(tid: int, ranges: list[Range]) -> Iterator[list[str]]:
    """The VmFlags of each mapping of thread *tid* that has a byte of *ranges*."""
    inside = False
    with contextlib.suppress(OSError), open(f"/proc/{tid}/smaps", "rb") as smaps:
        for line in smaps:
            if (head := _RANGE.match(line)) is not None:
                start, end = int(head[1], 16), int(head[2], 16)
                inside = any(start < last and first < end for first, last in ranges)
            elif inside and line.startswith(b"VmFlags:"):
                yield line[8:].decode("ascii").split()
