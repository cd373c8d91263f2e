"""The layout table: every VMA, the gaps, and why neighbours are two where that does not show."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Final

import pytest
from program import ROOT, RunProgram
from rich.console import Console

import vmatrace
from vmatrace import abi
from vmatrace.engine.merge import Blocker, Border
from vmatrace.engine.vma import Vma
from vmatrace.layout import Mapping
from vmatrace.render import addressspace, drawing
from vmatrace.render.paper import Paper
from vmatrace.replayer.result import Result

PERL = "traces/programs/perl.yaml"
_ROW = re.compile(r"^..([0-9a-f]{8,}-[0-9a-f]{8,}) ", re.M)
_REASON = re.compile(r"^..  [=≠] ", re.M)
#: ``vmatrace replay``, and a Result, of the calls given.
Lines = Callable[[str], Result]


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


def replayed(*calls: str) -> Result:
    text = "".join(f"- {call}\n" for call in calls)
    return vmatrace.replay(io.StringIO(f"vmatrace: 1\nname: t\nkernel: '6.12'\nevents:\n{text}"))


def mapped(place: int, flags: str = "MAP_PRIVATE|MAP_ANONYMOUS", prot: str = "PROT_READ",
           file: str = "-1, 0") -> str:  # fmt: skip
    return f"mmap({place:#x}, 0x1000, {prot}, {flags}|MAP_FIXED, {file})"


def table(result: Result, why: str = addressspace.INTERESTING, width: int | None = None) -> str:
    out = io.StringIO()
    process = result.processes[0]
    addressspace.write(Paper(out, width), process.layout, process.borders, why)
    return out.getvalue()


def drawn(
    result: Result, width: int, encoding: str = "utf-8", why: str = addressspace.INTERESTING
) -> str:
    console = Console(file=io.TextIOWrapper(io.BytesIO(), encoding), width=width,
                      force_terminal=True, color_system=None)  # fmt: skip
    process = result.processes[0]
    return "".join(
        segment.text
        for segment in drawing.segments(
            console, console.options,
            lambda paper: addressspace.write(paper, process.layout, process.borders, why),
        )
    )  # fmt: skip


# --- the short view -------------------------------------------------------------------------------


def test_a_program_of_61_vmas_is_read_on_two_screens(run: RunProgram) -> None:
    assert len(run("replay", PERL).out.splitlines()) < 90
    assert len(run("replay", PERL, columns=80).out.splitlines()) < 100


@pytest.mark.parametrize("width", [60, 80, 120, 200, None])
@pytest.mark.parametrize("why", addressspace.WHY)
def test_every_vma_has_a_row_whatever_is_asked(why: str, width: int | None) -> None:
    result = vmatrace.replay(PERL)
    rows = _ROW.findall(table(result, why, width))
    assert rows == [f"{m.start:08x}-{m.end:08x}" for m in result.processes[0].layout]


def test_every_border_is_told_or_counted() -> None:
    result = vmatrace.replay(PERL)
    borders = len(result.processes[0].borders)
    told = len(_REASON.findall(table(result)))
    assert f"  {borders - told} more borders between VMAs that differ as shown" in table(result)
    assert len(_REASON.findall(table(result, "all"))) == borders
    assert "more border" not in table(result, "all")
    assert _REASON.findall(table(result, "none")) == []


def test_what_the_rows_show_is_not_said_again() -> None:
    result = replayed(mapped(0x10000), mapped(0x11000, prot="PROT_READ|PROT_WRITE"))
    assert _REASON.findall(table(result)) == []
    assert "1 more border between" in table(result)


@pytest.mark.parametrize(
    ("calls", "why"),
    [
        # KSM by default: the same but for when the flag came
        (["prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0)", mapped(0x10000), mapped(0x11000)], "= alike"),
        # mg on one of them
        (
            [mapped(0x10000), "madvise(0x10000, 0x1000, MADV_MERGEABLE)", mapped(0x11000)],
            "mg (VM_MERGEABLE) only above",
        ),
        # a flag that the table leaves out
        (
            [mapped(0x10000, prot="PROT_READ|PROT_WRITE"), "fault(0x10000, 1, PROT_WRITE)",
             mapped(0x11000), "mprotect(0x10000, 0x1000, PROT_READ)"],
            "ac (VM_ACCOUNT) only above",
        ),
        # a name
        (
            [mapped(0x10000), mapped(0x11000), "prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, 0x11000, "
             "0x1000, 'x')"],
            None,
        ),
        # nothing that the kernel shows
        (
            [mapped(0x10000, prot="PROT_READ|PROT_WRITE"), "fault(0x10000, 1, PROT_WRITE)",
             mapped(0x12000, prot="PROT_READ|PROT_WRITE"), "fault(0x12000, 1, PROT_WRITE)",
             mapped(0x11000, prot="PROT_READ|PROT_WRITE")],
            "anon_vma",
        ),
    ],
)  # fmt: skip
def test_what_the_rows_leave_open_is_said(calls: list[str], why: str | None) -> None:
    shown = table(replayed(*calls))
    if why is None:
        assert _REASON.findall(shown) == []
    else:
        assert why in shown
        assert len(_REASON.findall(shown)) == 1


_OLD: Final = abi.VM_READ | abi.VM_MAYREAD


@pytest.mark.parametrize(
    ("names", "offsets", "flags", "mask", "said"),
    [
        # nothing keeps them apart, whatever the rows show
        (("/a", "/b"), (0, 0), (_OLD, _OLD), 0, True),
        # names, permissions and flags that the rows show
        (("/a", "/b"), (0, 0x1000), (_OLD, _OLD), Blocker.FILE, False),
        (("", ""), (0, 0), (_OLD, _OLD | abi.VM_WRITE), Blocker.FLAGS, False),
        (("", ""), (0, 0), (_OLD, _OLD | abi.VM_LOCKED), Blocker.FLAGS, False),
        # KSM's flag is said although it is shown, but not beside another name
        (("", ""), (0, 0), (_OLD, _OLD | abi.VM_MERGEABLE), Blocker.FLAGS, True),
        (("", "x"), (0, 0), (_OLD, _OLD | abi.VM_MERGEABLE), Blocker.FLAGS, False),
        # flags that the rows leave out
        (("", ""), (0, 0), (_OLD, _OLD | abi.VM_ACCOUNT), Blocker.FLAGS, True),
        (("", ""), (0, 0), (_OLD, _OLD | abi.VM_SOFTDIRTY), Blocker.ANON_VMA, True),
        # of a file the offsets show whether one goes on where the other ends, or starts there, too
        (("/a", "/a"), (0, 0x2000), (_OLD, _OLD), Blocker.ANON_VMA, True),
        (("/a", "/a"), (0x3000, 0x3000), (_OLD, _OLD), Blocker.PGOFF, True),
        (("/a", "/a"), (0, 0x3000), (_OLD, _OLD), Blocker.PGOFF, False),
        (("/a", "/a"), (0x4000, 0), (_OLD, _OLD), Blocker.PGOFF, False),
        (("/a", "/a"), (0, 0x3000), (_OLD, _OLD), Blocker.PGOFF | Blocker.FILE, True),
        # what is no file has an offset only where it is one into a file
        (("x", "x"), (0x4000, 0), (_OLD, _OLD), Blocker.PGOFF, True),
        (("x", "x"), (0, 0x5000), (_OLD, _OLD), Blocker.PGOFF, False),
    ],
)  # fmt: skip
def test_a_border_is_said_where_its_rows_leave_it_open(
    names: tuple[str, str], offsets: tuple[int, int], flags: tuple[int, int], mask: int,
    said: bool,
) -> None:  # fmt: skip
    places = [(0x10000, 0x12000), (0x12000, 0x14000)]
    above, below = (
        Mapping(*place, flag, offset, name)
        for place, flag, offset, name in zip(places, flags, offsets, names, strict=True)
    )
    left, right = (Vma(*place, flag) for place, flag in zip(places, flags, strict=True))
    border = Border(left, right, mask)
    assert addressspace.interesting(border, above, below) is said


# --- backings that are too long -------------------------------------------------------------------


@pytest.mark.parametrize("width", [66, 80, 100])
def test_no_path_is_cut_and_no_row_is_too_wide(width: int) -> None:
    result = vmatrace.replay(PERL)
    lines = table(result, width=width).splitlines()
    assert all(len(line) <= width for line in lines)
    folder, there = "", []
    for line in lines:
        if re.match("  [/a[]", line) and not _ROW.match(line) and "range" not in line:
            folder = line.strip()
        elif _ROW.match(line):
            last = line.split()[-1]
            name = folder if last == '"' or width == 66 else last
            there.append(folder + name if folder.endswith("/") and name[0] not in "/[a" else name)
    assert there == [m.name or "anonymous" for m in result.processes[0].layout]


# --- drawn ----------------------------------------------------------------------------------------


def test_a_bracket_joins_what_touches() -> None:
    result = replayed(
        mapped(0x10000), mapped(0x11000, prot="PROT_NONE"), mapped(0x12000), mapped(0x14000)
    )
    marks = [line[0] for line in drawn(result, 80).splitlines()]
    assert marks == [" ", "┌", "│", "└", " ", "─", " "]
    marks = [line[0] for line in drawn(result, 80, "ascii").splitlines()]
    assert marks == [" ", ",", "|", "'", " ", "-", " "]


@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_drawing_says_what_a_pipe_says(width: int) -> None:
    result = vmatrace.replay(PERL)
    plain = re.sub(r"[┌│└─┄]", " ", drawn(result, width))
    assert plain.split() == table(result, width=width).split()


@pytest.mark.parametrize("width", [66, 80, 120])
def test_a_drawing_is_the_same_in_ascii(width: int) -> None:
    """Also where a folder stands above its rows; but for reasons, whose sign is longer."""
    result = vmatrace.replay(PERL)
    frames = str.maketrans("─┌│└┄", "-,|'.")
    shown = drawn(result, width, why=addressspace.NONE)
    assert shown.count("\n│ /") >= 1 or width > 100
    assert shown.translate(frames) == drawn(result, width, "ascii", addressspace.NONE)


def test_a_layout_without_optional_columns() -> None:
    out = io.StringIO()
    flags = abi.VM_READ | abi.VM_MAYREAD
    addressspace.write(
        Paper(out), [Mapping(0x1000, 0x2000, flags), Mapping(0x3000, 0x4000, flags)], []
    )
    assert out.getvalue() == (
        "  address range      size  perms  backing\n"
        "  00001000-00002000    4K  r--p   anonymous\n"
        "         gap           4K\n"
        "  00003000-00004000    4K  r--p   anonymous\n"
    )
