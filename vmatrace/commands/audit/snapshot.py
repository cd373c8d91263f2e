"""Where a snapshot comes from: a running process, a file, standard input."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from os import PathLike
from typing import BinaryIO, Final, TextIO, Union

from vmatrace.commands.audit import bill
from vmatrace.diagnostic import Diagnostic, TraceError
from vmatrace.importers import looks, undressed
from vmatrace.importers.prefixes import PART
from vmatrace.importers.sources import Input
from vmatrace.importers.text import HEAD, LogText, lines_of
from vmatrace.layout import Layout, LayoutError
from vmatrace.snapshots import is_snapshot, parse_snapshot

_SYSCTL: Final = "/proc/sys/vm/max_map_count"

#: So often a process is read that changes its map meanwhile.
_TRIES: Final = 5

#: A process by its number, a path ("-": standard input), or an open file.
SnapshotLike = Union[int, str, PathLike[str], BinaryIO, TextIO]


@dataclass(frozen=True)
class Snapshot:
    """The text of /proc/PID/smaps or maps, read. ``counted``: it says what has been written to.

    ``source`` is what messages call it; ``pid`` and ``process`` (its name) are of one of this
    machine, None and "" else. ``ksm``: bytes that ksmd has merged, None where it does not say.
    """

    layout: Layout
    flags_known: bool
    counted: bool
    source: str = "<text>"
    pid: int | None = None
    process: str = ""
    ksm: int | None = None

    @property
    def live(self) -> bool:
        """Whether it was taken from a process of this machine."""
        return self.pid is not None


def read(text: str, source: str = "<text>", pid: int | None = None, process: str = "") -> Snapshot:
    """A snapshot from its text. Raises LayoutError."""
    layout = parse_snapshot(text)
    known = all(mapping.flags_known for mapping in layout)
    counted = re.search(r"^ *(?:Address .* )?Anonymous[: ]", text, re.MULTILINE) is not None
    ksm = bill.resident(text) if "\nKSM:" in text else None
    return Snapshot(layout, known, counted, source, pid, process, ksm)


class ForbiddenError(TraceError):
    """A process that this user may not look into."""


class GoneError(TraceError):
    """A process that there is not, or not any more."""


class EmptyError(TraceError):
    """A process without memory of its own: a kernel thread, or one that is exiting."""


def open_snapshot(source: SnapshotLike) -> Snapshot:
    """The snapshot in *source*; digits alone are a process. Raises TraceError, of a process
    ForbiddenError, GoneError or EmptyError.
    """
    for _ in range(_TRIES - 1):
        try:
            return _opened(source)
        except TornError:
            continue
    return _opened(source)


class TornError(TraceError):
    """A process changed its map while it was read, so that a VMA was seen twice."""


def _opened(source: SnapshotLike) -> Snapshot:
    path, data = _bytes(source)
    pid = _pid(path)
    text = _text(data)
    try:
        snapshot = read(text, path, pid, "" if pid is None else process_name(pid))
    except LayoutError as error:
        if pid is not None:
            raise TornError(_error(path, text, error).diagnostics) from None
        found = _undressed(data, path)
        if found is None:
            raise _why_not(path, data, text, error) from None
        snapshot = found
    if not snapshot.layout:
        if pid is not None:
            what = "nothing is mapped there (a kernel thread, or it has exited)"
            raise EmptyError([Diagnostic(path, 0, 0, what)])
        what = "no mapping in it (expected the text of /proc/PID/smaps or maps)"
        raise TraceError([Diagnostic(path, 0, 0, what)])
    return snapshot


def _text(data: bytes) -> str:
    """*data* line by line. A path in it may be in any encoding; it is only compared and shown."""
    if data.endswith(b"\n") and data.isascii() and b"\r" not in data and b"\x1b" not in data:
        return data.decode("ascii")  # as the lines say, in a tenth of the time
    return "\n".join("\n".join(lines) for lines in lines_of([data])) + "\n"


def _undressed(data: bytes, path: str) -> Snapshot | None:
    """The snapshot in *data*, where something stands before each of its lines: logcat's, mail's."""
    for text in undressed(LogText(Input(BytesIO(data)))):
        if text.prefixes and is_snapshot(text.head):
            lines = [line for chunk in text.chunks() for line in chunk if line != PART]
            with suppress(LayoutError):
                return read("\n".join(lines), path)
    return None


def _why_not(path: str, data: bytes, text: str, error: LayoutError) -> TraceError:
    """The error about a file that is no snapshot, or one with a bad line."""
    if is_snapshot(text[:HEAD].split("\n")):
        return _error(path, text, error)
    like = looks.what(data[:512], text[:HEAD].split("\n"))
    if like is not None:
        what = f"it looks like {like} (expected the text of /proc/PID/smaps or maps)"
        return TraceError([Diagnostic(path, 0, 0, what)])
    from vmatrace.commands.start.question import recognised

    wanted = "the text of /proc/PID/smaps or maps"
    return recognised(path, wanted, "a snapshot") or _error(path, text, error)


def _pid(path: str) -> int | None:
    """The process whose maps or smaps *path* is."""
    match = re.fullmatch(r"/proc/([0-9]+|self|thread-self)/(?:task/[0-9]+/)?s?maps", path)
    if match is None:
        return None
    return int(match[1]) if match[1].isdigit() else os.getpid()


def process_name(pid: int) -> str:
    """The name of a process (/proc/PID/comm), "" where it has exited."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="backslashreplace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return ""


def max_map_count() -> int | None:
    """The sysctl vm.max_map_count of this machine, None where it cannot be read."""
    try:
        with open(_SYSCTL, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def _error(path: str, text: str, error: LayoutError) -> TraceError:
    line = text.split("\n")[error.line - 1]
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
    try:
        found = Input(path)
        return found.name, found.whole()
    except TraceError as error:
        cause = error.__cause__
        if not path.startswith("/proc/"):
            raise
        if isinstance(cause, PermissionError):
            why = f"cannot be read: {cause.strerror} (expected a process of your own, or root)"
            raise ForbiddenError([Diagnostic(path, 0, 0, why)]) from None
        if isinstance(cause, (FileNotFoundError, ProcessLookupError)):
            raise GoneError([Diagnostic(path, 0, 0, "there is no such process")]) from None
        raise
