"""The estimate as CSV: a row for each process and kernel model, and of several for all together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TextIO

from vmatrace.commands.audit.pages.classes import Sharing
from vmatrace.commands.audit.pages.cost import Added
from vmatrace.commands.audit.pages.question import Estimate
from vmatrace.commands.form import Form
from vmatrace.render.csvform import Cell, Rows

SUFFIXES: Final = (".csv",)
COLUMNS: Final = (
    "pid", "process", "page_size", "pages", "read", "unread", "zeros", "swapped", "merged", "saved",
    "saved_error", "vmas", "max_map_count", "model", "added_likely", "added_most",
)  # fmt: skip
#: Counts of a process that are those of all together, added up.
_ADDED_UP: Final = ("read", "unread", "zeros", "swapped", "vmas")


def form(out: TextIO, count: int) -> Form[Estimate]:
    """One table."""
    return _Table(out, count)


class _Table(Form[Estimate]):
    def __init__(self, out: TextIO, count: int) -> None:
        super().__init__(out, count)
        self._rows = Rows(out, COLUMNS, late=True)

    def write(self, answer: Estimate) -> None:
        size: dict[str, Cell] = {"page_size": answer.page_size}
        for process in answer.processes:
            cells: dict[str, Cell] = {name: getattr(process, name) for name in _ADDED_UP}
            cells |= {"pid": process.pid, "process": process.name, "pages": process.pages}
            cells["max_map_count"] = process.max_map_count
            self._write(size | cells, process.sharing, process.added)
        if len(answer.processes) > 1:
            cells = {
                name: sum(getattr(process, name) for process in answer.processes)
                for name in _ADDED_UP
            }
            self._write(size | cells | {"pages": answer.pages}, answer.sharing, answer.added)

    def _write(self, cells: dict[str, Cell], found: Sharing, added: Sequence[Added]) -> None:
        shared: dict[str, Cell] = {
            "merged": found.merged,
            "saved": found.saved,
            "saved_error": found.error,
        }
        for row in added:
            cost: dict[str, Cell] = {
                "model": row.kernel,
                "added_likely": row.likely,
                "added_most": row.most,
            }
            self._rows.write({**cells, **shared, **cost})
