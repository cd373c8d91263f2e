"""What is printed about a verification. ``pytest --update-golden`` rewrites the kept files."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from vmatrace.commands.verify import as_json, as_table
from vmatrace.commands.verify.progress import Progress
from vmatrace.commands.verify.question import OfRecording, Outcome, Played
from vmatrace.commands.verify.words import death
from vmatrace.kernels import FEATURES, KERNELS
from vmatrace.layout import Mapping, parse_layout
from vmatrace.oracle import KernelDied
from vmatrace.render.paper import Paper
from vmatrace.search.generate import files, generate
from vmatrace.search.reduction import used_files
from vmatrace.trace.file import load_trace
from vmatrace.verify.campaign import BatchResult, Campaign, Reduced, Total, exhibit_text, readable
from vmatrace.verify.findings import conclude
from vmatrace.verify.verdict import Verdict
from vmatrace.verify.witness import Mismatch, first_difference

HERE = Path(__file__).parent
STACK = "7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0 [stack]\nVmFlags: rd wr mr mw me gd ac\n"


def rows(*rows: tuple[int, int, str, str]) -> list[Mapping]:
    """A layout from (first page, end page, permissions, VmFlags) above 1 TiB, and the stack."""
    text = "".join(
        f"{(1 << 40) + start * 4096:x}-{(1 << 40) + end * 4096:x} {perms} 00000000 00:00 0\n"
        f"VmFlags: {codes}\n"
        for start, end, perms, codes in rows
    )
    return parse_layout(text + STACK)


RW, RO = "rd wr mr mw me ac", "rd mr mw me ac"
OURS = rows((0, 4, "rw-p", RW), (4, 5, "rw-p", f"{RW} mg"), (6, 7, "r--p", RO))
THEIRS = rows((0, 5, "rw-p", f"{RW} mg"), (6, 7, "r--p", "rd mr mw me"))
EVENTS = readable(generate("golden", 0, 3))


def mismatch(field: str = "end") -> Mismatch:
    modelled, actual = (0x10000000000, -12) if field == "result" else (0, 0)
    return Mismatch(2, EVENTS[2], "main", field, modelled, actual, OURS, THEIRS)


def kept(name: str, text: str, request: pytest.FixtureRequest) -> None:
    path = HERE / name
    if request.config.getoption("--update-golden"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), "rewrite with: pytest --update-golden"


def test_a_mismatch_shows_both_layouts_side_by_side(request: pytest.FixtureRequest) -> None:
    out = io.StringIO()
    verdict = Verdict("one", "one.yaml", "6.18", 2, mismatch())
    for width in (80, None, 120):
        as_table.write(Paper(out, width), verdict)
    assert max(map(len, out.getvalue().splitlines())) <= 120
    kept("mismatch.txt", out.getvalue(), request)


@pytest.mark.parametrize("width", [60, 80, 100])
def test_no_line_is_wider_than_the_paper(width: int) -> None:
    out = io.StringIO()
    as_table.write_mismatch(Paper(out, width), mismatch("result"), "6.18" + "+x" * 40)
    assert max(map(len, out.getvalue().splitlines())) <= width


def test_a_result_that_differs_is_said_in_the_spelling_of_strace() -> None:
    out = io.StringIO()
    failed = EVENTS[2]
    event = next(e for e in generate("golden", 0, 40) if e.name == "mmap")
    assert failed is not event
    as_table.write_mismatch(
        Paper(out, None), Mismatch(0, event, "main", "result", 4096, -12, [], []), "6.18"
    )
    assert "the model has 0x1000, the kernel -1 ENOMEM" in out.getvalue()


def test_verdicts_and_their_sum(request: pytest.FixtureRequest) -> None:
    out = io.StringIO()
    verdicts = [
        Verdict("one", "one.yaml", "6.18", 7),
        Verdict("two", "two.yaml", "6.18", 0, None, "it wants vm.max_map_count=3, this has 7"),
        Verdict("three", "three.yaml", "6.18", 3, None, "the page is no longer there"),
    ]
    for verdict in verdicts:
        as_table.write(Paper(out, 80), verdict)
    as_table.write_total(Paper(out, 80), verdicts)
    kept("verdicts.txt", out.getvalue(), request)


def test_json_has_the_fields_of_a_replay() -> None:
    out = io.StringIO()
    as_json.write(out, Verdict("one", "one.yaml", "6.18", 2, mismatch("result")))
    document = json.loads(out.getvalue())
    assert document["verdict"] == "mismatch"
    found = document["mismatch"]
    assert (found["field"], found["actual"], found["actual_errno"]) == ("result", -12, "ENOMEM")
    assert found["kernel_layout"][0]["vmflags"][-1] == "mg"


def test_findings_say_what_differs(request: pytest.FixtureRequest) -> None:
    out = io.StringIO()
    features = KERNELS["6.18"].features - {"anon-vma-name"}
    found = conclude({name: name in features for name in FEATURES})
    as_table.write_findings(Paper(out, 100), found)
    text = out.getvalue()
    assert "nearest to the model 6.18." in text
    assert "! anon-vma-name" in text
    as_json.write(out := io.StringIO(), found)
    assert json.loads(out.getvalue())["differing"] == ["anon-vma-name"]


def test_a_campaign_says_how_to_repeat_it() -> None:
    campaign = Campaign("beef", 7, 50, KERNELS["6.18"])
    assert campaign.command() == "vmatrace verify --random 7 --seed beef --events 50"
    total = Total(campaign)
    total.add(BatchResult(7, 350, 1, None))
    out = io.StringIO()
    as_table.write_outcome(Paper(out, None), Outcome(total))
    assert out.getvalue().startswith("350 events in 7 programs are exact; 1 program could not be")


def test_an_exhibit_is_a_trace_that_says_where_it_comes_from(
    request: pytest.FixtureRequest,
) -> None:
    start = load_trace(b"vmatrace: 1\nprocess: {brk: 0x7000001000}\nevents: []\n")
    start.files = files()
    start.maps = parse_layout(STACK)
    events = [e for e in generate("exhibit", 2, 60) if e.name == "mmap"][:3]
    found = Mismatch(2, events[2], "main", "end", 0, 0, OURS, THEIRS)
    campaign = Campaign("beef", 7, 40, KERNELS["6.18"])
    text = exhibit_text(campaign, 2, Reduced(start, events, found, 12))
    assert "--random 3 --seed beef\n" in text
    again = load_trace(text.encode())
    (expectation,) = [item for item in again.items() if not hasattr(item, "args")]
    assert getattr(expectation, "on", None) == ("6.18",)
    assert len(getattr(expectation, "maps", ())) == 2
    assert used_files(start.files, events).keys() == again.files.keys()


def test_the_first_difference_is_found_walking_together() -> None:
    assert first_difference(OURS, THEIRS) == (0, "end")
    assert first_difference(OURS[:1], OURS) == (1, "number of VMAs")
    assert first_difference(OURS, OURS[:1] + OURS[2:]) == (1, "start")


def test_the_sum_of_a_campaign_is_one_object() -> None:
    """Its verdict, and whatever there is of a mismatch or a dead kernel."""
    total = Total(Campaign("beef", 7, 50, KERNELS["6.18"]))
    total.programs, total.events, total.cut, total.seconds = 7, 350, 2, 1.23456
    counted = {
        "format": "vmatrace-verify/1", "kernel": "6.18", "seed": "beef", "programs": 7,
        "events": 350, "cut": 2, "seconds": 1.235,
    }  # fmt: skip
    nothing = {"program": None, "exhibit": None, "mismatch": None, "died": None}
    assert written(Outcome(total)) == {**counted, "verdict": "exact", **nothing}
    total.failed = 3
    total.died = KernelDied("panicked", ["BUG: at mm/mmap.c", "---[ end"])
    assert written(Outcome(total)) == {
        **counted, **nothing, "verdict": "died", "program": 3,
        "died": {"how": "panicked", "console": ["BUG: at mm/mmap.c", "---[ end"]},
    }  # fmt: skip
    total.died = None
    assert written(Outcome(total)) == {**counted, **nothing, "verdict": "mismatch", "program": 3}


def test_a_verdict_and_a_mismatch_are_one_object() -> None:
    assert written(Verdict("two", "2.yaml", "6.18", 0, None, "it wants another kernel")) == {
        "format": "vmatrace-verify/1", "trace": "two", "path": "2.yaml", "kernel": "6.18",
        "verdict": "skipped", "events": 0, "skipped": "it wants another kernel", "mismatch": None,
        "died": None,
    }  # fmt: skip
    found = written(Verdict("one", "1.yaml", "6.18", 2, mismatch("result")))["mismatch"]
    layouts = {found.pop("model_layout")[0]["start"], found.pop("kernel_layout")[0]["start"]}
    assert len(layouts) == 1
    assert found == {
        "index": 2, "line": EVENTS[2].line, "pid": "main", "call": EVENTS[2].text,
        "field": "result", "modelled": 0x10000000000, "modelled_errno": None, "actual": -12,
        "actual_errno": "ENOMEM",
    }  # fmt: skip


def test_the_end_of_a_recording_counts_its_traces() -> None:
    verdicts = [
        Verdict("one", "one.yaml", "6.18", 7),
        Verdict("two", "two.yaml", "6.18", 1, mismatch()),
        Verdict("three", "three.yaml", "6.18", 0, None, "it is long"),
    ]
    out = io.StringIO()
    paper = Paper(out, 100)
    as_table.write_recording(paper, Played({"kernel": "6.18.44"}, verdicts, "6.18"))
    as_table.write_recording(paper, Played({"kernel": "6.18.44"}, verdicts[:1], "6.18"))
    as_table.write_recording(paper, Played({"kernel": "6.18.44"}, [verdicts[1]] * 2, "6.18"))
    assert out.getvalue() == (
        "3 traces recorded on 6.18.44: 8 events equal 6.18, 1 mismatch.\n"
        "1 trace recorded on 6.18.44: 7 events equal 6.18, 0 mismatches.\n"
        "2 traces recorded on 6.18.44: 2 events equal 6.18, 2 mismatches.\n"
    )
    out = io.StringIO()
    for verdict in verdicts:
        as_table.write_of_recording(Paper(out, 100), OfRecording(verdict))
    assert "one.yaml" not in out.getvalue()
    assert "mismatch  two.yaml" in out.getvalue()
    assert "skipped   three.yaml" in out.getvalue()


def test_the_form_writes_each_kind_of_answer() -> None:
    out = io.StringIO()
    form = as_table.form(out, 1)
    campaign = Campaign("beef", 1, 50, KERNELS["6.18"])
    features = KERNELS["6.18"].features
    found = conclude({name: name in features for name in FEATURES})
    verdict = Verdict("one", "one.yaml", "6.18", 7)
    total = Total(campaign)
    total.programs, total.events, total.cut, total.seconds = 1, 1234, 1, 2.0
    for answer in (
        campaign, Outcome(total), Played({"kernel": "k"}, [verdict], "6.18"), OfRecording(verdict),
        found, verdict,
    ):  # fmt: skip
        form.write(answer)
    form.finish()
    lines = out.getvalue().splitlines()
    assert lines[0] == ("Verifying 1 random program of about 50 events against 6.18, seed beef.")
    assert lines[1] == (
        "1,234 events in 1 program are exact; 1 program could not be run to the end (2.0 s, 617 "
        "events/s)."
    )
    assert lines[2] == "1 trace recorded on k: 7 events equal 6.18, 0 mismatches."
    assert lines[3] == "This kernel is nearest to the model 6.18."
    assert lines[4] == "It differs from it in no feature that was probed."
    assert lines[-1] == "exact     one.yaml: 7 events"
    form.write(verdict)
    form.finish()
    assert out.getvalue().splitlines()[-2:] == [
        "", f"2 exact, 0 mismatches, 0 skipped: 14 events on {verdict.where} equal 6.18."
    ]  # fmt: skip


def test_a_kernel_that_died_has_its_last_words() -> None:
    died = KernelDied("panicked", ["BUG: at mm/mmap.c", "\x1b[31mred"])
    out = io.StringIO()
    paper = Paper(out, 80)
    as_table.write(paper, Verdict("one", "one.yaml", "6.18", 7, died=died))
    as_table.write(paper, Verdict("one", "one.yaml", "6.18", 0, died=died))
    console = "\n    BUG: at mm/mmap.c\n    \\x1b[31mred\n\n"
    assert out.getvalue() == (
        f"died      one.yaml\n          after 7 events the kernel panicked\n{console}"
        f"died      one.yaml\n          the kernel panicked\n{console}"
    )
    assert death(died) == "the kernel panicked\n    BUG: at mm/mmap.c\n    \\x1b[31mred"
    total = Total(Campaign("beef", 7, 50, KERNELS["6.18"]))
    total.failed, total.died = 3, died
    as_table.write_outcome(Paper(out := io.StringIO(), 80), Outcome(total))
    assert out.getvalue().startswith(
        "0 events in 0 programs are exact (0.0 s, 0 events/s).\n"
        f"In program 3 the kernel panicked.\n{console}It was exact when it was run again: "
    )


def test_how_far_a_campaign_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar after the first second, on a terminal alone."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, shows in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "100")
        campaign = Campaign("beef", 70, 50, KERNELS["6.18"])
        total = Total(campaign)
        with Progress(campaign) as bar:
            total.seconds = 0.99
            bar.reached(total)
            assert stream.getvalue() == ""
            total.programs, total.events, total.seconds = 35, 3000, 1.0
            bar.reached(total)
            total.events, total.seconds = 6000, 1.5
            bar.reached(total)
            text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
            assert ("3,000 events/s" in text, "35/70" in text) == (shows, shows)
            assert ("4,000 events/s" in text) == shows
            assert text.count("events/s") == 2 * shows


def written(answer: Outcome | Verdict) -> dict[str, Any]:
    out = io.StringIO()
    as_json.write(out, answer)
    document: dict[str, Any] = json.loads(out.getvalue())
    return document
