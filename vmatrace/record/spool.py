"""The trace as it grows: events go to a temporary file, the header is written at the end.

Only then is known which files there were. Knows the trace format (tracewriter); nothing of where
events come from.
"""

from __future__ import annotations

import shutil
import tempfile
from typing import IO, Final

from vmatrace.calls import BIRTHS
from vmatrace.event import Event
from vmatrace.layout import Layout
from vmatrace.trace.writer import event_line, expected_layout

_COUNTED_APART: Final = "fault"


class Spool:
    """Events in the order in which they are added, and how many there are of each kind."""

    def __init__(self) -> None:
        self._file: IO[str] = tempfile.TemporaryFile(  # noqa: SIM115
            "w+", encoding="utf-8", newline="\n", prefix="vmatrace-"
        )
        self.events = 0
        self.faults = 0
        self.layouts = 0
        self.processes = 1

    def add(self, event: Event) -> None:
        """One event, with its recorded result."""
        self._file.write(event_line(event, result=True) + "\n")
        if event.name == _COUNTED_APART:
            self.faults += 1
        else:
            self.events += 1
        if event.name in BIRTHS:
            self.processes += 1

    def expect(self, layout: Layout, pid: str, kernel: str) -> None:
        """The layout that process *pid* has here under *kernel*."""
        self._file.write(expected_layout(layout, pid, kernel) + "\n")
        self.layouts += 1

    def write(self, out: IO[str], header: str) -> None:
        """The whole trace."""
        out.write(header)
        self._file.seek(0)
        shutil.copyfileobj(self._file, out)

    def close(self) -> None:
        self._file.close()
