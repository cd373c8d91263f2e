"""What `record` says of what it recorded, and of its check."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from program import RunProgram

from vmatrace.commands.record import command, words
from vmatrace.commands.record.budget import Budgeted
from vmatrace.commands.record.output import Output
from vmatrace.kernels import get_kernel
from vmatrace.record.session import Recorded
from vmatrace.render.paper import Paper
from vmatrace.replayer.result import Failure
from vmatrace.trace.file import load_trace

MAP = "mmap(0x10000, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)"
RIGHT, WRONG = f"  - {MAP} = 0x10000\n", f"  - {MAP} = -1 ENOMEM\n"
#: 6.18 has one VMA; what a trace expects of another kernel is taken for this one's.
HOLDS, FAILS = "  - expect: {on: pre-patch, vmas: 1}\n", "  - expect: {on: pre-patch, vmas: 2}\n"


def recorded(layouts: int = 1) -> Recorded:
    return Recorded(2, 0, 1, layouts, 0, 0, (), (), (), (), 0)


@pytest.mark.parametrize(
    ("events", "said"),
    [
        (RIGHT + HOLDS, "check: exact, 1 layout and every result"),
        (WRONG + HOLDS, "check: 0 of 1 layout and 1 result differ (- recorded, + modelled)"),
        (RIGHT + FAILS, "check: 1 of 1 layout and 0 results differ (- recorded, + modelled)"),
        (WRONG + FAILS, "check: 1 of 1 layout and 1 result differ (- recorded, + modelled)"),
    ],
)
def test_exact_is_what_has_every_layout_and_every_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], events: str, said: str
) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(f"vmatrace: 1\nname: t\nevents:\n{events}", encoding="utf-8")
    exact = command._check(Output(str(path)), recorded(), get_kernel("6.18"))
    err = capsys.readouterr().err
    assert err.splitlines()[-1] == f"vmatrace: {said}"
    assert exact == ("exact" in said)
    assert (f"{path}:4: {MAP}: recorded -1 ENOMEM" in err) == (WRONG in events)


@pytest.mark.parametrize(("count", "said"), [(0, []), (1, ["1 program"]), (2, ["2 programs"])])
def test_programs_whose_calls_are_not_in_the_trace_are_said_to_be_none_of_it(
    count: int, said: list[str]
) -> None:
    remarks = words.remarks(replace(recorded(), foreign=("/bin/old",) * count))
    middle = " of 32 bits, or not readable to this user, whose memory calls are not in the trace: "
    assert [remark.split(middle) for remark in remarks] == [[text, "/bin/old"] for text in said]


def test_what_is_not_followed_is_named_each_once_and_not_without_end() -> None:
    named = tuple(f"call{i % 12}() of main" for i in range(24))
    (remark,) = words.remarks(replace(recorded(), unfollowed=named))
    assert remark.endswith("call9() of main and 2 more")


def test_where_a_recording_went_and_what_it_holds() -> None:
    one = Recorded(1, 1, 1, 1, 0, 0, (), (), (), (), 0)
    assert words.outcome("a.yaml", one) == "a.yaml: 1 event of 1 process, 1 fault"
    killed = Recorded(3, 0, 2, 1, None, 15, (), (), (), (), 0)
    assert words.outcome("b", killed) == (
        "b: 3 events of 2 processes, 0 faults; nothing after SIGTERM was recorded"
    )


def test_the_comment_above_a_trace_says_how_it_came_to_be() -> None:
    assert (
        words.command_line(False, False, ["sort", "a b"], None) == "vmatrace record -- sort 'a b'"
    )
    assert words.command_line(True, True, ["ls", "-l"], None) == (
        "vmatrace record --ksm --no-aslr -- ls -l"
    )
    assert words.command_line(True, False, ["ls"], None) == "vmatrace record --ksm -- ls"
    assert words.command_line(False, True, ["ls"], None) == "vmatrace record --no-aslr -- ls"
    assert words.command_line(False, False, [], 77) == "vmatrace record -p 77"
    assert words.remark("vmatrace record -- ls", "6.18.1", "6.18", "x86_64", ["One.", "Two."]) == (
        "Recorded by\n    vmatrace record -- ls\n"
        "on Linux 6.18.1 (x86_64), which is 6.18 to vmatrace. Every process carries the layout "
        "that the kernel showed at its end and before each exec as an expectation. Threads are "
        "part of their process.\nOne.\nTwo."
    )


def test_what_a_reader_of_a_recording_has_to_know() -> None:
    assert words.remarks(recorded()) == []
    programs = ("a", "b", "a")
    assert words.remarks(
        Recorded(2, 0, 1, 1, 0, 0, programs, ("x",), ("p1",), ("zfs", "q"), 1)
    ) == [
        "3 programs of 32 bits, or not readable to this user, whose memory calls are not in the "
        "trace: a, b",
        "memory was changed by what is not followed, and no event of the trace says how: x",
        "1 process traced by another program from some point on (or sharing memory with one), and "
        "recorded up to there: p1",
        "1 open file too many for RLIMIT_NOFILE (ulimit -n): mapped again, such a file counts as "
        "another one",
        "file systems unknown to the model, taken for drivers with only .mmap(): zfs, q",
    ]
    many = tuple(f"u{n}" for n in range(12))
    told = words.remarks(Recorded(2, 0, 1, 1, 0, 0, ("a",), many, ("p", "q"), (), 7))
    assert told[0].startswith("1 program of 32 bits")
    assert told[1].endswith(": u0, u1, u2, u3, u4, u5, u6, u7, u8, u9 and 2 more")
    assert told[2].startswith("2 processes traced by")
    assert told[2].endswith(": p, q")
    assert told[3].startswith("7 open files too many")
    assert words.remarks(Recorded(2, 0, 1, 1, 0, 0, (), many[:10], (), (), 0))[0].endswith("u9")


def test_what_a_budget_came_to_is_said() -> None:
    failure = Failure(3, 7, "main", "vmas", 5, 6)
    kept = Budgeted("b.yaml", 1, [])
    assert words.budget_verdict(kept) == "budget b.yaml: 1 of 1 count held"
    spent = Budgeted("b.yaml", 3, [failure])
    assert words.budget_verdict(spent) == "budget b.yaml: 2 of 3 counts held"
    out = io.StringIO()
    words.write_budget(Paper(out), spent, "6.18")
    words.write_budget(Paper(out), kept, "6.18")
    assert out.getvalue() == "  b.yaml:3: vmas under 6.18: expected 5, actual 6\n"


def test_a_recording_in_error_is_said_and_shown(
    tmp_path: Path, run: RunProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = b"vmatrace: 1\nevents:\n  - exit_group(0)\n  - brk(0)\n"
    monkeypatch.setattr(Output, "read", lambda _: load_trace(text, "x.yaml"))
    done = run("record", "--check", "-o", str(tmp_path / "x.yaml"), "--", "true")
    assert done.status == 2
    assert "x.yaml:4:5: error: process 'main' has ended in line 3\n" in done.err
    assert done.err.endswith("no whole trace: please report this, with the trace\n")
