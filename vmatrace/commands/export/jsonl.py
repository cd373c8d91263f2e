"""A trace as JSON Lines of events, which `vmatrace import jsonl` and every command read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from itertools import count
from typing import TextIO

from vmatrace.calls import BIRTHS, CALLS
from vmatrace.event import Arg, Event, Fd, File, format_arg, format_result
from vmatrace.importers.jsonlines import TITLE, VERSION
from vmatrace.kernels import Kernel
from vmatrace.replayer.run import Replay
from vmatrace.trace.file import ProcessState, Sysctl, Trace
from vmatrace.trace.writer import snapshot


def write(trace: Trace, kernel: Kernel, out: TextIO) -> None:
    """One object a line: what was called, by whom, and what *kernel* answers. Raises TraceError.

    Processes are numbers, since a log knows no labels: the first one is 1.
    """
    numbers = {"main": 1}
    files = _files(trace)
    descriptors = _descriptors(files)
    header: dict[str, object] = {TITLE: VERSION, "page_size": trace.page_size}
    if trace.arch is not None:
        header["arch"] = trace.arch
    header |= {"accesses": True, "start": _start(trace, files, descriptors)}
    out.write(json.dumps(header, ensure_ascii=False) + "\n")
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
        if event.name != "fault" or step.result < 0:
            line["result"] = (
                step.result if step.result >= 0 else format_result(step.result).removeprefix("-1 ")
            )
        if event.maps is not None:
            line["maps"] = "\n".join(snapshot(event.maps))
        out.write(json.dumps(line, ensure_ascii=False) + "\n")


def _files(trace: Trace) -> dict[int | str, File]:
    """All that the trace has open: what it says itself, and what the descriptors of a log are."""
    found = dict(trace.files)
    for item in trace.items():
        for arg in item.args if isinstance(item, Event) else ():
            if isinstance(arg, Fd) and arg.file is not None:
                found[arg.key] = arg.file
    return found


def _start(
    trace: Trace, files: Mapping[int | str, File], descriptors: Mapping[int | str, int]
) -> dict[str, object]:
    """How the first process starts, in the keys of a trace file; what is as usual is left out."""
    found: dict[str, object] = {
        "kernel": trace.kernel,
        "sysctl": _unusual(trace.sysctl, Sysctl()),
        "process": _unusual(trace.process, ProcessState()),
        "files": {str(descriptors[key]): _described(file) for key, file in files.items()},
        "maps": "\n".join(snapshot(trace.maps)),
        "partial": trace.partial,
    }
    return {key: value for key, value in found.items() if value}


def _unusual(state: Sysctl | ProcessState, usual: Sysctl | ProcessState) -> dict[str, object]:
    values = {field.name: getattr(state, field.name) for field in fields(state)}
    return {name: value for name, value in values.items() if value != getattr(usual, name)}


def _described(file: File) -> dict[str, object]:
    found = {**asdict(file), "vmflags": " ".join(file.vmflags) or None}
    return {key: value for key, value in found.items() if value is not None}


def _descriptors(files: Mapping[int | str, File]) -> dict[int | str, int]:
    """A number for each file; those with names get some that nobody has."""
    found: dict[int | str, int] = {key: key for key in files if isinstance(key, int)}
    free = count(max(found.values(), default=2) + 1)
    return found | {key: next(free) for key in files if isinstance(key, str)}


def _argument(event: Event, i: int, arg: Arg) -> object:
    params = CALLS[event.name].params
    param = params[i] if i < len(params) else None
    if isinstance(arg, int) and (param is None or param.kind in ("addr", "size", "int", "fd")):
        return arg
    return format_arg(param, arg)
