"""Logs of strace as traces: one file, or the set of files that strace -ff writes.

Knows in which order the files of a set are read; what a line means is the reader's.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Final

from vmatrace.event import Event
from vmatrace.importers.format import Format, Reading, stem
from vmatrace.importers.machine import LogMachine
from vmatrace.importers.strace import line as logline
from vmatrace.importers.strace.reader import Reader
from vmatrace.importers.text import LogText
from vmatrace.notes import Notes
from vmatrace.trace.file import Trace

_DAY: Final = 86400.0  # seconds
_HALF_DAY: Final = _DAY / 2
_CHILDREN: Final = re.compile(r"^.*(?:fork|clone3?)\(.* = ([0-9]+)", re.MULTILINE)


def _open(text: LogText, reading: Reading) -> Trace:
    """The trace that a log in one file is."""
    notes = Notes(_form(text), reading.faulted)
    machine = reading.machine(text.head)

    def read() -> Iterator[Event]:
        notes.reset()
        notes.assumed += reading.remarks(machine)
        reader = Reader(text.name, notes, reading.faulted == "writable", machine)
        named = logline.has_names(text.head)
        for chunk in text.chunks():
            yield from reader.chunk(list(map(logline.unnamed, chunk)) if named else chunk)
        yield from reader.end()

    return _trace(text.name, read, machine, notes)


def _open_set(path: str, texts: Sequence[LogText], reading: Reading) -> Trace:
    """The trace that the files of strace -ff are."""
    notes = Notes(_form(texts[0], "-ff"), reading.faulted)
    machine = reading.machine([line for text in texts for line in text.head])

    def read() -> Iterator[Event]:
        notes.reset()
        notes.assumed += reading.remarks(machine)
        reader = Reader(path, notes, reading.faulted == "writable", machine)
        named = any(logline.has_names(text.head) for text in texts)
        if any(logline.frame(line) for text in texts for line in text.head):
            reader.await_stacks()
        for text, number, line in _merged(texts):
            reader.own = _pid(text)
            reader.place = (text.name, number)
            yield from reader.chunk([logline.unnamed(line) if named else line])
        yield from reader.end()

    return _trace(path, read, machine, notes)


def _trace(
    path: str, read: Callable[[], Iterator[Event]], machine: LogMachine, notes: Notes
) -> Trace:
    return Trace(
        path, stem(path), read, page_size=machine.page_size, arch=machine.arch, partial=True,
        notes=notes,
    )  # fmt: skip


def _form(text: LogText, first: str = "") -> str:
    options = " ".join(filter(None, ("strace", first, logline.options(text.head))))
    return options + text.dressed


# --- the files of strace -ff ----------------------------------------------------------------------

_Line = tuple[LogText, int, str]  # which file, which line of it, the line


def _pid(text: LogText) -> str:
    return text.name.rpartition(".")[2]


def _numbered(text: LogText) -> Iterator[_Line]:
    number = count(1)
    for lines in text.chunks():
        for line in lines:
            yield text, next(number), line


def _merged(texts: Sequence[LogText]) -> Iterator[_Line]:
    """The lines of all *texts*: by their times where they have some, else by turns."""
    first = [logline.time_of(text.head[0]) if text.head else "" for text in texts]
    # Those of -r are since the line before, which says nothing about the other files.
    if all(re.fullmatch(r"(?:[0-9]+:[0-9:]+|[0-9]{8,})(?:\.[0-9]+)?", time) for time in first):
        return _by_time(texts, first)
    return _by_turns(texts)


def _by_time(texts: Sequence[LogText], first: Sequence[str]) -> Iterator[_Line]:
    """As strace-log-merge does; a file is open only from its first line to its last."""
    clock = any(":" in time for time in first)  # and not a date
    seconds = [_sortable(time) for time in first]
    evening = clock and max(seconds) - min(seconds) > _HALF_DAY
    heap: list[tuple[float, int, _File]] = []
    for i, (file, time) in enumerate(zip(texts, seconds, strict=True)):
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

    def __init__(self, text: LogText, day: float) -> None:
        self.text = text
        self.day = day
        self.line: _Line | None = None
        self._rest: Iterator[_Line] | None = None

    def advance(self) -> str | None:
        """The text of the next line, None at the end."""
        if self._rest is None:
            self._rest = _numbered(self.text)
        self.line = next(self._rest, None)
        return None if self.line is None else self.line[2]


def _sortable(time: str) -> float:
    seconds = 0.0
    for part in time.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds


def _by_turns(texts: Sequence[LogText]) -> Iterator[_Line]:
    """A line of each process at a time, from its birth on: the order between them is not known."""
    by_pid = {_pid(text): text for text in texts}
    children = {pid for text in texts for pid in _births(text)} & by_pid.keys()
    roots = {pid: text for pid, text in by_pid.items() if pid not in children}
    if not roots:
        roots = {_pid(texts[0]): texts[0]}
    waiting = {pid: text for pid, text in by_pid.items() if pid not in roots}
    running = [_numbered(text) for text in roots.values()]
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


def _births(text: LogText) -> Iterator[str]:
    for lines in text.chunks():
        for line in lines:
            if "clone" in line or "fork" in line:
                yield from _CHILDREN.findall(line)


FORMAT: Final = Format(
    "strace", "a log of strace", "strace -f -y -o LOG COMMAND", logline.looks_like_log, _open,
    _open_set,
)  # fmt: skip
