"""What processes do to each other, line by line of their log: scenarios.txt.

Each has a title (#), the lines of a log, and behind ``=>`` what is read: every event with its line,
its process, its result and the files that it maps; then the notes, and what was not understood.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from stracelogs import check_counts

from vmatrace.calls import CALLS
from vmatrace.event import Event, Fd, format_result
from vmatrace.importers import open_trace

SCENARIOS = (Path(__file__).parent / "scenarios.txt").read_text(encoding="utf-8")


def told(log: str) -> Iterator[str]:
    trace = open_trace(io.BytesIO(log.encode()))
    for event in trace.items():
        assert isinstance(event, Event)
        yield "".join([f"{event.line} {event.pid}: {event.text}", *details(event)])
    notes = trace.notes
    assert notes is not None
    check_counts(notes)
    yield (
        f"{notes.lines} lines, {notes.events} events, {notes.joined} joined,"
        f" {notes.supplied} supplied"
    )
    if notes.passed:
        yield "passed: " + ", ".join(f"{kind} {n}" for kind, n in sorted(notes.passed.items()))
    yield from (f"assumed: {said}" for said in notes.assumed)
    yield from (f"misread {d.line}:{d.column}: {d.message}" for d in notes.misread)


def details(event: Event) -> Iterator[str]:
    if event.recorded is not None:
        yield f" = {format_result(event.recorded, CALLS[event.name].result)}"
    for arg in event.args:
        if isinstance(arg, Fd) and arg.file is not None:
            file = arg.file
            yield f" <{arg.key}: {file.path} {file.fs} {file.mode} {file.size}>"
    if event.caller:
        yield f" by {event.caller}"


@pytest.mark.parametrize("scenario", SCENARIOS.strip().split("\n--\n"))
def test_a_log_is_read_event_by_event(scenario: str) -> None:
    given, _, expected = scenario.partition("\n=>\n")
    _title, _, log = given.partition("\n")
    assert list(told(f"{log}\n")) == expected.splitlines()
