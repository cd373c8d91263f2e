"""Markdown and annotations: nothing that a trace names breaks out of its place."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vmatrace
from vmatrace.commands.diff import as_markdown
from vmatrace.render import github, markdown
from vmatrace.trace.file import load_trace

ADJACENT = b"""
vmatrace: 1
process: {ksm: true}
events:
  - mmap(0x10000000, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - mmap(0x10001000, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
"""
printable = st.text(min_size=1)


@given(printable)
def test_a_code_span_ends_where_its_fence_comes_again(text: str) -> None:
    span = markdown.code(text)
    match = re.match(r"`+", span)
    assert match is not None
    fence = match[0]
    inside = span[len(fence) : -len(fence)]
    assert span == fence + inside + fence
    assert len(fence) not in {len(run) for run in re.findall("`+", inside)}
    assert "\n" not in span


@given(printable)
def test_a_cell_holds_no_bare_pipe(text: str) -> None:
    assert re.search(r"(?<!\\)\|", markdown.cell(text)) is None


@given(st.text("`ab\n"))
def test_a_block_ends_at_its_last_line(text: str) -> None:
    first, *inside, last = markdown.block(text).split("\n")
    assert first == last + "text"
    assert not any(line.startswith(last) for line in inside)


def test_a_name_full_of_markup_stays_text() -> None:
    trace = load_trace(ADJACENT, "a|b`c`.yaml")
    trace.name = "</code><b>|``x"
    diff = vmatrace.diff(trace)
    text = as_markdown.write([(diff, as_markdown.folded(diff))], 0)
    assert "| ```</code><b>\\|``x``` | 6 |" in text
    assert f"<summary><code>{html.escape(trace.name)}</code>" in text
    assert text.count("<details>") == text.count("</details>") == 1


@pytest.mark.parametrize("traces", [100, 2000])
def test_a_comment_keeps_within_the_limit_and_says_what_it_leaves_out(traces: int) -> None:
    diff = vmatrace.diff(load_trace(ADJACENT, "x.yaml"))
    folded = as_markdown.folded(diff)
    text = as_markdown.write([(diff, folded)] * traces, 0)
    assert len(text) <= markdown.LIMIT
    shown = text.count("<details>")
    left = [int(n) for n in re.findall(r"^_(\d+) ", text, re.MULTILINE)]
    assert shown + left[-1] == traces
    if traces == 2000:
        rows = sum(line.startswith("| ") for line in text.splitlines()) - 2
        assert rows + left[0] == traces


def unescape(text: str) -> str:
    """What the runner of GitHub Actions does (escapes and their order in ActionCommand.cs)."""
    for escape, character in (
        ("%0D", "\r"),
        ("%0A", "\n"),
        ("%3A", ":"),
        ("%2C", ","),
        ("%25", "%"),
    ):
        text = text.replace(escape, character)
    return text


@given(printable, st.integers(1, 9999), printable, printable)
def test_an_annotation_is_one_line_that_the_runner_reads_back(
    path: str, line: int, title: str, message: str
) -> None:
    text = github.annotation("warning", path, line, title, message)
    assert "\n" not in text
    assert "\r" not in text
    match = re.fullmatch(r"::warning file=([^,]*),line=(\d+),title=([^,]*?)::(.*)", text, re.DOTALL)
    assert match is not None
    assert [unescape(match[1]), int(match[2]), unescape(match[3])] == [path, line, title]
    assert unescape(match[4]) == message


def test_an_annotation_without_a_place_has_none() -> None:
    assert github.annotation("error", "", 3, "", "m") == "::error::m"
    assert github.annotation("notice", "f", 0, "t", "m") == "::notice file=f,title=t::m"
