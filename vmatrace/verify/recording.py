"""Recordings: what a kernel did with traces, in JSON lines, to be compared with later.

The first line is the header; every other one a trace with its start and its steps. A layout is
written as the rows that changed since the last one of that process (tests/recorded/README.md has
the format). Knows the format and how to take a kernel's place with it (``Playback``); compares
nothing.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import lzma
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final, cast

from vmatrace import abi, inputsize, kernels
from vmatrace.calls import BIRTHS, DEATHS
from vmatrace.event import Event
from vmatrace.kernels import Kernel
from vmatrace.layout import Layout, Mapping
from vmatrace.oracle import Machine, OracleError, Sandbox
from vmatrace.oracle.sandbox import Start
from vmatrace.trace.file import Trace, load_trace
from vmatrace.verify import exhibit
from vmatrace.verify.witness import starting_at, without_record

FORMAT: Final = "vmatrace-recording/2"
#: The knobs of a trace's Sysctl, as a start has them.
_KNOBS: Final = 4
Row = list[Any]
Step = list[Any]


class RecordingError(Exception):
    """A file that is no recording, or cannot be read or written; ``str()`` says where and why."""


def _open(path: str, mode: str) -> IO[str]:
    suffix = Path(path).suffix
    if suffix == ".xz":
        return cast("IO[str]", lzma.open(path, mode, encoding="utf-8"))
    if suffix == ".gz":
        return cast("IO[str]", gzip.open(path, mode, encoding="utf-8"))
    return open(path, mode, encoding="utf-8")


# --- writing --------------------------------------------------------------------------------------


def facts_of(machine: Machine) -> dict[str, Any]:
    """What a reader wants to know of *machine*: release, configuration, knobs."""
    facts: dict[str, Any] = {"kernel": machine.release, "machine": machine.arch.name}
    for name, path in (
        ("transparent_hugepage", "/sys/kernel/mm/transparent_hugepage/enabled"),
        ("max_map_count", "/proc/sys/vm/max_map_count"),
        ("overcommit_memory", "/proc/sys/vm/overcommit_memory"),
        ("mmap_min_addr", "/proc/sys/vm/mmap_min_addr"),
        ("nr_hugepages", "/proc/sys/vm/nr_hugepages"),
    ):
        try:
            text = machine.read(path).strip()
        except OSError:
            continue
        facts[name] = int(text) if text.isdigit() else text
    return facts


class RecordingWriter:
    """Writes a recording to *path*; close() completes it. Raises RecordingError.

    *source* says what was recorded, such as the seed of random programs.
    """

    def __init__(
        self, path: str, kernel: Kernel, machine: Machine, source: dict[str, Any] | None = None
    ) -> None:
        base = kernels.get_kernel(kernel.base or kernel.name)
        model = {
            "row": base.name,
            "with": sorted(kernel.features - base.features),
            "without": sorted(base.features - kernel.features),
        }
        try:
            self._file = _open(path, "wt")
        except OSError as error:
            raise RecordingError(f"{path}: cannot be written: {error.strerror}") from None
        self._line({"format": FORMAT, **facts_of(machine), "model": model, **(source or {})})
        self._start: dict[str, Any] = {}

    def _line(self, document: dict[str, Any]) -> None:
        json.dump(document, self._file, ensure_ascii=False, separators=(",", ":"))
        self._file.write("\n")

    def record(self, name: str, trace: Trace, events: Sequence[Event], sandbox: Sandbox) -> int:
        """Run *events* in *sandbox*, where *trace* starts, and write what the kernel did.

        Events behind one that cannot be run are left out; how many were run is returned.
        """
        layouts: dict[str, list[Row]] = {"main": rows(trace.maps)}
        steps: list[Step] = []
        with contextlib.suppress(OracleError):
            steps.extend(
                _step(event, sandbox.run_event(event), sandbox, layouts)
                for event in sandbox.in_turn(events)
            )
        start = _start(trace)
        line: dict[str, Any] = {"name": name}
        if start != self._start:
            line["start"] = self._start = start
        line["trace"] = exhibit.trace_text(name, trace, events[: len(steps)])
        line["steps"] = steps
        self._line(line)
        return len(steps)

    def close(self) -> None:
        self._file.close()


def _start(trace: Trace) -> dict[str, Any]:
    anonymous = [m.start for m in trace.maps if m.faulted]
    sysctl = trace.sysctl
    return {
        "layout": rows(trace.maps),
        "anonymous": anonymous,
        "brk": trace.process.brk,
        "mmap_base": trace.process.mmap_base,
        "sysctl": [
            sysctl.max_map_count, sysctl.overcommit_memory, sysctl.mmap_min_addr,
            sysctl.nr_hugepages,
        ],
    }  # fmt: skip


def _step(event: Event, result: int, sandbox: Sandbox, layouts: dict[str, list[Row]]) -> Step:
    """``[result]``, then the change of the caller's layout, then of a child's against it.

    A change is ``[first row, rows taken away, rows put there]``, [] for none.
    """
    # A process number is the machine's affair; 1 stands for any that has a label instead.
    step: Step = [1 if event.name in BIRTHS and event.label and result > 0 else result]
    if event.name in DEATHS:
        return step
    pid = event.pid
    after = rows(sandbox.layout(pid))
    step.append(_change(layouts[pid], after))
    layouts[pid] = after
    if event.name in BIRTHS and result > 0:
        child = child_name(event, result)
        layouts[child] = rows(sandbox.layout(child))
        step.append(_change(after, layouts[child]))
    while len(step) > 1 and step[-1] == []:
        step.pop()
    return step


def child_name(event: Event, result: int) -> str:
    """What the process is called that *event* made: as the sandbox names it."""
    number = event.recorded if event.recorded is not None else result
    return event.label or str(number)


def rows(layout: Layout) -> list[Row]:
    """``[start, end, VmFlags, offset, name]`` for each VMA, zero and empty ends left out."""
    made = []
    for mapping in layout:
        row: Row = [mapping.start, mapping.end, " ".join(mapping.codes), mapping.offset]
        row.append(mapping.name)
        while not row[-1]:
            row.pop()
        made.append(row)
    return made


def _change(before: list[Row], after: list[Row]) -> list[Any]:
    if before == after:
        return []
    first = 0
    while first < min(len(before), len(after)) and before[first] == after[first]:
        first += 1
    last = 0
    most = min(len(before), len(after)) - first
    while last < most and before[-1 - last] == after[-1 - last]:
        last += 1
    return [first, len(before) - first - last, after[first : len(after) - last]]


# --- reading --------------------------------------------------------------------------------------


class Playback:
    """A recording in a kernel's place: what it did with the events of one trace, in order."""

    def __init__(self, start: Start, steps: Sequence[Step]) -> None:
        self.start = start
        self._steps = iter(steps)
        self._layouts: dict[str, Layout] = {"main": start.layout}

    def run_event(self, event: Event) -> int:
        """The recorded result. Raises OracleError when the recording ends before."""
        step = next(self._steps, None)
        if step is None:
            raise OracleError("the recording ends here")
        result = cast(int, step[0])
        if event.name in DEATHS:
            return result
        if event.pid not in self._layouts:
            raise OracleError(f"the recording has no process {event.pid}")
        after = _changed(self._layouts[event.pid], step[1] if len(step) > 1 else [])
        self._layouts[event.pid] = after
        if event.name in BIRTHS and result > 0:
            child = child_name(event, result)
            self._layouts[child] = _changed(after, step[2] if len(step) > 2 else [])
        return result

    def in_turn(self, events: Iterable[Event]) -> Iterator[Event]:
        """*events*; what comes is recorded already."""
        return iter(events)

    def layout(self, pid: str) -> Layout:
        """The recorded layout of *pid* as of its last event."""
        return self._layouts[pid]


