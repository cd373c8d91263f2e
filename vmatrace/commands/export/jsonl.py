"""A trace as JSON Lines of events, which `vmatrace import jsonl` and every command read."""

from __future__ import annotations

import json
from itertools import count
from typing import TextIO

from vmatrace.calls import BIRTHS, CALLS
from vmatrace.event import Arg, Event, Fd, format_arg, format_result
from vmatrace.importers.jsonlines import TITLE, VERSION
from vmatrace.kernels import Kernel
from vmatrace.replayer.run import Replay
from vmatrace.trace.file import Trace


def write(trace: Trace, kernel: Kernel, out: TextIO) -> None:
    """One object a line: what was called, by whom, and what *kernel* answers. Raises TraceError.

    Processes are numbers, since a log knows no labels: the first one is 1.
    """
    numbers = {"main": 1}
    header = {TITLE: VERSION, "page_size": trace.page_size, "accesses": True}
    out.write(json.dumps(header) + "\n")
    descriptors = _descriptors(trace)
    for key, file in trace.files.items():
        if file.path.startswith("/"):
            mode = {"r": "O_RDONLY", "w": "O_WRONLY"}.get(file.mode, "O_RDWR")
            path = json.dumps(file.path, ensure_ascii=False)
            told = f"openat(AT_FDCWD, {path}, {mode}) = {descriptors[key]}"
            out.write(json.dumps({"pid": 1, "call": told}, ensure_ascii=False) + "\n")
    for step in Replay(trace, kernel).steps():
        event = step.event
        if event.name in BIRTHS and step.result > 0:
            numbers[event.label or str(step.result)] = step.result
        line: dict[str, object] = {
            "pid": numbers.get(event.pid, event.pid),
            "call": event.name,
            "args": [
                descriptors.get(arg.key, str(arg))
                if isinstance(arg, Fd)
                else _argument(event, i, arg)
                for i, arg in enumerate(step.args)
            ],
        }
        if event.name != "fault":
            line["result"] = (
                step.result if step.result >= 0 else format_result(step.result).removeprefix("-1 ")
            )
        out.write(json.dumps(line, ensure_ascii=False) + "\n")


def _descriptors(trace: Trace) -> dict[int | str, int]:
    """A number for each file of the trace; those with names get some that nobody has."""
    found: dict[int | str, int] = {key: key for key in trace.files if isinstance(key, int)}
    free = count(max(found.values(), default=2) + 1)
    return found | {key: next(free) for key in trace.files if isinstance(key, str)}


def _argument(event: Event, i: int, arg: Arg) -> object:
    params = CALLS[event.name].params
    param = params[i] if i < len(params) else None
    if isinstance(arg, int) and (param is None or param.kind in ("addr", "size", "int", "fd")):
        return arg
    return format_arg(param, arg)
