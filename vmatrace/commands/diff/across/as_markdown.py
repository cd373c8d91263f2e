"""Traces under several models as a comment for a pull request."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final, TextIO

from vmatrace.commands.diff.across import as_table
from vmatrace.commands.diff.across.question import Across
from vmatrace.commands.form import Form
from vmatrace.render import markdown, words
from vmatrace.render.paper import Paper

SUFFIXES: Final = (".md", ".markdown")
_WIDTH: Final = 100


def form(out: TextIO, count: int) -> Form[Across]:
    """One comment about all."""
    return _Comment(out, count)


class _Comment(Form[Across]):
    def __init__(self, out: TextIO, count: int) -> None:
        super().__init__(out, count)
        self._kept: list[Across] = []

    def write(self, answer: Across) -> None:
        self._kept.append(answer)

    def finish(self) -> None:
        self.out.write(comment(self._kept, self.count - len(self._kept)))


def folded(found: Across) -> str:
    """One trace, folded."""
    out = io.StringIO()
    as_table.write(Paper(out, _WIDTH), found)
    summary = f"{markdown.html_code(found.trace)}: {markdown.html_code(found.path)}"
    return markdown.details(summary, markdown.block(out.getvalue().split("\n", 1)[1]))


def comment(found: Sequence[Across], errors: int) -> str:
    """All traces: a table of those that differ, and details."""
    differing = [one for one in found if not one.equal]
    total = (
        f"{words.plural(len(found) + errors, 'trace')}: {len(found) - len(differing)} equal, "
        f"**{len(differing)} different**"
    ) + (f", **{errors} in error**" if errors else "")
    rows = []
    if differing:
        heads = ["trace", "models", "VMAs", "mergeable", "peak", "line", "because of"]
        rows = markdown.table(heads, [cells for one in differing for cells in _cells(one)])
    title = "vmatrace diff across models"
    if found:
        title = f"vmatrace diff across {', '.join(map(markdown.code, found[0].models))}"
    return markdown.comment(title, rows, [folded(one) for one in differing], total)


def _cells(found: Across) -> list[list[str]]:
    return [
        [
            markdown.cell(found.trace) if i == 0 else "",
            as_table.names(row),
            str(row.vmas),
            str(row.mergeable),
            str(row.peak_vmas),
            str(row.first.event.line) if row.first else "",
            ", ".join(markdown.cell(cause.feature.name) for cause in row.causes),
        ]
        for i, row in enumerate(found.rows)
    ]
