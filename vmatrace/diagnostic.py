"""Bad input as values: where it is, what is wrong, and the compiler form of both.

Knows source text, positions and how many errors are worth printing; knows nothing of traces.
Lines and columns count from 1, columns in characters.
"""

from __future__ import annotations

import difflib
import os
import re
import unicodedata
import weakref
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO, Final

from vmatrace.escape import disarmed, inert, lengthened

#: So many errors of one file are kept; the rest are counted.
MAX_DIAGNOSTICS: Final = 100
#: So many are counted; then reading stops, and the output says so.
MAX_COUNTED: Final = 1000
#: So many candidates are compared for a suggestion.
_MAX_CANDIDATES: Final = 400
_WIDTH: Final = 100
#: In bytes: what of an input is looked at at a time, and from where on a file is not held.
WINDOW: Final = 1 << 20
_LINE_BREAK: Final = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True)
class Diagnostic:
    """One error. ``line`` 0 means the file as a whole; ``source`` is the text of the line."""

    path: str
    line: int
    column: int
    message: str
    source: str = ""

    def __str__(self) -> str:
        place = f":{self.line}:{self.column}" if self.line else ""
        text = inert(f"{self.path}{place}: error: {self.message}")
        if not self.line:
            return text
        if not self.source.strip():
            return text
        shown, caret = _excerpt(self.source, self.column - 1)
        return f"{text}\n    {shown}\n    {caret}"


class TraceError(Exception):
    """Input that cannot be read: every error of one file, in the order of the lines.

    ``omitted`` counts the errors beyond MAX_DIAGNOSTICS, which ``str`` mentions; ``stopped`` says
    that reading ended after MAX_COUNTED.
    """

    def __init__(
        self, diagnostics: Iterable[Diagnostic], omitted: int = 0, stopped: bool = False
    ) -> None:
        self.diagnostics = list(diagnostics)
        self.omitted = omitted
        self.stopped = stopped
        super().__init__(self.diagnostics, omitted)

    def __str__(self) -> str:
        text = "\n".join(map(str, self.diagnostics))
        if self.omitted:
            path = self.diagnostics[0].path if self.diagnostics else ""
            text += "\n" + inert(f"{path}: error: … and {self.omitted} more")
            text += " (reading stopped there)" if self.stopped else ""
        return text


class BrokenError(Exception):
    """The text is not worth reading on; the reason has been reported."""


