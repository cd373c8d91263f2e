"""What is written as a trace is read back as the same."""

from __future__ import annotations

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
