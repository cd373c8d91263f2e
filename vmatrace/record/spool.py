"""The trace as it grows: events go to a temporary file, the header is written at the end.

Only then is known which files there were. Knows the trace format (tracewriter); nothing of where
events come from.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections import deque
from typing import IO, Final

from vmatrace.calls import BIRTHS
from vmatrace.event import Event
from vmatrace.layout import Layout
from vmatrace.oracle.errors import Unavailable
from vmatrace.trace.writer import event_line, expected_layout, scalar

_COUNTED_APART: Final = "fault"
#: So many events may wait for being written, so many have to wait before it is done while nobody
#: stops, and so many are then written before it is looked again whether anybody has.
_MOST, _WORTH, _AT_ONCE = 20_000, 200, 10
#: Stands for a process in the text of a layout.
_PID: Final = "PID"


class Spool:
    """Events in the order in which they are added, and how many there are of each kind.

    Their text is made when nobody waits for us: while all programs run, or at the end.

    Raises Unavailable where the temporary directory has no room for them.
    """

    def __init__(self) -> None:
        try:
            self._file: IO[str] = tempfile.TemporaryFile(  # noqa: SIM115
                "w+", encoding="utf-8", newline="\n", prefix="vmatrace-"
            )
        except OSError as error:
            raise _no_room(error) from None
        #: What has no text yet; a layout with its process and kernel.
        self._waiting: deque[Event | tuple[Layout, str, str]] = deque()
        #: The last layout, which the next process may have too, and its text.
        self._last: tuple[Layout, str] = ([], "")
        self.events = 0
        self.faults = 0
        self.layouts = 0
        self.processes = 1

    def add(self, event: Event) -> None:
        """One event, with its recorded result. It is not to be changed any more."""
        self._keep(event)
        if event.name == _COUNTED_APART:
            self.faults += 1
            return
        self.events += 1
        if event.name in BIRTHS:
            self.processes += 1

    def expect(self, layout: Layout, pid: str, kernel: str) -> None:
        """The layout that process *pid* has here under *kernel*."""
        self._keep((layout, pid, kernel))
        self.layouts += 1

    def _keep(self, item: Event | tuple[Layout, str, str]) -> None:
        self._waiting.append(item)
        if len(self._waiting) > _MOST:
            self.write_some()

    def much_waits(self) -> bool:
        """Whether it is worth writing some of what waits."""
        return len(self._waiting) > _WORTH

    def write_some(self) -> None:
        """Write some of what waits, which takes a moment."""
        self._write(_AT_ONCE)

    def _write(self, count: int) -> None:
        waiting = self._waiting
        if not waiting:
            return
        lines = [self._text(waiting.popleft()) for _ in range(min(count, len(waiting)))]
        try:
            self._file.writelines(lines)
        except OSError as error:
            self.close()
            raise _no_room(error) from None

    def _text(self, item: Event | tuple[Layout, str, str]) -> str:
        if isinstance(item, Event):
            return event_line(item, result=True) + "\n"
        layout, pid, kernel = item
        if layout is not self._last[0]:
            self._last = layout, expected_layout(layout, _PID, kernel)
        mine = "" if pid == "main" else f"      pid: {scalar(pid)}\n"
        return self._last[1].replace(f"      pid: {_PID}\n", mine, 1) + "\n"

    def write(self, out: IO[str], header: str) -> None:
        """The whole trace. Raises Unavailable where the events cannot be kept, OSError of *out*."""
        self._write(len(self._waiting))
        try:
            self._file.seek(0)
        except OSError as error:  # of the last that were written
            self.close()
            raise _no_room(error) from None
        out.write(header)
        shutil.copyfileobj(self._file, out)

    def close(self) -> None:
        """Keep nothing any more."""
        self._waiting.clear()
        with contextlib.suppress(OSError):
            self._file.close()


def _no_room(error: OSError) -> Unavailable:
    folder = tempfile.tempdir or "the temporary directory (TMPDIR)"
    return Unavailable(f"{folder}: the recording cannot be kept there: {error.strerror}")
