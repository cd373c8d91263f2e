"""What text is written on: how wide it is, how it is broken, and which characters it takes.

Knows nothing of what is written. This paper shows no colour and draws no frames; that of a terminal
is a Drawing (render.drawing), and render.streams says which of them a stream is.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TextIO, Union

from vmatrace.escape import inert, visible
from vmatrace.render.cells import chopped, columns, lines, wrapped

if TYPE_CHECKING:
    from rich.console import RenderableType

#: Text, or text with a style of render.theme.
Span = Union[str, "tuple[str, str]"]


class Paper:
    """Lines of spans, written to a stream. ``width`` is in columns, None where there is no edge.

    Nothing is ever cut off: what is too long for the width goes on in the next line, or beyond it.
    ``drawn``: for an eye on a screen, where lines need not be greppable.
    """

    drawn = False

    def __init__(self, stream: TextIO, width: int | None = None) -> None:
        self.width = width
        self._unicode = _has_unicode(stream)
        self._write = stream.write

    def glyph(self, character: str, instead: str) -> str:
        """*character*, or *instead* on a stream that cannot show it."""
        return character if self._unicode else instead

    def line(self, *spans: Span) -> None:
        """Write one line as it is, but harmless (vmatrace.escape)."""
        pairs = [(span, "") if isinstance(span, str) else span for span in spans]
        while pairs and not pairs[-1][0].strip():
            del pairs[-1]
        if pairs:
            pairs[-1] = (pairs[-1][0].rstrip(), pairs[-1][1])
        whole = "".join([text for text, _ in pairs])
        if not whole.isprintable():
            pairs = [(visible(text), style) for text, style in pairs]
        if ("::" in whole or "##" in whole) and (harmless := inert(whole)) != visible(whole):
            pairs = [(harmless, "")]
        self._put(pairs)

    def _put(self, pairs: list[tuple[str, str]]) -> None:
        """Write a line of harmless text and styles."""
        self._write("".join([text for text, _ in pairs]) + "\n")

    def add(self, renderable: RenderableType) -> None:
        """Write a renderable of rich."""
        for line in lines(renderable, self.width, self._unicode):
            self.line(line)

    def paragraph(self, text: str, style: str = "", first: str = "", rest: str = "") -> None:
        """Write *text* broken at spaces, with *first* before its first line, *rest* before more."""
        if self.width is None:  # which is measured for nobody
            self.line((first + visible(text), style))
            return
        for part in self.broken(text, columns(first), columns(rest)):
            self.line((first + part, style))
            first = rest

    def broken(self, text: str, first: int = 0, rest: int = 0) -> list[str]:
        """*text* in pieces that fit behind *first* columns, the later ones behind *rest*."""
        text = visible(text)
        if self.width is None or first + columns(inert(text)) <= self.width:
            return [text]
        # Any word may come to stand first in a line, where a runner would take it for a command.
        text = " ".join(map(inert, text.split(" ")))
        room = max(self.width, rest + 20)
        return wrapped(text, room - first, room - rest)

    def folded(self, text: str, before: int) -> list[str]:
        """*text*, which has no good place to break, in pieces that fit behind *before* columns."""
        text = visible(text)
        if self.width is None or before + columns(text) <= self.width:
            return [text]
        return chopped(text, max(self.width - before, 12))


def plain(stream: TextIO) -> Paper:
    """Paper without colour and frames, as wide as COLUMNS says, without an edge if it does not."""
    return Paper(stream, asked_width())


def asked_width() -> int | None:
    """Columns as COLUMNS says, None where it does not."""
    given = os.environ.get("COLUMNS", "")
    return int(given) if given.isdecimal() and int(given) > 0 else None


def _has_unicode(stream: TextIO) -> bool:
    return (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"
