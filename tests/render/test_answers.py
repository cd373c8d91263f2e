"""One answer in several forms says the same: laws between them, and texts as they must be."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from program import ROOT

import vmatrace
from vmatrace import abi
from vmatrace.diagnostic import Diagnostic, TraceError
from vmatrace.event import Event
from vmatrace.importers import open_trace
from vmatrace.kernels import KERNELS, get_kernel, is_release
from vmatrace.layout import Mapping
from vmatrace.notes import Notes
from vmatrace.render import (
    cells,
    htmlpage,
    jsonform,
    layouts,
    lognotes,
    markdown,
    picture,
    problems,
    progress,
    steps,
    words,
)
from vmatrace.render.htmlpage import values
from vmatrace.render.paper import Paper
from vmatrace.replayer.believed import AtLimit
from vmatrace.replayer.result import Result, Step
from vmatrace.replayer.run import Replay, replay

TRACES: Final = sorted((ROOT / "traces").glob("*.yaml"))
traces = pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)


def written(write: Callable[[Paper], None], width: int | None = None) -> str:
    out = io.StringIO()
    write(Paper(out, width))
    return out.getvalue()


# --- steps ----------------------------------------------------------------------------------------


@traces
def test_steps_say_what_their_json_says(path: Path) -> None:
    """Each step: its line and result; each merge and each side that was refused, with its place."""
    events = json.loads(json_of(path))["events"]
    shown = written(
        lambda paper: steps.write(paper, Replay(open_trace(str(path)), get_kernel("post-patch")))
    )
    blocks = re.split(r"^(?= {0,6}\d+   )", shown, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(events)
    for block, event in zip(blocks, events, strict=True):
        first, *rest = block.splitlines()
        said = "\n".join(rest)
        assert first.split()[0] == str(event["line"])
        assert (f"[{event['pid']}] " in first) == (event["pid"] != "main")
        assert event["label"] is None or f" {event['label']} = {event['call']} = " in first
        assert event["errno"] is None or first.endswith(f" = -1 {event['errno']}")
        assert said.count("not merged with") == len(event["blocked"])
        for merge in event["merges"]:
            place = layouts.address_range(merge["start"], merge["end"])
            size = words.size(merge["end"] - merge["start"])
            assert f"merged with {steps.SIDES[merge['kind']]}: now {place} ({size})" in said
        for blocked in event["blocked"]:
            there = blocked["neighbour"]
            place = layouts.address_range(there["start"], there["end"])
            assert f"not merged with {steps.SIDES[blocked['side']]}, {place}: " in said


def json_of(path: Path) -> str:
    run = Replay(open_trace(str(path)), get_kernel("post-patch"))
    kept = list(map(whole, run.steps()))
    out = io.StringIO()
    jsonform.write(out, run.result, kept)
    return out.getvalue()


def whole(step: Step) -> Any:
    """*step* with the layout that it has now: the memory goes on to change."""
    layout = step.layout

    class Kept:
        def __getattr__(self, name: str) -> object:
            return layout if name == "layout" else getattr(step, name)

    return Kept()


@traces
def test_changes_lead_from_each_layout_to_the_next(path: Path) -> None:
    """What is marked - was there and is gone, what is marked + is there; the rest stays."""
    run = Replay(open_trace(str(path)), get_kernel("post-patch"))
    shown = written(lambda paper: steps.write(paper, run))
    final = {p.pid: p.layout for p in run.result.processes}
    if list(final) != ["main"] or "[" in re.sub(r"\[(heap|stack|anon\S*|vdso|vvar)\]", "", shown):
        return
    rows: list[str] = []
    for sign, row in re.findall(r"^ {9}([-+]) ([0-9a-f]{8,}-[0-9a-f]+ .*)$", shown, re.MULTILINE):
        key = " ".join(row.split())
        rows.remove(key) if sign == "-" and key in rows else None
        rows += [key] if sign == "+" else []
    start = {m.start for m in open_trace(str(path)).maps}
    assert {int(row.split("-")[0], 16) for row in rows} | start >= {m.start for m in final["main"]}


@traces
def test_one_step_is_written_as_all_of_them_are(path: Path) -> None:
    run = Replay(open_trace(str(path)), get_kernel("post-patch"))
    together = written(lambda paper: steps.write(paper, run), 70)
    out = io.StringIO()
    for step in vmatrace.steps(str(path), "post-patch"):
        steps.write_step(Paper(out, 70), step)
    if len(run.result.processes) == 1 and "[" not in together:  # which gives each process its own
        assert out.getvalue() == together
    assert len(out.getvalue().splitlines()) > 0


def test_a_refusal_says_which_neighbour_and_why() -> None:
    process = vmatrace.Process("6.12")
    for place, prot in ((0x10000000, 1), (0x10002000, 1), (0x10001000, 3)):
        process.mmap(place, 4096, prot, 0x32)
        if place == 0x10002000:
            process.madvise(place, 4096, 12)
    refusals = [r for step in vmatrace.steps(process.trace, "6.12") for r in step.refusals]
    shown = []
    for refusal in refusals:
        out = io.StringIO()
        steps.write_refusal(Paper(out, 70), refusal)
        shown.append(out.getvalue())
    assert shown == [
        "not merged with the VMA before it, 10000000-10001000: flags differ: wr\n"
        "(VM_WRITE), ac (VM_ACCOUNT) only here\n",
        "not merged with the VMA after it, 10002000-10003000: flags differ: mg\n"
        "(VM_MERGEABLE) only there; wr (VM_WRITE), ac (VM_ACCOUNT) only here\n",
    ]  # fmt: skip


# --- calls that failed ----------------------------------------------------------------------------

LIMIT: Final = AtLimit(Event("mmap", (), "mmap(…)", 7), 65000, 3, 65530)


@pytest.mark.parametrize(
    ("change", "said", "summary"),
    [
        ({}, [], {}),
        ({"believed": 1}, ["1 call that failed, which the model would have granted (believed)"],
         {"believed": 1, "at_limit": None}),
        ({"believed": 2, "at_limit": LIMIT},
         ["2 calls that failed, which the model would have granted (believed)",
          "refused at about 65000 of 65530 maps, 3 of them not in the log: line 7: mmap(…)"],
         {"believed": 2, "at_limit": {"line": 7, "call": "mmap(…)", "maps": 65000, "unseen": 3,
                                      "max_map_count": 65530}}),
        ({"believed": 1, "at_limit": replace(LIMIT, unseen=0)},
         ["1 call that failed, which the model would have granted (believed)",
          "refused at about 65000 of 65530 maps: line 7: mmap(…)"],
         {"believed": 1, "at_limit": {"line": 7, "call": "mmap(…)", "maps": 65000, "unseen": 0,
                                      "max_map_count": 65530}}),
        ({"beyond_limit": 70000},
         ["vm.max_map_count was larger than 65530: a call succeeded with 70000 maps"], {}),
    ],
)  # fmt: skip
def test_calls_that_failed_are_told_in_words_and_in_json(
    change: dict[str, Any], said: list[str], summary: dict[str, Any]
) -> None:
    result = replace(Result("t", "t.yaml", "6.12", 4096, 65530), **change)
    assert lognotes.failures(result) == said
    out = io.StringIO()
    jsonform.write(out, result)
    shown = json.loads(out.getvalue())["summary"]
    assert {key: shown[key] for key in ("believed", "at_limit") if key in shown} == summary


def test_a_baseline_says_by_what_it_was_made() -> None:
    result = Result("t", "t.yaml", "6.12", 4096, 65530)
    heads = []
    choices: list[dict[str, Any]] = [{}, {"keeping": True}, {"keeping": None}]
    for options in choices:
        out = io.StringIO()
        jsonform.write(out, result, **options)
        heads.append(json.loads(out.getvalue()))
    assert "version" not in heads[0]
    assert (heads[1]["ksm"], heads[2]["ksm"]) == (True, None)
    assert list(heads[1])[:3] == ["format", "version", "ksm"]


def test_the_json_of_a_log_counts_as_its_notes_do() -> None:
    notes = Notes("strace -f", "writable")
    notes.lines, notes.events, notes.joined, notes.supplied = 9, 4, 1, 2
    notes.passed_over("b")
    notes.passed_over("a")
    notes.misunderstood(Diagnostic("x.log", 3, 5, "what", "the line"))
    notes.assumed.append("Something.")
    assert lognotes.as_json(notes) == {
        "form": "strace -f", "lines": 9, "events": 4, "supplied": 2, "joined": 1,
        "passed": {"a": 1, "b": 1}, "misread": 1,
        "misread_lines": [
            {"path": "x.log", "line": 3, "column": 5, "message": "what", "text": "the line"}
        ],
        "assume_faulted": "writable", "assumed": ["Something."],
    }  # fmt: skip
    assert written(lambda paper: lognotes.write_import(paper, notes, "o.yaml")) == (
        "o.yaml: 9 lines of strace -f, 4 events, 1 other half of calls, 2 passed over (a 1, b 1),"
        " 1 not understood\n1 line was not understood\n  x.log:3: what\n      the line\n"
    )
    assert written(lambda paper: lognotes.write_import(paper, notes, None)) == (
        "1 line was not understood\n  x.log:3: what\n      the line\n"
    )


@pytest.mark.parametrize(
    ("size", "shown"), [(199, 199), (200, 200), (201, 199), (5000, 199)], ids=str
)
def test_a_line_that_was_not_understood_is_shown_as_far_as_200_characters(
    size: int, shown: int
) -> None:
    notes = Notes("qemu", "none")
    notes.lines = 1
    notes.misunderstood(Diagnostic("x.log", 3, 5, "what", " " + "x" * (size - 1)))
    assert written(lambda paper: lognotes.write_import(paper, notes, None)) == (
        "1 line was not understood\n  x.log:3: what\n"
        f"      {'x' * (shown - 1)}{'…' * (shown < size)}\n"
    )


@pytest.mark.parametrize("kinds", [0, 1, 6, 7])
@pytest.mark.parametrize("wrong", [0, 10, 11, 103])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_of_kinds_and_of_what_was_not_understood_so_many_are_shown(
    kinds: int, wrong: int, encoding: str
) -> None:
    notes = Notes("strace", "writable")
    notes.lines = 1
    for i in range(kinds):
        for _ in range(1 + (i == 3)):
            notes.passed_over(f"k{9 - i}")
    for i in range(wrong):
        notes.misunderstood(Diagnostic("x.log", i, 1, f"w{i}", "y"))
    stream = io.TextIOWrapper(made := io.BytesIO(), encoding)
    lognotes.write(Paper(stream), notes, Result("t", "t.yaml", "6.12", 4096, 65530))
    stream.flush()
    dots = "…" if encoding == "utf-8" else "..."
    named = [f"k{9 - i} {1 + (i == 3)}" for i in sorted(range(kinds), key=lambda i: (i != 3, -i))]
    passed = f" ({', '.join(named[:6])}{f', {dots}' * (kinds > 6)})" if kinds else ""
    lines = [
        f"log      1 line of strace, 0 events, {kinds + (kinds > 3)} passed over{passed}"
        + f", {wrong} not understood" * (wrong > 0),
        "assumed  private memory counts as written to as soon as it is writable",
    ]
    if wrong:
        lines += ["", f"{wrong} lines were not understood"]
    for i in range(min(wrong, 10)):
        lines += [f"  x.log:{i}: w{i}", "      y"]
    if wrong > 10:
        lines += [f"  {dots} and {wrong - 10} more (--format json has the first 100)"]
    assert made.getvalue().decode(encoding).splitlines() == lines


@pytest.mark.parametrize(
    ("faulted", "said"),
    [
        ("writable", "private memory counts as written to as soon as it is writable"),
        ("none", "no memory counts as written to"),
        ("recorded", "what was written to is as the log says"),
    ],
)
def test_what_was_assumed_is_one_sentence(faulted: str, said: str) -> None:
    notes = Notes("strace", faulted)
    notes.assumed += [".hidden is a fork of main.", "And so on..."]
    result = replace(Result("t", "t.yaml", "6.12", 4096, 65530), assumed=2, cleared=1, believed=1)
    assert written(lambda paper: lognotes.write(paper, notes, result)).splitlines()[1:] == [
        "assumed  2 mappings that no call made ([assumed]); 1 mapping gone that no call removed;"
        " 1 call that failed, which the model would have granted (believed);"
        f" {said}; .hidden is a fork of main; And so on"
    ]


def test_a_trace_that_is_no_log_and_of_which_nothing_was_assumed_has_no_notes() -> None:
    result = Result("t", "t.yaml", "6.12", 4096, 65530)
    assert written(lambda paper: lognotes.write(paper, None, result)) == ""
    result = replace(result, assumed=1, cleared=2)
    assert written(lambda paper: lognotes.write(paper, None, result)) == (
        "assumed  1 mapping that no call made ([assumed]); 2 mappings gone that no call removed\n"
    )


@pytest.mark.parametrize(
    ("result", "name"),
    [(0, None), (5, None), (-1, "EPERM"), (-12, "ENOMEM"), (-4095, "E4095"), (-4096, None),
     (-999, "E999")],
)  # fmt: skip
def test_an_errno_has_a_name_and_an_address_none(result: int, name: str | None) -> None:
    assert jsonform.errno_name(result) == name


# --- words ----------------------------------------------------------------------------------------


def test_releases_that_follow_one_another_are_a_range() -> None:
    names = [name for name, kernel in KERNELS.items() if is_release(kernel)]
    one, two, three, four, five = names[:5]
    assert words.models([]) == ""
    assert words.models([one]) == one
    assert words.models([one, two]) == f"{one}, {two}"
    assert words.models([one, two, three]) == f"{one} to {three}"
    assert words.models([one, three, four, five]) == f"{one}, {three} to {five}"
    assert words.models(["pre-patch", one, two, three, five]) == (
        f"pre-patch, {one} to {three}, {five}"
    )
    assert words.models([three, two, one]) == f"{three}, {two}, {one}"


@pytest.mark.parametrize(
    ("count", "text"),
    [(1, "1B"), (1023, "1023B"), (1024, "1K"), (1025, "1.0K"), (10 << 20, "10M"),
     ((9999 << 10), "9999K"), (10000 << 10, "9.8M"), (10001 << 10, "9.8M"), (1 << 40, "1T"),
     (9999 << 40, "9999T"), (10000 << 40, "10000.0T"), (47104 << 30, "46T")],
)  # fmt: skip
def test_a_size_is_exact_where_four_digits_say_it(count: int, text: str) -> None:
    assert words.size(count) == text


def test_counts_have_their_plural() -> None:
    assert [words.plural(n, "VMA") for n in (0, 1, 2)] == ["0 VMAs", "1 VMA", "2 VMAs"]
    assert words.plural(2, "half", "halves") == "2 halves"
    assert words.plural(1, "half", "halves") == "1 half"


@pytest.mark.parametrize(
    ("text", "first", "rest", "lines"),
    [
        ("a b c", 3, 5, ["a b", "c"]),
        ("aa bb cc", 2, 5, ["aa", "bb cc"]),
        ("aa bb cc", 5, 2, ["aa bb", "cc"]),
        ("abcdef", 3, 2, ["abc", "de", "f"]),
        ("", 3, 3, [""]),
        ("well-known a", 6, 6, ["well-k", "nown a"]),
        ("漢字 漢", 4, 2, ["漢字", "漢"]),
        ("漢 字", 2, 9, ["漢", "字"]),
        ("漢", 9, 9, ["漢"]),
        ("  漢 字", 4, 9, ["  漢", "字"]),
        ("  a b", 3, 9, ["  a", "b"]),
    ],
)
def test_text_is_broken_at_spaces(text: str, first: int, rest: int, lines: list[str]) -> None:
    assert cells.wrapped(text, first, rest) == lines


def test_names_are_chopped() -> None:
    assert cells.chopped("abcdefg", 3) == ["abc", "def", "g"]
    assert cells.chopped("a漢字b", 3) == ["a漢", "字b"]
    assert cells.chopped("漢字", 1) == ["漢", "字"]
    assert cells.padded("漢", 4) == "漢  "


# --- Markdown, problems ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a", "`a`"),
        ("a`b", "``a`b``"),
        ("``a`b", "``` ``a`b ```"),
        ("a`", "`` a` ``"),
        (" ", "`   `"),
        ("", "`  `"),
        ("::error", "`\\x3a:error`"),
    ],
)
def test_code_is_between_backticks(text: str, code: str) -> None:
    assert markdown.code(text) == code


def test_markdown_has_tables_blocks_and_folds() -> None:
    assert markdown.table(["a", "b", "c"], [["1", "2", "3"]]) == [
        "| a | b | c |\n", "| --- | ---: | ---: |\n", "| 1 | 2 | 3 |\n",
    ]  # fmt: skip
    assert markdown.block("a\nb\n\n") == "```text\na\nb\n```"
    assert markdown.block("a ``` b") == "````text\na ``` b\n````"
    assert markdown.html_code("a<b>") == "<code>a&lt;b&gt;</code>"
    assert markdown.details("s", "b") == "<details>\n<summary>s</summary>\n\nb\n\n</details>\n"
    assert markdown.comment("t", ["| a |\n"], ["x\n"], "sum") == "### t\n\nsum\n\n| a |\n\nx\n"


@pytest.mark.parametrize("size", [markdown.LIMIT // 3, markdown.LIMIT - 500, markdown.LIMIT])
def test_a_comment_says_how_much_it_leaves_out(size: int) -> None:
    text = markdown.comment("t", ["a\n"], ["x" * size + "\n"] * 4, "sum")
    assert len(text) <= markdown.LIMIT
    left = 4 - text.count("x" * size)
    many = "1 trace's details" if left == 1 else f"{left} traces' details"
    assert f"\n_{many} left out: a comment holds {markdown.LIMIT} characters._\n" in text
    rows = markdown.comment("t", ["r" * size + "\n"] * 5, [], "sum")
    assert f"\n_{5 - rows.count('r' * size)} rows of the table left out: " in rows
    assert "_1 row of the table left out" in markdown.comment("t", ["r" * markdown.LIMIT], [], "")


@pytest.mark.parametrize("line", [65, 200, 3000])
def test_a_comment_holds_all_that_fits(line: int) -> None:
    """Of rows and of what is folded as many as leave room for what is said of the others."""
    room = markdown.LIMIT - 400 - len("### t\n\nsum\n\n")
    fits = (room - 1) // line
    for row_count, folded_count in (
        (2, 2), (2, 2000), (2000, 2), (2000, 2000), (fits + 1, 0), (1, fits), (fits, 1),
    ):  # fmt: skip
        rows, folded = (
            ["r" * (line - 1) + "\n"] * row_count,
            ["f" * (line - 1) + "\n"] * folded_count,
        )
        text = markdown.comment("t", rows, folded, "sum")
        assert len(text) <= markdown.LIMIT
        shown = text.count("\nr" + "r" * (line - 2)), text.count("\nf" + "f" * (line - 2))
        assert shown == (min(row_count, fits), min(folded_count, fits - min(row_count, fits)))
        for left, one, many in (
            (row_count - shown[0], "row of the table", "rows of the table"),
            (folded_count - shown[1], "trace's details", "traces' details"),
        ):
            said = f"\n_{left} {one if left == 1 else many} left out: "
            said += "a comment holds 65536 characters._\n"
            assert (said in text) == (left > 0)


def test_every_diagnostic_is_a_problem() -> None:
    error = TraceError([Diagnostic("a", 1, 2, "m"), Diagnostic("b", 0, 0, "n")])
    assert list(problems.of_error(error)) == [
        problems.Problem("not a valid trace", "error", "a", 1, 2, "m", "m"),
        problems.Problem("not a valid trace", "error", "b", 0, 0, "n", "n"),
    ]
    error.rule = "missing"  # type: ignore[attr-defined]
    assert {problem.rule for problem in problems.of_error(error)} == {"missing"}
    assert problems.identifier("nothing to check") == "nothing-to-check"


# --- pages ----------------------------------------------------------------------------------------


def page(data: object = None) -> str:
    out = io.StringIO()
    htmlpage.write(
        out, "vmatrace.commands.audit.as_html", "a<b>", htmlpage.BASE,
        {name: f"[{name}]" for name in re.findall(
            r"\{\{(\w+)\}\}", htmlpage.part("vmatrace.commands.audit.as_html", "page.html")
        )},
        data,
    )  # fmt: skip
    return out.getvalue()


@pytest.mark.parametrize("data", [None, {"a": "</script><!-- & >"}, ["x" * 100_000]])
def test_a_page_runs_its_own_script_alone_and_holds_its_data(data: object) -> None:
    text = page(data)
    style, script = (
        re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL) for tag in ("style", "script")
    )
    assert style is not None
    assert script is not None
    for inline in (style[1], script[1]):
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in text
    assert "<title>a&lt;b&gt;</title>" in text
    held = re.search(r'<script type="(.*?)" id="data">(.*?)</script>', text, re.DOTALL)
    if data is None:
        assert held is None
        return
    assert held is not None
    small = held[1] == "application/json"
    assert small == (len(json.dumps(data)) < 100_000)
    raw = held[2] if small else zlib.decompress(base64.b64decode(held[2])).decode()
    assert json.loads(raw) == data
    assert not small or not set("<>&") & set(raw)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("[assumed]", "assumed"), ("[heap]", "heap"), ("[stack]", "stack"), ("[stack:7]", "stack"),
        ("", "anon"), ("[anon:x]", "anon"), ("[anon_shmem]", "anon"), ("[vdso]", "special"),
        ("[vvar]", "special"), ("/lib/a.so", "file"), ("anon_inode:x", "file"),
        ("/dev/zero (deleted)", "file"),
    ],
)  # fmt: skip
def test_a_map_colours_by_what_a_vma_is(name: str, kind: str) -> None:
    table = values.AttributeTable()
    flags = abi.VM_READ | abi.VM_MAYREAD
    one, other = Mapping(0, 4096, flags, 0, name), Mapping(8192, 16384, flags, 9, name)
    written = Mapping(0, 4096, flags | abi.VM_WRITE, 0, name)
    assert [table.of(each) for each in (one, other, written, one)] == [0, 0, 1, 0]
    assert table.rows == [
        ["r--p", " ".join(one.codes), name, kind], ["rw-p", " ".join(written.codes), name, kind],
    ]  # fmt: skip
    assert table.rows[0][values.NAME] == name


def test_pages_are_read_as_utf_8_in_every_locale() -> None:
    """Python warns where the locale would decide (PEP 597)."""
    code = (
        "from vmatrace.render.htmlpage import part\n"
        "part('vmatrace.commands.audit.as_html', 'page.html')"
    )
    strict = ["-X", "warn_default_encoding", "-W", "error::EncodingWarning"]
    done = subprocess.run(
        [sys.executable, *strict, "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_template_is_filled_once() -> None:
    assert "".join(htmlpage.filled("a{{b}}c{{d}}", {"b": "{{d}}", "d": "}}"})) == "a{{d}}c}}"
    assert "".join(htmlpage.filled("abc", {})) == "abc"
    assert htmlpage.text('<a "b">\x1b') == html.escape('<a "b">\\x1b')
    assert htmlpage.commit_url(None) == ""
    assert htmlpage.commit_url("12ab") == "https://git.kernel.org/linus/12ab"
    assert htmlpage.table(["h", "<"], [["a", 1], ["b", "&"]]) == (
        '<thead><tr><th scope="col">h</th><th scope="col">&lt;</th></tr></thead><tbody>'
        '<tr><th scope="row">a</th><td>1</td></tr><tr><th scope="row">b</th><td>&amp;</td></tr>'
        "</tbody>"
    )


# --- pictures and progress ------------------------------------------------------------------------


@pytest.mark.parametrize(("columns", "width"), [(None, 80), ("50", 50)])
def test_a_picture_is_as_wide_as_asked_and_coloured(
    columns: str | None, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    for form in (picture.Sheet.svg, picture.Sheet.fragment):
        sheet = picture.Sheet()
        assert (sheet.paper.width, sheet.paper.drawn) == (width, True)
        sheet.paper.line(("it failed", "failed"), " — ≠")
        sheet.paper.paragraph("word " * 40)
        text = form(sheet)
        assert "failed" in text.replace("&#160;", " ")
        assert "≠" in text
        assert re.search(r"#[0-9a-f]{6}", text)
        assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_a_fragment_is_one_element_whose_lines_are_those_of_a_terminal() -> None:
    sheet = picture.Sheet()
    sheet.paper.line("a <b>")
    sheet.paper.line("c" * 100)
    text = sheet.fragment()
    assert text.startswith('<pre class="vmatrace" style="font-family: ui-monospace')
    shown = html.unescape(re.sub(r"<.*?>", "", text))
    assert shown == f"a <b>\n{'c' * 100}\n\n"


@pytest.mark.parametrize(
    ("data", "lines"),
    [(b"a\nb\n", 2), (b"", 0), (b"a", 0), (b"\x1f\x8b\n\n", None), (b"\xfd7zXZ\0\n", None),
     (b"\x28\xb5\x2f\xfd\n", None), (b"\n" * (1 << 21), 1 << 21)],
)  # fmt: skip
def test_lines_of_a_file_are_counted_where_they_can_be(
    data: bytes, lines: int | None, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    assert progress._lines(str(path)) == lines
    assert progress._lines(str(tmp_path / "none")) is None


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_what_takes_long_is_shown_on_a_terminal(
    stream: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = stream()
    monkeypatch.setattr("sys.stderr", error)
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    monkeypatch.setattr(progress, "_PERIOD", 0.0)
    assert list(progress.counted(iter("abc"), 1234)) == ["a", "b", "c"]
    with progress.telling("work") as tell:
        tell("at [one]")
        tell("two")
    shown = error.getvalue()
    assert shown.endswith("\x1b[2K") == (stream is Terminal)  # nothing stays
    for text in ("traces", "3 of 1,234", "work: at [one]", "work: two"):
        assert (text in shown) == (stream is Terminal), text


def test_a_bar_tells_its_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.stderr", error := Terminal())
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    monkeypatch.setenv("COLUMNS", "200")
    path = tmp_path / "long.yaml"
    path.write_text("vmatrace: 1\nevents:\n" + "- munlockall()\n" * 3000)
    trace = open_trace(str(path))
    with progress.watching(trace):
        assert replay(trace, get_kernel("6.12")).events == 3000
    assert "line 2,050" in error.getvalue()
    assert "long.yaml" in error.getvalue()
    assert error.getvalue().endswith("\x1b[2K")
