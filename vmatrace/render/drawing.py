"""Paper that is rich's: a terminal, any Console that prints an answer, and a picture.

The lines of a Paper become segments with the styles of render.theme, without the detour by Text:
ten times as fast, and a layout may have a million of them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.segment import Segment

from vmatrace.escape import inert, visible
from vmatrace.render import theme
from vmatrace.render.cells import NO_EDGE, columns
from vmatrace.render.paper import Paper

if TYPE_CHECKING:
    from rich.console import ConsoleOptions, RenderableType


class Drawing(Paper):
    """Paper in the hands of *console*; *put* takes the segments of each line and its break."""

    def __init__(
        self, console: Console, options: ConsoleOptions, width: int | None, drawn: bool,
        put: Callable[[Iterable[Segment]], None],
    ) -> None:  # fmt: skip
        super().__init__(io.StringIO(), width)
        self.drawn = drawn
        self._unicode = not options.ascii_only
        self._console = console
        self._options = options
        self._segments = put

    def _put(self, pairs: list[tuple[str, str]]) -> None:
        style = theme.style
        self._segments([*(Segment(text, style(name)) for text, name in pairs), _BREAK])

    def add(self, renderable: RenderableType) -> None:
        width = self.width or NO_EDGE
        options = self._options.update(width=width, max_width=width)
        with self._console.use_theme(theme.theme()):
            lines = self._console.render_lines(renderable, options, pad=False)
        for line in lines:
            self._segments([*map(_harmless, line), _BREAK])


class _Cropped(Drawing):
    """Paper whose console crops lines: what goes beyond the width is written below."""

    def _put(self, pairs: list[tuple[str, str]]) -> None:
        whole = "".join([text for text, _ in pairs])
        if self.width is None or columns(whole) <= self.width:
            super()._put(pairs)
            return
        if "::" in whole:  # which a cut could bring to the start of a line
            pairs = [(inert(whole).replace("::", r"\x3a:"), "")]
        for part in _cut(pairs, self.width):
            super()._put(part)


_BREAK: Final = Segment.line()


def _harmless(segment: Segment) -> Segment:
    if segment.text.isprintable():
        return segment
    return Segment(visible(segment.text), segment.style)


def _cut(pairs: list[tuple[str, str]], width: int) -> Iterator[list[tuple[str, str]]]:
    """A line of spans in lines of at most *width* columns."""
    part: list[tuple[str, str]] = []
    room = width
    for text, style in pairs:
        for character in text:
            wide = columns(character)
            if wide > room:
                yield part
                part, room = [], width
            part.append((character, style))
            room -= wide
    yield part


def segments(
    console: Console, options: ConsoleOptions, write: Callable[[Paper], None]
) -> Iterator[Segment]:
    """What *write* writes on paper as wide as *options* say, for __rich_console__()."""
    made: list[Segment] = []
    drawn = console.is_terminal or console.is_jupyter or console.record
    write(_Cropped(console, options, options.max_width, drawn, made.extend))
    yield from made