def _changed(layout: Layout, change: list[Any]) -> Layout:
    if not change:
        return layout
    first, removed, put = change
    if first + removed > len(layout):
        raise OracleError("the recording changes VMAs that it does not have")
    return layout[:first] + [_mapping(row) for row in put] + layout[first + removed :]


#: What a row that was cut short would have gone on with.
_DEFAULTS: Final = (0, 0, "", 0, "")


def _mapping(row: Row) -> Mapping:
    whole: Row = [*row, *_DEFAULTS[len(row) :]]
    start, end, codes, offset, name = whole
    flags = 0
    for code in codes.split():
        flags |= abi.CODE_TO_VM_FLAG.get(code, 0)
    return Mapping(start, end, flags, offset, name)


# --- whether it is one ----------------------------------------------------------------------------


def _is(value: object, *kinds: type) -> bool:
    return type(value) in kinds


def _wrong_row(row: object) -> bool:
    if not isinstance(row, list) or not 2 <= len(row) <= len(_DEFAULTS):
        return True
    kinds = [type(default) for default in _DEFAULTS[: len(row)]]
    return list(map(type, row)) != kinds or not 0 <= row[0] < row[1] <= 1 << 64


def _wrong_change(change: object) -> bool:
    if not isinstance(change, list) or len(change) not in (0, 3):
        return True
    if not change:
        return False
    first, removed, put = change
    counts = _is(first, int) and _is(removed, int) and first >= 0 and removed >= 0
    return not counts or not isinstance(put, list) or any(map(_wrong_row, put))


