"""The event at which a number went wrong, against replays of every beginning of the trace."""

from __future__ import annotations

import pytest

from vmatrace.event import EXPECTED_COUNTS, Bound, Event
from vmatrace.kernels import get_kernel
from vmatrace.replayer.blame import blame
from vmatrace.replayer.expectations import count
from vmatrace.replayer.result import Failure
from vmatrace.replayer.run import Replay, replay
from vmatrace.search import generate
from vmatrace.trace.file import ProcessState, Trace, load_trace

HEAD = "vmatrace: 1\nprocess: {ksm: true}\nevents:\n"
PRE = get_kernel("pre-patch")


def trace(*lines: str) -> Trace:
    return load_trace((HEAD + "".join(f"  - {line}\n" for line in lines)).encode())


def at(page: int) -> str:
    return f"mmap({page * 4096:#x}, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)"


def blamed(*lines: str) -> list[tuple[str, int | None]]:
    made = trace(*lines)
    failures = replay(made, PRE).failures
    blame(made, PRE, failures)
    return [(f.what, None if f.since is None else f.since.line) for f in failures]


def test_of_a_number_that_held_it_is_where_it_ceased_to() -> None:
    pages = [at(page) for page in (16, 18, 20, 22)]
    assert blamed(*pages, 'expect: {vmas: "<= 2"}') == [("vmas", 6)]
    assert blamed(*pages, "munmap(0x16000, 4096)", 'expect: {vmas: "<= 2"}') == [("vmas", 6)]
    # It held again in between.
    again = [*pages[:3], "munmap(0x14000, 4096)", pages[2]]
    assert blamed(*again, 'expect: {vmas: "<= 2"}') == [("vmas", 8)]


def test_of_one_that_never_held_it_is_where_it_became_what_it_is() -> None:
    pages = [at(page) for page in (16, 18, 20)]
    assert blamed(*pages, "munlockall()", "expect: {vmas: 9}") == [("vmas", 6)]
    assert blamed("munlockall()", "expect: {vmas: 9}") == [("vmas", None)]


def test_of_a_peak_it_is_the_call_that_reached_it() -> None:
    lines = [at(16), at(18), at(20), "munmap(0x10000, 0x8000)", "munlockall()"]
    assert blamed(*lines, 'expect: {peak_vmas: "<= 1"}') == [("peak_vmas", 6)]


def test_only_what_comes_before_the_expectation_counts() -> None:
    lines = [at(16), at(18), "expect: {vmas: 1}", "munmap(0x10000, 4096)", at(24), at(26)]
    assert blamed(*lines, "expect: {vmas: 2}") == [("vmas", 5), ("vmas", 9)]


def test_a_child_is_followed_from_its_birth() -> None:
    lines = [at(16), at(18), "child = fork()", "munlockall()"]
    assert blamed(*lines, "expect: {pid: child, vmas: 1}") == [("vmas", 6)]
    other = [*lines, "{pid: child, call: 'munmap(0x10000, 4096)'}", at(24)]
    assert blamed(*other, "expect: {pid: child, vmas: 2}") == [("vmas", 8)]


def test_of_a_layout_nothing_is_said() -> None:
    assert blamed(at(16), "expect: {maps: []}") == [("maps", None)]


def test_flags_that_change_without_a_merge_are_seen() -> None:
    lines = [at(16), at(18), "munlockall()", "prctl(PR_SET_MEMORY_MERGE, 0, 0, 0, 0)"]
    assert blamed(*lines, "munlockall()", "expect: {mergeable: 2}") == [("mergeable", 7)]
    advised = [*lines, "madvise(0x10000, 4096, MADV_MERGEABLE)", "munlockall()"]
    assert blamed(*advised, "expect: {mergeable: 0}") == [("mergeable", 8)]


@pytest.mark.parametrize("index", range(24))
@pytest.mark.parametrize("what", EXPECTED_COUNTS)
def test_on_random_programs_it_is_what_looking_after_every_event_finds(
    index: int, what: str
) -> None:
    program = generate.generate("blame", index, 60)
    for line, event in enumerate(program, 2):
        event.line = line
    start = ProcessState(ksm=True)
    made = Trace("x", "x", lambda: iter(program), process=start, files=generate.files())
    run = Replay(made, PRE)
    values: list[tuple[int, Event | None]] = [(number(run, what, 0), None)]
    values += [(number(run, what, values[-1][0]), step.event) for step in run.steps()]
    last = values[-1][0]
    for bound in (Bound("<=", last - 1), Bound("==", last + 1), Bound("!=", last)):
        expected = bound.value if bound.operator == "==" else str(bound)
        failure = Failure(len(program) + 2, 1, "main", what, expected, last)
        blame(made, PRE, [failure])
        assert failure.since is naive(values, bound, what)


def number(run: Replay, what: str, before: int) -> int:
    """That of the first process, or what it was before when it has ended."""
    mm = run.live("main")
    return before if mm is None else count(what, mm, run.result.tally)


def naive(values: list[tuple[int, Event | None]], bound: Bound, what: str) -> Event | None:
    last = values[-1][0]
    start = len(values) - 1
    held = [i for i, (value, _) in enumerate(values) if bound.holds(value)]
    if held and what != "peak_vmas":
        return values[held[-1] + 1][1]
    while start and values[start - 1][0] == last:
        start -= 1
    return values[start][1]
