"""One replay of a trace, and what questions about its end need of it: names, memory, exits.

Keeps nothing for each event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from vmatrace.calls import LIFE
from vmatrace.engine.mm import Mm
from vmatrace.event import Event
from vmatrace.replayer.result import Step
from vmatrace.replayer.run import Replay
from vmatrace.replayer.uses import Uses


class Moment(NamedTuple):
    """When something happened: the event, and how many came before it."""

    nth: int
    event: Event

    def __str__(self) -> str:
        """Where the event stands, and the call: what the input has no lines for, by its number."""
        place = f"line {self.event.line}" if self.event.line else f"event {self.nth + 1}"
        return f"{place}: {self.event.text}"


class Survey:
    """A replay run to its end.

    ``labels`` are those of addresses, with their last values, and ``forks`` those of processes.
    ``mms`` holds the address space of each process at the end; the first one's also when it exited.
    ``exits`` says when the others did. ``aliases`` are the numbers of processes with a label.
    ``uses`` is what the trace uses that kernels treat differently.
    """

    def __init__(
        self,
        replay: Replay,
        see: Callable[[Step], None] | None = None,
        steps: Iterator[Step] | None = None,
    ) -> None:
        """Run *replay*, whose *steps* those are, and show each to *see*. Raises TraceError."""
        self.labels: dict[str, int] = {}
        self.forks: set[str] = set()
        self.mms: dict[str, Mm] = {"main": replay.process("main")}
        self.exits: dict[str, Moment] = {}
        self.aliases: dict[str, str] = {}
        self.uses = Uses(replay)
        uses = self.uses.see
        for step in replay.steps() if steps is None else steps:
            event = step.event
            uses(step)
            of_process = event.name in LIFE and self._live(step, replay)
            if event.label is not None and not of_process:
                self.labels[event.label] = step.result
            if see is not None:
                see(step)
        self.result = replay.result

    def _live(self, step: Step, replay: Replay) -> bool:
        """Take in what made, replaced or ended a process, if the event did."""
        pid = step.pid
        if step.born is not None:
            self._fork(step, step.born, replay)
        elif step.ended:
            self.exits[pid] = Moment(step.index, step.event)
            if pid == "main":
                self.mms[pid] = step.mm
            else:
                self.mms.pop(pid, None)
        elif step.executed:
            self.mms[pid] = step.mm
        else:
            return False
        return True

    def _fork(self, step: Step, child: str, replay: Replay) -> None:
        if step.event.label is not None:
            self.forks.add(child)
            self.aliases[str(step.result)] = child
        self.mms[child] = replay.process(child)
        self.exits.pop(child, None)