def _check_steps(steps: object) -> list[Step]:
    """*steps*, if each is ``[result, change, change of a child]``. Raises ValueError."""
    if not isinstance(steps, list):
        raise ValueError("steps is no list")
    for number, step in enumerate(steps):
        good = isinstance(step, list) and 1 <= len(step) <= 3 and _is(step[0], int)
        if not good or any(map(_wrong_change, step[1:])):
            raise ValueError(f"step {number} is not [result, change, change of the child]")
    return steps


def _check_start(start: Any) -> Any:
    """*start*, if it has what a process starts with. Raises KeyError and ValueError."""
    if not isinstance(start, dict):
        raise ValueError("start is no object")
    if not isinstance(start["layout"], list) or any(map(_wrong_row, start["layout"])):
        raise ValueError("the layout in start has rows that are none")
    for key in ("anonymous", "sysctl"):
        if not isinstance(start[key], list) or not all(_is(value, int) for value in start[key]):
            raise ValueError(f"{key} in start is no list of numbers")
    if len(start["sysctl"]) != _KNOBS:
        raise ValueError(f"sysctl in start does not have {_KNOBS} numbers")
    if not _is(start["brk"], int) or not _is(start["mmap_base"], int):
        raise ValueError("brk and mmap_base in start are no numbers")
    return start


def _text(line: dict[str, Any], key: str) -> str:
    if not isinstance(line[key], str):
        raise ValueError(f"{key} is no text")
    return str(line[key])


class Recording:
    """A recording as it is read: the header at once, the traces one by one.

    Raises RecordingError.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._lines = self._read()
        self.header = next(self._lines, {})
        if self.header.get("format") != FORMAT:
            raise RecordingError(f"{path}:1:1: error: no recording (expected format {FORMAT})")

    def _read(self) -> Iterator[dict[str, Any]]:
        number = 0
        try:
            for line in lines(self.path):
                number += 1
                document = json.loads(line)
                if not isinstance(document, dict):
                    raise ValueError("expected an object")
                yield document
        except (EOFError, lzma.LZMAError, zlib.error, RecursionError, ValueError) as error:
            where = f"{self.path}:{max(number, 1)}:1"
            raise RecordingError(f"{where}: error: no recording: {error}") from None
        except OSError as error:
            reason = error.strerror or str(error)
            raise RecordingError(f"{self.path}: error: cannot be read: {reason}") from None

    def kernel(self) -> Kernel:
        """The model of the recorded kernel: what was found when it was recorded."""
        model = self.header.get("model")
        try:
            if not isinstance(model, dict):
                raise ValueError("no model (expected row, with and without)")
            for key in ("with", "without"):
                if not isinstance(model.get(key), list) or not all(
                    isinstance(name, str) for name in model[key]
                ):
                    raise ValueError(f"{key} of the model is no list of features")
            return kernels.get_kernel(_text(model, "row")).with_features(
                model["with"], model["without"]
            )
        except (KeyError, ValueError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise RecordingError(f"{self.path}:1:1: error: bad header: {what}") from None

    def traces(self) -> Iterator[tuple[Trace, Playback]]:
        """Each trace as it started, and the kernel's part. Raises TraceError for a bad trace."""
        start: Any = None
        for number, line in enumerate(self._lines, 2):
            try:
                start = _check_start(line["start"]) if "start" in line else start
                if start is None:
                    raise ValueError("the first trace has no start")
                state = _state(start)
                name, text = _text(line, "name"), _text(line, "trace")
                trace = load_trace(text.encode(), f"{self.path}:{name}")
                played = Playback(state, _check_steps(line["steps"]))
            except (KeyError, ValueError) as error:
                what = f"no {error}" if isinstance(error, KeyError) else str(error)
                where = f"{self.path}:{number}:1"
                raise RecordingError(f"{where}: error: bad line: {what}") from None
            trace.sysctl = type(trace.sysctl)(*start["sysctl"])
            yield starting_at(trace, state), played


def lines(path: str) -> Iterator[str]:
    """The lines of the file at *path*, compressed as its name says. No line is read without end.

    Raises what reading it raises, and ValueError.
    """
    limit = inputsize.most()
    with _open(path, "rt") as file:
        while line := file.readline(limit + 1):
            if len(line) > limit:
                raise ValueError(inputsize.too_large("a line", limit))
            if line.strip("\0") == "":
                raise ValueError("it is no text")
            yield line


def _state(start: dict[str, Any]) -> Start:
    layout = [_mapping(row) for row in start["layout"]]
    return Start(layout, frozenset(start["anonymous"]), start["brk"], start["mmap_base"])


def bare(events: Sequence[Event]) -> list[Event]:
    """The events as a kernel is given them (witness.without_record())."""
    return [event if event.recorded is None else without_record(event) for event in events]
