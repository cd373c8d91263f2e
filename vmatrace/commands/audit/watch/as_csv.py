"""A series as CSV: a row for each sample, a column for each pattern."""

from __future__ import annotations

from typing import Final, TextIO

from vmatrace.commands.audit.patterns import PATTERNS
from vmatrace.commands.audit.watch import words
from vmatrace.commands.audit.watch.question import VmaSeries
from vmatrace.commands.form import Form
from vmatrace.render.csvform import Rows

SUFFIXES: Final = (".csv",)
COLUMNS: Final = (
    "source", "pid", "process", "time", "vmas", "max_map_count", "headroom", "mergeable", *PATTERNS,
)  # fmt: skip


def form(out: TextIO, count: int) -> Form[VmaSeries]:
    """One table of all series."""
    return _Table(out, count)


class _Table(Form[VmaSeries]):
    def __init__(self, out: TextIO, count: int) -> None:
        super().__init__(out, count)
        self._rows = Rows(out, COLUMNS, late=True)

    def write(self, answer: VmaSeries) -> None:
        for sample in answer.samples:
            counts = {name: sample.patterns.get(name, 0) for name in PATTERNS}
            self._rows.write({
                "source": answer.path,
                "pid": answer.about.pid,
                "process": answer.about.process,
                "time": words.time(sample.at, "milliseconds"),
                "vmas": sample.vmas,
                "max_map_count": sample.max_map_count,
                "headroom": max(sample.max_map_count - sample.vmas, 0),
                "mergeable": sample.mergeable,
                **counts,
            })  # fmt: skip
