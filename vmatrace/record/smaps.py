"""What smaps says of the mappings of a traced process."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Final

from vmatrace.calls import Range

_RANGE: Final = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) ")
_WITH_PAGES: Final = re.compile(rb"^(?:[0-9a-f]+-|Anonymous:|VmFlags:).*", re.MULTILINE)
_FLAGS: Final = b"VmFlags:"
#: Bytes read at once: the kernel gives no more than a page.
_AT_ONCE: Final = 1 << 14


def ranges_and_flags(tid: int, with_pages: bool = False) -> bytes:
    """Of each mapping of thread *tid* its line as in maps, and VmFlags.

    *with_pages*: also how many anonymous pages it has. Empty where the thread is gone.
    """
    try:
        fd = os.open(f"/proc/{tid}/smaps", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    parts = []
    try:
        while part := os.read(fd, _AT_ONCE):
            parts.append(part)
    except OSError:
        return b""
    finally:
        os.close(fd)
    text = b"".join(parts)
    if with_pages:
        return b"\n".join(_WITH_PAGES.findall(text))
    # All have the same fields, VmFlags last (show_smap()).
    lines = text.split(b"\n")
    count = next((i for i, line in enumerate(lines, 1) if line.startswith(_FLAGS)), 1)
    wanted: list[bytes] = [b""] * (len(lines) // count * 2)
    wanted[::2], wanted[1::2] = lines[: len(lines) - 1 : count], lines[count - 1 :: count]
    return b"\n".join(wanted)


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
