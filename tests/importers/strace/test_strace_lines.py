"""Single lines and short logs: what is said about each, and what is made of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from stracelogs import check_counts

from vmatrace import abi
from vmatrace.diagnostic import TraceError
from vmatrace.event import Event
from vmatrace.importers import open_trace
from vmatrace.importers.format import Reading
from vmatrace.kernels import get_kernel
from vmatrace.notes import Notes
from vmatrace.replayer.run import replay

MAP = "mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)"
#: So that each of these is a log, and has a process.
FIRST = 'execve("./a", ["a"], 0x7ffc /* 2 vars */) = 0\n'


def read(tmp_path: Path, text: str | bytes, faulted: str = "none") -> tuple[list[Event], Notes]:
    path = tmp_path / "a.log"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    trace = open_trace(str(path), Reading(faulted))
    events = [event for event in trace.items() if isinstance(event, Event)]
    assert trace.notes is not None
    check_counts(trace.notes)
    return events, trace.notes


def texts(events: list[Event]) -> list[str]:
    return [f"{event.pid}: {event.name} {event.recorded}" for event in events]


@pytest.mark.parametrize(
    "line",
    [
        f"{MAP} = 0x7f0000001000",
        f"{MAP}     = 0x7f0000001000",
        f"{MAP} = 0x7f0000001000 <0.000012>",
        f"12:00:00 {MAP} = 0x7f0000001000",
        f"12:00:00.123456 (+     0.000012) {MAP} = 0x7f0000001000",
        f"1700000000.123456789 {MAP} = 0x7f0000001000",
        f"     0.000012 {MAP} = 0x7f0000001000",
        f"[   9] {MAP} = 0x7f0000001000",
        f"[00007f75173c3ca3] {MAP} = 0x7f0000001000",
        f"\x1b[1;32mmmap\x1b[0m{MAP[4:]} = \x1b[33m0x7f0000001000\x1b[0m",
        f"{MAP} = 0x7f0000001000\r",
        f"{MAP} = 0x7f0000001000 (DELAYED)",
        "mmap2(NULL, 8192, 0x3, 0x22, -1, 0) = 0x7f0000001000",
        "mmap(0, 0x2000, 0x3, 0x22, 0xffffffff, 0) = 0x7f0000001000",
    ],
)  # fmt: skip
def test_an_mmap_in_any_dress_is_the_same_event(tmp_path: Path, line: str) -> None:
    events, notes = read(tmp_path, FIRST + line + "\n")
    assert notes.misread == []
    event = events[1]
    private = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS
    assert (event.name, event.args) == ("mmap", (0, 8192, 3, private, -1, 0))
    assert event.recorded == 0x7F0000001000


def test_halves_of_a_call_are_one_event_where_the_second_stands(tmp_path: Path) -> None:
    log = (
        f"7 {FIRST}7 {MAP[:-1]} <unfinished ...>\n8 read(3,  <unfinished ...>\n"
        '7 <... mmap resumed>)      = 0x7f0000001000\n8 <... read resumed>"x", 1) = 1\n'
    )
    events, notes = read(tmp_path, log)
    assert texts(events)[-1] == f"main: mmap {0x7F0000001000}"
    assert events[-1].line == 4
    assert notes.joined == 2
    assert notes.passed == {"read": 1}


def test_a_call_that_never_came_back_is_counted_and_not_made(tmp_path: Path) -> None:
    events, notes = read(tmp_path, f"{FIRST}{MAP[:-1]} <unfinished ...>\n")
    assert [event.name for event in events] == ["execve"]
    assert notes.passed == {"unfinished": 1}


@pytest.mark.parametrize("result", ["?", "? ERESTARTNOINTR (To be restarted)"])
def test_a_call_without_an_answer_did_nothing(tmp_path: Path, result: str) -> None:
    events, notes = read(tmp_path, f"{FIRST}{MAP} = {result}\nfork() = {result}\n")
    assert [event.name for event in events] == ["execve"]
    assert notes.passed == {"interrupted": 2}


def test_strace_s_own_message_in_the_middle_of_a_line_does_no_harm(tmp_path: Path) -> None:
    log = FIRST + (
        "clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD, stack=0x7f00}strace: Process 9 attached\n"
        " => {parent_tid=[9]}, 88) = 9\n"
        f"[pid  7] {MAP[:-1]}strace: Process 10 attached\n"
        ") = 0x7f0000001000\n"
        "[pid  7] clone(child_stack=NULL, flags=SIGCHLDstrace: Process 11 attached\n"
        ", child_tidptr=0x7f0000001a10) = 11\n"
        "[pid  7] rt_sigprocmask(SIG_SETMASK, [], strace: Process 12 attached\nNULL, 8) = 0\n"
        f"[pid  9] {MAP} = 0x7f0000004000\n"
    )
    events, notes = read(tmp_path, log)
    assert texts(events)[1:] == [
        "main: clone3 9", f"main: mmap {0x7F0000001000}", "main: clone 11",
        f"9: mmap {0x7F0000004000}",
    ]  # fmt: skip
    assert notes.misread == []


@pytest.mark.parametrize("strace", ["strace", "/usr/bin/strace", "./src/strace"])
@pytest.mark.parametrize("call", ['execve("/bin/a", ["a"], 0x7ffc /* 0 vars */', MAP[:-1]])
def test_a_call_that_strace_detaches_in_is_none(tmp_path: Path, strace: str, call: str) -> None:
    log = (
        f"{FIRST}fork() = 9\n[pid  9] {call}{strace}: Process 9 detached\n <detached ...>\n"
        f"{MAP} = 0x7f0000001000\n"
    )
    events, notes = read(tmp_path, log)
    assert texts(events)[1:] == ["main: fork 9", f"main: mmap {0x7F0000001000}"]
    assert (notes.misread, notes.joined, notes.passed) == ([], 1, {"unfinished": 1})


def test_a_child_may_be_seen_before_its_parent_hears_of_it(tmp_path: Path) -> None:
    log = (
        f"7 {FIRST}7 vfork( <unfinished ...>\n"
        '8 execve("/bin/true", ["true"], 0x7ffc /* 2 vars */ <unfinished ...>\n'
        "7 <... vfork resumed>)         = 8\n8 <... execve resumed>)         = 0\n"
        f"8 {MAP} = 0x7f0000001000\n8 +++ exited with 0 +++\n"
    )
    events, notes = read(tmp_path, log)
    assert texts(events)[1:] == [
        "main: vfork 8", "8: execve 0", f"8: mmap {0x7F0000001000}", "8: exit None",
    ]  # fmt: skip
    assert notes.supplied == 0


def test_memory_placed_where_an_munmap_is_still_going_on_shows_that_it_was(tmp_path: Path) -> None:
    log = (
        f"7 {FIRST}7 {MAP} = 0x7f0000001000\n"
        "7 clone(child_stack=0x7f, flags=CLONE_VM|CLONE_THREAD) = 8\n"
        "8 munmap(0x7f0000001000, 8192 <unfinished ...>\n"
        f"7 {MAP} = 0x7f0000001000\n8 <... munmap resumed>) = 0\n"
    )
    events, _ = read(tmp_path, log)
    assert [event.name for event in events] == ["execve", "mmap", "clone", "munmap", "mmap"]
    result = replay(open_trace(str(tmp_path / "a.log")), get_kernel("6.18"))
    assert (result.vmas, result.cleared) == (1, 0)


def test_all_threads_end_together_whatever_the_log_says_of_it(tmp_path: Path) -> None:
    log = (
        f"7 {FIRST}7 clone(child_stack=0x7f, flags=CLONE_VM|CLONE_THREAD) = 8\n"
        "8 exit_group(0 <unfinished ...>\n7 exit_group(0)    = ?\n"
        "8 <... exit_group resumed>) = ?\n"
    )
    events, notes = read(tmp_path, log)
    assert texts(events)[2:] == ["8: exit None", "main: exit None"]
    assert (notes.supplied, notes.joined, notes.passed) == (2, 1, {"exit_group": 2})


def test_a_thread_that_executes_takes_its_leader_s_place(tmp_path: Path) -> None:
    log = (
        f"7 {FIRST}7 clone(child_stack=0x7f, flags=CLONE_VM|CLONE_FILES|CLONE_THREAD) = 8\n"
        '8 execve("/bin/true", ["true"], 0x7ffc /* 2 vars */ <unfinished ...>\n'
        "7 +++ superseded by execve in pid 8 +++\n7 <... execve resumed>) = 0\n"
        f"7 {MAP} = 0x7f0000001000\n7 +++ exited with 0 +++\n"
    )
    events, notes = read(tmp_path, log)
    assert texts(events)[2:] == [
        "8: exit None", "main: execve 0", f"main: mmap {0x7F0000001000}", "main: exit None",
    ]  # fmt: skip
    assert notes.misread == []


def test_a_closed_descriptor_s_number_is_another_file(tmp_path: Path) -> None:
    log = FIRST + "".join(
        'openat(AT_FDCWD, "/lib/a.so.6", O_RDONLY|O_CLOEXEC) = 3\n'
        f"mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0) = {0x7F0000001000 + i * 0x10000:#x}\n"
        "close(3) = 0\n"
        for i in range(2)
    )
    events, _ = read(tmp_path, log)
    names = [str(event.args[4]) for event in events if event.name == "mmap"]
    assert names == ["a_so_6", "a_so_6_2"]


def test_a_descriptor_that_was_never_opened_is_a_file_of_unknown_name(tmp_path: Path) -> None:
    log = f"{FIRST}mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 5, 0) = 0x7f0000001000\n"
    read(tmp_path, log)
    result = replay(open_trace(str(tmp_path / "a.log")), get_kernel("6.18"))
    assert [vma.name for vma in result.processes[0].layout] == ["fd:5"]


def test_an_exec_closes_what_is_marked_so(tmp_path: Path) -> None:
    opened = 'openat(AT_FDCWD, "/lib/{0}", O_RDWR{1}) = {2}\n'
    maps = "mmap(NULL, 4096, PROT_READ, MAP_SHARED, {0}, 0) = 0x7f00000{0}1000\n"
    log = (
        FIRST + opened.format("kept", "", 3) + opened.format("gone", "|O_CLOEXEC", 4) + FIRST
        + maps.format(3) + maps.format(4)
    )  # fmt: skip
    events, _ = read(tmp_path, log)
    assert [str(event.args[4]) for event in events if event.name == "mmap"] == ["kept", "fd_4"]


def test_faults_follow_what_becomes_writable_and_only_if_asked_for(tmp_path: Path) -> None:
    log = FIRST + (
        "brk(NULL) = 0x555555559000\nbrk(0x55555557a000) = 0x55555557a000\n"
        f"{MAP} = 0x7f0000001000\n"
        "mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000009000\n"
        "mmap(NULL, 4096, PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1, 0) = 0x7f000000b000\n"
        "mprotect(0x7f0000009000, 4096, PROT_READ|PROT_WRITE) = 0\n"
    )
    events, notes = read(tmp_path, log, "writable")
    faults = [event.args for event in events if event.name == "fault"]
    assert faults == [
        (0x555555559000, 0x21000, 2), (0x7F0000001000, 8192, 2), (0x7F0000009000, 4096, 2),
    ]  # fmt: skip
    assert notes.supplied == 3
    assert "fault" not in [event.name for event in read(tmp_path, log)[0]]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (MAP[:40], "unknown constant 'M'"),
        (f"{MAP} = 0x7f0000001", "the result is not the address of a page"),
        (f"{MAP}", "the call has no result"),
        ("munmap(somewhere, 4096) = 0", "an argument is neither a number nor a constant"),
        ("mmap(NULL, 8192, PROT_NONSENSE, MAP_PRIVATE, 3, 0) = 0x7f0000001000", "unknown constant"),
        ("hello, world", "not a line of strace"),
        ("read(3, ", "the line is cut"),
        ("<... munmap resumed>) = 0", "the call's start is missing"),
        ("munmap(0x1000, 99999999999999999999) = 0", "the value does not fit in 64 bits"),
    ],
)
def test_what_is_not_understood_is_kept_with_its_line_and_the_reason(
    tmp_path: Path, line: str, why: str
) -> None:
    events, notes = read(tmp_path, f"{FIRST}{line}\n{MAP} = 0x7f0000001000\n")
    assert notes.misread_count == 1
    assert notes.misread[0].line == 2
    assert why in notes.misread[0].message
    assert events[-1].name == "mmap"


def test_bytes_that_are_no_text_are_shown_as_escapes(tmp_path: Path) -> None:
    _, notes = read(tmp_path, FIRST.encode() + b"\xff\xfe\x00 what?\n")
    assert notes.misread[0].source == "\\xff\\xfe\x00 what?"


def test_only_prctls_of_memory_are_events(tmp_path: Path) -> None:
    log = FIRST + (
        'prctl(PR_SET_NAME, "x") = 0\nprctl(0x43 /* PR_??? */, 0x1, 0, 0, 0) = 0\n'
        "prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0) = 0\nprctl(67, 0x1, 0, 0, 0) = 0\n"
        "prctl(PR_CAPBSET_READ, CAP_MAC_OVERRIDE) = 1\n"
    )
    events, notes = read(tmp_path, log)
    assert [event.args for event in events[1:]] == [(67, 1, 0, 0, 0)] * 3
    assert notes.passed == {"prctl": 2}


def test_another_program_shows_by_its_break_where_no_exec_is_logged(tmp_path: Path) -> None:
    log = (
        "7 brk(NULL) = 0x555555559000\n7 brk(0x55555557a000) = 0x55555557a000\n"
        "7 brk(NULL) = 0x611111112000\n"
    )
    events, notes = read(tmp_path, log)
    assert [event.name for event in events] == ["brk", "brk", "execve", "brk"]
    assert notes.supplied == 1
    assert "executed a program" in notes.assumed[0]


def test_a_call_that_changes_memory_and_is_not_modelled_is_said_to_be(tmp_path: Path) -> None:
    _, notes = read(tmp_path, f"{FIRST}map_shadow_stack(NULL, 4096, 1) = 0x7f0000000000\n")
    assert notes.passed == {"map_shadow_stack": 1}
    assert "map_shadow_stack (1)" in notes.assumed[0]


def test_of_a_file_that_is_neither_trace_nor_log_both_is_said(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("a = mmap(1)\nsome words\n")
    with pytest.raises(TraceError, match=r"the keys vmatrace and events\) nor a log of strace"):
        open_trace(str(tmp_path / "notes.txt"))
