"""A series as text: its curve, when the limit is reached, cuts that never heal, the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TextIO

from vmatrace.commands.audit import as_table, filltable
from vmatrace.commands.audit.patternwords import PATTERNS
from vmatrace.commands.audit.watch import words as said
from vmatrace.commands.audit.watch.question import VmaSeries, forecast_of
from vmatrace.commands.audit.watch.ratchet import Ratchet
from vmatrace.commands.audit.watch.samples import About, Sample
from vmatrace.commands.form import Form, Pages
from vmatrace.commands.report import plot
from vmatrace.commands.report.curve import Point
from vmatrace.render import words
from vmatrace.render.paper import Paper

SUFFIXES: Final = (".txt",)
FOR_PEOPLE: Final = True
#: So many ratchets are shown.
_RATCHETS: Final = 6
#: Levels of a curve, from none to all.
_LEVELS: Final = " ▁▂▃▄▅▆▇█"
_PLAIN_LEVELS: Final = " .:-=+*#@"
_WIDE: Final = 80
#: Distances of times at an axis, in milliseconds.
_STEPS: Final = (
    *(digit * 10**power for power in range(3) for digit in (1, 2, 5)),
    *(1000 * unit * count for unit in (1, 60) for count in (1, 2, 5, 10, 15, 30)),
    *(3_600_000 * hours for hours in (1, 2, 3, 6, 12, 24, 48, 120, 240, 720)),
)  # fmt: skip


def form(out: TextIO, count: int) -> Form[VmaSeries]:
    """One after the other."""
    return Pages(out, write)


def write(paper: Paper, found: VmaSeries) -> None:
    """All of it."""
    write_state(paper, found.about, found.samples, found.ratchets, _write_plot)
    paper.line("")
    as_table.write(paper, found.last)


def write_state(
    paper: Paper,
    about: About,
    samples: Sequence[Sample],
    ratchets: Sequence[Ratchet],
    draw: Callable[[Paper, Sequence[Sample]], None] | None = None,
) -> None:
    """What is shown after each sample, too; *draw*: how, if not in one line."""
    last = samples[-1]
    share = last.vmas / last.max_map_count
    title = f"{about.pid} {about.process}".rstrip()
    taken = f"{words.plural(len(samples), 'sample')} in {said.duration(last.at - samples[0].at)}"
    paper.line((title, "title"), (f"  kernel {about.kernel}", "model"), f"  {taken}")
    left = max(last.max_map_count - last.vmas, 0)
    paper.paragraph(
        f"{words.plural(last.vmas, 'VMA')}, {filltable.percent(share)} of {last.max_map_count}: "
        f"leaves {left}", filltable.style(left / last.max_map_count)
    )  # fmt: skip
    peak = max(samples, key=lambda sample: sample.vmas)
    if peak.vmas > last.vmas:
        paper.line(f"peak {peak.vmas}, {said.duration(last.at - peak.at)} before the last sample")
    (draw or _write_curve)(paper, samples)
    forecast = forecast_of(samples)
    rate = "" if forecast is None else said.rate(forecast) + "; "
    near = forecast is not None and forecast.seconds is not None and forecast.low > 0
    paper.paragraph(rate + said.limit(forecast), "warning" if near else "")
    if ratchets:
        paper.line("")
        _write_ratchets(paper, ratchets)


def _write_curve(paper: Paper, samples: Sequence[Sample]) -> None:
    """The highest count in each column of time, from nothing to the highest of all."""
    highest = max(sample.vmas for sample in samples)
    end = f" {highest}"
    width = min(paper.width or _WIDE, _WIDE) - len(end)
    first, span = samples[0].at, samples[-1].at - samples[0].at
    if span <= 0 or not highest:
        return
    heights: list[int | None] = [None] * width
    for sample in samples:
        column = max(min(int((sample.at - first) / span * width), width - 1), 0)
        heights[column] = max(heights[column] or 0, sample.vmas)
    levels = paper.glyph(_LEVELS, _PLAIN_LEVELS)
    drawn, before = "", 0
    for height in heights:
        before = before if height is None else height
        drawn += levels[max(-(-before * 8 // highest), 0)]
    paper.line((drawn, "key"), (end, "quiet"))


def _write_plot(paper: Paper, samples: Sequence[Sample]) -> None:
    """The samples over their time, to scale; the highest of what falls into one column."""
    first = samples[0].at
    points: list[Point] = []
    for sample in samples:
        pair = sample.vmas, sample.vmas
        at = max(round(1000 * (sample.at - first)), points[-1].at if points else 0)
        points.append(Point(at, pair, pair, pair))
    paper.line("")
    plot.write(paper, points, points[-1].at, samples[-1].max_map_count, ("VMAs", "VMAs"), _TIME)
    paper.line("")


def _round_time(span: int) -> int:
    """The distance of times at an axis of so many milliseconds."""
    return next((step for step in _STEPS if step * 5 >= span), -(-span // 5))


_TIME: Final = plot.Axis(_round_time, lambda at, _: said.duration(at / 1000) if at else "0")


def _write_ratchets(paper: Paper, ratchets: Sequence[Ratchet]) -> None:
    rows = [
        [str(r.came), str(r.healed), str(r.unmapped), str(r.there), PATTERNS[r.pattern].title]
        for r in ratchets[:_RATCHETS]
    ]
    heads = ("came", "healed", "unmapped", "still there", "cuts of")
    filltable.write_columns(paper, heads, rows)
    if len(ratchets) > _RATCHETS:
        more = words.plural(len(ratchets) - _RATCHETS, "more pattern")
        paper.line((f"  and {more} (--format json has them all)", "quiet"))
    for ratchet in ratchets:
        if ratchet.there > 0 and not ratchet.healed and not ratchet.unmapped:
            title = PATTERNS[ratchet.pattern].title
            count = words.plural(ratchet.there, "cut")
            paper.paragraph(f"a ratchet: {title}, {count} came and none went", "warning")
