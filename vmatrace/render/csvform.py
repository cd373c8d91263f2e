"""Tables as CSV (RFC 4180, but lines end as they do here): a header, then rows.

A spreadsheet takes a cell that starts with one of ``= + - @`` for a formula, and would run it; so
text from a file gets a ``'`` before it, which spreadsheets do not show. Numbers stay numbers.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TextIO, Union

from vmatrace.escape import inert

#: What a cell can hold; None leaves it empty.
Cell = Union[str, int, None]
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


class Rows:
    """Writes rows under *columns* to *out*, the header first; *late*: not before there is a row."""

    def __init__(self, out: TextIO, columns: Sequence[str], late: bool = False) -> None:
        self._columns = columns
        self._writer = csv.writer(out, lineterminator="\n")
        self._headed = False
        if not late:
            self._head()

    def _head(self) -> None:
        self._headed = True
        self._writer.writerow(self._columns)

    def write(self, cells: Mapping[str, Cell]) -> None:
        """One row; a column that is not in *cells* is empty."""
        assert not set(cells) - set(self._columns)
        if not self._headed:
            self._head()
        self._writer.writerow([cell(cells.get(column)) for column in self._columns])


def cell(value: Cell) -> str:
    """*value* as a cell, not yet quoted."""
    if not isinstance(value, str):
        return "" if value is None else str(value)
    guard = "'" if value.lstrip(" ").startswith(_FORMULA) else ""
    return inert(guard + value)


def cells(lines: Iterable[str]) -> str:
    """Several lines in one cell."""
    return "; ".join(line.strip() for line in lines)
