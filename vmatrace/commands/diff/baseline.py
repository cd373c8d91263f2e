"""What a replay is compared with when it is no model: a file, told apart by its content.

Reads results of ``vmatrace replay --format json`` and texts of /proc/PID/smaps and maps. Raises
TraceError with the place of what it cannot read.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from vmatrace import abi, kernels
from vmatrace.commands.diff.sides import DiffSide, Totals, of_snapshot
from vmatrace.diagnostic import Diagnostic, TraceError, quoted
from vmatrace.kernels import Kernel
from vmatrace.layout import CODED_FLAGS, Layout, LayoutError, Mapping
from vmatrace.snapshots import parse_snapshot
from vmatrace.trace.file import Trace

FORMAT: Final = "vmatrace-replay/1"
_MOST: Final = 1 << 64
_KERNEL_PAGE: Final = re.compile(r"^KernelPageSize:\s+(\d+) kB", re.MULTILINE)
_MAPS: Final = re.compile(r"\s*[0-9a-f]+-[0-9a-f]+ [r-][w-][x-][sp] ")


@dataclass(frozen=True)
class SavedResult:
    """A saved result of one trace, with the line of the file at ``where`` that it stands in.

    ``path`` and ``trace`` are those of the trace, ``version`` that of the vmatrace that wrote it
    (None: not known), ``ksm`` whether KSM by default was asked for (None: as the trace says).
    """

    where: tuple[str, int]
    path: str
    trace: str
    kernel: str
    version: str | None
    ksm: bool | None
    text: str
    side: DiffSide

    def model(self) -> Kernel:
        """The model it was saved under. Raises TraceError where this version has none like it."""
        try:
            return kernels.get_kernel(self.kernel)
        except kernels.UnknownKernel as error:
            path, line = self.where
            raise _error(
                path, f"it was saved under a model that is not known: {error} (expected --from or "
                "--to MODEL for the other side)", line,
            ) from None  # fmt: skip


class Baseline:
    """A saved file. ``side(trace)`` is what it says of that trace."""

    def __init__(self, path: str, text: str = "", results: Iterable[SavedResult] = ()) -> None:
        """*text* is the content of the file *path*; of a folder, its *results*. TraceError."""
        self.path = path
        #: Whether it is about any trace, whatever that is called.
        self.of_all = False
        self._snapshot: DiffSide | None = None
        #: The results that it holds, in order; none: it is a snapshot.
        self.results = list(results)
        if self.results:
            return
        if text.lstrip().startswith("{"):
            self.results = list(read_results(path, text))
        elif _MAPS.match(text):
            self._snapshot = _snapshot(path, text)
        else:
            raise _error(
                path, "is nothing to compare with (expected a result of `vmatrace replay --format "
                "json`, or the text of /proc/PID/smaps or maps)",
            )  # fmt: skip

    def side(self, trace: Trace) -> DiffSide:
        """What the file says of *trace*. Raises TraceError where that is nothing, or not clear."""
        side = self._snapshot or self.saved(trace).side
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

    def find(self, trace: Trace) -> list[SavedResult]:
        """The results that can be meant: those of the same path, else of the same name."""
        if self.of_all:
            return self.results
        path = os.path.normpath(trace.path)
        found = [one for one in self.results if one.path and os.path.normpath(one.path) == path]
        return found or [one for one in self.results if one.trace == trace.name]

    def saved(self, trace: Trace) -> SavedResult:
        """The result of *trace*. Raises TraceError where there is none, or more than one."""
        found = self.find(trace)
        if len(found) == 1:
            return found[0]
        what = "several results" if found else "no result"
        names = sorted({one.trace for one in self.results})
        listed = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        raise _error(
            self.path, f"it holds {what} of the trace {quoted(trace.name)} (it has: {listed})"
        )

    def model(self, trace: Trace) -> Kernel | None:
        """The model of the result of *trace*; beside a snapshot, what *trace* names. TraceError."""
        if self._snapshot is None:
            return self.saved(trace).model()
        return kernels.get_kernel(trace.kernel) if trace.kernel else None

    def ksm(self, trace: Trace) -> bool | None:
        """Whether the result was saved with KSM by default asked for. Raises TraceError."""
        return None if self._snapshot is not None else self.saved(trace).ksm


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


def read_results(path: str, text: str) -> Iterator[SavedResult]:
    """The results in the content of the file *path*, one a line. Raises TraceError."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield _result(path, number, line)


def _result(path: str, number: int, line: str) -> SavedResult:
    try:
        document = json.loads(line)
    except json.JSONDecodeError as error:
        raise _error(path, f"not JSON: {error.msg}", number, error.colno) from None
    except ValueError as error:  # a number of thousands of digits
        raise _error(path, f"not JSON of this kind: {error}", number) from None
    except RecursionError:
        raise _error(path, "not JSON of this kind: nested too deeply", number) from None
    form = document.get("format") if isinstance(document, dict) else None
    if form != FORMAT:
        raise _error(path, f"the format is {quoted(str(form))} (expected {FORMAT!r})", number)
    try:
        version, ksm = document.get("version"), document.get("ksm")
        return SavedResult(
            (path, number), str(document.get("path", "")), str(document["trace"]),
            str(document["kernel"]), version and str(version), None if ksm is None else bool(ksm),
            line, _side(path, document),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise _error(path, f"not a result of `vmatrace replay`: {what}", number) from None


def _side(path: str, document: dict[str, Any]) -> DiffSide:
    summary = document["summary"]
    totals = Totals(
        **{
            name: _count(summary[name])
            for name in ("vmas", "peak_vmas", "mergeable", "splits", "errors")
        },
        merges=sum(map(_count, summary["merges"].values())),
        blocked=_count(summary.get("blocked_sides", 0)),
        blocked_only_by_mergeable=_count(summary["blocked_only_by_mergeable"]),
    )
    events, page_size = document.get("events"), document.get("page_size")
    if page_size is not None and page_size not in abi.PAGE_SIZES:
        raise ValueError(f"page_size {_short(page_size)} is none")
    pids = [str(process["pid"]) for process in document["processes"]]
    if len(set(pids)) < len(pids):
        raise ValueError("a process is there twice")
    checked = document.get("expectations")
    return DiffSide(
        path, "result",
        {str(process["pid"]): layout(process["layout"]) for process in document["processes"]},
        totals, str(document["kernel"]), page_size and _number(page_size), CODED_FLAGS,
        None if events is None else [_event(event) for event in events],
        ("events",) if events is None else (), _number(summary["events"]),
        None if checked is None else _number(checked["passed"]) + len(checked["failed"]),
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
        raise ValueError(f"{_short(value)} is no number")
    if not -_MOST <= value <= _MOST:
        raise ValueError(f"{value:#x} is no number of 64 bits")
    return value


def _count(value: object) -> int:
    number = _number(value)
    if number < 0:
        raise ValueError(f"{number} is no count")
    return number


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


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
        if not last <= mapping.start < mapping.end <= _MOST:
            raise ValueError(f"mappings are not in address order at {mapping.start:#x}")
        last = mapping.end
    return read
