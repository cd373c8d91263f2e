"""Diffs as a comment for a pull request: a table of all traces, folded details for each."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final, TextIO

from vmatrace.commands.diff import as_table
from vmatrace.commands.diff.answer import Diff
from vmatrace.commands.diff.words import COUNTS, change, limits
from vmatrace.commands.form import Form
from vmatrace.render import words
from vmatrace.render.markdown import block, cell, code, comment, details, html_code, table
from vmatrace.render.paper import Paper

SUFFIXES: Final = (".md", ".markdown")
#: The counts in the table, by name.
_SHOWN: Final = ("vmas", "peak_vmas", "merges", "blocked_only_by_mergeable")
_WIDTH: Final = 100


def form(out: TextIO, count: int) -> Form[Diff]:
    """One comment about all."""
    return _Comment(out, count)


class _Comment(Form[Diff]):
    def __init__(self, out: TextIO, count: int) -> None:
        super().__init__(out, count)
        self._kept: list[tuple[Diff, str]] = []

    def write(self, answer: Diff) -> None:
        self._kept.append((answer, "" if answer.equal else folded(answer)))

    def finish(self) -> None:
        self.out.write(write(self._kept, self.count - len(self._kept)))


def folded(diff: Diff) -> str:
    """Everything about one trace that differs, folded."""
    out = io.StringIO()
    as_table.write(Paper(out, _WIDTH), diff)
    text = out.getvalue().split("\n", 1)[1]
    first = f"first in line {diff.first.line} of " if diff.first is not None else ""
    summary = f"{html_code(diff.trace)}: {first}{html_code(diff.path)}"
    return details(summary, block(text))


def row(diff: Diff) -> list[str]:
    """The row of one trace."""
    totals = {name: (a, b) for name, a, b in diff.totals}
    line = str(diff.first.line) if diff.first is not None else ""
    return [cell(diff.trace), line, *(_pair(*totals[name]) for name in _SHOWN)]


def write(found: Sequence[tuple[Diff, str]], errors: int) -> str:
    """The comment about all traces: each diff with its folded text ("" for an equal one)."""
    differing = [(diff, text) for diff, text in found if not diff.equal]
    equal = len(found) - len(differing)
    title = "vmatrace diff"
    if found:
        first = found[0][0]
        title += f": {code(first.from_.name)} → {code(first.to.name)}"
    total = (
        f"{words.plural(len(found) + errors, 'trace')}: {equal} equal, "
        f"**{len(differing)} different**"
    )
    total += f", **{errors} in error**" if errors else ""
    notes = dict.fromkeys(note for diff, _ in found for note in limits(diff))
    total += "".join(f"\n\n> {code(note)}" for note in notes)
    rows = []
    if differing:
        heads = ["trace", "line", *(COUNTS[name] for name in _SHOWN)]
        rows = table(heads, (row(diff) for diff, _ in differing))
    return comment(title, rows, [text for _, text in differing], total)


def _pair(a: int | None, b: int | None) -> str:
    if a == b:
        return "?" if a is None else str(a)
    by = change(a, b)
    left, right = ("?" if count is None else str(count) for count in (a, b))
    return f"{left} → {right}" + (f" ({by})" if by != "?" else "")
