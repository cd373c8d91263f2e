"""The command ``vmatrace report``: its words, its files, and what it says of bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from program import RunProgram, exhibit

from vmatrace import abi
from vmatrace.commands.report import words
from vmatrace.commands.report.patterns import Pattern

MANY = exhibit("ksm-many-maps")
_ANON = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (Pattern("mmap", ((2, 3), (3, _ANON)), "anonymous"), "mmap, rw-p, anonymous"),
        (
            Pattern("mmap", ((2, 5), (3, abi.MAP_SHARED | abi.MAP_FIXED)), "file"),
            "mmap, r-xs, file, MAP_FIXED",
        ),
        (Pattern("mprotect", ((2, 0),)), "mprotect, ---"),
        (Pattern("madvise", ((2, 14),)), "madvise, MADV_HUGEPAGE"),
        (Pattern("mremap", ((3, 3),)), "mremap, MREMAP_MAYMOVE|MREMAP_FIXED"),
        (Pattern("prctl", ((0, 0x53564D41),)), "prctl, PR_SET_VMA"),
        (Pattern("brk"), "brk"),
    ],
)
def test_a_kind_of_call_in_words(pattern: Pattern, text: str) -> None:
    assert words.call_words(pattern) == text


def test_sizes_are_said_as_a_range_where_they_differ() -> None:
    pattern = Pattern("munmap")
    pattern.smallest, pattern.largest = 8192, 16384
    assert words.call_words(pattern) == "munmap 8K-16K"
    pattern.smallest = 16384
    assert words.call_words(pattern) == "munmap 16K"


def test_without_ksm_by_default_the_report_points_to_the_option(run: RunProgram) -> None:
    hint = "KSM by default is off in this trace"
    assert hint in run("report", exhibit("file-opened-twice")).out
    assert hint not in run("report", exhibit("file-opened-twice"), "--ksm").out
    assert hint not in run("report", MANY).out


def test_the_page_goes_to_a_file_or_to_standard_output(run: RunProgram, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    assert run("report", MANY, "--format", "html", "-o", str(file)) == (0, "", "")
    page = file.read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert run("report", MANY, "--format", "html").out == page


def test_text_and_json_go_to_a_file_too(run: RunProgram, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    assert run("report", MANY, MANY, "--format", "json", "-o", str(file)) == (0, "", "")
    first, second = (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())
    assert first == second
    assert first["format"] == "vmatrace-report/1"


def test_a_trace_in_error_leaves_the_file_alone(run: RunProgram, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("vmatrace: 1\nevents:\n  - mmapp(1)\n", encoding="utf-8")
    file = tmp_path / "report.html"
    file.write_text("kept", encoding="utf-8")
    done = run("report", str(bad), "--format", "html", "-o", str(file))
    assert (done.status, done.out) == (2, "")
    assert f"{bad}:3:5: error: " in done.err
    assert file.read_text(encoding="utf-8") == "kept"


def test_a_file_that_cannot_be_written_is_said(run: RunProgram, tmp_path: Path) -> None:
    file = tmp_path / "no" / "such" / "folder.txt"
    done = run("report", MANY, "-o", str(file))
    assert (done.status, done.out) == (2, "")
    assert done.err == f"{file}: error: cannot be written: No such file or directory\n"


def test_a_page_is_of_one_trace(run: RunProgram) -> None:
    done = run("report", MANY, MANY, "--format", "html")
    assert done.status == 2
    assert "--format html takes one trace" in done.err


def test_good_traces_are_reported_among_bad_ones(run: RunProgram) -> None:
    done = run("report", "traces/nothing-there.yaml", MANY)
    assert done.status == 2
    assert "cannot be read" in done.err
    assert done.out.startswith("ksm-many-maps  pre-patch")


def test_an_empty_trace_has_a_report_in_every_format(run: RunProgram, tmp_path: Path) -> None:
    empty = tmp_path / "empty.yaml"
    empty.write_text("vmatrace: 1\nevents: []\n", encoding="utf-8")
    for form in ("table", "json", "html"):
        done = run("report", str(empty), "--format", form)
        assert (done.status, done.err) == (0, "")
        assert "empty" in done.out
