"""Other people's formats as traces: the table of them, and which one an input is.

``open_trace()`` is what every command opens its inputs with.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO, Final

from vmatrace.diagnostic import Diagnostic
from vmatrace.importers.sources import Input, set_of
from vmatrace.trace.file import Trace, TraceError, load_trace

if TYPE_CHECKING:
    from vmatrace.importers.format import Format, Reading
    from vmatrace.importers.text import LogText

__all__ = ["formats", "open_trace", "undressed"]

_EXPECTED: Final = (
    "neither a trace (expected a mapping with the keys vmatrace and events) nor a log of strace or"
    " another tracer (expected lines such as 'brk(NULL) = 0x55d0c8a5f000'; vmatrace import --list)"
)
_NAMES: Final = (".yaml", ".yml")
#: What stands in each log that is worth the name.
_CALLS: Final = re.compile(r"mmap|munmap|mprotect|brk|sys_(?:enter|exit)|execve|vmatrace")
_NESTED: Final = 3  # prefixes before one line: a name, a time, a quotation


def formats() -> tuple[Format, ...]:
    """All formats but that of traces; the first that takes a text for its own reads it.

    Those whose lines hold strace's calls come before strace. A new one is a module and a row here.
    """
    from vmatrace.importers import bpftrace, gvisor, jsonlines, perftrace, qemu, tracepoints
    from vmatrace.importers.strace import log as strace

    return (
        jsonlines.FORMAT, gvisor.FORMAT, tracepoints.FTRACE, tracepoints.PERF_SCRIPT,
        perftrace.FORMAT, bpftrace.FORMAT, qemu.FORMAT, strace.FORMAT,
    )  # fmt: skip


def open_trace(source: str | BinaryIO, reading: Reading | None = None) -> Trace:
    """The trace in *source*, a path, "-" or an open binary file: a trace file or a text of one of
    formats(), compressed or not.

    A path that does not exist is the set of files that a format made of it (strace -ff: PATH.PID).
    *reading* says how to read what is no trace file. Raises TraceError.
    """
    path = source if isinstance(source, str) else "-"
    if path != "-" and not os.path.exists(path) and (files := set_of(path)):
        return _open_set(path, files, reading)
    found = Input(source)
    if found.starts_as_trace and (reading is None or reading.form is None):
        return _load(path, found)
    return _open_other(path, found, reading)


def _load(source: str, found: Input) -> Trace:
    if source != "-" and not found.packed and os.path.isfile(source):
        return load_trace(source)
    return load_trace(BytesIO(found.whole()), found.name)


def _open_other(source: str, found: Input, reading: Reading | None) -> Trace:
    """What does not start as trace files do."""
    from vmatrace.importers import looks
    from vmatrace.importers.format import Reading
    from vmatrace.importers.text import LogText

    text = LogText(found)
    if looks.is_trace(text.head):
        return _load(source, found)
    if looks.starts_as_yaml(text.head):  # or as what somebody prints before a log
        like = looks.what(found.head(512), text.head)
        if like is None and looks.is_yaml(text.head, text.cut):
            return _load(source, found)
    reading = reading or Reading()
    known = recognised(text)
    if known is not None:
        form, text = known
        if reading.form not in (None, form.name):
            what = f"it is {form.what} (vmatrace import {form.name} reads it)"
            raise TraceError([Diagnostic(found.name, 0, 0, what)])
        return form.open(text, reading)
    like = looks.what(found.head(512), text.head)
    if like is None and source.endswith(_NAMES):
        return _load(source, found)
    likes = (looks.what(b"", dressed.head) for dressed in undressed(text))
    like = like or next(filter(None, likes), None)
    what = _refusal(text, like or looks.behind(text.head))
    raise TraceError([Diagnostic(found.name, 0, 0, what)])


def _refusal(text: LogText, like: object) -> str:
    if not any(line.strip() for line in text.head):
        return "it is empty (expected a trace or a log)"
    if like is not None:
        return f"it looks like {like}"
    return _EXPECTED


def recognised(text: LogText) -> tuple[Format, LogText] | None:
    """The format of *text*, and the text without what stands before each of its lines.

    A log may start late: behind a build's output, a program's, its own tracer's.
    """
    for known in (text, *(text.later(_CALLS) if text.cut else ())):
        for dressed in undressed(known):
            for form in formats():
                if form.looks_like(dressed.head):
                    return form, dressed
    return None


def undressed(text: LogText) -> Iterator[LogText]:
    """*text* as it is, and without one prefix, two, three."""
    from vmatrace.importers.prefixes import ALTERED, PREFIXES

    for altered in ALTERED:
        if altered.on(text.head):
            text = text.without(altered)
    layer = [text]
    for _ in range(_NESTED + 1):
        yield from layer
        layer = [
            dressed.without(prefix)
            for dressed in layer
            for prefix in PREFIXES
            if prefix.on(dressed.head)
        ]


def _open_set(source: str, files: Sequence[str], reading: Reading | None) -> Trace:
    from vmatrace.importers.format import Reading
    from vmatrace.importers.text import LogText

    texts = [LogText(Input(file)) for file in files]
    for form in formats():
        if form.open_set is not None and any(form.looks_like(text.head) for text in texts):
            return form.open_set(source, texts, reading or Reading())
    what = f"no such file, and its namesakes such as {files[0]} are no logs"
    raise TraceError([Diagnostic(source, 0, 0, what)])
