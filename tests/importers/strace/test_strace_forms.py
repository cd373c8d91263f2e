"""Every form that strace prints: the same program, recorded with every option, reads the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from stracelogs import FOLDER, LOGS, check_counts

from vmatrace.event import Event, Fd
from vmatrace.importers import open_trace
from vmatrace.importers.format import Reading
from vmatrace.kernels import get_kernel
from vmatrace.notes import Notes
from vmatrace.replayer.run import replay

#: Logs that show less, or another program: of a process alone, without calls, linked otherwise.
_OTHER = ("plain", "f-memory", "f-eraw", "f-k", "f-inject")
_WHOLE = [path for path in LOGS if path.stem not in _OTHER]


def read(path: Path, faulted: str = "none") -> tuple[list[Event], Notes]:
    trace = open_trace(str(path), Reading(faulted))
    events = [event for event in trace.items() if isinstance(event, Event)]
    assert trace.notes is not None
    return events, trace.notes


def calls(events: list[Event]) -> Counter[str]:
    """What was called how often, failures apart."""
    return Counter(f"{e.name}{' failed' if (e.recorded or 0) < 0 else ''}" for e in events)


@pytest.mark.parametrize("path", _WHOLE, ids=lambda path: path.stem)
def test_every_option_of_strace_gives_the_same_calls_and_nothing_is_misread(path: Path) -> None:
    events, notes = read(path)
    assert calls(events) == calls(read(FOLDER / "f.log")[0])
    assert [str(found) for found in notes.misread] == []
    check_counts(notes)


@pytest.mark.parametrize("kernel", ["pre-patch", "post-patch"])
@pytest.mark.parametrize("path", _WHOLE, ids=lambda path: path.stem)
def test_every_option_of_strace_leads_to_the_same_number_of_vmas(path: Path, kernel: str) -> None:
    result = replay(open_trace(str(path)), get_kernel(kernel))
    first = replay(open_trace(str(FOLDER / "f.log")), get_kernel(kernel))
    assert result.divergences == []
    if path.stem != "ff":  # without times the order between processes is not known
        assert result.cleared == 0
    assert result.assumed == first.assumed
    if "f-q" not in path.stem:  # where nothing says that the threads ended before
        assert result.vmas == first.vmas
        assert result.mergeable == first.mergeable


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("f", "-f -o"), ("f-t", "-t"), ("f-tt-T", "-tt -T"), ("f-ttt", "-ttt"), ("f-r", "-r"),
        ("f-r-tt", "-tt -r"), ("f-unix", "-ttt"), ("f-y", "-y"), ("f-Y", "-Y"), ("f-n", "-n"),
        ("f-i", "-i"), ("f-k", "-k"), ("f-Xraw", "-X raw"), ("f-Xverbose", "-X verbose"),
        ("stderr", "-f"), ("stderr-all", "-tt -n -i -T"), ("ff", "-ff"), ("ff-ttt", "-ff -ttt"),
    ],
)  # fmt: skip
def test_the_options_are_recognised(name: str, form: str) -> None:
    assert form in read(FOLDER / f"{name}.log")[1].form


def test_the_number_that_old_straces_print_is_known_as_ksm_by_default() -> None:
    events, _ = read(FOLDER / "f.log")
    found = [event for event in events if event.name == "prctl"]
    assert found[0].text == "prctl(0x43 /* PR_??? */, 0x1, 0, 0, 0)"
    assert replay(open_trace(str(FOLDER / "f.log")), get_kernel("post-patch")).mergeable > 0


def test_a_call_that_only_a_number_names_is_known() -> None:
    sealed = [event for event in read(FOLDER / "f.log")[0] if event.name == "mseal"]
    assert len(sealed) == 1
    assert sealed[0].args[1:] == (0x1000, 0)


def test_every_open_is_a_file_of_its_own_and_a_dup_is_not() -> None:
    events, _ = read(FOLDER / "f.log")
    maps = [e.args[4] for e in events if e.name == "mmap" and isinstance(e.args[4], Fd)]
    first, same, again, memory = maps[:4]
    assert isinstance(first, Fd)
    assert isinstance(again, Fd)
    assert isinstance(memory, Fd)
    assert first == same
    assert first != again
    assert first.file is not None
    assert again.file is not None
    assert first.file.path == again.file.path == "program.c"
    assert first.file.mode == "r"
    assert memory.file is not None
    assert memory.file.path == "/memfd:ring, (one) (deleted)"
    assert memory.file.fs == "tmpfs"


def test_a_segment_is_as_large_as_shmget_said() -> None:
    attached = [event for event in read(FOLDER / "f.log")[0] if event.name == "shmat"]
    segment = attached[0].args[0]
    assert isinstance(segment, Fd)
    assert segment.file is not None
    assert segment.file.size == 12345


def test_a_stack_names_the_caller_outside_the_c_library() -> None:
    events, _ = read(FOLDER / "f-k.log")
    callers = Counter(event.caller for event in events if event.name == "mmap")
    assert callers["program(main)"] >= 3
    assert callers["program(work)"] >= 3
    loader = next(e for e in events if e.name == "brk")
    assert loader.caller is not None
    assert loader.caller.startswith("ld-linux")


def test_what_is_hidden_by_raw_is_listed_and_not_guessed() -> None:
    events, notes = read(FOLDER / "f-eraw.log")
    assert {found.message for found in notes.misread} == {
        "the structure is not shown (strace -e raw hides it)",
        "the ranges are not shown (strace -e raw hides them)",
    }
    assert notes.misread_count == 4
    assert calls(events)["mmap"] == calls(read(FOLDER / "f.log")[0])["mmap"]


def test_a_call_that_strace_answered_itself_has_no_effect() -> None:
    events, notes = read(FOLDER / "f-inject.log")
    assert notes.passed["injected"] >= 1
    assert calls(events)["munmap"] < calls(read(FOLDER / "f.log")[0])["munmap"]


def test_without_calls_of_processes_threads_and_programs_are_told_apart_openly() -> None:
    events, notes = read(FOLDER / "f-memory.log")
    assert notes.misread_count == 0
    assert notes.supplied > 0
    births = [event.name for event in events if event.name in ("fork", "clone")]
    assert "clone" in births
    assert any("thread" in text for text in notes.assumed)


def test_the_log_of_one_process_alone_is_read() -> None:
    events, notes = read(FOLDER / "plain.log")
    assert {event.pid for event in events if event.name != "exit"} == {"main"}
    assert notes.misread_count == 0


def test_a_program_that_is_quiet_about_ends_ends_all_the_same() -> None:
    events, _ = read(FOLDER / "f-q.log")
    ended = [event.pid for event in events if event.name == "exit"]
    assert ended[-1] == "main"
    assert len(ended) == len(set(ended)) == calls(read(FOLDER / "f.log")[0])["exit"]
