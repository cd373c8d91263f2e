"""What text is written on: how wide it is, whether it takes colour and which characters.

Knows streams and terminals; knows nothing of what is written. Rich is imported only for a stream
that takes colour, so that a pipe does not pay for it.
"""

from __future__ import annotations

import io
import os
import textwrap
from collections.abc import Callable
from typing import TextIO, Union

from vmatrace.escape import inert, visible

#: Text, or text with a rich style such as "dim" or "bold red".
Span = Union[str, "tuple[str, str]"]
#: Gives text the look of a style.
Styler = Callable[[str, str], str]


class Paper:
    """Lines of spans, written to a stream. ``width`` is in columns, None where there is no edge.

    Nothing is ever cut off: what is too long for the width goes on in the next line.
    """

    def __init__(
        self, stream: TextIO, width: int | None = None, style: Styler = lambda text, _: text
    ) -> None:
        self.stream = stream
        self.width = width
        self._style = style
        self._unicode = _has_unicode(stream)

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
        if ("::" in whole or "##" in whole) and (harmless := inert(whole)) != visible(whole):
            pairs = [(harmless, "")]
        style = self._style
        self.stream.write("".join([style(visible(text), name) for text, name in pairs]) + "\n")

    def paragraph(self, text: str, style: str = "", first: str = "", rest: str = "") -> None:
        """Write *text* broken at spaces, with *first* before its first line, *rest* before more."""
        for part in self.broken(text, len(first), len(rest)):
            self.line((first + part, style))
            first = rest

    def broken(self, text: str, first: int = 0, rest: int = 0) -> list[str]:
        """*text* in pieces that fit behind *first* columns, the later ones behind *rest*."""
        text = visible(text)
        if self.width is None or len(inert(" " * first + text)) <= self.width:
            return [text]
        # Any word may come to stand first in a line, where a runner would take it for a command.
        text = " ".join(map(inert, text.split(" ")))
        room = max(self.width, rest + 20)
        lines = textwrap.wrap(
            text, room, initial_indent=" " * first, subsequent_indent=" " * rest,
            break_on_hyphens=False,
        )  # fmt: skip
        return [line[first if i == 0 else rest :] for i, line in enumerate(lines)] or [""]

    def folded(self, text: str, before: int) -> list[str]:
        """*text*, which has no good place to break, in pieces that fit behind *before* columns."""
        text = visible(text)
        if self.width is None or before + len(text) <= self.width:
            return [text]
        room = max(self.width - before, 12)
        return [text[i : i + room] for i in range(0, len(text), room)]


def set_encoding(stream: TextIO, people: bool) -> None:
    """Let *stream* take every character: what is for programs is UTF-8 whatever the locale.

    For *people* a character that the stream lacks is escaped.
    """
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(
            encoding=stream.encoding if people else "utf-8", errors="backslashreplace"
        )


def on(stream: TextIO) -> Paper:
    """The paper that *stream* is: NO_COLOR, FORCE_COLOR, TERM and COLUMNS are honoured.

    A pipe without COLUMNS has no edge, so that its lines can be searched and compared.
    """
    columns = os.environ.get("COLUMNS", "")
    terminal = stream.isatty()
    width: int | None = int(columns) if columns.isdecimal() and int(columns) > 0 else None
    if width is None and terminal:
        width = _terminal_width(stream)
    if _takes_colour(terminal):
        return Paper(stream, width, _colours())
    return Paper(stream, width)


def _terminal_width(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _takes_colour(terminal: bool) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return terminal and os.environ.get("TERM", "") not in ("dumb", "unknown")


def _colours() -> Styler:
    # A style rendered by itself is ten times as fast as a Console's line, and looks the same.
    from rich.style import Style

    return lambda text, style: Style.parse(style).render(text) if style else text


def _has_unicode(stream: TextIO) -> bool:
    return (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"
