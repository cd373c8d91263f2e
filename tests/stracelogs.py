"""The recorded logs that the tests of the importer share, and what holds for each reading."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from vmatrace.notes import Notes
from vmatrace.replayer.result import Result

FOLDER: Final = Path(__file__).parent / "importers" / "strace"
#: One for each form that strace has: files, and the sets of -ff by the name that was given.
SETS: Final = [FOLDER / "ff.log", FOLDER / "ff-ttt.log"]
LOGS: Final = [*sorted(FOLDER.glob("*.log")), *SETS]


def check_counts(notes: Notes) -> None:
    """Every line of a log is counted exactly once."""
    passed = sum(notes.passed.values())
    assert notes.lines == notes.events + passed + notes.joined + notes.misread_count
    assert min(notes.events, notes.joined, notes.supplied, notes.misread_count) >= 0


def outcome(result: Result) -> object:
    """All of a replay's result that does not depend on where its events were read."""
    tally = result.tally
    return (
        (result.events, result.errors, result.splits, result.vmas, result.peak_vmas),
        (result.assumed, result.cleared, result.diverged, result.mergeable),
        (tally.merges, tally.blocked, tally.blocked_sides, tally.only_mergeable),
        [(p.pid, p.exited, p.peak_vmas, p.layout) for p in result.processes],
    )
