"""A trace under several models as CSV: a row for each model."""

from __future__ import annotations

from typing import Final, TextIO

from vmatrace.commands.diff.across.question import Across
from vmatrace.commands.form import Form
from vmatrace.diagnostic import TraceError
from vmatrace.render.csvform import Rows, cells

SUFFIXES: Final = (".csv",)
COLUMNS: Final = (
    "path", "trace", "model", "vmas", "mergeable", "peak_vmas", "differs_from_before", "line",
    "call", "features", "message",
)  # fmt: skip


def form(out: TextIO, count: int) -> Form[Across]:
    """One table of all."""
    return _Csv(out, count)


class _Csv(Form[Across]):
    def __init__(self, out: TextIO, count: int) -> None:
        super().__init__(out, count)
        self._rows = Rows(out, COLUMNS)

    def write(self, answer: Across) -> None:
        for row in answer.rows:
            for nth, model in enumerate(row.models):
                first = row.first if nth == 0 else None
                self._rows.write(
                    {
                        "path": answer.path,
                        "trace": answer.trace,
                        "model": model,
                        "vmas": row.vmas,
                        "mergeable": row.mergeable,
                        "peak_vmas": row.peak_vmas,
                        "differs_from_before": "yes" if first else "no",
                        "line": first.event.line if first else None,
                        "call": first.event.text if first else None,
                        "features": cells(c.feature.name for c in row.causes) if first else None,
                    }
                )

    def refuse(self, error: TraceError) -> None:
        for wrong in error.diagnostics:
            self._rows.write(
                {"path": wrong.path, "line": wrong.line or None, "message": wrong.message}
            )
