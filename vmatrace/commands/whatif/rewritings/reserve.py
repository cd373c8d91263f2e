"""Memory reserved once, and committed piece by piece."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from vmatrace import abi
from vmatrace.commands.whatif.rewritings.adjacent import Adjacent, Batch, is_plain
from vmatrace.event import Event
from vmatrace.replayer.result import Step
from vmatrace.search.rewriting import changed

NAME: Final = "reserve"
RULE: Final = (
    "Several mmap() of private anonymous memory side by side, of which one stays a VMA of its own, "
    "become one mmap(PROT_NONE) of all of it in the place of the first, and an mprotect() each."
)
MEANING: Final = (
    "The address space is taken, and counts against RLIMIT_AS, from the first call on; memory is "
    "committed as before."
)
FEATURES: Final = ()


def _kind(step: Step) -> Hashable:
    return step.args[3] if is_plain(step) and step.args[2] != abi.PROT_NONE else None


class Reserve(Adjacent):
    """Two passes over a trace."""

    def __init__(self) -> None:
        super().__init__(_kind)

    def _piece(self, step: Step, batch: Batch, first: bool) -> list[Event]:
        start, end = batch.pieces[step.index]
        args = (self.places.told(start), end - start, step.args[2])
        commit = changed(step.event, name="mprotect", args=args, label=None, recorded=None)
        if not first:
            return [commit]
        return [self.mapped(step, batch, abi.PROT_NONE), commit]


make: Final = Reserve
