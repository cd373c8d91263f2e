"""Diffs as CSV: a row for each trace, with the first event that differs and both sides' counts."""

from __future__ import annotations

from typing import Final, TextIO

from vmatrace.commands.diff.answer import Diff
from vmatrace.commands.diff.words import COUNTS
from vmatrace.commands.form import Form
from vmatrace.diagnostic import TraceError
from vmatrace.render.csvform import Cell, Rows

SUFFIXES: Final = (".csv",)
COLUMNS: Final = (
    "path", "trace", "from", "to", "outcome", "differing_events", "line", "call",
    *(f"{name}_{side}" for name in COUNTS for side in ("from", "to")), "message",
)  # fmt: skip


def form(out: TextIO, count: int) -> Form[Diff]:
    """One table of all."""
    return _Csv(out, count)


class _Csv(Form[Diff]):
    def __init__(self, out: TextIO, count: int) -> None:
        super().__init__(out, count)
        self._rows = Rows(out, COLUMNS)

    def write(self, answer: Diff) -> None:
        first = answer.first
        counts: dict[str, Cell] = {
            f"{name}_{side}": count
            for name, *both in answer.totals
            for side, count in zip(("from", "to"), both, strict=True)
        }
        self._rows.write(
            {
                "path": answer.path,
                "trace": answer.trace,
                "from": answer.from_.name,
                "to": answer.to.name,
                "outcome": "equal" if answer.equal else "different",
                "differing_events": answer.differing,
                "line": first.line if first else None,
                "call": first.event.text if first else None,
                **counts,
            }
        )

    def refuse(self, error: TraceError) -> None:
        for wrong in error.diagnostics:
            self._rows.write(
                {
                    "path": wrong.path,
                    "outcome": "error",
                    "line": wrong.line or None,
                    "message": wrong.message,
                }
            )
