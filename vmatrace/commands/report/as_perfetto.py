"""A report as a trace of Perfetto (ui.perfetto.dev): counters and calls of each process.

A file is a sequence of TracePackets (protos/perfetto/trace in Perfetto's sources); the numbers of
their fields are below. A trace has no clock that all logs share, so time is the number of the
event: each takes a microsecond.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterator
from typing import Final, TextIO

from vmatrace.calls import CALLS
from vmatrace.commands.form import Each, Form
from vmatrace.commands.report.plot import in_scale
from vmatrace.commands.report.protowire import message, number, text
from vmatrace.commands.report.question import Report
from vmatrace.commands.report.series import GaugedSpace, SeriesRow, samples
from vmatrace.commands.report.words import names
from vmatrace.event import format_result
from vmatrace.replayer.result import Step

SUFFIXES: Final = (".pftrace", ".perfetto-trace")

# Trace, TracePacket.
_PACKET: Final = 1
_TIMESTAMP: Final = 8
_SEQUENCE: Final = 10
_TRACK_EVENT: Final = 11
_SEQUENCE_FLAGS: Final = 13
_TRACK: Final = 60
_STATE_CLEARED: Final = 1
# TrackDescriptor, with ProcessDescriptor and CounterDescriptor.
_UUID, _NAME, _PROCESS, _PARENT, _COUNTER, _RANK = 1, 2, 3, 5, 8, 12
_PID, _PROCESS_NAME = 1, 6
_UNIT_NAME, _SHARED_AXIS = 6, 7
# TrackEvent, with DebugAnnotation.
_ANNOTATION, _TYPE, _ON_TRACK, _EVENT_NAME, _VALUE = 4, 9, 11, 23, 30
_BEGIN, _END, _INSTANT, _COUNT = 1, 2, 3, 4
_INT, _STRING, _KEY = 4, 6, 10

_SAME_SEQUENCE: Final = number(_SEQUENCE, 1)
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
    flags = number(_SEQUENCE_FLAGS, _STATE_CLEARED)
    yield message(_PACKET, number(_TIMESTAMP, 0), number(_SEQUENCE, 1), flags)
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
            yield _counted(at, _track(space, _LIMIT), self._limit)
            said = [-1] * len(values)
        if sample.steps is not None:
            yield from _call(at, space, sample.steps, self._models)
            for model in self._stops.get((space.number, at), ()):
                name = f"max_map_count refuses this under {model}"
                yield _event(at, _INSTANT, _track(space, _CALLS), text(_EVENT_NAME, name))
        for i, (value, before) in enumerate(zip(values, said, strict=True)):
            if value != before:
                yield _counted(at, _track(space, _FIRST + i), value)
        self._said[space.number] = values

    def _tracks(self, space: GaugedSpace) -> Iterator[bytes]:
        """The process, its calls, and its counters."""
        program = os.path.basename(space.program)
        name = space.pid + (f" ({program})" if program else "")
        # The pid of a trace may be a label, and one may come twice: here they are numbered.
        process = message(_PROCESS, number(_PID, space.number + 1), text(_PROCESS_NAME, name))
        yield _packet(message(_TRACK, number(_UUID, _track(space, 0)), process))
        yield _described(space, _CALLS, "calls")
        yield _described(space, _LIMIT, "max_map_count", _axis("VMAs", self._limit_shared))
        tracks = [(model, gauge) for model in self._models for gauge in _GAUGES]
        for i, (model, (_, called, unit, shared)) in enumerate(tracks):
            yield _described(space, _FIRST + i, f"{called}, {model}", _axis(unit, shared))


def _track(space: GaugedSpace, which: int) -> int:
    """The uuid of a track; 0 is that of the whole trace."""
    return space.number * _TRACKS + which + 1


def _packet(*parts: bytes) -> bytes:
    return message(_PACKET, *parts, _SAME_SEQUENCE)


def _described(space: GaugedSpace, which: int, name: str, *more: bytes) -> bytes:
    parent = number(_PARENT, _track(space, 0))
    own = number(_UUID, _track(space, which))
    return _packet(message(_TRACK, own, parent, text(_NAME, name), number(_RANK, which), *more))


def _axis(unit: str, shared: bool) -> bytes:
    key = text(_SHARED_AXIS, unit) if shared else b""
    return message(_COUNTER, text(_UNIT_NAME, unit), key)


def _event(at: int, kind: int, track: int, *more: bytes, later: int = 0) -> bytes:
    event = message(_TRACK_EVENT, number(_TYPE, kind), number(_ON_TRACK, track), *more)
    return _packet(number(_TIMESTAMP, (at + later) * _EVENT), event)


def _counted(at: int, track: int, value: int) -> bytes:
    return _event(at, _COUNT, track, number(_VALUE, value))


def _call(
    at: int, space: GaugedSpace, steps: tuple[Step, Step], models: tuple[str, str]
) -> Iterator[bytes]:
    """The call as a slice, with what it was and what it returned."""
    a, b = steps
    event = a.event
    track = _track(space, _CALLS)
    results = [_result(step) for step in steps]
    notes = [_note("line", number(_INT, event.line)), _note("call", text(_STRING, event.text))]
    if a.result == b.result:
        notes.append(_note("result", text(_STRING, results[0])))
    else:
        notes += [
            _note(f"result, {model}", text(_STRING, result))
            for model, result in zip(models, results, strict=True)
        ]
    yield _event(at, _BEGIN, track, text(_EVENT_NAME, event.name), *notes)
    yield _event(at, _END, track, later=1)


def _result(step: Step) -> str:
    return format_result(step.result, CALLS[step.event.name].result)


def _note(key: str, value: bytes) -> bytes:
    return message(_ANNOTATION, text(_KEY, key), value)
