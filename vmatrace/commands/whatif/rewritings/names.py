"""Anonymous memory without names."""

from __future__ import annotations

from typing import Final

from vmatrace import abi
from vmatrace.commands.whatif.rewritings.rewriting import Rewriting
from vmatrace.event import Event
from vmatrace.replayer.result import Step

NAME: Final = "names"
RULE: Final = "prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME) is left out."
MEANING: Final = "/proc/PID/maps does not say any more what memory is for."
FEATURES: Final = ()


class NoNames(Rewriting):
    """One pass over a trace."""

    def rewritten(self, step: Step) -> list[Event] | None:
        """See Rewriting."""
        named = step.event.name == "prctl" and step.args[0] == abi.PR_SET_VMA
        return [] if named and step.result == 0 else None


make: Final = NoNames
