"""A report as text: the plot, what the process that has most came to, calls, processes."""

from __future__ import annotations

from typing import Final, TextIO

from vmatrace.commands.form import Form, Pages
from vmatrace.commands.report import plot
from vmatrace.commands.report.question import ProcessReport, Report
from vmatrace.commands.report.words import (
    OFF,
    at_words,
    call_words,
    change,
    limit_words,
    names,
    remarks,
    share,
    title,
)
from vmatrace.escape import visible
from vmatrace.render import words
from vmatrace.render.paper import Paper

SUFFIXES: Final = (".txt",)
FOR_PEOPLE: Final = True
#: So many kinds of calls, and so many processes, are shown.
_MOST: Final = 10
_LABEL: Final = 25


def form(out: TextIO, count: int) -> Form[Report]:
    """One after the other."""
    return Pages(out, write)


def write(paper: Paper, found: Report) -> None:
    """The whole report as text."""
    before, after = names(found)
    arrow = paper.glyph("→", "->")
    paper.line((found.trace.name, "title"), (f"  {before} {arrow} {after}", "model"))
    if found.trace.description:
        paper.paragraph(" ".join(found.trace.description.split()), "quiet")
    highest = found.highest
    count = len(found.processes) + found.others.processes
    rank = f", the highest of {count} processes" if count > 1 else ""
    when = f"after each of {words.plural(found.events, 'event')}"
    if len(highest.curve) <= plot.FEW:
        when = "at its start, and after each of its calls"
    what = f"{rank}: VMAs {when}"
    paper.line("")
    name = visible(title(highest))
    first, *rest = paper.broken(what, len(name), 4)
    paper.line((name, "title"), first)
    for part in rest:
        paper.line("    ", part)
    paper.line("")
    plot.write(paper, highest.curve, found.events, found.max_map_count, (before, after))
    _write_counts(paper, found, highest)
    _write_patterns(paper, found)
    if count > 1:
        _write_processes(paper, found)
    said = remarks(found)
    if said:
        paper.line("")
    for remark in said:
        paper.paragraph(remark, "strong-warning" if remark == OFF else "")


def _write_counts(paper: Paper, found: Report, process: ProcessReport) -> None:
    a, b = process.counts
    limit = found.max_map_count
    rows: list[tuple[str, int, int] | tuple[str, str, str]] = [
        ("VMAs when it exited" if process.exited else "VMAs at the end", a.vmas, b.vmas),
        ("peak", a.peak, b.peak),
        ("  reached in", at_words(a.peak_at), at_words(b.peak_at)),
        (f"headroom to {limit}", max(limit - a.peak, 0), max(limit - b.peak, 0)),
        ("  max_map_count", limit_words(a), limit_words(b)),
        ("merges", a.merges, b.merges),
        ("blocked sides", a.blocked, b.blocked),
        ("  by VM_MERGEABLE alone", share(a.only, a.blocked), share(b.only, b.blocked)),
    ]
    width = max(len(str(cell)) for row in rows for cell in row[1:])
    width = max(width, *(len(name) for name in names(found)))
    before, after = names(found)
    paper.line("")
    paper.line((f"{'':{_LABEL}}{before:>{width}}  {after:>{width}}  change", "quiet"))
    for name, x, y in rows:
        style = "title" if name.startswith(("peak", "VMAs")) else ""
        cells = f"{x:>{width}}  {y:>{width}}"
        changed = ""
        if isinstance(x, int) and isinstance(y, int):
            changed = change(x, y) if style else change(x, y).split(" ")[0]
        paper.line((f"{name:<{_LABEL}}{cells}", style), f"  {changed}")
    for count, model in zip(process.counts, (before, after), strict=True):
        if count.limit_at is not None:
            first = f"{model} line {count.limit_at.line}: "
            text = f"{count.limit_at.call} is refused at max_map_count"
            paper.paragraph(text, "bad", first, " " * 4)


def _write_patterns(paper: Paper, found: Report) -> None:
    before, after = names(found)
    dear = [pattern for pattern in found.patterns if pattern.cost > 0]
    paper.line("")
    if not dear:
        paper.line(f"No kind of call makes more VMAs under {before} than under {after}.")
        return
    paper.line(("Calls by the VMAs they cost", "title"), f" (made by {before}, less by {after})")
    numbers = [[p.cost, p.calls, *p.added] for p in dear[:_MOST]]
    heads = ["cost", "calls", before, after]
    widths = [
        max(len(head), *(len(str(row[i])) for row in numbers)) for i, head in enumerate(heads)
    ]
    line = "  ".join(f"{head:>{w}}" for head, w in zip(heads, widths, strict=True))
    paper.line(("  " + line + "  call", "quiet"))
    for pattern, row in zip(dear, numbers, strict=False):
        cells = [f"{number:>{w}}" for number, w in zip(row, widths, strict=True)]
        start = "  " + "  ".join(cells) + "  "
        text = visible(call_words(pattern))
        first, *rest = paper.broken(text, len(start), len(start))
        paper.line("  ", (cells[0], "strong-warning"), "  " + "  ".join(cells[1:]) + "  ", first)
        for part in rest:
            paper.line(" " * len(start) + part)
        if pattern.caller:
            paper.paragraph(pattern.caller, "quiet", " " * len(start) + "by ", " " * len(start))
    rest_cost = sum(p.cost for p in dear[_MOST:])
    if rest_cost:
        mark = paper.glyph("…", "...")
        paper.line(
            f"  {mark} and {words.plural(len(dear) - _MOST, 'kind')} more that cost {rest_cost}"
        )
    back = sum(p.cost for p in found.patterns if p.cost < 0)
    if back:
        paper.line(
            f"  Other calls took back {-back}; {sum(p.cost for p in found.patterns)} in all."
        )


def _write_processes(paper: Paper, found: Report) -> None:
    before, after = names(found)
    listed = sorted(found.processes, key=lambda p: (-max(c.peak for c in p.counts), p.number))
    rows = [
        [
            str(p.events), *(str(n) for c in p.counts for n in (c.vmas, c.peak)),
            str(p.counts[0].only), title(p) + ", exited" * p.exited,
        ]
        for p in listed[:_MOST]
    ]  # fmt: skip
    heads = ["events", "VMAs", "peak", "VMAs", "peak", "blocked"]
    widths = [max(len(head), *(len(row[i]) for row in rows)) for i, head in enumerate(heads)]
    pairs = [widths[1] + widths[2] + 2, widths[3] + widths[4] + 2]
    paper.line("")
    paper.line(("Processes by their peaks", "title"))
    over = f"  {'':{widths[0]}}  {before:>{pairs[0]}}  {after:>{pairs[1]}}"
    paper.line((over, "quiet"))
    line = "  ".join(f"{head:>{w}}" for head, w in zip(heads, widths, strict=True))
    paper.line((f"  {line}  process", "quiet"))
    for row in rows:
        line = "  ".join(f"{cell:>{w}}" for cell, w in zip(row, widths, strict=False))
        first, *rest = paper.folded(row[-1], len(line) + 4)
        paper.line(f"  {line}  {first}")
        for part in rest:
            paper.line(" " * (len(line) + 4) + part)
    more = len(found.processes) - len(rows) + found.others.processes
    if more:
        paper.line(f"  {paper.glyph('…', '...')} and {more} more (--format json)")
