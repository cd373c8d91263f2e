"""Audits as a comment or a note: a table of all snapshots, folded details for each."""

from __future__ import annotations

import io
from typing import Final, TextIO

from vmatrace.commands.audit import as_table, filltable
from vmatrace.commands.audit.patternwords import PATTERNS
from vmatrace.commands.audit.question import Audit
from vmatrace.commands.form import Form
from vmatrace.render import words
from vmatrace.render.markdown import block, cell, comment, details, html_code, table
from vmatrace.render.paper import Paper

SUFFIXES: Final = (".md", ".markdown")
_WIDTH: Final = 100
_HEADS: Final = ("process", "VMAs", "of limit", "headroom", "most of it", "could be saved")


def form(out: TextIO, count: int) -> Form[Audit]:
    """One comment about all, the nearest to its limit first."""
    return _Comment(out, count)


class _Comment(Form[Audit]):
    def __init__(self, out: TextIO, count: int) -> None:
        super().__init__(out, count)
        self._rows: list[tuple[float, list[str], str]] = []

    def write(self, answer: Audit) -> None:
        self._rows.append((answer.share(answer.vmas), _row(answer), _folded(answer)))

    def finish(self) -> None:
        if not self._rows:
            return
        self._rows.sort(key=lambda row: -row[0])
        lines = table(_HEADS, [row for _, row, _ in self._rows])
        total = f"{words.plural(len(self._rows), 'process', 'processes')} audited"
        self.out.write(comment("vmatrace audit", lines, [text for _, _, text in self._rows], total))


def _row(audit: Audit) -> list[str]:
    most = audit.patterns[0]
    return [
        cell(audit.title),
        str(audit.vmas),
        filltable.percent(audit.share(audit.vmas)),
        str(audit.headroom),
        f"{PATTERNS[most.name].title} ({most.vmas})",
        str(audit.savable),
    ]


def _folded(audit: Audit) -> str:
    """The table, folded."""
    out = io.StringIO()
    as_table.write(Paper(out, _WIDTH), audit)
    return details(html_code(audit.title), block(out.getvalue().split("\n", 1)[1]))
