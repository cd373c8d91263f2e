"""Why a side of a merge attempt stayed apart, as a value that can be kept and printed."""

from __future__ import annotations

from dataclasses import dataclass

from vmatrace import abi
from vmatrace.engine.merge import Blocker, MergeDecision, Side, blockers, only_mergeable
from vmatrace.printable import Printable


@dataclass(frozen=True, repr=False)
class Refusal(Printable):
    """One side of a merge attempt that a VMA touched and that did not merge.

    ``side`` is "prev" or "next": where of the range that was to merge the ``neighbour`` is.
    ``blockers`` are all the reasons.
    """

    shown_by = "vmatrace.render.steps:write_refusal"

    decision: MergeDecision
    side: str
    neighbour: Side
    blockers: Blocker

    def __repr__(self) -> str:
        there = self.neighbour.start
        return f"<Refusal at {self.address:08x} by the VMA at {there:08x}: {self.blockers}>"

    @property
    def reasons(self) -> tuple[Blocker, ...]:
        """The blockers one by one."""
        return tuple(blockers(self.blockers))

    @property
    def address(self) -> int:
        """Where the two touch, in bytes."""
        return self.decision.start if self.side == "prev" else self.decision.end

    @property
    def flags(self) -> tuple[str, ...]:
        """The VmFlags codes in which the two differ, as smaps has them."""
        return abi.vm_flag_codes(self.decision.flag_difference(self.neighbour))

    @property
    def only_mergeable(self) -> bool:
        """Whether VM_MERGEABLE alone kept them apart."""
        alone = self.blockers == Blocker.FLAGS
        return alone and only_mergeable(self.decision.proposed, self.neighbour)


def refusals(decision: MergeDecision) -> list[Refusal]:
    """The sides of *decision* that a VMA touched and that did not merge."""
    return [
        Refusal(decision, side, there, Blocker(mask)) for side, there, mask in decision.blocked()
    ]
