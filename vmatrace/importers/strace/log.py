"""Logs of strace as traces: one file, or the set of files that strace -ff writes.

Knows how the bytes of a log become lines, and in which order the files of a set are read; what a
line means is the reader's.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import PurePath
from typing import Final

from vmatrace.event import Event
from vmatrace.importers.sources import Input
from vmatrace.importers.strace import logline
from vmatrace.importers.strace.reader import Reader
from vmatrace.notes import Notes
from vmatrace.trace.file import Trace

#: What counts as written to, unless somebody says otherwise.
DEFAULT_FAULTED: Final = "writable"
#: So much of an input is looked at to see what it is.
HEAD: Final = 1 << 16
_LONGEST: Final = 1 << 20  # a longer line is cut there
_COLOURS: Final = re.compile(r"\x1b\[[0-9;:]*[A-Za-z]")
_DAY: Final = 86400.0  # seconds
_HALF_DAY: Final = _DAY / 2
_CHILDREN: Final = re.compile(r"^.*(?:fork|clone3?)\(.* = (\d+)", re.MULTILINE)


def lines_of(blocks: Iterable[bytes]) -> Iterator[list[str]]:
    """The lines in *blocks*, without line breaks and colours, in lists as large as a block.

    What is not UTF-8 is shown as escapes; the last line may lack its line break.
    """
    rest = b""
    for block in blocks:
        whole, found, tail = block.rpartition(b"\n")
        if not found:
            rest += block
            if len(rest) > _LONGEST:
                yield _decoded(rest)
                rest = b""
            continue
        yield _decoded(rest + whole)
        rest = tail
    if rest:
        yield _decoded(rest)


def _decoded(data: bytes) -> list[str]:
    text = data.decode("utf-8", "backslashreplace")
    if "\r" in text:
        text = text.replace("\r\n", "\n").removesuffix("\r")
    if "\x1b" in text:
        text = _COLOURS.sub("", text)
    return text.split("\n")


def head_lines(head: bytes) -> list[str]:
    """The lines of an input's beginning, which may end within one."""
    return [line for lines in lines_of([head[:HEAD]]) for line in lines]


def log_trace(source: Input, lines: list[str], assume_faulted: str | None) -> Trace:
    """The trace that the log *source* is; *lines* are its first."""
    faulted = assume_faulted or DEFAULT_FAULTED
    notes = Notes(_form(lines), faulted)

    def read() -> Iterator[Event]:
        notes.reset()
        reader = Reader(source.name, notes, faulted == "writable")
        for chunk in lines_of(source.blocks()):
            yield from reader.chunk(chunk)
        yield from reader.end()

    return Trace(source.name, _name(source.name), read, partial=True, notes=notes)


def set_trace(path: str, files: list[str], lines: list[str], assume_faulted: str | None) -> Trace:
    """The trace that the *files* of strace -ff are; *lines* are the first of one of them."""
    faulted = assume_faulted or DEFAULT_FAULTED
    notes = Notes(_form(lines, "-ff"), faulted)

    def read() -> Iterator[Event]:
        notes.reset()
        reader = Reader(path, notes, faulted == "writable")
        for file, number, line in _merged(files):
            reader.own = file.rpartition(".")[2]
            reader.place = (file, number)
            yield from reader.chunk([line])
        yield from reader.end()

    return Trace(path, _name(path), read, partial=True, notes=notes)


def _form(lines: list[str], first: str = "") -> str:
    options = " ".join(filter(None, (first, logline.options(lines))))
    return f"strace {options}".rstrip()


def _name(path: str) -> str:
    """The stem of a log's name: ``run`` for run.log, run.strace.gz and run."""
    name = PurePath(path).name.strip("<>")
    for suffix in (".gz", ".xz", ".zst", ".log", ".txt", ".strace", ".trace"):
        if len(name) > len(suffix):
            name = name.removesuffix(suffix)
    return name


# --- the files of strace -ff ----------------------------------------------------------------------

_Line = tuple[str, int, str]  # which file, which line of it, the line


def _numbered(file: str) -> Iterator[_Line]:
    number = count(1)
    for lines in lines_of(Input(file).blocks()):
        for line in lines:
            yield file, next(number), line


def _merged(files: list[str]) -> Iterator[_Line]:
    """The lines of all *files*: by their times where they have some, else by turns."""
    first = {file: _first_time(file) for file in files}
    if all(re.fullmatch(r"[\d:]+\.?\d*", time) for time in first.values()):
        return _by_time(first)
    return _by_turns(files)


def _first_time(file: str) -> str:
    lines = head_lines(Input(file).head(1))
    return logline.time_of(lines[0]) if lines else ""


def _by_time(first: dict[str, str]) -> Iterator[_Line]:
    """As strace-log-merge does; a file is open only from its first line to its last."""
    clock = any(":" in time for time in first.values())  # and not a date
    seconds = {file: _sortable(time) for file, time in first.items()}
    evening = clock and max(seconds.values()) - min(seconds.values()) > _HALF_DAY
    heap: list[tuple[float, int, _File]] = []
    for i, (file, time) in enumerate(seconds.items()):
        day = _DAY if evening and time < _HALF_DAY else 0.0
        heap.append((time + day, i, _File(file, day)))
    heapq.heapify(heap)
    while heap:
        time, i, merged = heapq.heappop(heap)
        if merged.line is not None:
            yield merged.line
        following = merged.advance()
        if following is not None:
            stated = logline.time_of(following)
            # A line without a time (of a stack) follows the one before it; and a day may end.
            now = _sortable(stated) + merged.day if stated else time
            if clock and now < time - _HALF_DAY:
                merged.day += _DAY
                now += _DAY
            heapq.heappush(heap, (max(now, time), i, merged))


class _File:
    """One file of a set: its present line, and by how many seconds its clock has wrapped."""

    def __init__(self, path: str, day: float) -> None:
        self.path = path
        self.day = day
        self.line: _Line | None = None
        self._rest: Iterator[_Line] | None = None

    def advance(self) -> str | None:
        """The text of the next line, None at the end."""
        if self._rest is None:
            self._rest = _numbered(self.path)
        self.line = next(self._rest, None)
        return None if self.line is None else self.line[2]


def _sortable(time: str) -> float:
    seconds = 0.0
    for part in time.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds


def _by_turns(files: list[str]) -> Iterator[_Line]:
    """A line of each process at a time, from its birth on: the order between them is not known."""
    by_pid = {file.rpartition(".")[2]: file for file in files}
    children = {pid for file in files for pid in _births(file)} & by_pid.keys()
    roots = [file for pid, file in by_pid.items() if pid not in children] or files[:1]
    waiting = {pid: file for pid, file in by_pid.items() if file not in roots}
    running = [_numbered(file) for file in roots]
    while running:
        for lines in running[:]:
            item = next(lines, None)
            if item is None:
                running.remove(lines)
                continue
            yield item
            born = _CHILDREN.search(item[2])
            if born is not None and born[1] in waiting:
                running.append(_numbered(waiting.pop(born[1])))
        if not running and waiting:  # whoever bore them, it is not in the set
            running.append(_numbered(waiting.pop(next(iter(waiting)))))


def _births(file: str) -> Iterator[str]:
    for lines in lines_of(Input(file).blocks()):
        for line in lines:
            if "clone" in line or "fork" in line:
                yield from _CHILDREN.findall(line)
