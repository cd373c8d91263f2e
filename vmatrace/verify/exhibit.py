"""A trace as a file: programs that were made, not read, and what the kernel did with them.

Knows the trace format's spelling. The text can be loaded again and gives the same events.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from vmatrace.event import CALLS, Event, File, format_call, format_result
from vmatrace.layout import Layout, Mapping
from vmatrace.trace import Process, Trace
from vmatrace.verify.lockstep import BIRTHS, Mismatch


def call_text(event: Event) -> str:
    """The call as strace prints it, with its label; a birth keeps its number, which names it."""
    text = format_call(event.name, event.args)
    if event.label is not None:
        text = f"{event.label} = {text}"
    elif event.name in BIRTHS and event.recorded is not None:
        text += f" = {format_result(event.recorded, CALLS[event.name].result)}"
    return text


def event_line(event: Event) -> str:
    """The item of ``events``: a call string, for another process within a mapping."""
    text = call_text(event)
    if event.pid != "main":
        return f"  - {{pid: {_scalar(event.pid)}, call: {json.dumps(text, ensure_ascii=False)}}}"
    return f"  - {_scalar(text)}"


def _scalar(text: str) -> str:
    """*text* as a YAML scalar: plain where that is safe."""
    special = set("#:{}[]\"'&*!|>%@`\\\n\t")
    plain = text.isprintable() and not special & set(text.replace("|", "")) and text.strip() == text
    if plain and text and not text[0].isdigit() and text[0] not in "-?,|":
        return text
    return json.dumps(text, ensure_ascii=False)


def head(name: str, files: dict[int | str, File], process: Process) -> str:
    """Everything of a trace above ``events:``."""
    lines = ["vmatrace: 1", f"name: {_scalar(name)}"]
    state = [f"ksm: {str(process.ksm).lower()}"] if process.ksm else []
    if process.brk is not None:
        state.append(f"brk: {process.brk:#x}")
    if process.mmap_base is not None:
        state.append(f"mmap_base: {process.mmap_base:#x}")
    if process.rlimits:
        limits = ", ".join(f"{name}: {value}" for name, value in process.rlimits.items())
        state.append(f"rlimits: {{{limits}}}")
    if state:
        lines.append(f"process: {{{', '.join(state)}}}")
    if files:
        lines.append("files:")
        for key, file in files.items():
            size = "" if file.size is None else f", size: {file.size:#x}"
            path = json.dumps(file.path, ensure_ascii=False)
            lines.append(f"  {key}: {{path: {path}, fs: {file.fs}, mode: {file.mode}{size}}}")
    return "\n".join(lines) + "\n"


def trace_text(name: str, trace: Trace, events: Iterable[Event]) -> str:
    """A trace file of *events* with the files and the process of *trace*, without its layout."""
    body = "\n".join(map(event_line, events))
    return f"{head(name, dict(trace.files), trace.process)}events:\n{body}\n"


def used_files(trace: Trace, events: Sequence[Event]) -> dict[int | str, File]:
    """The files of *trace* that a descriptor argument of *events* refers to."""
    keys = {
        getattr(arg, "key", arg)
        for event in events
        for param, arg in zip(CALLS[event.name].params, event.args, strict=False)
        if param.kind == "fd" and not isinstance(arg, bool)
    }
    return {key: file for key, file in trace.files.items() if key in keys}


def exhibit(
    name: str, trace: Trace, events: Sequence[Event], mismatch: Mismatch, comment: str, model: str
) -> str:
    """The file that shows *mismatch*, the last thing that happens in *events*.

    *trace* is the start; *comment* says where the program comes from. What the kernel did is the
    last event's result and an expectation for *model*: the layout of the process less what was
    there at the start, since a replay starts with nothing.
    """
    process = Process(trace.process.ksm, trace.process.brk, trace.process.mmap_base)
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    lines.append(head(name, used_files(trace, events), process) + "events:")
    lines += [event_line(event) for event in events[: mismatch.index]]
    last = event_line(events[mismatch.index])
    if mismatch.field == "result":
        kind = CALLS[mismatch.event.name].result
        ours, theirs = (format_result(r, kind) for r in (mismatch.modelled, mismatch.actual))
        lines.append(f"  # the model returns {ours}, the kernel")
        if mismatch.event.name not in BIRTHS and mismatch.pid == "main":
            last = f"  - {_scalar(call_text(events[mismatch.index]) + ' = ' + theirs)}"
        else:
            lines[-1] += f" {theirs}"
    lines.append(last)
    if mismatch.field != "result":
        lines.append(f"  # the first difference is in: {mismatch.field}; what the kernel has:")
    lines.append(f"  - expect:\n      on: {model}")
    if mismatch.pid != "main":
        lines.append(f"      pid: {_scalar(mismatch.pid)}")
    lines += _expected(mismatch.kernel_layout, trace.maps)
    return "\n".join(lines) + "\n"


def _expected(layout: Layout, start: Layout) -> Iterator[str]:
    there = [(m.start, m.end) for m in start]
    own = [m for m in layout if not any(a < m.end and m.start < b for a, b in there)]
    yield "      maps:" if own else "      maps: []"
    for mapping in own:
        yield f"        - {_mapping(mapping)}"


def _mapping(mapping: Mapping) -> str:
    offset = f", offset: {mapping.offset:#x}" if mapping.offset else ""
    name = f", name: {json.dumps(mapping.name, ensure_ascii=False)}" if mapping.name else ""
    return (
        f"{{start: {mapping.start:#x}, end: {mapping.end:#x}, perms: {mapping.perms}{offset}{name},"
        f" flags: {' '.join(mapping.codes)}}}"
    )


def wrapped(*paragraphs: str) -> str:
    """Text for a comment, 98 columns wide; a paragraph that starts with a blank stays as it is."""
    return "\n".join(
        paragraph if paragraph.startswith(" ") else textwrap.fill(paragraph, 98)
        for paragraph in paragraphs
    )
