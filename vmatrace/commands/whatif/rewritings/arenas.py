"""Arenas of one size that touch, mapped at once."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from vmatrace.commands.whatif.rewritings.adjacent import Adjacent, Batch, is_plain
from vmatrace.event import Event
from vmatrace.replayer.result import Step

NAME: Final = "arenas"
RULE: Final = (
    "Several mmap() of private anonymous memory, of one size and protection and side by side, of "
    "which one stays a VMA of its own, become one mmap() in the place of the first."
)
MEANING: Final = "All of that memory is there, and counted, from the first call on."
FEATURES: Final = ()


def _kind(step: Step) -> Hashable:
    return step.args[1:4] if is_plain(step) else None


class Arenas(Adjacent):
    """Two passes over a trace."""

    def __init__(self) -> None:
        super().__init__(_kind)

    def _piece(self, step: Step, batch: Batch, first: bool) -> list[Event]:
        prot = step.args[2]
        assert isinstance(prot, int)
        return [self.mapped(step, batch, prot)] if first else []


make: Final = Arenas
