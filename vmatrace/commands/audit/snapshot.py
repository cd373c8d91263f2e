"""Where a snapshot comes from: a running process, a file, standard input."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from os import PathLike
from typing import BinaryIO, Final, TextIO, Union

from vmatrace.diagnostic import Diagnostic, TraceError
from vmatrace.layout import Layout, LayoutError, parse_layout

_SYSCTL: Final = "/proc/sys/vm/max_map_count"
# The page counters of smaps, three quarters of its text, that an audit has no use for.
_COUNTERS: Final = re.compile(
    r"^(?:(?:Size|KernelPageSize|MMUPageSize|Rss|Pss|Pss_Dirty|Pss_Anon|Pss_File|Pss_Shmem|"
    r"Shared_Clean|Shared_Dirty|Private_Clean|Private_Dirty|Referenced|KSM|LazyFree|AnonHugePages|"
    r"ShmemPmdMapped|FilePmdMapped|Shared_Hugetlb|Private_Hugetlb|Swap|SwapPss|Locked|"
    r"THPeligible|ProtectionKey):[^\n]*|Anonymous: +0 kB)\n",
    re.MULTILINE,
)

#: A process by its number, a path ("-": standard input), or an open file.
SnapshotLike = Union[int, str, PathLike[str], BinaryIO, TextIO]


@dataclass(frozen=True)
class Snapshot:
    """The text of /proc/PID/smaps or maps, read. ``counted``: it says what has been written to.

    ``source`` is what messages call it; ``live``: it was taken from a process of this machine.
    """

    layout: Layout
    flags_known: bool
    counted: bool
    source: str = "<text>"
    live: bool = False


def read(text: str, source: str = "<text>", live: bool = False) -> Snapshot:
    """A snapshot from its text. Raises LayoutError."""
    try:
        layout = parse_layout(_COUNTERS.sub("", text))
    except LayoutError:
        layout = parse_layout(text)  # fails too, and knows the line
    known = all(mapping.flags_known for mapping in layout)
    counted = re.search("^Anonymous:", text, re.MULTILINE) is not None
    return Snapshot(layout, known, counted, source, live)


def open_snapshot(source: SnapshotLike) -> Snapshot:
    """The snapshot in *source*; digits alone are a process. Raises TraceError."""
    path, data = _bytes(source)
    live = path.startswith("/proc/")
    # A path in it may be in any encoding; it is only compared and shown.
    text = data.decode("utf-8", "backslashreplace")
    try:
        snapshot = read(text, path, live)
    except LayoutError as error:
        from vmatrace.commands.start.question import recognised

        wanted = "the text of /proc/PID/smaps or maps"
        raise recognised(path, wanted, "a snapshot") or _error(path, text, error) from None
    if not snapshot.layout:
        what = "nothing is mapped there (a kernel thread, or it has exited)" if live else (
            "no mapping in it (expected the text of /proc/PID/smaps or maps)")  # fmt: skip
        raise TraceError([Diagnostic(path, 0, 0, what)])
    return snapshot


def max_map_count() -> int | None:
    """The sysctl vm.max_map_count of this machine, None where it cannot be read."""
    try:
        with open(_SYSCTL, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def _error(path: str, text: str, error: LayoutError) -> TraceError:
    line = text.splitlines()[error.line - 1]
    return TraceError([Diagnostic(path, error.line, 1, error.message, line)])


def _bytes(source: SnapshotLike) -> tuple[str, bytes]:
    """What messages call *source*, and what is in it. Raises TraceError."""
    if not isinstance(source, (int, str, PathLike)):
        name = getattr(source, "name", None)
        content = source.read()
        data = content.encode() if isinstance(content, str) else content
        return name if isinstance(name, str) else "<file>", data
    path = os.fspath(source) if not isinstance(source, int) else str(source)
    if path.isascii() and path.isdigit():
        path = f"/proc/{path}/smaps"
    if path == "-":
        return "<stdin>", sys.stdin.buffer.read()
    try:
        with open(path, "rb") as file:
            return path, file.read()
    except OSError as error:
        why = f"cannot be read: {error.strerror}"
        if path.startswith("/proc/") and isinstance(error, PermissionError):
            why += " (expected a process of your own, or root)"
        elif path.startswith("/proc/") and isinstance(
            error, FileNotFoundError | ProcessLookupError
        ):
            why = "there is no such process"
        raise TraceError([Diagnostic(path, 0, 0, why)]) from None
