"""Two snapshots of a process: what came, went, was split, merged: ``compare()``.

VMAs are aligned by address: those of the one that overlap those of the other are one change. Each
VMA that is not as it was is in one change, so that the changes add up to the difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from vmatrace.commands.audit.patterns import PATTERNS, assigned
from vmatrace.commands.audit.question import Audit
from vmatrace.layout import Layout, Mapping
from vmatrace.printable import Printable

CAME: Final = "came"
WENT: Final = "went"
SPLIT: Final = "split"
MERGED: Final = "merged"
RESIZED: Final = "resized"
CHANGED: Final = "changed"
RESHAPED: Final = "reshaped"
KINDS: Final = (CAME, WENT, SPLIT, MERGED, RESIZED, CHANGED, RESHAPED)
#: Where fewer of so many VMAs have an address in both, they are of two processes.
_MANY: Final = 8
_FEW: Final = 0.1


class MapChange(NamedTuple):
    """VMAs that overlap, and are not the same before and after. ``kind`` is of KINDS: SPLIT is of
    one into several, MERGED of several into one, RESHAPED of several into several; of one into
    one RESIZED has another range, and CHANGED other attributes. ``pattern``: that of the first VMA
    after it, or before where there is none after it.
    """

    kind: str
    pattern: str
    before: Layout
    after: Layout

    @property
    def start(self) -> int:
        return min(m.start for m in (*self.before[:1], *self.after[:1]))

    @property
    def end(self) -> int:
        return max(m.end for m in (*self.before[-1:], *self.after[-1:]))

    @property
    def grown(self) -> int:
        """How many VMAs more there are."""
        return len(self.after) - len(self.before)


@dataclass(frozen=True, repr=False)
class MapComparison(Printable):
    """``changes`` in address order. ``strange``: hardly an address is in both snapshots."""

    shown_by = "vmatrace.commands.audit.compare.as_table:write"

    before: Audit
    after: Audit
    changes: list[MapChange]
    strange: bool

    def __repr__(self) -> str:
        return f"<MapComparison: {len(self.changes)} changes>"

    @property
    def kinds(self) -> dict[str, tuple[int, int]]:
        """For each kind there is, how many changes, and how many VMAs more they make."""
        return {
            kind: (len(these), sum(change.grown for change in these))
            for kind in KINDS
            if (these := [change for change in self.changes if change.kind == kind])
        }

    @property
    def patterns(self) -> list[tuple[str, int, int]]:
        """Patterns whose VMAs are more or fewer, before and after, the most first."""
        counts = [Counter({use.name: use.vmas for use in a.patterns}) for a in self.both]
        found = [(name, counts[0][name], counts[1][name]) for name in PATTERNS]
        differing = [each for each in found if each[1] != each[2]]
        return sorted(differing, key=lambda each: -abs(each[2] - each[1]))

    @property
    def both(self) -> tuple[Audit, Audit]:
        """Before and after."""
        return self.before, self.after


def compare(before: Audit, after: Audit) -> MapComparison:
    """What became of the VMAs of *before*."""
    layouts = (before.snapshot.layout, after.snapshot.layout)
    named = [dict(zip((m.start for m in x), assigned(x), strict=True)) for x in layouts]
    changes = []
    shared = 0
    for old, new in _overlapping(*layouts):
        shared += len(old) if new else 0
        kind = _kind(old, new)
        if kind is not None:
            pattern = named[1][new[0].start] if new else named[0][old[0].start]
            changes.append(MapChange(kind, pattern, old, new))
    many = min(map(len, layouts))
    strange = many >= _MANY and shared < _FEW * len(layouts[0])
    return MapComparison(before, after, changes, strange)


def _overlapping(before: Layout, after: Layout) -> Iterator[tuple[Layout, Layout]]:
    """The VMAs of both in groups: those that overlap, and those that they overlap."""
    every = sorted(
        [(m.start, 0, m) for m in before] + [(m.start, 1, m) for m in after],
        key=lambda each: each[:2],
    )
    group: tuple[Layout, Layout] = ([], [])
    end = 0
    for start, side, mapping in every:
        if start >= end and (group[0] or group[1]):
            yield group
            group = ([], [])
        group[side].append(mapping)
        end = max(end, mapping.end)
    if group[0] or group[1]:
        yield group


def _kind(old: Layout, new: Layout) -> str | None:
    """Of which kind a change is; None where it is none."""
    if not old:
        return CAME
    if not new:
        return WENT
    if len(old) == len(new) == 1:
        if (old[0].start, old[0].end) != (new[0].start, new[0].end):
            return RESIZED
        return None if _attributes(old[0]) == _attributes(new[0]) else CHANGED
    if len(old) == 1:
        return SPLIT
    return MERGED if len(new) == 1 else RESHAPED


def _attributes(m: Mapping) -> tuple[object, ...]:
    return (*m.key(), m.device, m.inode, m.foreign)
