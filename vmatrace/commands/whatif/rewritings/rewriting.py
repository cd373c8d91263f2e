"""What every rewriting is: it goes along with a replay, and says what stands instead."""

from __future__ import annotations

from vmatrace.calls import CALLS, shares_memory
from vmatrace.event import Arg, Event, Expr
from vmatrace.replayer.result import Step
from vmatrace.replayer.run import Replay
from vmatrace.trace.file import Trace


class Places:
    """Where the mappings with labels are, so that an address can be told from one."""

    def __init__(self) -> None:
        self._at: dict[str, tuple[int, int, int]] = {}

    def note(self, step: Step) -> None:
        """Follow a step."""
        label, placed = step.event.label, CALLS[step.event.name].placed
        if label is None or placed is None or step.result < 0:
            return
        length = step.args[placed]
        if isinstance(length, int):
            self.put(label, step.result, step.result + length, step.mm.world.page_mask + 1)

    def put(self, label: str, start: int, end: int, page: int) -> None:
        """*label* is [start, end) from now on."""
        self._at.pop(label, None)
        self._at[label] = start, end, page

    def forget(self, label: str) -> None:
        """Nothing is to be told from *label*."""
        self._at.pop(label, None)

    def told(self, address: int) -> Arg:
        """*address*, from the last label of what it is in; a number where it is in none."""
        for label, (start, end, page) in reversed(self._at.items()):
            if start <= address < end:
                return Expr.told(label, address - start, page)
        return address


class Rewriting:
    """One pass over a trace, or two where ``looks_ahead``: then it sees every step before.

    ``places`` follows the pass in which it rewrites, and is one step ahead.
    """

    looks_ahead = False

    def __init__(self) -> None:
        self.places = Places()

    def started(self, trace: Trace, ksm: bool | None) -> tuple[Trace, bool | None]:
        """The trace with another start; *ksm* as in replay()."""
        return trace, ksm

    def seen(self, step: Step) -> None:
        """The first pass, of those that look ahead."""

    def rewritten(self, step: Step) -> list[Event] | None:
        """What stands in the place of the step's event; None: the event as it is."""
        raise NotImplementedError

    def kept(self, step: Step) -> Event:
        """The event of a step that is not rewritten: it may have to name addresses otherwise."""
        return step.event

    def finished(self, replay: Replay) -> list[Event]:
        """What comes behind the last event; *replay* is that of the trace as it was."""
        return []


class Memories:
    """Which address space each process of a trace has: numbers in the order they came to be."""

    def __init__(self) -> None:
        self._of = {"main": 0}
        self._count = 1

    def __call__(self, step: Step) -> int:
        """The address space that the step worked on; follows births and execs."""
        number = self._of[step.pid]
        if step.born is not None:
            shared = shares_memory(step.event.name, step.args)
            self._of[step.born] = number if shared else self._new()
        if step.executed:
            self._of[step.pid] = self._new()
        if step.ended:
            del self._of[step.pid]
        return number

    def gone(self, number: int) -> bool:
        """Whether no process has that address space any more."""
        return number not in self._of.values()

    def of(self, pid: str) -> int:
        """That of the process *pid* after the last step."""
        return self._of[pid]

    def _new(self) -> int:
        self._count += 1
        return self._count - 1


def new_event(name: str, args: tuple[Arg, ...], pid: str, line: int = 0) -> Event:
    """A call that the trace did not have; *line* is that of what it belongs to."""
    symbolic = any(isinstance(arg, Expr) for arg in args)
    return Event(name, args, "", line, 1, pid, symbolic=symbolic)
