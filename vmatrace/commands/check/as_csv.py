"""Checks as CSV: a row for each model and expectation, of one that failed for each number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TextIO

from vmatrace.commands.check.question import NO_EXPECTATIONS, Check, Checked
from vmatrace.commands.check.words import nothing_expected, permit, uncovered_text
from vmatrace.commands.form import Form
from vmatrace.render import words
from vmatrace.render.csvform import Cell, Rows
from vmatrace.replayer.result import Failure

SUFFIXES: Final = (".csv",)
COLUMNS: Final = (
    "path", "trace", "model", "line", "column", "name", "outcome", "what", "expected", "actual",
    "since_line", "since_call", "message",
)  # fmt: skip
_Cells = dict[str, Cell]


def form(out: TextIO, count: int) -> Form[Checked]:
    """One table of all."""
    return _Csv(out, count)


class _Csv(Form[Checked]):
    def __init__(self, out: TextIO, count: int) -> None:
        super().__init__(out, count)
        self._rows = Rows(out, COLUMNS)

    def write(self, answer: Checked) -> None:
        for cells in _rows(answer):
            self._rows.write({"path": answer.path, "trace": answer.trace, **cells})


def _rows(checked: Checked) -> Iterator[_Cells]:
    """``outcome`` is passed, failed, skipped or error."""
    for wrong in checked.error.diagnostics if checked.error else ():
        place: _Cells = {"line": wrong.line or None, "column": wrong.column or None}
        yield {**place, "outcome": "error", "message": wrong.message}
    for model in checked.models:
        of: _Cells = {"model": model.kernel}
        if not model.checks:
            said = nothing_expected(model.kernel)
            if checked.idle:
                yield {**of, "outcome": "failed", "message": said + permit(NO_EXPECTATIONS)}
            else:
                yield {**of, "outcome": "skipped", "message": said}
        for check in model.checks:
            named: _Cells = {"line": check.line, "column": check.column, "name": check.name}
            for cells in map(_failed, check.failures) if check.failures else _passed(check):
                yield {**of, **named, **cells}
    for lost in checked.uncovered:
        where: _Cells = {"line": lost.line, "column": lost.column, "name": lost.name}
        said = uncovered_text(lost.on, not checked.unchecked)
        yield {**where, "outcome": "failed" if checked.unchecked else "skipped", "message": said}


def _passed(_: Check) -> Iterator[_Cells]:
    yield {"outcome": "passed"}


def _failed(failure: Failure) -> _Cells:
    """Of a layout, as many VMAs as were expected and as there were."""
    expected, actual = (
        words.plural(len(value), "VMA") if isinstance(value, list) else value
        for value in (failure.expected, failure.actual)
    )
    since = failure.since
    return {
        "outcome": "failed",
        "what": failure.what,
        "expected": expected if isinstance(expected, int) else str(expected),
        "actual": actual if isinstance(actual, int) else str(actual),
        "since_line": since.line if since else None,
        "since_call": since.text if since else None,
    }
