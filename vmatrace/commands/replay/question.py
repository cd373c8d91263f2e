"""What a trace leads to under a model; the replayer knows it, and here it is put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vmatrace.replayer.result import Result
from vmatrace.replayer.run import Replay
from vmatrace.trace.file import Trace


@dataclass
class Replayed:
    """A trace and its ``result``. ``again``, if every event is wanted: a fresh replay of it."""

    trace: Trace
    result: Result
    again: Callable[[], Replay] | None = None
