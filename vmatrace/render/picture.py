"""What a terminal shows, as a picture: SVG and a fragment of HTML, by rich's own export.

Nothing in them is fetched from anywhere: the font is one that the reader has.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Final

from rich.console import Console
from rich.segment import Segment, Segments
from rich.terminal_theme import DEFAULT_TERMINAL_THEME

from vmatrace.render.drawing import Drawing
from vmatrace.render.paper import asked_width

#: Columns where COLUMNS says nothing.
_WIDTH: Final = 80
_FONTS: Final = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
_SVG: Final = f"""\
<svg class="vmatrace" viewBox="0 0 {{width}} {{height}}" xmlns="http://www.w3.org/2000/svg">
<style>
.{{unique_id}}-matrix {{{{ font-family: {_FONTS}; font-size: {{char_height}}px;\
 line-height: {{line_height}}px; white-space: pre; }}}}
.{{unique_id}}-title {{{{ font: bold 18px sans-serif; }}}}
{{styles}}
</style>
<defs>
<clipPath id="{{unique_id}}-clip-terminal">
<rect x="0" y="0" width="{{terminal_width}}" height="{{terminal_height}}" />
</clipPath>
{{lines}}
</defs>
{{chrome}}
<g transform="translate({{terminal_x}}, {{terminal_y}})"\
 clip-path="url(#{{unique_id}}-clip-terminal)">
{{backgrounds}}
<g class="{{unique_id}}-matrix">
{{matrix}}
</g>
</g>
</svg>
"""
_FRAGMENT: Final = (
    f'<pre class="vmatrace" style="font-family: {_FONTS}; '
    'color: {foreground}; background: {background}">{code}</pre>\n'
)


class Sheet(io.StringIO):
    """A stream that keeps what is drawn on it; ``paper`` is what render.streams.on() takes."""

    def __init__(self) -> None:
        super().__init__()
        width = asked_width() or _WIDTH
        # No terminal, which TERM and NO_COLOR would say something of.
        self._console = Console(file=io.StringIO(), record=True, width=width)
        self._made: list[Segment] = []
        self.paper = Drawing(self._console, self._console.options, width, True, self._take)

    def _take(self, segments: Iterable[Segment]) -> None:
        self._made += segments

    def _drawn(self) -> Console:
        self._console.print(Segments(self._made), end="", soft_wrap=True)
        return self._console

    def svg(self) -> str:
        """A terminal with all of it, as wide as its longest line where that does not break."""
        console = self._drawn()
        lengths = map(Segment.get_line_length, Segment.split_lines(self._made))
        console.width = max([console.width, *lengths])
        return console.export_svg(title="vmatrace", code_format=_SVG)

    def fragment(self) -> str:
        """An element of HTML for a page of somebody's own, its styles in it."""
        return self._drawn().export_html(
            theme=DEFAULT_TERMINAL_THEME, code_format=_FRAGMENT, inline_styles=True
        )
