"""Nothing that is written is lost, and nothing written drives a terminal."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.padding import Padding
from rich.text import Text

from vmatrace.render import streams
from vmatrace.render.paper import Paper

_WORDS = st.lists(st.text("abcdefgh:;()-0x", min_size=1, max_size=30), min_size=1, max_size=30)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def no_wishes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@given(_WORDS, st.integers(1, 120), st.integers(0, 12), st.integers(0, 12))
def test_a_paragraph_keeps_every_word(words: list[str], width: int, first: int, rest: int) -> None:
    out = io.StringIO()
    Paper(out, width).paragraph(" ".join(words), "", "." * first, "." * rest)
    kept = re.sub(r"[.\s]", "", out.getvalue())
    # What would be a command of a runner has one of its colons written out.
    assert kept.replace(r"\x3a", ":") == "".join(words)


@given(_WORDS, st.integers(60, 200))
@example(words=["::00", *["0"] * 6, *["00"] * 3, "000", "00000", *["000000"] * 2], width=60)
def test_a_paragraph_of_short_words_stays_within_the_width(words: list[str], width: int) -> None:
    out = io.StringIO()
    Paper(out, width).paragraph(" ".join(words), "", " " * 9, " " * 13)
    assert all(len(line) <= width for line in out.getvalue().splitlines())


@given(st.text("/abc.-", min_size=1, max_size=300), st.integers(40, 120))
def test_a_folded_name_is_the_name_in_pieces(name: str, width: int) -> None:
    pieces = Paper(io.StringIO(), width).folded(name, 24)
    assert "".join(pieces) == name
    assert all(len(piece) <= width - 24 for piece in pieces)


@given(st.text(max_size=40))
def test_no_control_character_reaches_the_stream(text: str) -> None:
    out = io.StringIO()
    Paper(out, 80).line(text, (text, "bold"))
    assert out.getvalue().removesuffix("\n").isprintable()


@pytest.mark.parametrize(
    ("stream", "environment", "coloured"),
    [
        (io.StringIO, {}, False),
        (Terminal, {}, True),
        (Terminal, {"NO_COLOR": "1"}, False),
        (Terminal, {"NO_COLOR": ""}, True),
        (Terminal, {"TERM": "dumb"}, False),
        (io.StringIO, {"FORCE_COLOR": "1"}, True),
        (io.StringIO, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colour_only_where_it_is_wanted(
    stream: type[io.StringIO],
    environment: dict[str, str],
    coloured: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    out = stream()
    streams.on(out).line(("text", "failed"))
    assert ("\x1b[" in out.getvalue()) == coloured


def test_a_pipe_has_no_edge_unless_columns_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert streams.on(io.StringIO()).width is None
    monkeypatch.setenv("COLUMNS", "120")
    assert streams.on(io.StringIO()).width == 120


@pytest.mark.parametrize("columns", ["", "0", "-5", "wide"])
def test_columns_that_are_no_width_are_ignored(
    columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert streams.on(io.StringIO()).width is None
    assert streams.on(Terminal()).width == 80


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({}, "\x1b[1;31mtext\x1b[0m and more\n"),
        ({"TERM": "dumb"}, "text and more\n"),
        ({"NO_COLOR": "1"}, "text and more\n"),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, "\x1b[1;31mtext\x1b[0m and more\n"),
    ],
)
@pytest.mark.parametrize("columns", [None, 30, 200])
def test_a_terminal_is_as_wide_as_columns_says_and_shows_these_bytes(
    environment: dict[str, str], shown: str, columns: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if columns:
        monkeypatch.setenv("COLUMNS", str(columns))
    out = Terminal()
    paper = streams.on(out)
    paper.line(("text", "failed"), " and more  ", ("  ", "title"))
    assert (paper.width, paper.drawn) == (columns or 80, True)
    assert out.getvalue() == shown


def test_what_is_no_terminal_and_is_to_be_coloured_has_no_edge(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.setenv(name, "1")
        paper = streams.on(io.StringIO())
        assert (paper.width, paper.drawn) == (None, True)
        monkeypatch.setenv("COLUMNS", "50")
        assert streams.on(io.StringIO()).width == 50
        monkeypatch.delenv("COLUMNS")
        monkeypatch.delenv(name)
    monkeypatch.setenv("TTY_COMPATIBLE", "0")
    paper = streams.on(io.StringIO())
    assert (paper.width, paper.drawn) == (None, False)


def test_a_terminal_may_be_told_to_be_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "0")
    out = Terminal()
    paper = streams.on(out)
    paper.line(("text", "failed"))
    assert (paper.width, paper.drawn, out.getvalue()) == (80, False, "text\n")


@given(st.text("ab é漢字: #[", max_size=80), st.integers(1, 60), st.integers(0, 60))
def test_what_fits_is_one_piece_and_what_does_not_is_several(
    text: str, width: int, before: int
) -> None:
    paper = Paper(io.StringIO(), width)
    pieces = paper.folded(text, before)
    assert "".join(pieces) == text
    assert pieces == [text] or before + cell_len(text) > width
    assert len(pieces) == 1 or all(cell_len(piece) <= max(width - before, 12) for piece in pieces)
    assert Paper(io.StringIO()).folded(text, before) == [text]


def test_no_word_of_a_broken_line_is_a_command_wherever_it_comes_to_stand() -> None:
    pieces = Paper(io.StringIO(), 30).broken("one ::two three ::four five ##[six] seven eight nine")
    assert pieces == [r"one \x3a:two three \x3a:four", r"five \x23#[six] seven eight", "nine"]
    whole = "one ::two ##[three]"
    assert Paper(io.StringIO(), 40).broken(whole) == [whole]
    assert Paper(io.StringIO()).broken(whole) == [whole]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("people", [False, True])
def test_a_stream_takes_every_character(encoding: str, people: bool) -> None:
    """For programs as UTF-8; for people as theirs, and what that lacks is escaped."""
    made = io.BytesIO()
    stream = io.TextIOWrapper(made, encoding)
    streams.set_encoding(stream, people)
    stream.write("é≠\udcff")
    stream.flush()
    own = encoding if people else "utf-8"
    assert made.getvalue() == "é≠\udcff".encode(own, "backslashreplace")
    streams.set_encoding(io.StringIO(), people)  # which has none


def test_paper_of_its_own_is_what_a_stream_says_it_is() -> None:
    sheet = io.StringIO()
    paper = Paper(sheet, 7)
    sheet.paper = paper  # type: ignore[attr-defined]
    assert streams.on(sheet) is paper


@pytest.mark.parametrize("width", [None, 12, 30])
def test_a_renderable_of_rich_is_as_wide_as_the_paper(width: int | None) -> None:
    def shown(stream: io.StringIO) -> list[str]:
        paper = streams.on(stream)
        paper.width = width
        paper.add(Padding(Text("one two three four five six\x9b", "failed"), (0, 1)))
        return re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()).splitlines()

    plain, drawn = shown(io.StringIO()), shown(Terminal())
    assert [line.rstrip() for line in drawn] == [line.rstrip() for line in plain]
    assert " ".join(" ".join(plain).split()) == "one two three four five six\\x9b"
    assert len(plain) == {None: 1, 12: 3, 30: 1}[width]
    assert all(line.startswith(" ") for line in plain)


@pytest.mark.parametrize(
    ("encoding", "unicode"),
    [("utf-8", True), ("UTF8", True), ("Utf-8", True), ("latin-1", False), ("utf-16", False),
     (None, True), ("", True)],
)  # fmt: skip
def test_glyphs_are_for_streams_of_utf_8(encoding: str | None, unicode: bool) -> None:
    stream: Any = SimpleNamespace(write=None, encoding=encoding)
    assert Paper(stream).glyph("≠", "!=") == ("≠" if unicode else "!=")
    del stream.encoding
    assert Paper(stream).glyph("≠", "!=") == "≠"


def test_a_stream_without_unicode_gets_ascii() -> None:
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert Paper(ascii_only).glyph("≠", "!=") == "!="
    assert Paper(io.TextIOWrapper(io.BytesIO(), encoding="utf-8")).glyph("≠", "!=") == "≠"
