"""An answer is a renderable of rich: printed by any console, it shows what the command shows."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from program import ROOT, RunProgram
from rich.cells import cell_len
from rich.console import Console
from rich.style import Style

import vmatrace
from vmatrace.commands.kernels.question import Known
from vmatrace.escape import visible
from vmatrace.printable import Printable
from vmatrace.render import drawing, streams, theme
from vmatrace.render.cells import columns, padded
from vmatrace.render.paper import Paper

KSM = "traces/ksm-adjacent-anon.yaml"
PERL = "traces/programs/perl.yaml"
FAILING = "tests/golden/failing.yaml"
#: Text of one and of two columns a character, of none, and what drives a terminal.
TEXT = st.text("ab é漢字한🙂\u0301\x1b\n", max_size=60)

ANSWERS: dict[tuple[str, ...], Callable[[], Any]] = {
    ("replay", KSM): lambda: vmatrace.replay(KSM),
    ("replay", FAILING): lambda: vmatrace.replay(FAILING),
    ("replay", PERL): lambda: vmatrace.replay(PERL),
    ("diff", KSM): lambda: vmatrace.diff(KSM),
    ("check", FAILING): lambda: vmatrace.check(FAILING),
    ("explain", PERL, "all"): lambda: vmatrace.explain(PERL),
    ("report", PERL): lambda: vmatrace.report(PERL),
    ("kernels",): Known,
}


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("arguments", ANSWERS, ids=" ".join)
def test_an_answer_prints_by_rich_as_its_command_does(
    arguments: tuple[str, ...], width: int, run: RunProgram
) -> None:
    out = io.StringIO()
    Console(file=out, width=width).print(ANSWERS[arguments]())
    assert out.getvalue() == run(*arguments, columns=width).out


@pytest.mark.parametrize("arguments", ANSWERS, ids=" ".join)
def test_colour_is_all_that_colour_adds(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal without colour there is the same text, and every style is known."""
    shown = []
    for system in ("truecolor", None):
        out = io.StringIO()
        console = Console(file=out, width=80, force_terminal=True, color_system=system, record=True)
        console.print(ANSWERS[arguments]())
        shown.append(console.export_text())
        assert ("\x1b[" in out.getvalue()) == (system is not None)
    assert shown[0] == shown[1]
    assert all(cell_len(line) <= 80 for line in shown[0].splitlines())


@pytest.mark.parametrize("arguments", ANSWERS, ids=" ".join)
def test_an_answer_is_as_wide_as_it_is_asked_to_be(arguments: tuple[str, ...]) -> None:
    shown = []
    for width, asked in ((60, None), (130, 60)):
        out = io.StringIO()
        console = Console(file=out, width=width, force_terminal=True, color_system=None)
        console.print(ANSWERS[arguments](), width=asked)
        shown.append([line.rstrip() for line in out.getvalue().splitlines()])
    assert shown[0] == shown[1]


def test_a_notebook_shows_it_too() -> None:
    bundle = vmatrace.replay(KSM)._repr_mimebundle_()
    assert "blocked by VM_MERGEABLE alone" in bundle["text/html"]
    assert "blocked by VM_MERGEABLE alone" in bundle["text/plain"]


def test_every_answer_names_what_writes_it() -> None:
    """Whatever is printed can be printed by rich: no class forgets its writer."""

    code = "import pkgutil, importlib, vmatrace.commands as c\n" + (
        "for m in pkgutil.walk_packages(c.__path__, 'vmatrace.commands.'):\n"
        "    importlib.import_module(m.name)\n"
        "from vmatrace.printable import Printable\n"
        "from importlib import import_module\n"
        "for cls in Printable.__subclasses__():\n"
        "    module, _, name = cls.shown_by.partition(':')\n"
        "    assert callable(getattr(import_module(module), name)), cls\n"
        "print(len(Printable.__subclasses__()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= len(Printable.__subclasses__()) > 0


@pytest.mark.parametrize("width", [9, 40])
def test_a_console_crops_nothing_off(width: int) -> None:
    out = io.StringIO()
    Console(file=out, width=width).print(vmatrace.replay(FAILING))
    kept = out.getvalue().replace("\n", "").replace(" ", "")
    assert "a-directory-with-a-long-name/libexample.so.1" in kept


def test_no_part_of_a_cropped_line_is_a_command_of_a_runner() -> None:
    for text, shown in (
        ("a" * 9 + "::error", ["aaaaaaaaa\\", "x3a:error"]),
        ("::error" + "a" * 9, ["\\x3a:error", "aaaaaaaaa"]),
        ("a::b" + "漢" * 9, ["a\\x3a:b漢", "漢漢漢漢漢", "漢漢漢"]),
        ("a::b", ["a::b"]),
    ):
        out = io.StringIO()
        console = Console(file=out, width=10)
        made = drawing.segments(console, console.options, partial(_write_line, text))
        assert "".join(segment.text for segment in made).splitlines() == shown


def _write_line(text: str, paper: Paper) -> None:
    paper.line((text, "title"))


# --- one theme ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", theme.STYLES)
def test_a_style_of_the_theme_is_a_style_of_rich(name: str) -> None:
    assert theme.style(name) == Style.parse(theme.STYLES[name]) == theme.theme().styles[name]


def test_colours_are_named_in_the_theme_alone() -> None:
    colours = ("red", "green", "yellow", "cyan", "magenta", "blue")
    for path in (ROOT / "vmatrace").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        if path.name != "theme.py":
            assert [c for c in colours if f'"{c}"' in source or f'"bold {c}"' in source] == [], path


# --- widths ---------------------------------------------------------------------------------------


@given(TEXT, st.integers(30, 90), st.integers(0, 8))
def test_wide_characters_stay_within_the_width(text: str, width: int, indent: int) -> None:
    out = io.StringIO()
    paper = Paper(out, width)
    paper.paragraph(text, "", " " * indent, " " * indent)
    for part in paper.folded(text, indent):
        paper.line(" " * indent, part)
    assert all(cell_len(line) <= width for line in out.getvalue().splitlines())


@given(TEXT)
def test_a_folded_name_of_wide_characters_is_whole(text: str) -> None:
    assert "".join(Paper(io.StringIO(), 30).folded(text, 10)) == visible(text)


@given(st.one_of(st.text(max_size=12), st.text("aé≠─漢🙂…", max_size=12)))
def test_text_is_as_wide_as_rich_says(text: str) -> None:
    shown = visible(text)
    assert columns(shown) == cell_len(shown)
    assert columns(padded(shown, 150)) == 150


def test_what_is_taken_for_narrow_is_narrow_to_rich() -> None:
    characters = [chr(code) for code in range(0x20, 0x3000) if chr(code).isprintable()]
    assert [c for c in characters if columns(c) != cell_len(c)] == []


def test_a_renderable_keeps_its_frame_where_the_stream_has_it(tmp_path: Path) -> None:
    from rich.panel import Panel

    for encoding, corner in (("utf-8", "╭"), ("ascii", "+")):
        file = tmp_path / encoding
        with file.open("w", encoding=encoding) as stream:
            Paper(stream, 40).add(Panel("words"))
        assert file.read_text(encoding=encoding).startswith(corner)


def test_what_a_renderable_holds_drives_no_terminal() -> None:
    from rich.text import Text

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream in (io.StringIO(), Terminal()):
        streams.on(stream).add(Text("a\x9bb"))
        assert stream.getvalue().split("\n")[0].removesuffix("\x1b[0m").isprintable()
