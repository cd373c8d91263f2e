"""What a file is, and what can be asked about it: ``look()``.

Knows the files of this project by how they start; what else a file is, who opens traces says.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from vmatrace.diagnostic import Diagnostic
from vmatrace.event import Expectation
from vmatrace.importers import formats, looks, open_trace
from vmatrace.importers import recognised as log_format
from vmatrace.importers.sources import Input
from vmatrace.importers.text import LogText
from vmatrace.trace.file import Trace, TraceError

_HEAD: Final = 1 << 13
#: A snapshot starts within so many lines of its file, a tombstone's registers before it.
_LINES: Final = 200
_SAVED: Final = re.compile(rb'\s*\{\s*"format"\s*:\s*"(vmatrace-([a-z]+)/\d+)"')
#: So many items of a trace are looked at for expectations, so many files of a folder at all.
_MOST_ITEMS: Final = 5000
_MOST_FILES: Final = 200


@dataclass
class Found:
    """What the file at ``path`` is, and ``steps``: what one may want to know, and the command.

    ``more`` says more of it. ``trace``: it can stand where a trace can.
    """

    path: str
    what: str
    steps: list[tuple[str, str]] = field(default_factory=list)
    more: str = ""
    trace: bool = False


def look(path: str) -> Found:
    """What to do with the file or folder at *path*. Raises TraceError where nothing can be done."""
    if os.path.isdir(path):
        return _folder(path)
    kind = kind_of(path)
    if kind is not None:
        return kind
    trace = open_trace(path)
    if trace.notes is None:
        return _trace(path, trace)
    log = quoted(path)
    kept = shlex.quote(os.path.splitext(os.path.basename(path))[0] + ".yaml")
    form = next(each for each in formats() if each.name == trace.notes.format)
    return Found(
        path, form.what + trace.notes.form.removeprefix(form.name),
        [
            ("what KSM by default would cost this program", f"vmatrace report {log} --ksm"),
            ("its VMAs at the end, and why neighbours are apart", f"vmatrace replay {log}"),
            ("every reason why two VMAs are not one", f"vmatrace explain {log} all"),
            ("what another kernel makes of it", f"vmatrace diff {log} --from 6.12 --to 6.18"),
            ("a trace file of it, to keep, edit and check",
             f"vmatrace import {trace.notes.format} {log} -o {kept}"),
        ],
        more=", which can stand wherever a trace can",
        trace=True,
    )  # fmt: skip


def recognised(path: str, expected: str, own: str = "") -> TraceError | None:
    """What to say where *expected* was wanted and the file at *path* is something else; None where
    it is not known to be, or is what starts with *own*, with mistakes in it.
    """
    try:
        found = look(path) if os.path.isfile(path) else None
    except TraceError:
        return None
    if found is None or (found.what.startswith(own) if own else found.trace):
        return None
    then = f": {found.steps[0][1]}" if found.steps else ""
    return TraceError([Diagnostic(path, 0, 0, f"it is {found.what} (expected {expected}){then}")])


def kind_of(path: str) -> Found | None:
    """What the file at *path* is, if it is of this trade and neither a trace nor a log."""
    text = LogText(Input(path))
    start = text.source.head(_HEAD)
    look = looks.what(start, text.head[:_LINES])
    if look is None or not look.kind:
        return None
    if looks.is_trace(text.head) or log_format(text) is not None:
        return None
    name = quoted(path)
    if look.kind == "saved":
        saved = _SAVED.match(start)
        return _saved(path, saved[1].decode(), saved[2].decode(), start) if saved else None
    if look.kind == "core":
        steps = [("what is mapped in it", f"gdb -batch -ex 'info proc mappings' -c {name}")]
    elif look.kind == "samples":
        steps = [
            ("how many VMAs it had over time, and when there are too many",
             f"vmatrace report {name}"),
            ("what came, went, split and merged meanwhile", f"vmatrace diff {name}"),
            ("a table of all samples", f"vmatrace report {name} --format csv"),
        ]  # fmt: skip
    elif look.kind == "snapshot":
        steps = [
            ("what keeps its VMAs apart, on the kernel it is of",
             f"vmatrace audit {name} --kernel 6.12"),
            ("how it differs from what a trace leads to", f"vmatrace diff TRACE --from {name}"),
        ]  # fmt: skip
    else:
        base = shlex.quote(os.path.basename(path))
        run = name if "/" in path else f"./{name}"
        steps = [
            ("a trace of what it does, recorded here",
             f"vmatrace record -o {base}.yaml -- {run}"),
            ("a log, recorded on another machine", f"strace -f -y -o {base}.log {run}"),
        ]  # fmt: skip
    return Found(path, look.what, steps)


def _saved(path: str, form: str, command: str, start: bytes) -> Found:
    what = f"a saved answer of `vmatrace {command}` ({form})"
    if command != "replay":
        return Found(path, f"{what}, which is for other programs: no command reads it")
    try:
        said = json.loads(start.partition(b"\n")[0]).get("path")
    except (RecursionError, ValueError):
        said = None  # longer than what was read, or nothing that a command writes
    trace = quoted(said) if isinstance(said, str) and os.path.exists(said) else "TRACE"
    asked = f"vmatrace diff {trace} --from {quoted(path)}"
    return Found(path, what, [("what has changed since", asked)])


def _trace(path: str, trace: Trace) -> Found:
    name = quoted(path)
    steps = [
        ("the VMAs that come of it, and why neighbours are apart", f"vmatrace replay {name}"),
        ("the same call by call", f"vmatrace replay {name} --steps"),
        ("before the KSM series and after it", f"vmatrace diff {name}"),
        ("every reason why two VMAs are not one", f"vmatrace explain {name} all"),
        ("what KSM by default would cost", f"vmatrace report {name} --ksm"),
    ]
    if any(isinstance(item, Expectation) for item in islice(trace.items(), _MOST_ITEMS)):
        steps.insert(0, ("whether what it expects holds", f"vmatrace check {name}"))
    under = f", of kernel {trace.kernel}" if trace.kernel else ""
    about = f": {' '.join(trace.description.split())}" if trace.description else ""
    return Found(path, f"a trace{under}", steps, more=about, trace=True)


# --- folders --------------------------------------------------------------------------------------


def _folder(path: str) -> Found:
    name = quoted(path)
    traces = sum(file.endswith(".yaml") for file in _files(path))
    if not traces:
        others = list(readable(path))
        what = "a folder without traces (*.yaml)" + (", but with" if others else "")
        return Found(path, what, [(o.what, f"vmatrace {quoted(o.path)}") for o in others[:8]])
    return Found(
        path, f"a folder with {traces} trace{'s' * (traces != 1)}",
        [
            ("whether what they expect holds", f"vmatrace check {name}"),
            ("before the KSM series and after it", f"vmatrace diff {name}"),
            ("the VMAs that come of them", f"vmatrace replay {name}"),
        ],
    )  # fmt: skip


def readable(folder: str) -> Iterator[Found]:
    """What below *folder* could be asked about though it is not called *.yaml; few files only."""
    for path in islice(_files(folder), _MOST_FILES):
        try:
            yield look(path)
        except TraceError:
            continue


def _files(folder: str) -> Iterator[str]:
    for where, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(files):
            path = os.path.join(where, file)
            if os.path.isfile(path):
                yield path


def quoted(path: str) -> str:
    """*path* as the shell and no option takes it."""
    return shlex.quote(path if not path.startswith("-") else f"./{path}")
