"""The items of a block list, fast: lines that can be nothing but a plain scalar are cut out here.

Nearly all of a large trace is lines such as ``  - munmap(0x1000, 4096) = 0``. What else stands
between them is read by yamlstream, piece by piece; and where a piece is not plainly a few items of
its own, everything from the first item on, so that only YAML decides what a text means.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from vmatrace.diagnostic import BrokenError, Collector, Source
from vmatrace.trace.yamlstream import Node, YamlReader

#: A longer piece is not worth a parser of its own, in bytes.
_PIECE: Final = 1 << 14
#: A piece costs as much as so many plain lines save.
_WORTH: Final = 20
_PATIENCE: Final = 8


class PlainItem:
    """A plain scalar on one line; a yamlstream.Scalar. Its marks count from 0, as yaml's do."""

    __slots__ = ("column", "line", "value")
    style = ""

    def __init__(self, value: str, line: int, column: int) -> None:
        self.value = value
        self.line = line
        self.column = column

    @property
    def start_mark(self) -> PlainItem:
        return self

    end_mark = start_mark


def items(
    source: Source,
    start: int,
    line: int,
    column: int,
    everything: Callable[[], Iterator[Node | None]],
) -> Iterator[Node | None]:
    """The items of the block list of *source* whose first ``-`` is in *line* and *column* (from 0).

    The line starts at byte *start*. *everything* reads the list from there as YAML; nothing may
    follow it. Raises what *everything* raises.
    """
    if any(b"\r" in block for _, block in source.windows(start)):
        yield from everything()
        return
    dash = rb" " * column + rb"- "
    # A letter first, and no ": " or " #"; the next line starts an item or is a comment, so that it
    # does not go on there. Not even the end of the file is certain.
    plain = re.compile(
        rb"(?m)^" + dash + rb"([A-Za-z_][ -\"$-9;-~]*[!-\"$-9;-~])\n(?=" + dash + rb"| *#)"
    )
    value_at = column + 2
    match = plain.match
    given = pieces = position = 0
    data = b""
    windows = source.windows(start)
    more = True
    while more or position < len(data):
        found = match(data, position)
        if found is not None:
            yield PlainItem(found[1].decode("ascii"), line, value_at)
            given += 1
            line += 1
            position = found.end()
            continue
        if more and len(data) - position <= 2 * _PIECE:
            block = next(windows, None)
            more = block is not None
            if block is not None:
                data, position = data[position:] + block[1], 0
            continue
        following = plain.search(data, position, position + _PIECE)
        end = following.start() if following is not None else len(data)
        pieces += 1
        nodes = None
        if end - position <= _PIECE and (pieces < _PATIENCE or given > _WORTH * pieces):
            nodes = _piece(source, data[position:end], line, column)
        if nodes is None:
            yield from islice(everything(), given, None)
            return
        yield from nodes
        given += len(nodes)
        line += data.count(b"\n", position, end)
        position = end


def _piece(source: Source, part: bytes, line: int, column: int) -> list[Node | None] | None:
    """The items of a piece of the list, None where it cannot be read for itself."""
    errors = Collector(source)
    try:
        reader = YamlReader(source, errors, part, line)
        nodes = reader.whole_list(column)
    except BrokenError:
        return None
    return None if errors else nodes
