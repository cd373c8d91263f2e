"""A model in the place of a real kernel: a Witness whose every decision is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from vmatrace.engine import view
from vmatrace.event import Event
from vmatrace.kernels import Kernel
from vmatrace.layout import Layout
from vmatrace.oracle import Unsupported
from vmatrace.oracle.sandbox import Start
from vmatrace.replayer.run import DEFAULT_BRK, DEFAULT_MMAP_BASE, Replay
from vmatrace.trace.file import Trace


class ModelWitness:
    """What *kernel* does with the events of a program that starts as *trace* does."""

    def __init__(self, trace: Trace, kernel: Kernel) -> None:
        self.start = Start([], frozenset(), DEFAULT_BRK, DEFAULT_MMAP_BASE)
        self._run = Replay(dataclasses.replace(trace, read=lambda: iter(())), kernel)

    def run_event(self, event: Event) -> int:
        """See Witness."""
        step = None if self._run.live(event.pid) is None else self._run.step(event)
        if step is None:
            raise Unsupported("there is no such process, or no such call")
        return step.result

    def in_turn(self, events: Iterable[Event]) -> Iterator[Event]:
        """See Witness."""
        return iter(events)

    def layout(self, pid: str) -> Layout:
        """See Witness."""
        mm = self._run.live(pid)
        return [] if mm is None else view.layout(mm)