class Source:
    """The bytes of one input and where its lines are. ``path`` is what messages call it.

    A good input is read window by window, so that a large one need not be held (FileSource).
    ``data`` is all of it, ``size`` its length in bytes.
    """

    def __init__(self, path: str, data: bytes = b"") -> None:
        self.path = path
        self._data = data
        self._starts: array[int] | None = None

    @property
    def data(self) -> bytes:
        return self._data

    @property
    def size(self) -> int:
        return len(self._data)

    def part(self, start: int, end: int) -> bytes:
        """The bytes from *start* to *end*."""
        return self._data[start:end]

    def windows(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """All from *start* on, some whole lines at a time, each with the byte that it starts at."""
        wanted = WINDOW
        while block := self.part(start, start + wanted):
            more = start + len(block) < self.size
            whole = block.rfind(b"\n") + 1 if more else len(block)
            if whole:
                yield start, block[:whole]
            start += whole
            wanted = WINDOW if whole else 2 * wanted

    def _line_starts(self) -> array[int]:
        # Only an error needs it, so a good file never pays for it.
        if self._starts is None:
            self._starts = array("Q", [0])
            self._starts.extend(match.end() for match in _LINE_BREAK.finditer(self.data))
        return self._starts

    def line(self, number: int) -> str:
        """The text of line *number* without its line break; empty beyond the end."""
        starts = self._line_starts()
        if not 1 <= number <= len(starts):
            return ""
        end = starts[number] if number < len(starts) else len(self.data)
        return self.data[starts[number - 1] : end].rstrip(b"\r\n").decode("utf-8", "replace")

    def offset(self, line: int) -> int:
        """The byte at which *line*, from 0, starts."""
        passed = end = 0
        for start, block in self.windows():
            for found in islice(_LINE_BREAK.finditer(block), line - passed):
                passed += 1
                end = start + found.end()
            if passed == line:
                break
        return end

    def end(self) -> tuple[int, int]:
        """Line and column after the last character that is not white space."""
        return self.position(len(self.data.rstrip()))

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of the byte at *offset*."""
        starts = self._line_starts()
        line = bisect_right(starts, offset)
        before = self.data[starts[line - 1] : offset].decode("utf-8", "replace")
        return line, len(before) + 1


class FileSource(Source):
    """A file that is read where it stands, and held only once somebody wants ``data``."""

    def __init__(self, path: str, file: BinaryIO, start: int) -> None:
        """What is in *file*, a regular one, from byte *start* on; it may be closed then."""
        super().__init__(path)
        self._file = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._file)
        self._start = start
        self._size = os.fstat(self._file).st_size - start

    @property
    def data(self) -> bytes:
        if not self._data:
            self._data = b"".join(block for _, block in self.windows())
        return self._data

    @property
    def size(self) -> int:
        return self._size

    def part(self, start: int, end: int) -> bytes:
        """Raises TraceError where there is less than there was."""
        length = max(min(end, self._size) - start, 0)
        found = os.pread(self._file, length, self._start + start)
        if len(found) < length:
            what = "it became shorter while it was read"
            raise TraceError([Diagnostic(self.path, 0, 0, what)])
        return found


class Collector:
    """Gathers the errors of one source, so that one run reports them all."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.count = 0
        self._kept: list[Diagnostic] = []

    def __bool__(self) -> bool:
        return self.count > 0

    def add(self, line: int, column: int, message: str) -> None:
        """Report an error. Raises BrokenError when there have been too many."""
        self.count += 1
        if len(self._kept) < MAX_DIAGNOSTICS:
            text = self.source.line(line) if line else ""
            self._kept.append(Diagnostic(self.source.path, line, column, message, text))
        if self.count >= MAX_COUNTED:
            raise BrokenError

    def error(self) -> TraceError:
        """Everything gathered, as the exception to raise."""
        kept = sorted(self._kept, key=lambda d: (d.line, d.column))
        return TraceError(kept, self.count - len(kept), self.count >= MAX_COUNTED)


def quoted(text: str) -> str:
    """*text* as a message shows it: in quotes, escaped, not longer than a word needs to be."""
    return repr(text if len(text) <= 60 else text[:59] + "…")


def suggestion(word: str, candidates: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` with the candidate nearest to *word*, or nothing."""
    if len(word) > 64:
        return ""
    pool = {name.casefold(): name for name in islice(candidates, _MAX_CANDIDATES)}
    close = difflib.get_close_matches(word.casefold(), pool, 1)
    return f" (did you mean {pool[close[0]]!r}?)" if close else ""


def _excerpt(source: str, index: int) -> tuple[str, str]:
    """The part of *source* around *index* that fits a line, and the caret line below it."""
    index = min(max(index, 0), len(source))
    first, last = 0, len(source)
    if len(source) > _WIDTH:
        first = max(0, min(index - _WIDTH // 2, len(source) - _WIDTH))
        last = first + _WIDTH
    head, tail = ("…" if first else ""), ("…" if last < len(source) else "")
    shown = head + "".join(map(_printable, source[first:last])) + tail
    pad = " " * len(head) + "".join(map(_blank, source[first:index]))
    pad += " " * lengthened(shown, len(head) + index - first)
    return disarmed(shown.rstrip()), pad + "^"


def _printable(char: str) -> str:
    return char if char == "\t" or char.isprintable() else "\N{REPLACEMENT CHARACTER}"


def _blank(char: str) -> str:
    """White space as wide as *char* on a terminal; a tab stays one, so that both lines align."""
    if char == "\t":
        return char
    if unicodedata.combining(char):
        return ""
    return "  " if unicodedata.east_asian_width(char) in "WF" else " "
