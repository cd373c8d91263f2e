"""Nothing that is written is lost, and nothing written drives a terminal."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

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


def test_a_stream_without_unicode_gets_ascii() -> None:
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert Paper(ascii_only).glyph("≠", "!=") == "!="
    assert Paper(io.TextIOWrapper(io.BytesIO(), encoding="utf-8")).glyph("≠", "!=") == "≠"
