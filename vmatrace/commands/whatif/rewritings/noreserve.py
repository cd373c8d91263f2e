"""MAP_NORESERVE nowhere."""

from __future__ import annotations

from typing import Final

from vmatrace import abi
from vmatrace.commands.whatif.rewritings.rewriting import Rewriting
from vmatrace.event import Event
from vmatrace.replayer.result import Step
from vmatrace.search.rewriting import changed

NAME: Final = "noreserve"
RULE: Final = "mmap() of anonymous memory is without MAP_NORESERVE, everywhere."
MEANING: Final = "All memory that is writable counts against the limit of overcommitting."
FEATURES: Final = ()


class NoNoreserve(Rewriting):
    """One pass over a trace."""

    def rewritten(self, step: Step) -> list[Event] | None:
        """See Rewriting."""
        event = step.event
        flags = event.args[3] if event.name == "mmap" else 0
        if not isinstance(flags, int) or not flags & abi.MAP_NORESERVE or step.result < 0:
            return None
        if not flags & abi.MAP_ANONYMOUS:
            return None
        args = (*event.args[:3], flags & ~abi.MAP_NORESERVE, *event.args[4:])
        return [changed(event, args=args)]


make: Final = NoNoreserve
