"""What rich draws on paper: as wide as the paper."""

from __future__ import annotations

import io

import pytest
from rich.panel import Panel
from rich.text import Text

from vmatrace.render.paper import Paper


@pytest.mark.parametrize("width", [30, 36, 40])
def test_what_is_added_fits_the_width(width: int) -> None:
    out = io.StringIO()
    paper = Paper(out, width)
    paper.add(Text("abcd " * 30))
    lines = out.getvalue().splitlines()
    each = (width + 1) // 5  # words in a line
    assert lines[0] == ("abcd " * each).rstrip()
    assert " ".join(lines).split() == ["abcd"] * 30


def test_a_frame_is_as_wide_as_there_is_room() -> None:
    out = io.StringIO()
    Paper(out, 40).add(Panel("x"))
    assert {len(line) for line in out.getvalue().splitlines()} == {40}


def test_without_an_edge_nothing_breaks() -> None:
    out = io.StringIO()
    Paper(out, None).add(Text("abcd " * 30))
    assert out.getvalue() == ("abcd " * 30).rstrip() + "\n"


def test_what_is_broken_fills_each_line() -> None:
    paper = Paper(io.StringIO(), 24)
    assert paper.broken("abcd " * 15) == [("abcd " * 5).rstrip()] * 3
    assert paper.broken("abcd " * 14, 5) == [("abcd " * 4).strip(), *[("abcd " * 5).strip()] * 2]
