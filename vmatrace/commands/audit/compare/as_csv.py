"""A comparison as CSV: a row for each change."""

from __future__ import annotations

from typing import Final, TextIO

from vmatrace.commands.audit.compare.question import MapComparison
from vmatrace.commands.form import Form
from vmatrace.render.csvform import Rows

SUFFIXES: Final = (".csv",)
COLUMNS: Final = (
    "before", "after", "kind", "start", "end", "pattern", "vmas_before", "vmas_after", "name",
)  # fmt: skip


def form(out: TextIO, count: int) -> Form[MapComparison]:
    """One table."""
    return _Table(out, count)


class _Table(Form[MapComparison]):
    def __init__(self, out: TextIO, count: int) -> None:
        super().__init__(out, count)
        self._rows = Rows(out, COLUMNS, late=True)

    def write(self, answer: MapComparison) -> None:
        for change in answer.changes:
            self._rows.write({
                "before": answer.before.snapshot.source,
                "after": answer.after.snapshot.source,
                "kind": change.kind,
                "start": f"0x{change.start:x}",
                "end": f"0x{change.end:x}",
                "pattern": change.pattern,
                "vmas_before": len(change.before),
                "vmas_after": len(change.after),
                "name": (change.after or change.before)[0].name,
            })  # fmt: skip
