"""Cuts that come and never heal: ``Cuts``.

A cut is where a VMA starts, a border or the end of a hole, so there are as many as VMAs. One that
comes is a split or a new mapping; it heals when the VMAs on both sides become one, and goes with
its VMA when that is unmapped. A pattern whose cuts come and do not go is a ratchet: it adds VMAs
until the limit.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from vmatrace.layout import Mapping


class Ratchet(NamedTuple):
    """Of a pattern: cuts that came after the first sample, and what became of them."""

    pattern: str
    came: int
    healed: int
    unmapped: int

    @property
    def there(self) -> int:
        """How many are still there."""
        return self.came - self.healed - self.unmapped


class CutGone(NamedTuple):
    """A cut that is gone: where it was, in which sample it came, and whether it healed."""

    address: int
    came: int
    healed: bool


class Cuts:
    """The cuts of a layout from sample to sample. ``there``: the sample and the pattern that
    each came with.
    """

    def __init__(self) -> None:
        self.there: dict[int, tuple[int, str]] = {}
        self._came: Counter[str] = Counter()
        self._gone: Counter[tuple[str, bool]] = Counter()

    def add(
        self, number: int, layout: Sequence[Mapping], named: Sequence[str]
    ) -> tuple[dict[int, str], list[CutGone]]:
        """The next layout, that of sample *number*, each VMA with its pattern: the cuts that
        came with it, and those that are gone.
        """
        now = {mapping.start: name for mapping, name in zip(layout, named, strict=True)}
        starts = list(now)
        passed = []
        for address in [address for address in self.there if address not in now]:
            came, _ = self.there[address]
            below = bisect_right(starts, address) - 1
            healed = below >= 0 and address < layout[below].end
            self.pass_(address, healed)
            passed.append(CutGone(address, came, healed))
        came_now = {address: name for address, name in now.items() if address not in self.there}
        for address, name in came_now.items():
            self.come(address, number, name)
        return came_now, passed

    def come(self, address: int, number: int, name: str) -> None:
        """A cut came with sample *number*; those of the first are not counted."""
        self.there[address] = (number, name)
        self._came[name] += number > 1

    def pass_(self, address: int, healed: bool) -> None:
        """A cut is gone."""
        number, name = self.there.pop(address)
        self._gone[name, healed] += number > 1

    def ratchets(self) -> list[Ratchet]:
        """By pattern; first where most are still there."""
        found = [
            Ratchet(name, came, self._gone[name, True], self._gone[name, False])
            for name, came in self._came.items()
            if came
        ]
        return sorted(found, key=lambda ratchet: (-ratchet.there, -ratchet.came, ratchet.pattern))
