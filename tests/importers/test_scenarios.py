"""What processes do to each other, line by line of their log: strace/scenarios.txt, and those of
other tracers in tracers/scenarios.txt.

Each has a title (#), the lines of a log, and behind ``=>`` what is read: every event with its line,
its process, its result, the files that it maps and what else is looked up; then the notes, and what
was not understood.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from stracelogs import check_counts

from vmatrace.calls import CALLS
from vmatrace.event import Arg, Event, Fd, format_result
from vmatrace.importers import open_trace
from vmatrace.trace.callstring import CallError, CallParser

_FILES: Final = sorted(Path(__file__).parent.glob("*/scenarios.txt"))
SCENARIOS: Final = [
    scenario
    for file in _FILES
    for scenario in file.read_text(encoding="utf-8").strip().split("\n--\n")
]


def told(log: str) -> Iterator[str]:
    trace = open_trace(io.BytesIO(log.encode()))
    lines = log.splitlines()
    for event in trace.items():
        assert isinstance(event, Event)
        assert (event.column, event.label, event.symbolic) == (1, None, False)
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
    for wrong in notes.misread:
        assert (wrong.path, trace.path) == ("<file>", "<file>")
        # The text is that of the line, its prefix aside; a call of two halves is put together.
        own = lines[wrong.line - 1].endswith(wrong.source)
        yield f"misread {wrong.line}:{wrong.column}: {wrong.message}" + (
            "" if own else f": {wrong.source}"
        )


def details(event: Event) -> Iterator[str]:
    if event.recorded is not None:
        yield f" = {format_result(event.recorded, CALLS[event.name].result)}"
    said = as_said(event)
    for i, arg in enumerate(event.args):
        if isinstance(arg, Fd) and arg.file is not None:
            file = arg.file
            yield f" <{arg.key}: {file.path} {file.fs} {file.mode} {file.size}>"
        elif said[i : i + 1] != (arg,):
            yield f" [{i}: {arg}]"
    if event.caller:
        yield f" by {event.caller}"


def as_said(event: Event) -> tuple[Arg, ...]:
    """The arguments in the text of *event*; none where it cannot be read alone, as half a call."""
    try:
        return CallParser().parse(event.text)[2]
    except CallError:
        return ()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_log_is_read_event_by_event(scenario: str) -> None:
    given, _, expected = scenario.partition("\n=>\n")
    _title, _, log = given.partition("\n")
    assert list(told(f"{log}\n")) == expected.splitlines()
