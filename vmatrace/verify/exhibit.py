"""A mismatch as a trace file that shows it: a random program, reduced, and what the kernel did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vmatrace.calls import BIRTHS, CALLS
from vmatrace.event import Event, format_result
from vmatrace.search.reduction import used_files
from vmatrace.trace.file import ProcessState, Trace
from vmatrace.trace.writer import call_text, comment, event_line, expected_layout, header, scalar
from vmatrace.verify.witness import Mismatch


def trace_text(name: str, trace: Trace, events: Iterable[Event]) -> str:
    """A trace file of *events* with the files and the process of *trace*, without its layout."""
    body = "\n".join(map(event_line, events))
    return f"{header(name, trace.files, trace.process)}{body}\n"


def exhibit(
    name: str, trace: Trace, events: Sequence[Event], mismatch: Mismatch, about: str, model: str
) -> str:
    """The file that shows *mismatch*, the last thing that happens in *events*.

    *trace* is the start; *about* says where the program comes from. What the kernel did is the
    last event's result and an expectation for *model*: the layout of the process less what was
    there at the start, since a replay starts with nothing.
    """
    process = ProcessState(trace.process.ksm, trace.process.brk, trace.process.mmap_base)
    lines = [comment(about) + header(name, used_files(trace.files, events), process).rstrip()]
    lines += [event_line(event) for event in events[: mismatch.index]]
    last = event_line(events[mismatch.index])
    if mismatch.field == "result":
        kind = CALLS[mismatch.event.name].result
        ours, theirs = (format_result(r, kind) for r in (mismatch.modelled, mismatch.actual))
        lines.append(f"  # the model returns {ours}, the kernel")
        # Where a record says that something was put, a replay puts it: the layout tells instead.
        placed = mismatch.actual >= 0 and CALLS[mismatch.event.name].placed is not None
        if mismatch.event.name not in BIRTHS and mismatch.pid == "main" and not placed:
            last = f"  - {scalar(call_text(events[mismatch.index]) + ' = ' + theirs)}"
        else:
            lines[-1] += f" {theirs}"
    lines.append(last)
    if mismatch.field != "result":
        lines.append(f"  # the two differ in: {mismatch.field}; what the kernel has:")
    there = [(m.start, m.end) for m in trace.maps]
    own = [
        m for m in mismatch.kernel_layout if not any(a < m.end and m.start < b for a, b in there)
    ]
    lines.append(expected_layout(own, mismatch.pid, model))
    return "\n".join(lines) + "\n"


def deadly(name: str, trace: Trace, events: Sequence[Event], about: str) -> str:
    """The file whose last call a kernel dies of; it expects nothing."""
    process = ProcessState(trace.process.ksm, trace.process.brk, trace.process.mmap_base)
    lines = [comment(about) + header(name, used_files(trace.files, events), process).rstrip()]
    return "\n".join([*lines, *map(event_line, events)]) + "\n"
