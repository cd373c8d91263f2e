"""What traces come to now, as a baseline that later runs are compared with, and what it replaces.

Values in, values out. A result stands in a baseline as `vmatrace replay --format json` writes it,
with the version that wrote it and the KSM by default that was asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from vmatrace.commands.diff.answer import Diff
from vmatrace.commands.diff.baseline import Baseline, SavedResult
from vmatrace.commands.diff.question import saved_diff
from vmatrace.trace.file import Trace

#: What can have become of a trace, in the order in which it is told.
NEW, CHANGED, REMOVED, UNCHANGED, KEPT = "new", "changed", "removed", "unchanged", "kept"
KINDS: Final = (CHANGED, NEW, REMOVED, KEPT, UNCHANGED)


@dataclass(frozen=True)
class Renewed:
    """What became of one trace: ``kind``, and its result before and now where there is one."""

    kind: str
    path: str
    before: SavedResult | None = None
    now: SavedResult | None = None
    diff: Diff | None = None


def renewed(trace: Trace, before: SavedResult | None, now: SavedResult) -> Renewed:
    """What became of *trace*, whose result was *before* in the baseline that is renewed."""
    if before is None:
        return Renewed(NEW, trace.path, None, now)
    diff = saved_diff(before, now, trace)
    same = diff.equal and (before.kernel, before.side.expected) == (now.kernel, now.side.expected)
    return Renewed(UNCHANGED if same else CHANGED, trace.path, before, now, diff)


def rest(old: Baseline, done: Iterable[Renewed], keep: bool) -> list[Renewed]:
    """The results of *old* about other traces: with *keep* those stay whose file is still there."""
    used = {one.before.where for one in done if one.before is not None}
    left = [one for one in old.results if one.where not in used]
    stays = {one.where for one in left if keep and os.path.lexists(one.path)}
    return [
        Renewed(KEPT if one.where in stays else REMOVED, one.path or one.trace, one,
                one if one.where in stays else None)
        for one in left
    ]  # fmt: skip


def text(all_: Sequence[Renewed]) -> str:
    """The baseline: a line for each trace, by path, so that a change of one is a change of one."""
    lines = sorted((one.path, one.now.text) for one in all_ if one.now is not None)
    return "".join(line.rstrip("\n") + "\n" for _, line in lines)
