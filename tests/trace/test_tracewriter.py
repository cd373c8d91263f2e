"""What is written as a trace is read back as the same."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vmatrace import abi
from vmatrace.event import Event, Expectation, File
from vmatrace.layout import Mapping, parse_layout
from vmatrace.trace.file import ProcessState, Sysctl, load_trace
from vmatrace.trace.writer import comment, event_line, expected_layout, header, scalar, snapshot

TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Co", "Cn")), max_size=30)
MAPPINGS = [
    Mapping(0x1000, 0x3000, abi.VM_READ | abi.VM_MAYREAD, 0x2000, "/lib/a b.so", "fe:00", 12),
    Mapping(0x3000, 0x4000, abi.VM_READ | abi.VM_WRITE | abi.VM_MERGEABLE, 0, ""),
    Mapping(0x5000, 0x6000, abi.VM_SHARED | abi.VM_MAYSHARE | abi.VM_READ, 0, "[anon:a: #b]"),
]


@given(TEXTS)
def test_any_text_is_a_scalar(text: str) -> None:
    data = f"vmatrace: 1\nname: {scalar('x' + text)}\nevents: []\n".encode()
    assert load_trace(data).name == "x" + text


@given(TEXTS)
def test_a_comment_stays_one(text: str) -> None:
    data = f"{comment(text)}vmatrace: 1\nevents: []\n".encode()
    assert list(load_trace(data).items()) == []


def test_a_comment_keeps_its_lines_within_a_hundred_columns() -> None:
    words = " ".join(f"word{i}" for i in range(60))
    lines = comment(f"one\n\n  kept {words}\n{words}", "    ").splitlines()
    assert lines[:3] == ["    # one", "    #", f"    #   kept {words}"]
    assert " ".join(line.removeprefix("    # ") for line in lines[3:]) == words
    for line, following in pairwise(lines[3:]):
        first = following.removeprefix("    # ").split()[0]
        assert len(line) <= 100 < len(f"{line} {first}")


def test_text_that_yaml_would_take_for_something_else_is_quoted() -> None:
    plain = ["x", "a b", "é", "a-b?,|", "yesx", "x1", "/lib/a.so", "a = f(1, 2)"]
    odd = [
        "", " x", "x ", "1", "1x", "-x", "?x", ",x", "|x", "a: b", "a:b", "a #b", "{", "}",
        "[", "]", '"', "'", "&a", "*a", "!a", "a>b", "a%b", "@", "`",
        "a\\b", "a\nb", "a\tb", "a\u200bb",
        "true", "False", "NULL", "yes", "No", "ON", "off", "y", "N", "~",
    ]  # fmt: skip
    assert [scalar(text) for text in plain] == plain
    assert all(scalar(text)[0] == scalar(text)[-1] == '"' for text in odd)
    assert [load_trace(f"vmatrace: 1\nname: {scalar(text or 'x')}\nevents: []".encode()).name
            for text in odd] == [text or "x" for text in odd]  # fmt: skip


def test_a_header_is_read_back() -> None:
    files: dict[int | str, File] = {
        3: File("/lib/x y.so", "ext4", "r", 4096),
        "shm": File("/memfd:a", "tmpfs"),
    }
    process = ProcessState(True, 0x555555559000, 0x7FFFF7FFF000, {"memlock": 65536})
    sysctl = Sysctl(100, 2, 4096, 3)
    text = header(
        "a: b", files, process, description="#1: what?", kernel="6.12", page_size=4096,
        sysctl=sysctl, maps=MAPPINGS,
    )  # fmt: skip
    trace = load_trace(f"{text}  []\n".encode())
    assert (trace.name, trace.description, trace.kernel) == ("a: b", "#1: what?", "6.12")
    assert (trace.files, trace.process, trace.sysctl) == (files, process, sysctl)
    assert (trace.maps, trace.page_size) == (MAPPINGS, 4096)


def test_a_snapshot_keeps_what_was_written_to() -> None:
    layout = parse_layout("1000-2000 rw-p 00000000 00:00 0\nAnonymous: 8 kB\nVmFlags: rd wr mg\n")
    again = parse_layout("\n".join(snapshot([*layout, *MAPPINGS[1:]])))
    assert [m.faulted for m in again] == [True, False, False]
    assert again == [*layout, *MAPPINGS[1:]]


def test_an_event_keeps_its_process_its_result_and_the_layout_after_it() -> None:
    born = Event("fork", (), "", recorded=77)
    run = Event("execve", ('/bin/a "b"', "[]", 0), "", pid="77", recorded=0)
    run.maps = MAPPINGS
    gone = Event("munmap", (0x1000, 0x2000), "", pid="77", recorded=-abi.EINVAL)
    lines = [event_line(event, result=True) for event in (born, run, gone)]
    lines.append(expected_layout(MAPPINGS, "77", ">=6.17"))
    text = header("t", {}, ProcessState()) + "\n".join(lines) + "\n"
    *events, expectation = load_trace(text.encode()).items()
    assert isinstance(expectation, Expectation)
    assert [(e.name, e.pid, e.recorded) for e in events if isinstance(e, Event)] == [
        ("fork", "main", 77), ("execve", "77", 0), ("munmap", "77", -abi.EINVAL)
    ]  # fmt: skip
    assert isinstance(events[1], Event)
    assert (events[1].maps, events[1].args[0]) == (MAPPINGS, '/bin/a "b"')
    assert expectation.on == (">=6.17",)
    assert [(e.start, e.name) for e in expectation.maps or ()] == [
        (m.start, m.name or None) for m in MAPPINGS
    ]
