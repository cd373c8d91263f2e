"""Nothing from a file drives a terminal or a runner of CI, wherever it is printed."""

from __future__ import annotations

import io
import re

from hypothesis import given
from hypothesis import strategies as st

from vmatrace.diagnostic import Diagnostic, TraceError
from vmatrace.escape import disarmed, inert, lengthened, visible
from vmatrace.render.paper import Paper

PIECES = st.sampled_from(
    ["::", ":", ":", "#", "##", "[", "##[", "##vso[", "##teamcity[", "stop-commands", "x", " ",
     "\t", "\n", "\r", "\x1b[2J", "\x9b", "\u202e", "é", "\ud800", "::error file=x::y"]
)  # fmt: skip
HOSTILE = st.lists(PIECES, max_size=12).map("".join)


def obeyed(line: str) -> bool:
    """Whether a runner takes a line of a log for a command."""
    return line.strip().startswith("::") or re.search(r"##\w*\[", line) is not None


@given(HOSTILE)
def test_no_line_is_obeyed_and_none_drives_a_terminal(text: str) -> None:
    line = inert(text)
    assert not obeyed(line)
    assert line.isprintable()


@given(st.text(st.characters(exclude_characters=":#")))
def test_what_is_no_command_is_only_made_visible(text: str) -> None:
    assert inert(text) == visible(text)


@given(st.lists(st.tuples(HOSTILE, st.sampled_from(["", "failed"]))), st.integers(20, 90))
def test_paper_takes_anything(spans: list[tuple[str, str]], width: int) -> None:
    out = io.StringIO()
    paper = Paper(out, width)
    paper.line(*spans)
    paper.paragraph("".join(text for text, _ in spans), "", "  ", "")
    lines = out.getvalue().split("\n")
    assert not any(map(obeyed, lines))
    assert all(line.isprintable() for line in lines)


@given(HOSTILE, HOSTILE, HOSTILE, st.integers(0, 3), st.integers(1, 30))
def test_an_error_is_harmless_and_its_caret_stands_below(
    path: str, message: str, source: str, line: int, column: int
) -> None:
    said = str(TraceError([Diagnostic(path, line, column, message, source)], 1))
    lines = said.split("\n")
    assert not any(map(obeyed, lines))
    assert all(line.replace("\t", "").isprintable() for line in lines)
    assert len(lines) == (4 if line and source.strip() else 2)


def test_a_caret_is_moved_by_what_was_put_in_before_it() -> None:
    first, shown, caret = str(Diagnostic("p", 1, 13, "m", "::error x::  y")).split("\n")
    assert (first, shown) == ("p:1:13: error: m", "    \\x3a:error x::  y")
    assert caret.index("^") == 4 + 12 + 3
    assert lengthened("::error", 1) == len(disarmed("::")) - 2 == 3
