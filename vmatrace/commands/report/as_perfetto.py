"""A report as a trace of Perfetto (ui.perfetto.dev): counters and calls of each process.

A trace has no clock that all logs share, so time is the number of the event: each takes a
microsecond.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterator
from typing import Final, TextIO

from vmatrace.calls import CALLS
from vmatrace.commands.form import Each, Form
from vmatrace.commands.report import perfettowire
from vmatrace.commands.report.plot import in_scale
from vmatrace.commands.report.question import Report
from vmatrace.commands.report.series import GaugedSpace, SeriesRow, samples
from vmatrace.commands.report.words import names
from vmatrace.event import format_result
from vmatrace.replayer.result import Step

SUFFIXES: Final = (".pftrace", ".perfetto-trace")

#: Nanoseconds of one event.
_EVENT: Final = 1000
#: The counters of a process under each model: what they are called, their unit, and whether all of
#: that unit are drawn to one scale.
_GAUGES: Final = (("vmas", "VMAs", "VMAs", True), ("mergeable", "mergeable VMAs", "VMAs", True),
                  ("blocked", "blocked sides", "sides", False))  # fmt: skip
#: Tracks of a process: itself, its calls, the limit, then the counters of both models.
_CALLS, _LIMIT, _FIRST = 1, 2, 3
_TRACKS: Final = _FIRST + 2 * len(_GAUGES)


def form(out: TextIO, count: int) -> Form[Report]:
    """The trace of the one trace. Raises ValueError for several, and on a terminal."""
    if count != 1:
        raise ValueError("--format perfetto takes one trace")
    if out.isatty():
        raise ValueError("--format perfetto is binary (expected -o FILE, or a pipe)")
    return Each(out, write)


def write(out: TextIO, found: Report) -> None:
    """Write the trace of *found*; replays it once more. Raises TraceError."""
    out.flush()
    out.buffer.writelines(_packets(found))


def _packets(found: Report) -> Iterator[bytes]:
    writer = _Writer(found)
    yield perfettowire.head()
    for sample in samples(found):
        yield from writer.of(sample)


class _Writer:
    """Writes packets; knows what it has said of each process."""

    def __init__(self, found: Report) -> None:
        self._limit = found.max_map_count
        highest = max(count.peak for process in found.processes for count in process.counts)
        self._limit_shared = in_scale(self._limit, highest)
        self._models = names(found)
        self._said: dict[int, list[int]] = {}
        # Where max_map_count would have stopped a process: its number, the event, the models.
        self._stops: dict[tuple[int, int], list[str]] = {}
        for process in found.processes:
            for model, count in zip(self._models, process.counts, strict=True):
                if count.limit_at is not None:
                    place = (process.number, count.limit_at.number)
                    self._stops.setdefault(place, []).append(model)

    def of(self, sample: SeriesRow) -> Iterator[bytes]:
        """What one sample says: the call, and the counters that it changed."""
        space, at = sample.space, sample.number
        values = [getattr(gauge, name) for gauge in space.gauges for name, *_ in _GAUGES]
        said = self._said.get(space.number)
        if said is None:
            yield from self._tracks(space)
            yield perfettowire.counted(at * _EVENT, _track(space, _LIMIT), self._limit)
            said = [-1] * len(values)
        if sample.steps is not None:
            yield from _call(at, space, sample.steps, self._models)
            for model in self._stops.get((space.number, at), ()):
                name = f"max_map_count refuses this under {model}"
                track = _track(space, _CALLS)
                yield perfettowire.happened(at * _EVENT, perfettowire.INSTANT, track, name)
        for i, (value, before) in enumerate(zip(values, said, strict=True)):
            if value != before:
                yield perfettowire.counted(at * _EVENT, _track(space, _FIRST + i), value)
        self._said[space.number] = values

    def _tracks(self, space: GaugedSpace) -> Iterator[bytes]:
        """The process, its calls, and its counters."""
        program = os.path.basename(space.program)
        name = space.pid + (f" ({program})" if program else "")
        # The pid of a trace may be a label, and one may come twice: here they are numbered.
        parent = _track(space, 0)
        yield perfettowire.process(parent, space.number + 1, name)
        yield perfettowire.calls(parent, _track(space, _CALLS), _CALLS, "calls")
        counters = [("max_map_count", "VMAs", self._limit_shared)] + [
            (f"{called}, {model}", unit, shared)
            for model in self._models
            for _, called, unit, shared in _GAUGES
        ]
        for rank, said in enumerate(counters, _LIMIT):
            yield perfettowire.counter(parent, _track(space, rank), rank, *said)


def _track(space: GaugedSpace, which: int) -> int:
    """The uuid of a track; 0 is that of the whole trace."""
    return space.number * _TRACKS + which + 1


def _call(
    at: int, space: GaugedSpace, steps: tuple[Step, Step], models: tuple[str, str]
) -> Iterator[bytes]:
    """The call as a slice, with what it was and what it returned."""
    a, b = steps
    event = a.event
    track = _track(space, _CALLS)
    results = [_result(step) for step in steps]
    notes: dict[str, int | str] = {"line": event.line, "call": event.text}
    if a.result == b.result:
        notes["result"] = results[0]
    else:
        said = zip(models, results, strict=True)
        notes |= {f"result, {model}": result for model, result in said}
    written = [perfettowire.note(*each) for each in notes.items()]
    yield perfettowire.happened(at * _EVENT, perfettowire.BEGIN, track, event.name, *written)
    yield perfettowire.happened((at + 1) * _EVENT, perfettowire.END, track)


def _result(step: Step) -> str:
    return format_result(step.result, CALLS[step.event.name].result)
