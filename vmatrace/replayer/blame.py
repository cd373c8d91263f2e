"""Which event made an expectation fail: the one at which a number went wrong.

The numbers of a process at every event would be too much to keep, so the trace is replayed again
when an expectation has failed, and only then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vmatrace.engine.mm import Mm
from vmatrace.event import Bound, Event
from vmatrace.kernels import Kernel
from vmatrace.replayer.expectations import count
from vmatrace.replayer.result import Failure
from vmatrace.replayer.run import Replay
from vmatrace.trace.file import Trace

#: Calls that can change VM_MERGEABLE of VMAs that were there before.
_FLAGGING: Final = frozenset({"prctl", "madvise", "process_madvise", "execve"})
#: So many VMAs are looked at for the number of mergeable ones; then that is given up.
_MOST_VISITS: Final = 20_000_000


class _Wait:
    """A failure that waits for the event since which its number has been wrong."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        self.at = (failure.line, failure.column)
        *operator, value = str(failure.expected).split()
        self.bound = Bound(operator[0] if operator else "==", int(value))
        self.held = False  # at any time
        self.holds = False  # now

    def changed(self, value: int, event: Event | None) -> None:
        """The number is *value* since *event*, None at the start."""
        held, self.holds = self.holds, self.bound.holds(value)
        if held or not self.held or self.failure.what == "peak_vmas":
            self.failure.since = event
        self.held |= self.holds


class _Number:
    """One number of one process, event by event, and the failures that wait for it."""

    def __init__(self, pid: str, what: str) -> None:
        self.pid = pid
        self.what = what
        self.waiting: list[_Wait] = []
        self._value: int | None = None
        self._mm: Mm | None = None
        self._vmas = 0
        self._visits = 0

    def follow(self, replay: Replay, event: Event | None, decided: bool) -> None:
        """Right after *event* (None: at the start); *decided*: it tried to merge, or split."""
        mm = replay.live(self.pid)
        if mm is None or (self.what == "mergeable" and not self._visited(mm, event, decided)):
            return
        value = count(self.what, mm, replay.result.tally)
        if value == self._value:
            return
        self._value = value
        for wait in self.waiting:
            if event is None or (event.line, event.column) < wait.at:
                wait.changed(value, event)

    def _visited(self, mm: Mm, event: Event | None, decided: bool) -> bool:
        """Whether the VMAs are worth looking at: whether their flags may have changed."""
        known = mm is self._mm and mm.vmas.count == self._vmas
        self._mm, self._vmas = mm, mm.vmas.count
        if known and not decided and event is not None and event.name not in _FLAGGING:
            return False
        self._visits += self._vmas
        if self._visits > _MOST_VISITS:
            for wait in self.waiting:
                wait.failure.since = None
            return False
        return True


def blame(
    trace: Trace, kernel: Kernel, failures: Sequence[Failure], ksm: bool | None = None
) -> None:
    """Set ``since`` of each of *failures*, those of a replay of *trace*: the event that did it.

    Of a number that held before, the event at which it ceased to; of one that never did, the event
    that made it what it is; of a peak, the call that reached it. None stays where that was the
    start, of layouts, and where it would take too long.
    """
    numbers: dict[tuple[str, str], _Number] = {}
    last = (0, 0)
    for failure in failures:
        if failure.what != "maps":
            key = failure.pid, failure.what
            wait = _Wait(failure)
            numbers.setdefault(key, _Number(*key)).waiting.append(wait)
            last = max(last, wait.at)
    if not numbers:
        return
    replay = Replay(trace, kernel, ksm)
    for number in numbers.values():
        number.follow(replay, None, True)
    for step in replay.steps():
        event = step.event
        if (event.line, event.column) > last:
            return
        for number in numbers.values():
            number.follow(replay, event, bool(step.decisions) or step.splits > 0)
