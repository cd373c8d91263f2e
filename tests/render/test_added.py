"""What rich draws on paper: as wide as the paper, behind its indent."""

from __future__ import annotations

import io

import pytest
from rich.panel import Panel
from rich.text import Text

from vmatrace.render.paper import Paper


@pytest.mark.parametrize("indent", [0, 4, 10])
def test_what_is_added_fits_behind_its_indent(indent: int) -> None:
    out = io.StringIO()
    paper = Paper(out, 40)
    paper.add(Text("abcd " * 30), indent)
    lines = out.getvalue().splitlines()
    each = (40 - indent + 1) // 5  # words in a line
    assert lines[0] == " " * indent + ("abcd " * each).rstrip()
    assert " ".join(lines).split() == ["abcd"] * 30


@pytest.mark.parametrize("indent", [0, 4])
def test_a_frame_is_as_wide_as_there_is_room(indent: int) -> None:
    out = io.StringIO()
    Paper(out, 40).add(Panel("x"), indent)
    assert {len(line) for line in out.getvalue().splitlines()} == {40}


def test_without_an_edge_nothing_breaks() -> None:
    out = io.StringIO()
    Paper(out, None).add(Text("abcd " * 30), 2)
    assert out.getvalue() == "  " + ("abcd " * 30).rstrip() + "\n"


def test_what_is_broken_fills_each_line() -> None:
    paper = Paper(io.StringIO(), 24)
    assert paper.broken("abcd " * 15) == [("abcd " * 5).rstrip()] * 3
    assert paper.broken("abcd " * 14, 5) == [("abcd " * 4).strip(), *[("abcd " * 5).strip()] * 2]
