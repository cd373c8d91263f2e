"""Which paper a stream is: a Console of rich says it, for a terminal.

NO_COLOR, FORCE_COLOR, COLUMNS, TERM and TTY_COMPATIBLE are honoured. What is no terminal does not
import rich.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from vmatrace.render.paper import Paper, asked_width, plain

if TYPE_CHECKING:
    from rich.segment import Segment


def set_encoding(stream: TextIO, people: bool) -> None:
    """Let *stream* take every character: what is for programs is UTF-8 whatever the locale.

    For *people* a character that the stream lacks is escaped.
    """
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(
            encoding=stream.encoding if people else "utf-8", errors="backslashreplace"
        )


def on(stream: TextIO) -> Paper:
    """The paper that *stream* is, as a Console of rich sees it.

    A pipe without COLUMNS has no edge, so that its lines can be searched and compared.
    """
    own: Paper | None = getattr(stream, "paper", None)
    if own is not None:
        return own
    wishes = os.environ.get("FORCE_COLOR") or os.environ.get("TTY_COMPATIBLE") == "1"
    if not (stream.isatty() or wishes):
        return plain(stream)
    return _terminal(stream)


def _terminal(stream: TextIO) -> Paper:
    """Paper that is a terminal, or is to be taken for one; NO_COLOR leaves no escape at all."""
    from rich.console import Console

    from vmatrace.render.drawing import Drawing

    colours = None if os.environ.get("NO_COLOR") else "auto"
    console = Console(file=stream, color_system=colours)  # type: ignore[arg-type]
    width = asked_width()
    if width is None and stream.isatty():
        width = console.width or 80
    if not console.is_terminal:
        return Paper(stream, width)
    system = console._color_system
    write = stream.write

    def put(segments: Iterable[Segment]) -> None:
        write(
            "".join(
                [
                    segment.style.render(segment.text, color_system=system)
                    if segment.style and system is not None
                    else segment.text
                    for segment in segments
                ]
            )
        )

    return Drawing(console, console.options, width, True, put)
