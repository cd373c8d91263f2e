"""The lines of a text input: decoded, without colours, and without what others put before each.

Knows encodings, line breaks and the prefixes of journals, containers and mail (prefixes.py); knows
nothing of what the lines say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from vmatrace.importers.prefixes import Prefix
from vmatrace.importers.sources import BLOCK, Input

#: So much of an input is looked at to see what it is.
HEAD: Final = 1 << 16
_FAR: Final = 1 << 24
_LONGEST: Final = 1 << 20  # a longer line is cut there
_COLOURS: Final = re.compile(r"\x1b\[[0-9;:]*[A-Za-z]")
_BOM: Final = "\ufeff"
_UTF16: Final = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


class LogText:
    """The lines of *source*. ``head`` holds the first of them, the last of which may be cut.

    ``prefixes``: what is cut off each line that has it, outermost first; without().
    """

    def __init__(self, source: Input, prefixes: tuple[Prefix, ...] = ()) -> None:
        """Raises TraceError."""
        self.source = source
        self.name = source.name
        self.prefixes = prefixes
        start = source.head(HEAD + 1)
        self.cut = len(start) > HEAD  # whether there is more than ``head``
        self._whole_head = [line for lines in lines_of([start[:HEAD]]) for line in lines]
        self.head = self._cut(self._whole_head)

    def without(self, prefix: Prefix) -> LogText:
        """The same text without *prefix* before its lines."""
        return self._like((*self.prefixes, prefix), self._whole_head, prefix.cut(self.head))

    def later(self, pattern: re.Pattern[str]) -> Iterator[LogText]:
        """The same text, with later lines for ``head``: those of a block where *pattern* is found.

        So far as _FAR goes. Raises TraceError.
        """
        for number, lines in enumerate(self.chunks()):
            if number * BLOCK >= _FAR:
                return
            if any(map(pattern.search, lines)):
                yield self._like(self.prefixes, lines, lines)

    @property
    def dressed(self) -> str:
        """What its lines stand in, to be said behind what it is; empty for plain lines."""
        return "".join(f" in {prefix.what}" for prefix in reversed(self.prefixes))

    def chunks(self) -> Iterator[list[str]]:
        """All lines, in lists of some hundred; prefixes.PART is part of a later one. TraceError."""
        chunks = lines_of(self.source.blocks())
        for prefix in self.prefixes:
            chunks = prefix.streamed(chunks)
        return chunks

    def _like(
        self, prefixes: tuple[Prefix, ...], whole_head: list[str], head: list[str]
    ) -> LogText:
        other = LogText.__new__(LogText)
        other.source, other.name, other.cut = self.source, self.name, self.cut
        other.prefixes, other._whole_head, other.head = prefixes, whole_head, head
        return other

    def _cut(self, lines: list[str]) -> list[str]:
        for prefix in self.prefixes:
            lines = prefix.cut(lines)
        return lines


def lines_of(blocks: Iterable[bytes]) -> Iterator[list[str]]:
    """The lines in *blocks*, without line breaks and colours, in lists as large as a block.

    What is not UTF-8 (UTF-16 with its mark is read too) is shown as escapes; the last line may
    lack its line break.
    """
    rest = b""
    first = True
    for block in _in_utf8(blocks):
        whole, found, tail = block.rpartition(b"\n")
        if not found:
            rest += block
            if len(rest) <= _LONGEST:
                continue
            whole, tail = b"", b""
        lines = _decoded(rest + whole)
        if first:
            first = False
            lines[0] = lines[0].removeprefix(_BOM)
        yield lines
        rest = tail
    if rest:
        lines = _decoded(rest)
        yield [lines[0].removeprefix(_BOM), *lines[1:]] if first else lines


def _in_utf8(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """*blocks*, converted where the first two bytes mark them as UTF-16 (Windows' editors do)."""
    import codecs

    decoder = None
    for number, block in enumerate(blocks):
        if number == 0 and (encoding := _UTF16.get(block[:2])):
            decoder = codecs.getincrementaldecoder(encoding)("replace")
        if decoder is None:
            yield block
        else:
            yield decoder.decode(block).encode()


def _decoded(data: bytes) -> list[str]:
    text = data.decode("utf-8", "backslashreplace")
    if "\r" in text:
        text = text.replace("\r\n", "\n").removesuffix("\r")
    if "\x1b" in text:
        text = _COLOURS.sub("", text)
    return text.split("\n")
