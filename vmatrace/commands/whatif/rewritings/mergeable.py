"""MADV_MERGEABLE once instead of PR_SET_MEMORY_MERGE."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from vmatrace import abi
from vmatrace.commands.whatif.rewritings.rewriting import Memories, Rewriting, new_event
from vmatrace.engine.mm import Mm
from vmatrace.event import Event
from vmatrace.replayer.result import Step
from vmatrace.replayer.run import Replay
from vmatrace.trace.file import Trace

NAME: Final = "mergeable"
RULE: Final = (
    "prctl(PR_SET_MEMORY_MERGE) and PR_GET_MEMORY_MERGE are left out, and a process that inherits "
    "KSM by default starts without it; at the end of each process and of the trace, one "
    "madvise(MADV_MERGEABLE) for each stretch of memory that KSM would look at."
)
MEANING: Final = (
    "KSM looks at that memory from the madvise on: not before, and not at what is mapped later."
)
FEATURES: Final = ()
_MODE: Final = (abi.PR_SET_MEMORY_MERGE, abi.PR_GET_MEMORY_MERGE)


class Mergeable(Rewriting):
    """One pass over a trace."""

    def __init__(self) -> None:
        super().__init__()
        self._by_default = False
        self._memories = Memories()

    def started(self, trace: Trace, ksm: bool | None) -> tuple[Trace, bool | None]:
        """See Rewriting."""
        self._by_default = trace.process.ksm if ksm is None else ksm
        start = replace(trace, process=replace(trace.process, ksm=False))
        return start, False if ksm else ksm

    def rewritten(self, step: Step) -> list[Event] | None:
        """See Rewriting."""
        memory = self._memories(step)
        if step.ended and self._memories.gone(memory):
            advised = self._advised(step.pid, step.mm)
            return [*advised, step.event] if advised else None
        if step.event.name != "prctl" or step.args[0] not in _MODE or step.result < 0:
            return None
        self._by_default = self._by_default or bool(
            step.args[0] == abi.PR_SET_MEMORY_MERGE and step.args[1]
        )
        return []

    def finished(self, replay: Replay) -> list[Event]:
        """See Rewriting."""
        return [event for pid, mm in replay.living() for event in self._advised(pid, mm)]

    def _advised(self, pid: str, mm: Mm) -> list[Event]:
        if not self._by_default:
            return []
        return [
            new_event("madvise", (self.places.told(start), end - start, abi.MADV_MERGEABLE), pid)
            for start, end in _stretches(mm)
        ]


def _stretches(mm: Mm) -> Iterator[tuple[int, int]]:
    """The mergeable VMAs of *mm*, those that touch as one."""
    start = end = 0
    for vma in mm.vmas:
        if not vma.flags & abi.VM_MERGEABLE:
            continue
        if vma.start != end:
            if end:
                yield start, end
            start = vma.start
        end = vma.end
    if end:
        yield start, end


make: Final = Mergeable
