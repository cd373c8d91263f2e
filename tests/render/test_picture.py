"""Pictures of what is printed: every character of it is there, also beyond the width."""

from __future__ import annotations

import html
import re

import pytest
from rich.panel import Panel
from rich.text import Text

from vmatrace.render.picture import Sheet

LONG = "0123456789" * 30


@pytest.fixture
def sheet(monkeypatch: pytest.MonkeyPatch) -> Sheet:
    monkeypatch.setenv("COLUMNS", "60")
    made = Sheet()
    made.paper.line("one ", ("two", "title"), " <three> & four")
    made.paper.line(LONG)
    made.paper.line("")
    made.paper.line(("end", "bad"))
    return made


def test_a_fragment_has_every_character(sheet: Sheet) -> None:
    text = html.unescape(re.sub(r"<[^>]*>", "", sheet.fragment()))
    assert text == f"one two <three> & four\n{LONG}\n\nend\n\n"
    assert "font-weight: bold" in sheet.fragment()


def test_a_picture_has_every_character(sheet: Sheet) -> None:
    svg = sheet.svg()
    shown = "".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg.split("-matrix")[-1]))
    assert html.unescape(shown).replace("\xa0", " ").replace("\n", "") == (
        f"one two <three> & four{LONG}end"
    )


def test_a_picture_is_as_wide_as_the_paper_or_its_longest_line(
    sheet: Sheet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wide(svg: str) -> float:
        found = re.search(r'viewBox="0 0 ([0-9.]+) ', svg)
        assert found is not None
        return float(found[1])

    monkeypatch.setenv("COLUMNS", "60")
    narrow, empty = Sheet(), Sheet()
    narrow.paper.line("short")
    assert wide(narrow.svg()) == wide(empty.svg())
    assert 4.5 < wide(sheet.svg()) / wide(narrow.svg()) < 5
    monkeypatch.setenv("COLUMNS", "30")
    half = Sheet()
    half.paper.line("short")
    assert wide(half.svg()) < wide(narrow.svg()) * 0.6
    monkeypatch.delenv("COLUMNS")
    assert wide(Sheet().svg()) == pytest.approx(994, abs=1)


@pytest.mark.parametrize(
    "environment",
    [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"},
     {"TERM": "xterm", "COLORTERM": "truecolor"}],
    ids=str,
)  # fmt: skip
def test_a_picture_is_the_same_wherever_it_is_drawn(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLORTERM", "TERM"):
        monkeypatch.delenv(name, raising=False)

    def drawn() -> tuple[str, str]:
        made = Sheet()
        made.paper.line("one ", ("two", "title"), ("≠", "ksm"))
        made.paper.add(Panel.fit(Text.assemble(("bad", "failed"), " good"), border_style="passed"))
        return made.svg(), made.fragment()

    plain = drawn()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert drawn() == plain
