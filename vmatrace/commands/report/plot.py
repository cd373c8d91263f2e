"""A curve of two numbers as a plot of characters: one area on top of the other, with axes.

Braille where the stream has it (two by four dots in a character), else ASCII. The two areas differ
in their pattern, so that they can be told apart without colour. Everything is to one scale, from 0
on: the areas, the ticks, and the limit, which is drawn where that leaves room for the areas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from vmatrace.commands.report.curve import Point
from vmatrace.render.paper import Paper, Span

ROWS: Final = 12
_WIDE: Final = 80  # columns where the paper has no edge
_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # by row and column
STYLES: Final = ("warning", "key")
_DIM: Final = "quiet"
#: So few points are no curve.
FEW: Final = 4


class Axis(NamedTuple):
    """What the points are over: how far apart numbers at it are, of a span, and how it says where
    a number is; of the last one True besides.
    """

    step: Callable[[int], int]
    label: Callable[[int, bool], str]


def _event(at: int, last: bool) -> str:
    return f"{at} events" if last else str(at)


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


EVENTS: Final = Axis(lambda span: scale(span)[0], _event)


def write(
    paper: Paper,
    points: Iterable[Point],
    last: int,
    limit: int,
    names: tuple[str, str],
    axis: Axis = EVENTS,
) -> None:
    """The plot of *points* up to *last* of *axis*, and what the areas are called (of one number
    both alike); of a few points there is nothing to plot, and the numbers are written.
    """
    points = list(points)
    if len(points) <= FEW:
        _write_values(paper, points, names)
        return
    braille = paper.glyph("⣿", "") != ""
    highest = max((max(point.high) for point in points), default=0)
    near = in_scale(limit, highest)
    margin = len(str(scale(max(highest, limit) if near else highest)[1])) + 4
    width = max(min(paper.width or _WIDE, 120) - margin - 1, 20)
    plot = plan(points, last, width * 2 if braille else width, limit)
    ticks = {
        _level(tick, plot.top, ROWS): str(tick)
        for tick in range(plot.step, plot.top + 1, plot.step)
    }
    if plot.limit is not None:
        ticks.setdefault(_level(plot.limit, plot.top, ROWS), str(plot.limit))
    for row in range(ROWS - 1, -1, -1):
        label = ticks.get(row + 1, "")
        cells = _braille_row(plot, row, width) if braille else _ascii_row(plot, row, width)
        edge = paper.glyph("┤" if label else "│", "+" if label else "|")
        paper.line((label.rjust(margin - 2), _DIM), (f" {edge}", _DIM), *_joined(cells))
    labels, marked = _label_line(plot, _x_labels(plot, width, axis), width, axis)
    rule = [paper.glyph("─", "-")] * width
    for column in marked:
        rule[column] = paper.glyph("┬", "+")
    corner = paper.glyph("└", "+") + "".join(rule)
    paper.line(("0".rjust(margin - 2) + " " + corner, _DIM))
    paper.line(" " * margin, (labels, _DIM))
    _write_legend(paper, plot, names, " " * margin, braille)


def _write_values(paper: Paper, points: Sequence[Point], names: tuple[str, str]) -> None:
    wide = max(map(len, names))
    arrow = paper.glyph(" → ", " -> ")
    for side, name in enumerate(dict.fromkeys(names)):
        values = arrow.join(str(point.last[side]) for point in points)
        paper.line("  ", (name.ljust(wide), _DIM), f"  {values}")


def _x_labels(plot: Plot, width: int, axis: Axis) -> dict[int, int]:
    """Events at round distances, by the column where each begins; where the last one does, too."""
    span = plot.last - plot.first
    step = axis.step(span)
    first = -(-plot.first // step) * step
    events = [*range(first, plot.last, step), plot.last]
    return {(event - plot.first) * width // (span + 1): event for event in events}


def _label_line(
    plot: Plot, labels: dict[int, int], width: int, axis: Axis
) -> tuple[str, list[int]]:
    """The numbers of *labels* below their columns, at the right what they are; and the columns that
    have one.
    """
    line = [" "] * width
    end = axis.label(plot.last, True)
    line[width - len(end) :] = end
    marked = []
    for column, event in labels.items():
        text = axis.label(event, False)
        at = max(column - len(text) // 2, 0)
        if event == plot.last:
            marked.append(column)
        elif set(line[max(at - 1, 0) : at + len(text) + 1]) == {" "}:
            line[at : at + len(text)] = text
            marked.append(column)
    return "".join(line), marked


def _level(value: int, top: int, rows: int) -> int:
    """The row, counted from 1, whose upper part *value* reaches."""
    return min(max(-(-value * rows // top), 1), rows)


def _braille_row(plot: Plot, row: int, width: int) -> list[tuple[str, str]]:
    cells = []
    limit = -1 if plot.limit is None else _dots(plot.limit, plot.top) - 1 - row * 4
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
        style = "" if not bits else STYLES[0 if extra == 1 else 1]
        if 0 <= limit < 4:
            bits ^= _DOTS[3 - limit][0]  # a gap where all is full
            style = style or _DIM
        cells.append((chr(0x2800 + bits), style))
    return cells


def _dots(value: int, top: int) -> int:
    """The height in dots; something is never nothing."""
    return max(round(value * ROWS * 4 / top), 1) if value else 0


def _ascii_row(plot: Plot, row: int, width: int) -> list[tuple[str, str]]:
    cells = []
    at_limit = plot.limit is not None and _level(plot.limit, plot.top, ROWS) == row + 1
    for column in range(width):
        pair = plot.heights[column] or (0, 0)
        a, b = (max(round(value * ROWS / plot.top), 1) if value else 0 for value in pair)
        if row < min(a, b):
            cells.append(("#", STYLES[1]))
        elif row < max(a, b):
            cells.append((":", STYLES[0]) if a > b else ("|", STYLES[1]))
        else:
            cells.append(("-", _DIM) if at_limit else (" ", ""))
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
    if names[0] != names[1] and all(a == b for a, b in pairs):
        parts.append(f" and {names[0]}: the same")
    if plot.limit is not None:
        parts += ["   ", ("⠂⠂" if braille else "--", _DIM), f" max_map_count {plot.limit}"]
    paper.line(*parts)
