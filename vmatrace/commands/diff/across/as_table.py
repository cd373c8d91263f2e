"""A trace under several models as a table, release by release."""

from __future__ import annotations

from typing import Final, TextIO

from vmatrace.calls import CALLS
from vmatrace.commands.diff.across.question import Across, Row
from vmatrace.commands.diff.as_table import write_total
from vmatrace.commands.form import Form, Pages
from vmatrace.event import format_result
from vmatrace.render.paper import Paper
from vmatrace.render.streams import on
from vmatrace.replayer.attribution import DiffCause, Parting

SUFFIXES: Final = (".txt",)
FOR_PEOPLE: Final = True
_HEADS: Final = ("VMAs", "mergeable", "peak")


def form(out: TextIO, count: int) -> Form[Across]:
    """Each trace, and of several the total."""
    return _Table(out, count)


class _Table(Pages[Across]):
    def __init__(self, out: TextIO, count: int) -> None:
        super().__init__(out, write)
        self.count = count
        self._equal: list[bool] = []

    def write(self, answer: Across) -> None:
        super().write(answer)
        self._equal.append(answer.equal)

    def finish(self) -> None:
        if self.count > 1:
            write_total(on(self.out), self._equal, self.count - len(self._equal))


def names(row: Row) -> str:
    """The models of a row: ``6.4 - 6.6`` for releases, else a list."""
    if len(row.models) > 1 and all(name[0].isdigit() for name in row.models):
        return f"{row.models[0]} - {row.models[-1]}"
    return ", ".join(row.models)


def write(paper: Paper, found: Across) -> None:
    """One trace as a table; below each row what made it differ from the one before."""
    equal = ("  equal", "passed") if found.equal else ""
    paper.line((found.trace, "title"), equal)
    if found.description:
        paper.paragraph(" ".join(found.description.split()), "quiet")
    width = max(len("model"), *(len(names(row)) for row in found.rows))
    heads = "  ".join(head.rjust(9) for head in _HEADS)
    paper.line((f"  {'model':<{width}}{heads}", "quiet"))
    for row in found.rows:
        counts = "  ".join(f"{n:>9}" for n in (row.vmas, row.mergeable, row.peak_vmas))
        paper.line("  ", (names(row).ljust(width), "title" if row.first else ""), counts)
        if row.first is not None:
            paper.paragraph(_parting(row.first), "", "    ", "        ")
        for cause in row.causes:
            _write_cause(paper, row, cause)


def _parting(first: Parting) -> str:
    event = first.event
    process = "" if event.pid == "main" else f"[{event.pid}] "
    return f"from line {event.line} on: {process}{event.text}{_results(first)}"


def _results(first: Parting) -> str:
    kind = CALLS[first.event.name].result
    before, after = (format_result(result, kind) for result in first.results)
    return f" = {after}" if before == after else f" = {after}, before: {before}"


def _write_cause(paper: Paper, row: Row, cause: DiffCause) -> None:
    sign = "+" if cause.added else "-"
    where = ""
    if not cause.alone:
        where = " (only together with the others)"
    elif cause.first is not None and row.first is not None and cause.first.index != row.first.index:
        where = f" (from line {cause.first.event.line} on)"
    text = f"{cause.feature.name}{where}: {cause.feature.summary}"
    paper.paragraph(text, "good" if cause.added else "bad", f"    {sign} ", "      ")
    paper.paragraph(source(cause), "quiet", "      ", "      ")


def source(cause: DiffCause) -> str:
    """The commit of a feature, or why there is none, and the note about it."""
    feature = cause.feature
    parts = []
    if feature.commit is not None:
        release = f", in {feature.release}" if feature.release else ""
        came = "" if cause.added else "came with "
        parts.append(f'{came}{feature.commit} ("{feature.subject}"){release}')
    if feature.note:
        parts.append(feature.note)
    return "; ".join(parts)
