"""Read the layout of a stopped process, VmFlags included, as fast as /proc allows.

One descriptor of /proc/PID/smaps stays open. smaps is read, and not maps or PROCMAP_QUERY, because
only it prints VmFlags; it costs about 2 µs per VMA. A record's page counters change all the time
and its header and flags seldom do, so mappings are looked up by these two lines.
Knows no event and no call.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from collections.abc import Mapping as Names
from typing import Final, Protocol

from vmatrace import layout
from vmatrace.layout import Layout, Mapping

_FLAGS: Final = b"VmFlags: "
_ANONYMOUS: Final = re.compile(rb"([0-9a-f]+)-.*\n(?:[A-Z].*\n)*?Anonymous: +[1-9]")
_VSYSCALL: Final = layout.VSYSCALL.encode()
_CHUNK: Final = 1 << 16
_CACHE_LIMIT: Final = 1 << 16


class MappingCache:
    """Mappings by the header and the VmFlags line of their record, for any number of processes.

    ``names`` turns the paths that the kernel prints into others; it may be filled until the first
    lookup of such a path.
    """

    def __init__(self, names: Names[str, str]) -> None:
        self.known: dict[tuple[bytes, bytes], Mapping] = {}
        self._names = names
        self._vm_flags: dict[bytes, int] = {}

    def parse(self, header: bytes, flags: bytes) -> Mapping:
        """The mapping of a record that is not known yet; from then on it is."""
        fields = header.split(None, 5)
        start, _, end = fields[0].partition(b"-")
        name = os.fsdecode(fields[5].rstrip()) if len(fields) > 5 else ""
        mapping = Mapping(
            int(start, 16), int(end, 16), self._parse_flags(flags), int(fields[2], 16),
            self._names.get(name, name), fields[3].decode(), int(fields[4]),
        )  # fmt: skip
        if len(self.known) >= _CACHE_LIMIT:
            self.known.clear()
        self.known[header, flags] = mapping
        return mapping

    def layout(self, records: Iterable[tuple[bytes, bytes]]) -> Layout:
        """The mappings of *records*, without [vsyscall]."""
        known = self.known
        result: Layout = []
        for record in records:
            mapping = known.get(record)
            if mapping is None:
                if record[0].endswith(_VSYSCALL):
                    continue
                mapping = self.parse(*record)
            result.append(mapping)
        return result

    def _parse_flags(self, flags: bytes) -> int:
        vm_flags = self._vm_flags.get(flags)
        if vm_flags is None:
            # The meaning of the codes is known to layout alone; there are few combinations.
            (mapping,) = layout.parse_layout(f"0-1 ---p 0 0:0 0\n{flags.decode()}\n")
            vm_flags = self._vm_flags[flags] = mapping.vm_flags
        return vm_flags


class LayoutReader(Protocol):
    """Reads the layout of one stopped process, for as long as it executes no other image."""

    def close(self) -> None:
        """Give back what it takes to read. May be called again."""

    def expect(self) -> None:
        """The layout will be read after the next thing that the process does."""

    def read(self) -> Layout:
        """Every VMA of the process in address order, without [vsyscall] and without ``sd``."""

    def anonymous(self) -> frozenset[int]:
        """Start addresses of the mappings that have anonymous pages now."""


def anonymous_starts(text: bytes) -> frozenset[int]:
    """Start addresses of the mappings in the smaps *text* that have anonymous pages."""
    return frozenset(int(start, 16) for start in _ANONYMOUS.findall(text))


class SmapsReader:
    """The layout of one process of this machine.

    Raises FileNotFoundError or ProcessLookupError when the process is gone.
    """

    def __init__(self, pid: int, cache: MappingCache) -> None:
        self._fd = os.open(f"/proc/{pid}/smaps", os.O_RDONLY | os.O_CLOEXEC)
        self._cache = cache
        #: Bytes from the end of a header to its flags, as in the record before.
        self._body = 0

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def expect(self) -> None:
        """It is read when it is asked for."""

    def text(self) -> bytes:
        """The whole of /proc/PID/smaps. The kernel hands out about a page of it per read."""
        read, fd = os.read, self._fd
        os.lseek(fd, 0, os.SEEK_SET)
        chunks = []
        while chunk := read(fd, _CHUNK):
            chunks.append(chunk)
        return b"".join(chunks)

    def read(self) -> Layout:
        known, text, body = self._cache.known, self.text(), self._body
        find, at_flags = text.find, text.startswith
        result: Layout = []
        start, size = 0, len(text)
        while start < size:
            line_end = find(b"\n", start)
            flags = line_end + body
            if not at_flags(_FLAGS, flags):
                # The counters have a fixed width up to 99,999,999 kB, so this is seldom.
                flags = find(_FLAGS, line_end)
                self._body = body = flags - line_end
            end = find(b"\n", flags)
            record = text[start:line_end], text[flags:end]
            start = end + 1
            mapping = known.get(record)
            if mapping is None:
                if record[0].endswith(_VSYSCALL):
                    continue
                mapping = self._cache.parse(*record)
            result.append(mapping)
        return result

    def anonymous(self) -> frozenset[int]:
        return anonymous_starts(self.text())
