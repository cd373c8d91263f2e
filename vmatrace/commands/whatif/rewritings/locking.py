"""Everything locked, or nothing."""

from __future__ import annotations

from typing import Final

from vmatrace import abi
from vmatrace.commands.whatif.rewritings.rewriting import Memories, Rewriting, new_event
from vmatrace.event import Event
from vmatrace.replayer.result import Step
from vmatrace.search.rewriting import changed

NAME: Final = "locking"
RULE: Final = (
    "The first mlock(), mlock2(), mlockall() or MAP_LOCKED of a process becomes "
    "mlockall(MCL_CURRENT|MCL_FUTURE), with MCL_ONFAULT where all its locks are on fault; the "
    "others, munlock() and munlockall() are left out."
)
MEANING: Final = "All of the process's memory stays resident, and has to fit RLIMIT_MEMLOCK."
FEATURES: Final = ()
_LOCKS: Final = ("mlock", "mlock2", "mlockall")
_UNLOCKS: Final = ("munlock", "munlockall")


class Locking(Rewriting):
    """Two passes over a trace: the first looks for memories that are locked other than on fault."""

    looks_ahead = True

    def __init__(self) -> None:
        super().__init__()
        self._watching, self._writing = Memories(), Memories()
        self._filled: set[int] = set()
        self._locked: set[int] = set()

    def seen(self, step: Step) -> None:
        """See Rewriting."""
        memory = self._watching(step)
        if _locks(step) and not _on_fault(step):
            self._filled.add(memory)

    def rewritten(self, step: Step) -> list[Event] | None:
        """See Rewriting."""
        memory = self._writing(step)
        event = step.event
        if event.name in _UNLOCKS and step.result == 0:
            return []
        if not _locks(step):
            return None
        instead = []
        if memory not in self._locked:
            self._locked.add(memory)
            how = abi.MCL_CURRENT | abi.MCL_FUTURE
            how = how if memory in self._filled else how | abi.MCL_ONFAULT
            if event.name == "mlockall" and step.args[0] == how:
                return None
            instead = [new_event("mlockall", (how,), event.pid, event.line)]
        if event.name == "mmap":
            flags = step.args[3]
            assert isinstance(flags, int)
            args = (*event.args[:3], flags & ~abi.MAP_LOCKED, *event.args[4:])
            instead.append(changed(event, args=args))
        return instead


def _locks(step: Step) -> bool:
    name, args = step.event.name, step.args
    if step.result < 0:
        return False
    return name in _LOCKS or (
        name == "mmap" and isinstance(args[3], int) and bool(args[3] & abi.MAP_LOCKED)
    )


def _on_fault(step: Step) -> bool:
    """Whether memory is locked when it is touched, and not filled at once."""
    name, args = step.event.name, step.args
    if name == "mlock2":
        return args[2] == abi.MLOCK_ONFAULT
    return name == "mlockall" and isinstance(args[0], int) and bool(args[0] & abi.MCL_ONFAULT)


make: Final = Locking
