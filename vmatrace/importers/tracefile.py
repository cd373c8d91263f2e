"""A log as a trace file: what `vmatrace import` writes.

Reads the log twice: for the files and what there is to say, which stand at the top, and for the
events. Nothing of it is kept but the files.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TextIO

from vmatrace.calls import BIRTHS, EXECS
from vmatrace.event import Event, Fd, File
from vmatrace.notes import Notes
from vmatrace.trace.file import Trace
from vmatrace.trace.writer import comment, event_line, header, quoted

#: So many kinds of lines that were passed over are named.
_KINDS = 12


def survey(trace: Trace) -> dict[int | str, File]:
    """Read the log *trace* once, for what write() puts at the top. Raises TraceError."""
    files: dict[int | str, File] = {}
    for event in trace.items():
        assert isinstance(event, Event)
        for arg in event.args:
            if isinstance(arg, Fd) and arg.file is not None:
                files[arg.key] = arg.file
    return files


def write(trace: Trace, files: dict[int | str, File], out: TextIO) -> None:
    """Write the log *trace*, whose survey() gave *files*, to *out*.

    The file replays to what the log replays to. Raises TraceError.
    """
    notes = trace.notes
    assert notes is not None
    out.write("".join(comment(text) for text in _summary(notes, trace.path)))
    items = trace.items()
    first = next(items, None)
    head = header(trace.name, files, trace.process, page_size=trace.page_size, arch=trace.arch,
                  partial=True)  # fmt: skip
    # An empty list would end the line.
    out.write(head if first is not None else head.removesuffix("\n") + " []\n")
    for event in chain(() if first is None else (first,), items):
        assert isinstance(event, Event)
        out.write("".join(f"  # {line}\n" for line in _remarks(event)))
        out.write(f"{event_line(event, result=True)}\n")


def _summary(notes: Notes, log: str) -> Iterator[str]:
    """What stands at the top of the file, in paragraphs."""
    yield f"Imported by vmatrace from {quoted(log)}, a log of {notes.form}."
    yield (
        f"{notes.lines} lines: {notes.events} are events, {notes.joined} the other halves of calls,"
        f" {sum(notes.passed.values())} mean nothing to memory, {notes.misread_count} were not"
        " understood."
    )
    kinds = sorted(notes.passed.items(), key=lambda item: (-item[1], item[0]))
    if kinds:
        more = f", and {len(kinds) - _KINDS} more kinds" if len(kinds) > _KINDS else ""
        yield "Passed over: " + ", ".join(f"{k} {n}" for k, n in kinds[:_KINDS]) + more + "."
    for misread in notes.misread:
        yield f"  line {misread.line}: {misread.message}"
    if notes.misread_count > len(notes.misread):
        yield f"  and {notes.misread_count - len(notes.misread)} more"
    if notes.faulted == "writable":
        yield (
            "A log has no page faults. Private memory counts as written to when it becomes writable"
            " (the fault() events, --assume-faulted writable)."
        )
    elif notes.faulted == "none":
        yield "A log has no page faults; nothing counts as written to (--assume-faulted none)."
    if notes.supplied:
        yield f"{notes.supplied} events stand for what the log does not show."
    yield from notes.assumed
    yield (
        "What files are on is a guess by their paths. Memory that was there before the log, or that"
        " an exec mapped, is not in it; where results prove it, it is assumed (partial: true)."
    )


def _remarks(event: Event) -> Iterator[str]:
    """Comments above an event: who executes what, and who is born of whom."""
    if event.recorded is None or event.recorded < 0:
        return
    if event.name in EXECS:
        yield f"{event.pid} executes {quoted(str(event.args[0]))}"
    elif event.name in BIRTHS:
        thread = "CLONE_THREAD" in event.text
        yield f"{event.recorded}: a {'thread' if thread else 'child'} of {event.pid}"
