"""The words of a diff that its forms share: sides, counts, changes, what is not compared."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from vmatrace.commands.diff.answer import Diff, ProcessDiff, WithKsm
from vmatrace.escape import visible
from vmatrace.layout import maps_line

#: What the totals are called.
COUNTS: Final = {
    "vmas": "VMAs",
    "peak_vmas": "peak VMAs",
    "mergeable": "mergeable VMAs",
    "merges": "merges",
    "splits": "splits",
    "blocked": "blocked sides",
    "blocked_only_by_mergeable": "by VM_MERGEABLE alone",
    "errors": "failed calls",
}
_LONGEST_LABEL: Final = 20


def labels(diff: Diff) -> tuple[str, str]:
    """Short names of both sides, not the same: the models' or the files', else from and to."""
    names = [os.path.basename(side.name) for side in (diff.from_, diff.to)]
    if names[0] == names[1] or max(map(len, names)) > _LONGEST_LABEL:
        return "from", "to"
    return visible(names[0]), visible(names[1])


def change(a: int | None, b: int | None) -> str:
    """The change of a count: ``+7``, ``-7``, nothing, or ``?`` where it is not known."""
    if a is None or b is None:
        return "?"
    return f"{b - a:+}" if a != b else ""


def changed_totals(diff: Diff) -> str:
    """The totals that differ, in one line: ``VMAs 8 → 1 (-7), merges 0 → 7 (+7)``."""
    return ", ".join(
        f"{COUNTS[name]} {a} → {b} ({change(a, b)})"
        for name, a, b in diff.totals
        if a is not None and b is not None and a != b
    )


def limits(diff: Diff) -> Iterator[str]:
    """A sentence for each thing that could not be compared."""
    for side in (diff.from_, diff.to):
        if side.kind == "snapshot":
            yield f"{side.name} is a snapshot: it has no events and no counts of merges"
        elif side.kind == "trace":
            yield f"{side.name} is another trace: the ends are compared"
        elif "events" in side.lacks:
            yield f"{side.name} was saved without --steps: it has no events"
        if "processes" in side.lacks and max(len(diff.from_.processes), len(diff.to.processes)) > 1:
            yield f"{side.name} is of one process: only main is compared"
        if "flags" in side.lacks:
            yield f"{side.name} has no VmFlags: of flags only the permissions are compared"
    if diff.with_ksm is not None and (diff.equal or diff.with_ksm.differs):
        yield f"KSM by default was never on{_what_ksm_does(diff.with_ksm)}"
    if diff.moved:
        yield "only addresses differ: each VMA is where the kernel placed it this time"
    elif diff.changed:
        yield (
            "the trace has other calls now than when the result was saved: events are not compared"
        )


def _what_ksm_does(with_ksm: WithKsm) -> str:
    if with_ksm.from_ is None or with_ksm.to is None:
        return " (--ksm turns it on)"
    if not with_ksm.differs:
        return "; with --ksm the two need as many VMAs, too"
    pairs = zip(with_ksm.from_.items(), with_ksm.to.items(), strict=True)
    changes = [
        f"{COUNTS[name]} {a} → {b} ({change(a, b)})"
        for (name, a), (_, b) in pairs
        if name in ("vmas", "peak_vmas", "mergeable") and a != b
    ]
    return f"; with --ksm: {', '.join(changes)}"


def layout_changes(diff: Diff, most: int = 10) -> Iterator[str]:
    """The VMAs that only one side has at the end, as lines of maps: - of the first, + of the other.

    No more than *most*; then how many more.
    """
    lines = [line for process in diff.processes for line in _changes_of(process)]
    yield from lines[:most]
    if len(lines) > most:
        yield f"and {len(lines) - most} more"


def _changes_of(process: ProcessDiff) -> Iterator[str]:
    of = "" if process.pid == "main" else f"{visible(process.pid)}: "
    for side, there in ((process.to, "second"), (process.from_, "first")):
        if side is None:
            yield f"process {visible(process.pid)} is not on the {there} side"
            return
    for block in process.blocks:
        if not block.equal:
            for sign, mappings in (("-", block.left), ("+", block.right)):
                for mapping in mappings:
                    codes = " ".join(mapping.codes)
                    yield f"{of}{sign} {' '.join(maps_line(mapping).split())} ({codes})"


def reasons(diff: Diff) -> Iterator[str]:
    """Why two real kernels differ, or a real kernel and a model, as far as the models tell."""
    if diff.causes is None:
        return
    names = " and ".join(sorted({str(side.kernel) for side in (diff.from_, diff.to)}))
    if not diff.causes:
        yield f"No feature of the models explains it (the nearest: {names})."
    for cause in diff.causes:
        feature = cause.feature
        where = "" if cause.added else " (no longer there)"
        text = f"Feature {feature.name}{where}: {feature.summary.rstrip('.')}."
        if feature.commit:
            release = f", in {feature.release}" if feature.release else ""
            text += f" Commit {feature.commit} ({feature.subject}){release}."
        yield text
