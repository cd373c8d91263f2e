"""Traces whose every name is hostile, through every form of every command that reads traces.

Nothing drives a terminal or a runner of CI, nothing is markup or a formula, and what is read by
programs can be read.
"""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from lxml import etree
from program import Run, RunProgram

from vmatrace.commands import forms

EVIL = [
    "::stop-commands::x", "##[error]x", "=cmd|' /C calc'!A0", "\\x1b[2J\\x1b]0;x\\a", "<script>x",
    "`](http://x)", "a\\n::error::y", "\\r::error::z", "|--|", "]]>&amp;",
]  # fmt: skip
TRACE = """\
vmatrace: 1
name: "%s"
description: "%s"
process: {ksm: true}
files: {3: {path: "/tmp/%s", fs: ext4}}
events:
  - a = mmap(0x10000000, PAGE_SIZE, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - mmap(a + PAGE_SIZE, PAGE_SIZE, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - mmap(NULL, PAGE_SIZE, PROT_READ, MAP_PRIVATE, 3, 0)
  - expect: {name: "%s", vmas: 9, maps: [{start: a, end: a + PAGE_SIZE, name: "%s"}]}
"""
BROKEN = "vmatrace: 1\nevents:\n  - munmap(0, 4096)\n%s\n"
COMMANDS = {
    "replay": ("vmatrace.commands.replay", []),
    "steps": ("vmatrace.commands.replay", ["--steps"]),
    "diff": ("vmatrace.commands.diff", []),
    "diff-steps": ("vmatrace.commands.diff", ["--steps"]),
    "across": ("vmatrace.commands.diff.across", ["--across", "6.12,6.18"]),
    "check": ("vmatrace.commands.check", []),
    "report": ("vmatrace.commands.report", []),
    "explain": ("vmatrace.commands.explain", []),
}  # fmt: skip
CASES = [
    (verb, form, evil)
    for verb, (room, _) in COMMANDS.items()
    for form in forms.names(room)
    for evil in range(len(EVIL))
    # What is binary has no lines; its strings are read back in report/test_series.py.
    if not (form.endswith("maps") and verb == "steps") and form != "perfetto"
]


def obeyed(line: str) -> bool:
    return line.strip().startswith("::") or re.search(r"##\w*\[", line) is not None


@pytest.mark.parametrize(("verb", "form", "evil"), CASES)
def test_nothing_gets_through(
    run: RunProgram, tmp_path: Path, verb: str, form: str, evil: int
) -> None:
    done = printed(run, tmp_path, verb, form, EVIL[evil])
    lines = done.out.split("\n")
    if form not in ("json", "sarif", "gitlab", "html"):  # which need not
        assert [c for c in done.out if not c.isprintable() and c != "\n"] == []
    if form in ("table", "markdown", "ktap", "csv"):
        assert [line for line in lines if obeyed(line)] == []
    if form == "github":
        assert [line for line in lines if obeyed(line) and not line.startswith(KNOWN)] == []
    check_form(done, form)


KNOWN = ("::error file=", "::warning file=", "::notice file=")


def printed(run: RunProgram, folder: Path, verb: str, form: str, evil: str) -> Run:
    trace = folder / "t.yaml"
    trace.write_text(TRACE.replace("%s", evil), encoding="utf-8")
    arguments = [verb.split("-")[0], str(trace), *COMMANDS[verb][1], "--format", form]
    if verb in ("steps", "across"):
        arguments[0] = {"steps": "replay", "across": "diff"}[verb]
    if verb == "explain":
        arguments.insert(2, "all")
    done = run(*arguments)
    assert done.status in (0, 1), done.err
    return done


def check_form(done: Run, form: str) -> None:
    """What a program or a browser reads of it."""
    if form == "json":
        assert [json.loads(line) for line in done.out.splitlines()]
    elif form in ("sarif", "gitlab"):
        assert "](http" not in done.out.replace("\\\\](", "") or form == "gitlab"
        json.loads(done.out)
    elif form == "junit":
        etree.fromstring(done.out.encode())
    elif form == "csv":
        for row in csv.reader(io.StringIO(done.out, newline="")):
            assert not [cell for cell in row if cell.startswith(("=", "+", "@", "-"))]
    elif form == "html":
        assert done.out.count("<script") == done.out.count("</script")
        assert "<script>x" not in done.out
    elif form == "markdown":
        assert re.search("(?<!`)<script", done.out.replace("&lt;", "")) is None or "```" in done.out


@pytest.mark.parametrize("evil", ["::stop-commands::x", "x ##[add-mask]x", "\x1b[2J", "\u202e"])
@pytest.mark.parametrize("verb", ["check", "diff", "replay", "report"])
def test_an_error_is_said_without_harm(
    run: RunProgram, tmp_path: Path, verb: str, evil: str
) -> None:
    trace = tmp_path / f"{evil.replace(':', '')}.yaml"
    trace.write_text(BROKEN % evil, encoding="utf-8")
    done = run(verb, str(trace))
    assert done.status == 2
    for line in (done.out + done.err).split("\n"):
        assert line.replace("\t", "").isprintable()
        assert not obeyed(line)
