"""The series of a report as CSV: a row for every event and model."""

from __future__ import annotations

from typing import Final, TextIO

from vmatrace.commands.form import Form
from vmatrace.commands.report.question import Report
from vmatrace.commands.report.series import samples
from vmatrace.commands.report.words import names
from vmatrace.render.csvform import Rows

SUFFIXES: Final = (".csv",)
COLUMNS: Final = (
    "path", "trace", "model", "event", "line", "process", "program", "vmas", "mergeable",
    "blocked", "peak",
)  # fmt: skip


def form(out: TextIO, count: int) -> Form[Report]:
    """One table of all traces."""
    return _Table(out, count)


class _Table(Form[Report]):
    def __init__(self, out: TextIO, count: int) -> None:
        super().__init__(out, count)
        self._rows = Rows(out, COLUMNS)

    def write(self, answer: Report) -> None:
        models = names(answer)
        for sample in samples(answer):
            space = sample.space
            for model, gauge in zip(models, space.gauges, strict=True):
                self._rows.write({
                    "path": answer.trace.path,
                    "trace": answer.trace.name,
                    "model": model,
                    "event": sample.number,
                    "line": sample.line,
                    "process": space.pid,
                    "program": space.program,
                    "vmas": gauge.vmas,
                    "mergeable": gauge.mergeable,
                    "blocked": gauge.blocked,
                    "peak": gauge.peak,
                })  # fmt: skip
