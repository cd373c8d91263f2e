"""What a side's name stands for: a model, else a file or a folder, told apart by its content."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import Final

from vmatrace import kernels
from vmatrace.commands.diff.baseline import Baseline, read_results
from vmatrace.diagnostic import Diagnostic, TraceError
from vmatrace.importers import open_trace
from vmatrace.importers.sources import Input
from vmatrace.kernels import Kernel

#: What is no trace and no log: JSON, and a line of maps.
_NO_TRACE: Final = re.compile(r"\s*(?:\{|[0-9a-f]+-[0-9a-f]+ [r-][w-][x-][sp] |\Z)")


def open_side(name: str) -> Kernel | Baseline:
    """The model of that name, else the file. Raises TraceError; UnknownKernel if it is neither."""
    try:
        return kernels.get_kernel(name)
    except kernels.UnknownKernel:
        if not os.path.lexists(name):
            raise
    if os.path.isdir(name):
        return open_baseline(name)
    text = _text(name)
    return Baseline(name, text) if _NO_TRACE.match(text) else _of_trace(name)


def open_baseline(path: str) -> Baseline:
    """The file at *path*, or all results in the *.json and *.jsonl files below that folder."""
    if not os.path.isdir(path):
        return Baseline(path, _text(path))
    files = sorted(
        os.path.join(folder, file)
        for folder, _, files in os.walk(path)
        for file in files
        if file.endswith((".json", ".jsonl")) and os.path.isfile(os.path.join(folder, file))
    )
    found = [one for file in files for one in read_results(file, _text(file))]
    if not found:
        what = "no saved result in this directory (expected *.json files)"
        raise TraceError([Diagnostic(path, 0, 0, what)])
    return Baseline(path, results=found)


def _of_trace(path: str) -> Baseline:
    """What the trace or log at *path* comes to under its own model, to compare any other with."""
    from vmatrace.commands.baseline.saving import Wish, saved

    def model(name: str | None) -> Kernel:
        return kernels.get_kernel(name or kernels.DEFAULT)

    result = saved(open_trace(path), Wish(model))
    found = Baseline(
        path, results=[replace(result, side=replace(result.side, name=path, kind="trace"))]
    )
    found.of_all = True
    return found


def _text(path: str) -> str:
    try:
        return Input(path).whole().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise TraceError([Diagnostic(path, 0, 0, "is not UTF-8 text")]) from None
