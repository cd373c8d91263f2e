"""The trace as it grows: events go to a temporary file, the header is written at the end.

Only then is known which files there were. Knows the trace format (tracewriter); nothing of where
events come from.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from typing import IO, Final

from vmatrace.calls import BIRTHS
from vmatrace.event import Event
from vmatrace.layout import Layout
from vmatrace.oracle.errors import Unavailable
from vmatrace.trace.writer import event_line, expected_layout, scalar

_COUNTED_APART: Final = "fault"
#: Stands for a process in the text of a layout.
_PID: Final = "PID"


class Spool:
    """Events in the order in which they are added, and how many there are of each kind.

    Raises Unavailable where the temporary directory has no room for them.
    """

    def __init__(self) -> None:
        try:
            self._file: IO[str] = tempfile.TemporaryFile(  # noqa: SIM115
                "w+", encoding="utf-8", newline="\n", prefix="vmatrace-"
            )
        except OSError as error:
            raise _no_room(error) from None
        #: The last layout, which the next process may have too, and its text.
        self._last: tuple[Layout, str] = ([], "")
        self.events = 0
        self.faults = 0
        self.layouts = 0
        self.processes = 1

    def add(self, event: Event) -> None:
        """One event, with its recorded result."""
        self._put(event_line(event, result=True))
        if event.name == _COUNTED_APART:
            self.faults += 1
        else:
            self.events += 1
        if event.name in BIRTHS:
            self.processes += 1

    def expect(self, layout: Layout, pid: str, kernel: str) -> None:
        """The layout that process *pid* has here under *kernel*."""
        if layout is not self._last[0]:
            self._last = layout, expected_layout(layout, _PID, kernel)
        mine = "" if pid == "main" else f"      pid: {scalar(pid)}\n"
        self._put(self._last[1].replace(f"      pid: {_PID}\n", mine, 1))
        self.layouts += 1

    def _put(self, text: str) -> None:
        try:
            self._file.write(text + "\n")
        except OSError as error:
            self.close()
            raise _no_room(error) from None

    def write(self, out: IO[str], header: str) -> None:
        """The whole trace. Raises Unavailable where the events cannot be kept, OSError of *out*."""
        try:
            self._file.seek(0)
        except OSError as error:  # of the last that were written
            self.close()
            raise _no_room(error) from None
        out.write(header)
        shutil.copyfileobj(self._file, out)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()


def _no_room(error: OSError) -> Unavailable:
    folder = tempfile.tempdir or "the temporary directory (TMPDIR)"
    return Unavailable(f"{folder}: the recording cannot be kept there: {error.strerror}")
