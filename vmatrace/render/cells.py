"""Text as rich measures, breaks and lays it out, where no colour is wanted.

Rich is imported where it has something to do: for text whose characters may be more or less than a
column wide, and for renderables of rich. A pipe does not pay for it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

#: As wide as a renderable may become where there is no edge.
NO_EDGE: Final = 10_000


#: Text of which each character is one column wide, as rich's tables say: Latin, arrows, frames.
_NARROW: Final = (
    "[\x20-\x7e\u00a1-\u00ac\u00ae-\u02ff\u2012-\u2027\u2190-\u2193\u2260\u2500-\u257f]*"
)


def _narrow(text: str) -> bool:
    return text.isascii() or re.fullmatch(_NARROW, text) is not None


def columns(text: str) -> int:
    """How many columns of a terminal *text* takes, as rich measures it."""
    if _narrow(text):
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def padded(text: str, width: int) -> str:
    """*text* with spaces behind it up to *width* columns."""
    return text + " " * (width - columns(text))


def chopped(text: str, width: int) -> list[str]:
    """*text* in pieces of at most *width* columns."""
    if _narrow(text):
        return [text[i : i + width] for i in range(0, len(text), width)]
    # Not rich's chop_cells(), which gave the characters in reverse order before 13.7.
    pieces, room = [""], width
    for character in text:
        wide = columns(character)
        if wide > room and pieces[-1]:
            pieces.append("")
            room = width
        pieces[-1] += character
        room -= wide
    return pieces


def wrapped(text: str, first: int, rest: int) -> list[str]:
    """*text* broken at spaces, in lines of at most *rest* columns, the first of them *first*.

    A word longer than a line is broken too.
    """
    if _narrow(text):
        import textwrap

        width = max(first, rest)
        indents = " " * (width - first), " " * (width - rest)
        lines = textwrap.wrap(text, width, initial_indent=indents[0], subsequent_indent=indents[1],
                              break_on_hyphens=False)  # fmt: skip
        return [line[len(indents[i > 0]) :] for i, line in enumerate(lines)] or [""]
    from rich.text import Text

    console = _console()
    first_line = Text(text).wrap(console, first)[0].plain.rstrip()
    more = text[len(first_line) :].lstrip(" ")
    others = list(Text(more).wrap(console, rest)) if more else []
    return [first_line, *(line.plain.rstrip() for line in others)]


def lines(renderable: RenderableType, width: int | None, unicode: bool) -> Iterator[str]:
    """The lines of *renderable* in *width* columns; ASCII frames, not *unicode*."""
    console = _console()
    room = width or NO_EDGE
    options = console.options.update(width=room, max_width=room)
    options.encoding = "utf-8" if unicode else "ascii"
    for line in console.render_lines(renderable, options, pad=False):
        yield "".join([segment.text for segment in line])


@cache
def _console() -> Console:
    """A console that nothing is printed to."""
    from rich.console import Console

    from vmatrace.render import theme

    return Console(file=io.StringIO(), width=80, color_system=None, theme=theme.theme())
