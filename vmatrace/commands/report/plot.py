"""A curve of two numbers as a plot of characters: one area on top of the other, with axes.

Braille where the stream has it (two by four dots in a character), else ASCII. The two areas differ
in their pattern, so that they can be told apart without colour.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from vmatrace.commands.report.curve import Point
from vmatrace.render.paper import Paper, Span

ROWS: Final = 12
_WIDE: Final = 80  # columns where the paper has no edge
_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # by row and column
STYLES: Final = ("warning", "key")
_DIM: Final = "quiet"


class Plot(NamedTuple):
    """What is drawn: the two heights of each dot column (None: nothing there), and the scale."""

    heights: Sequence[tuple[int, int] | None]
    top: int
    step: int
    first: int
    last: int
    limit: int | None


def plan(points: Iterable[Point], last: int, columns: int, limit: int) -> Plot:
    """Squeeze or stretch *points* into *columns* from the first of them to event *last*.

    A column shows the highest of what falls into it. *limit* is drawn where it is in range.
    """
    known = list(points)
    first = known[0].at if known else 0
    span = max(last - first, 1)
    heights: list[tuple[int, int] | None] = [None] * columns
    before: tuple[int, int] | None = None
    at = 0
    for point in known:
        here = min((point.at - first) * columns // (span + 1), columns - 1)
        if before is not None:
            heights[at + 1 : here] = [before] * (here - at - 1)
        old = heights[here] or (0, 0)
        heights[here] = (max(old[0], point.high[0]), max(old[1], point.high[1]))
        at, before = here, point.last
    if before is not None:
        heights[at + 1 :] = [before] * (columns - at - 1)
    highest = max((max(pair) for pair in heights if pair), default=0)
    near = in_scale(limit, highest)
    step, top = scale(max(highest, limit) if near else highest)
    return Plot(heights, top, step, first, last, limit if near else None)


def in_scale(limit: int, highest: int) -> bool:
    """Whether a line at *limit* leaves room to see a curve that rises to *highest*."""
    return highest * 2 >= limit


def scale(highest: int) -> tuple[int, int]:
    """The distance of ticks (1, 2 or 5 times a power of ten) and the topmost, at most five."""
    step = 1
    while step * 4 < highest:
        step = step * 5 // 2 if str(step)[0] == "2" else step * 2
    return step, max(step * -(-highest // step), step)


def write(
    paper: Paper, points: Iterable[Point], last: int, limit: int, names: tuple[str, str]
) -> None:
    """The plot of *points* up to event *last*, its axes, and what the areas are called."""
    braille = paper.glyph("⣿", "") != ""
    points = list(points)
    highest = max((max(point.high) for point in points), default=0)
    margin = len(str(scale(max(highest, limit) if in_scale(limit, highest) else highest)[1])) + 4
    width = max(min(paper.width or _WIDE, 120) - margin - 1, 20)
    plot = plan(points, last, width * 2 if braille else width, limit)
    ticks = {
        _level(tick, plot.top, ROWS): str(tick)
        for tick in range(plot.step, plot.top + 1, plot.step)
    }
    line = _level(plot.limit, plot.top, ROWS) if plot.limit is not None else None
    for row in range(ROWS - 1, -1, -1):
        label = ticks.get(row + 1, "")
        cells = _braille_row(plot, row, width) if braille else _ascii_row(plot, row, width)
        if line == row + 1:
            rule = paper.glyph("╌", "-")
            cells = [(rule if text in " \u2800" else text, style or _DIM) for text, style in cells]
        axis = paper.glyph("┤" if label else "│", "+" if label else "|")
        paper.line((label.rjust(margin - 2), _DIM), (f" {axis}", _DIM), *_joined(cells))
    corner = paper.glyph("└", "+") + paper.glyph("─", "-") * width
    paper.line(("0".rjust(margin - 2) + " " + corner, _DIM))
    left, right = str(plot.first), str(plot.last)
    middle = "events"
    room = width + 1 - len(left) - len(right)
    paper.line(" " * (margin - 1), (left + middle.center(room) + right, _DIM))
    _write_legend(paper, plot, names, " " * margin, braille)


def _level(value: int, top: int, rows: int) -> int:
    """The row, counted from 1, whose upper part *value* reaches."""
    return min(max(-(-value * rows // top), 1), rows)


def _braille_row(plot: Plot, row: int, width: int) -> list[tuple[str, str]]:
    cells = []
    for column in range(width):
        bits = extra = 0
        for x in (0, 1):
            pair = plot.heights[column * 2 + x]
            if pair is None:
                continue
            a, b = (_dots(value, plot.top) for value in pair)
            for y in range(4):
                height = row * 4 + 3 - y
                both = height < min(a, b)
                # The area on top has a closed edge and a loose weave, by model another one.
                weave = (x + y) % 2 == 0 if a > b else x == 0
                if both or (height < max(a, b) and (height == max(a, b) - 1 or weave)):
                    bits |= _DOTS[y][x]
                    extra |= 0 if both else 1 if a > b else 2
        cells.append((chr(0x2800 + bits), "" if not bits else STYLES[0 if extra == 1 else 1]))
    return cells


def _dots(value: int, top: int) -> int:
    """The height in dots; something is never nothing."""
    return max(round(value * ROWS * 4 / top), 1) if value else 0


def _ascii_row(plot: Plot, row: int, width: int) -> list[tuple[str, str]]:
    cells = []
    for column in range(width):
        pair = plot.heights[column] or (0, 0)
        a, b = (max(round(value * ROWS / plot.top), 1) if value else 0 for value in pair)
        if row < min(a, b):
            cells.append(("#", STYLES[1]))
        elif row < max(a, b):
            cells.append((":", STYLES[0]) if a > b else ("|", STYLES[1]))
        else:
            cells.append((" ", ""))
    return cells


def _joined(cells: Iterable[tuple[str, str]]) -> list[Span]:
    """Neighbours of one style as one span; blank braille as spaces."""
    spans: list[tuple[str, str]] = []
    for text, style in cells:
        text = " " if text == "\u2800" else text
        if spans and spans[-1][1] == style:
            spans[-1] = (spans[-1][0] + text, style)
        else:
            spans.append((text, style))
    return list(spans)


def _write_legend(
    paper: Paper, plot: Plot, names: tuple[str, str], indent: str, braille: bool
) -> None:
    solid, loose, lines = ("⣿⣿", "⢕⢕", "⡇⡇") if braille else ("##", "::", "||")
    pairs = [pair for pair in plot.heights if pair]
    parts: list[Span] = [indent, (solid, STYLES[1]), f" {names[1]}"]
    if any(a > b for a, b in pairs):
        parts += ["   ", (loose, STYLES[0]), f" what {names[0]} has on top"]
    if any(b > a for a, b in pairs):
        parts += ["   ", (lines, STYLES[1]), f" where it has more than {names[0]}"]
    if all(a == b for a, b in pairs):
        parts.append(f" and {names[0]}: the same")
    if plot.limit is not None:
        parts += ["   ", (paper.glyph("╌╌", "--"), _DIM), f" max_map_count {plot.limit}"]
    paper.line(*parts)
