"""A table as CSV reads back as what it holds, and no cell is a formula."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmatrace.escape import inert
from vmatrace.render.csvform import Cell, Rows, cell, cells

TEXTS = st.one_of(
    st.text(),
    st.sampled_from(["=1+1", "+x", "-2", "@SUM(A1)", "\t=x", "  =x", "a,b", 'a"b', "\r\n"]),
)


@given(st.lists(st.tuples(st.one_of(TEXTS, st.integers(), st.none()), TEXTS)))
def test_rows_read_back_and_nothing_is_run(rows: list[tuple[Cell, str]]) -> None:
    out = io.StringIO()
    table = Rows(out, ["a", "b"])
    for a, b in rows:
        table.write({"a": a, "b": b})
    assert out.getvalue().count("\n") == len(rows) + 1
    head, *read = csv.reader(io.StringIO(out.getvalue(), newline=""))
    assert head == ["a", "b"]
    assert len(read) == len(rows)
    for texts, row in zip(read, rows, strict=True):
        for text, value in zip(texts, row, strict=True):
            assert text.isprintable()
            if isinstance(value, str):
                assert not text.strip().startswith(("=", "+", "-", "@"))
                assert text in (inert(value), inert("'" + value))
            else:
                assert text == ("" if value is None else str(value))


def test_a_header_may_wait_for_the_first_row_and_stands_once() -> None:
    out = io.StringIO()
    late = Rows(out, ["a", "b"], late=True)
    assert out.getvalue() == ""
    late.write({"a": 1})
    late.write({"a": None, "b": "x"})
    assert out.getvalue() == "a,b\n1,\n,x\n"
    early = io.StringIO()
    Rows(early, ["a", "b"])
    assert early.getvalue() == "a,b\n"
    with pytest.raises(AssertionError):
        late.write({"c": 1})


@pytest.mark.parametrize("start", list("=+-@\t\r＝＋－＠"))
def test_what_a_spreadsheet_would_run_is_quoted(start: str) -> None:
    for text in (f"{start}1", f"  {start}1", start):
        assert cell(text) == inert(f"'{text}")
    assert cell(f"1{start}") == inert(f"1{start}")
    assert cell(f"1 {start}") == inert(f"1 {start}")
    assert (cell(-1), cell(0), cell(None), cell("")) == ("-1", "0", "", "")


def test_lines_share_a_cell() -> None:
    assert cells(["  a b ", "c\n", ""]) == "a b; c; "


def test_a_column_that_is_not_said_is_empty() -> None:
    out = io.StringIO()
    Rows(out, ["a", "b"]).write({"b": -7})
    assert out.getvalue() == "a,b\n,-7\n"
