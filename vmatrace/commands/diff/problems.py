"""Where traces differ under two sides, for reports to CI servers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from vmatrace.commands.diff import as_table
from vmatrace.commands.diff.answer import Diff, EventDiff
from vmatrace.commands.diff.words import changed_totals, layout_changes, reasons
from vmatrace.escape import visible
from vmatrace.render.problems import WARNING, Problem


def problems(diff: Diff) -> Iterator[Problem]:
    """The first event of a trace that differs, or all of them; the start, where none does."""
    if diff.equal:
        return
    events = [diff.first] if diff.again is None or diff.first is None else diff.again()
    calls: Counter[str] = Counter()
    for event in events:
        call = "" if event is None else event.event.label or event.event.text
        calls[call] += 1
        yield _problem(diff, event, f"{call}\0{calls[call]}")


def _problem(diff: Diff, event: EventDiff | None, which: str) -> Problem:
    sides = f"{diff.from_.name} and {diff.to.name}"
    lines = [] if event is None else as_table.event_text(diff, event)
    if event is None or (diff.first is not None and event.index == diff.first.index):
        lines += [changed_totals(diff), *reasons(diff)]
    if event is None:
        lines += layout_changes(diff)
    line, column = (1, 1) if event is None else (event.line, event.event.column)
    message = "\n".join(filter(None, lines))
    return Problem(
        "models differ", WARNING, diff.path, line, column, message, f"{sides}\0{which}",
        title=f"{visible(diff.trace)}: {sides} differ",
    )  # fmt: skip
