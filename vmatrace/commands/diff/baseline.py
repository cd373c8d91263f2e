"""What a replay is compared with when it is no model: a file, told apart by its content.

Reads results of ``vmatrace replay --format json`` and texts of /proc/PID/smaps and maps. Raises
TraceError with the place of what it cannot read.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any, Final

from vmatrace import abi, kernels
from vmatrace.commands.diff.sides import DiffSide, Totals, of_snapshot
from vmatrace.diagnostic import Diagnostic, TraceError, quoted
from vmatrace.importers.sources import Input
from vmatrace.kernels import Kernel
from vmatrace.layout import CODED_FLAGS, Layout, LayoutError, Mapping
from vmatrace.snapshots import parse_snapshot
from vmatrace.trace.file import Trace

FORMAT: Final = "vmatrace-replay/1"
_KERNEL_PAGE: Final = re.compile(r"^KernelPageSize:\s+(\d+) kB", re.MULTILINE)
_MAPS: Final = re.compile(r"\s*[0-9a-f]+-[0-9a-f]+ [r-][w-][x-][sp] ")


class Baseline:
    """A saved file. ``side(trace)`` is what it says of that trace."""

    def __init__(self, path: str, text: str) -> None:
        """*text* is the content of the file *path*. Raises TraceError."""
        self.path = path
        self._snapshot: DiffSide | None = None
        self._results: list[tuple[str, str, DiffSide]] = []  # path and name of the trace
        if text.lstrip().startswith("{"):
            self._results = [
                _result(path, number, line)
                for number, line in enumerate(text.split("\n"), 1)
                if line.strip()
            ]
        elif _MAPS.match(text):
            self._snapshot = _snapshot(path, text)
        else:
            trace = re.search(r"^vmatrace:", text, re.MULTILINE)
            what = "is a trace" if trace else "is nothing to compare with"
            raise _error(
                path, f"{what} (expected a result of `vmatrace replay --format json`, or the text "
                "of /proc/PID/smaps or maps)",
            )  # fmt: skip

    def side(self, trace: Trace) -> DiffSide:
        """What the file says of *trace*. Raises TraceError where that is nothing, or not clear."""
        side = self._snapshot or self._find(trace)
        sizes = side.page_size
        if sizes is None and any(
            (m.start | m.end) % trace.page_size
            for layout in side.processes.values()
            for m in layout
        ):
            raise _error(
                self.path, f"its page size is not that of {trace.path}, {trace.page_size} (an "
                "address is no multiple of it)",
            )  # fmt: skip
        if sizes not in (None, trace.page_size):
            raise _error(
                self.path, f"its page size is {sizes}, but that of {trace.path} is "
                f"{trace.page_size} (layouts of unequal page sizes cannot be compared)",
            )  # fmt: skip
        return side

    def _find(self, trace: Trace) -> DiffSide:
        """The result of the same path, else of the same name."""
        path = os.path.normpath(trace.path)
        found = [side for of, _, side in self._results if of and os.path.normpath(of) == path]
        found = found or [side for _, name, side in self._results if name == trace.name]
        if len(found) == 1:
            return found[0]
        what = "several results" if found else "no result"
        names = sorted({name for _, name, _ in self._results})
        listed = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        raise _error(
            self.path, f"it holds {what} of the trace {quoted(trace.name)} (it has: {listed})"
        )


def open_side(name: str) -> Kernel | Baseline:
    """The model of that name, else the file. Raises TraceError; UnknownKernel if it is neither."""
    try:
        return kernels.get_kernel(name)
    except kernels.UnknownKernel:
        if not os.path.lexists(name):
            raise
    data = Input(name).whole()
    try:
        return Baseline(name, data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise _error(name, "is not UTF-8 text") from None


def _error(path: str, message: str, line: int = 0, column: int = 1) -> TraceError:
    return TraceError([Diagnostic(path, line, column, message)])


# --- a snapshot -----------------------------------------------------------------------------------


def _snapshot(path: str, text: str) -> DiffSide:
    try:
        layout = parse_snapshot(text)
    except LayoutError as error:
        raise _error(path, error.message, error.line) from None
    sizes = [int(size) << 10 for size in _KERNEL_PAGE.findall(text)]
    return of_snapshot(path, layout, min(sizes, default=None))


# --- a result of vmatrace replay ------------------------------------------------------------------


def _result(path: str, number: int, line: str) -> tuple[str, str, DiffSide]:
    try:
        document = json.loads(line)
    except json.JSONDecodeError as error:
        raise _error(path, f"not JSON: {error.msg}", number, error.colno) from None
    except RecursionError:
        raise _error(path, "not JSON of this kind: nested too deeply", number) from None
    form = document.get("format") if isinstance(document, dict) else None
    if form != FORMAT:
        raise _error(path, f"the format is {quoted(str(form))} (expected {FORMAT!r})", number)
    try:
        return str(document.get("path", "")), str(document["trace"]), _side(path, document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise _error(path, f"not a result of `vmatrace replay`: {what}", number) from None


def _side(path: str, document: dict[str, Any]) -> DiffSide:
    summary = document["summary"]
    totals = Totals(
        **{
            name: _number(summary[name])
            for name in ("vmas", "peak_vmas", "mergeable", "splits", "errors")
        },
        merges=sum(map(_number, summary["merges"].values())),
        blocked=_number(summary.get("blocked_sides", 0)),
        blocked_only_by_mergeable=_number(summary["blocked_only_by_mergeable"]),
    )
    events, page_size = document.get("events"), document.get("page_size")
    return DiffSide(
        path, "result",
        {str(process["pid"]): layout(process["layout"]) for process in document["processes"]},
        totals, str(document["kernel"]), page_size and _number(page_size), CODED_FLAGS,
        None if events is None else [_event(event) for event in events],
        ("events",) if events is None else (), _number(summary["events"]),
    )  # fmt: skip


def _event(event: dict[str, Any]) -> dict[str, Any]:
    """What is compared of *event*; its layout is one of Mappings."""
    return {
        "pid": str(event["pid"]),
        "call": str(event["call"]),
        "result": _number(event["result"]),
        "merges": [
            {"kind": str(m["kind"]), "start": _number(m["start"]), "end": _number(m["end"])}
            for m in event["merges"]
        ],
        "blocked": [
            {
                "side": str(b["side"]),
                "address": _number(b["address"]),
                "reasons": [str(reason) for reason in b["reasons"]],
                "flags": [str(code) for code in b["flags"]],
            }
            for b in event["blocked"]
        ],
        "layout": layout(event["layout"]),
    }


def _number(value: object) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r} is no number")
    return value


def layout(mappings: list[dict[str, Any]]) -> Layout:
    """The layout that layout_json() wrote. Raises KeyError, TypeError or ValueError."""
    read = [
        Mapping(
            _number(m["start"]), _number(m["end"]),
            sum({abi.CODE_TO_VM_FLAG[code] for code in m["vmflags"]}),
            _number(m["offset"]), str(m["name"]),
        )
        for m in mappings
    ]  # fmt: skip
    last = 0
    for mapping in read:
        if not last <= mapping.start < mapping.end:
            raise ValueError(f"mappings are not in address order at {mapping.start:#x}")
        last = mapping.end
    return read
