"""MADV_DONTFORK undone."""

from __future__ import annotations

from typing import Final

from vmatrace import abi
from vmatrace.commands.whatif.rewritings.rewriting import Rewriting
from vmatrace.event import Event
from vmatrace.replayer.result import Step

NAME: Final = "dontfork"
RULE: Final = "madvise(MADV_DONTFORK) and madvise(MADV_DOFORK) are left out."
MEANING: Final = "Children have that memory too: no choice for what devices write to."
FEATURES: Final = ()


class NoDontfork(Rewriting):
    """One pass over a trace."""

    def rewritten(self, step: Step) -> list[Event] | None:
        """See Rewriting."""
        advised = step.event.name == "madvise" and step.result == 0
        return [] if advised and step.args[2] in (abi.MADV_DONTFORK, abi.MADV_DOFORK) else None


make: Final = NoDontfork
