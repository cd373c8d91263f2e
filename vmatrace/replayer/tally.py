"""How often merges were made and refused: a fold over merge decisions; nothing else counts them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vmatrace.engine import merge
from vmatrace.engine.merge import MergeDecision

_WIDTH: Final = 16  # bits of a mask of Blockers


class Tally:
    """Merge counts: by kind, refused sides by reason, and the headline number.

    ``blocked`` counts each reason of each side where a VMA touched the range and stayed apart;
    ``blocked_sides`` counts those sides, and ``only_mergeable`` those that VM_MERGEABLE alone kept
    apart.
    """

    __slots__ = ("_outcomes", "only_mergeable")

    def __init__(self) -> None:
        self._outcomes: dict[int, int] = {}  # left << _WIDTH | right -> how often
        self.only_mergeable = 0

    def add(self, decision: MergeDecision) -> None:
        """Count one decision."""
        left, right = decision.left, decision.right
        outcome = left << _WIDTH | right
        try:
            self._outcomes[outcome] += 1
        except KeyError:
            self._outcomes[outcome] = 1
        if left == merge.FLAGS and merge.only_mergeable(decision.proposed, decision.prev):
            self.only_mergeable += 1
        if right == merge.FLAGS and merge.only_mergeable(decision.proposed, decision.next):
            self.only_mergeable += 1

    def _counts(self) -> Iterator[tuple[int, int, int]]:
        """Each outcome: the masks of both sides, and how often."""
        for outcome, count in self._outcomes.items():
            yield outcome >> _WIDTH, outcome & (1 << _WIDTH) - 1, count

    @property
    def merges(self) -> dict[str, int]:
        """How many attempts merged with the VMA before, behind, or both."""
        kinds = {"prev": 0, "next": 0, "both": 0}
        for left, right, count in self._counts():
            if not left or not right:
                kinds["both" if left == right else "prev" if not left else "next"] += count
        return kinds

    @property
    def total(self) -> int:
        return sum(self.merges.values())

    @property
    def blocked(self) -> dict[str, int]:
        """Refused sides by reason; a side with two reasons counts under both."""
        reasons: dict[str, int] = {}
        for left, right, count in self._counts():
            for mask in (left, right):
                if not mask & merge.NOTHING_THERE:
                    for reason in merge.blockers(mask):
                        reasons[reason.code] = reasons.get(reason.code, 0) + count
        return dict(sorted(reasons.items()))

    @property
    def blocked_sides(self) -> int:
        return sum(
            count
            for left, right, count in self._counts()
            for mask in (left, right)
            if mask and not mask & merge.NOTHING_THERE
        )
