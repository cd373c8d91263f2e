"""A result as text: on a wide and a narrow page, on a terminal with and without Unicode.

``summaries/`` has a trace (or a log) each, and what is written of it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest
from rich.console import Console

from vmatrace.importers import open_trace
from vmatrace.kernels import get_kernel
from vmatrace.render import addressspace, drawing, steps, summary, theme
from vmatrace.render.paper import Paper
from vmatrace.replayer.result import Result
from vmatrace.replayer.run import Replay, replay
from vmatrace.trace.file import Trace

HERE: Final = Path(__file__).parent / "summaries"
NAMES: Final = sorted(path.name for path in HERE.iterdir() if path.suffix != ".txt")
Write = Callable[[Paper], None]


def plain(write: Write, width: int | None) -> str:
    out = io.StringIO()
    write(Paper(out, width))
    return out.getvalue()


class Marked(Paper):
    """Paper on which each span stands with its style, ``style<text>``, as a screen has it."""

    drawn = True

    def _put(self, pairs: list[tuple[str, str]]) -> None:
        assert {style for _, style in pairs} <= {"", *theme.STYLES}
        self._write("".join(f"{style}<{text}>" if style else text for text, style in pairs) + "\n")


def marked(write: Write) -> str:
    out = io.StringIO()
    write(Marked(out, 120))
    return out.getvalue()


def drawn(write: Write, width: int, encoding: str) -> str:
    console = Console(file=io.TextIOWrapper(io.BytesIO(), encoding), width=width,
                      force_terminal=True, color_system=None)  # fmt: skip
    return "".join(segment.text for segment in drawing.segments(console, console.options, write))


def pages(trace: Trace, result: Result) -> Iterator[tuple[str, str]]:
    """Each way to write the *result* of *trace*, and what is written."""

    def whole(paper: Paper) -> None:
        summary.write_result(paper, result)

    def layouts(paper: Paper) -> None:
        summary.write_layouts(paper, result, addressspace.ALL)

    def processes(paper: Paper) -> None:
        summary.write_processes(paper, result)

    yield "a page without an edge", plain(whole, None)
    yield "a page of 60 columns", plain(whole, 60)
    yield "a terminal of 70 columns", drawn(whole, 70, "utf-8")
    yield "its layouts with every border on 60 columns", plain(layouts, 60)
    yield "its layouts with every border on a terminal of 46", drawn(layouts, 46, "utf-8")

    def calls(paper: Paper) -> None:
        steps.write(paper, Replay(trace, get_kernel(result.kernel)))

    yield "the whole with its styles", marked(whole)
    yield "its steps on 60 columns", plain(calls, 60)
    yield "its steps with their styles", marked(calls)
    yield "its processes on 50 columns", plain(processes, 50)
    yield "its processes on a terminal without Unicode", drawn(processes, 100, "ascii")


@pytest.mark.parametrize("width", [30, 44, 100])
def test_one_process_is_no_tree(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE)
    result = replay(open_trace("borders.yaml"), get_kernel("post-patch"))
    write = partial(_with, summary.write_processes, result)
    assert drawn(write, width, "utf-8") == plain(write, width)


@pytest.mark.parametrize("name", NAMES)
def test_lines_are_as_full_as_the_page_is_wide(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit goes on in the next line, and nothing does that would have fit."""
    monkeypatch.chdir(HERE)
    trace = open_trace(name)
    result = replay(trace, get_kernel(trace.kernel or "post-patch"))
    for write in (summary.write_head, summary.write_faults, summary.write_processes):
        whole = plain(partial(_with, write, result), None).splitlines()
        # The head and faults have words of up to 44 columns, and what stands in one line.
        for width in range(27 if write is summary.write_processes else 44, 120, 3):
            lines = iter(plain(partial(_with, write, result), width).splitlines())
            for line in whole:
                letters = "".join(line.split())
                parts = [next(lines)]
                while len("".join("".join(parts).split())) < len(letters):
                    parts.append(next(lines))
                assert "".join("".join(parts).split()) == letters
                if " ".join(parts).split() != line.split():
                    continue  # what has no blanks is cut
                for part, following in pairwise(parts):
                    assert len(part) + 1 + len(following.split()[0]) > width
                indents = {len(part) - len(part.lstrip()) for part in parts[1:]}
                assert len(indents) <= 1
                assert all(len(part) <= width for part in parts if len(part.split()) > 1)
            assert list(lines) == []


def _with(write: Callable[[Paper, Result], None], result: Result, paper: Paper) -> None:
    write(paper, result)


@pytest.mark.parametrize("name", NAMES)
def test_a_result_is_written(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE)
    monkeypatch.setattr(summary, "MOST", 5)
    trace = open_trace(name)
    result = replay(trace, get_kernel(trace.kernel or "post-patch"))
    written = "".join(f"# {where}\n{text}\n" for where, text in pages(trace, result))
    assert written == (HERE / f"{name}.txt").read_text(encoding="utf-8")
