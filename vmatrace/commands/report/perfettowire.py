"""Packets of a trace of Perfetto (ui.perfetto.dev), as both who replays and who samples write them.

A file is a sequence of TracePackets (protos/perfetto/trace in Perfetto's sources); the numbers of
their fields are below. Times are in nanoseconds.
"""

from __future__ import annotations

from typing import Final

from vmatrace.commands.report.protowire import message, number, text

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
BEGIN, END, INSTANT, _COUNT = 1, 2, 3, 4
_INT, _STRING, _KEY = 4, 6, 10

_SAME_SEQUENCE: Final = number(_SEQUENCE, 1)


def head() -> bytes:
    """The first packet."""
    flags = number(_SEQUENCE_FLAGS, _STATE_CLEARED)
    return message(_PACKET, number(_TIMESTAMP, 0), number(_SEQUENCE, 1), flags)


def process(track: int, pid: int, name: str) -> bytes:
    """The process *pid*, which *track* stands for."""
    said = message(_PROCESS, number(_PID, pid), text(_PROCESS_NAME, name))
    return _packet(message(_TRACK, number(_UUID, track), said))


def calls(parent: int, track: int, rank: int, name: str) -> bytes:
    """A track of slices below that of a process."""
    return _described(parent, track, rank, name)


def counter(parent: int, track: int, rank: int, name: str, unit: str, shared: bool) -> bytes:
    """A counter below the track of a process; *shared*: all of that unit are drawn to one scale."""
    key = text(_SHARED_AXIS, unit) if shared else b""
    return _described(parent, track, rank, name, message(_COUNTER, text(_UNIT_NAME, unit), key))


def _described(parent: int, track: int, rank: int, name: str, *more: bytes) -> bytes:
    own = number(_UUID, track), number(_PARENT, parent)
    return _packet(message(_TRACK, *own, text(_NAME, name), number(_RANK, rank), *more))


def counted(at: int, track: int, value: int) -> bytes:
    """A counter has *value* from *at* on."""
    return _event(at, _COUNT, track, number(_VALUE, value))


def happened(at: int, kind: int, track: int, name: str = "", *notes: bytes) -> bytes:
    """A slice begins or ends (BEGIN, END), or there is a mark (INSTANT)."""
    return _event(at, kind, track, *([text(_EVENT_NAME, name)] if name else []), *notes)


def _event(at: int, kind: int, track: int, *more: bytes) -> bytes:
    event = message(_TRACK_EVENT, number(_TYPE, kind), number(_ON_TRACK, track), *more)
    return _packet(number(_TIMESTAMP, at), event)


def note(key: str, value: int | str) -> bytes:
    """What is shown of a slice."""
    said = number(_INT, value) if isinstance(value, int) else text(_STRING, value)
    return message(_ANNOTATION, text(_KEY, key), said)


def _packet(*parts: bytes) -> bytes:
    return message(_PACKET, *parts, _SAME_SEQUENCE)
