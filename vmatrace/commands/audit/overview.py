"""Several audits as one table: a row each, the nearest to its limit first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vmatrace.commands.audit.filltable import percent, style, write_columns
from vmatrace.commands.audit.question import Audit
from vmatrace.render import words
from vmatrace.render.paper import Paper


class AuditRow(NamedTuple):
    """What the table keeps of an audit. ``share`` is that of the limit; ``most``: a pattern."""

    share: float
    vmas: int
    headroom: int
    savable: int
    most: str
    title: str
    model: str
    live: bool


def row(audit: Audit) -> AuditRow:
    """The row of one."""
    kernel = audit.kernel.name if audit.kernel is not None else "not known"
    return AuditRow(
        audit.share(audit.vmas), audit.vmas, audit.headroom, audit.savable,
        audit.patterns[0].name, audit.title, kernel,
        audit.snapshot.live,
    )  # fmt: skip


_HEADS = ("VMAs", "of limit", "headroom", "savable", "most of it", "process")


def write(paper: Paper, rows: Sequence[AuditRow]) -> None:
    """All rows."""
    ordered = sorted(rows, key=lambda row: (-row.share, -row.vmas, row.title))
    models = words.models(sorted({row.model for row in ordered}))
    vmas = words.plural(sum(row.vmas for row in ordered), "VMA")
    paper.paragraph(f"{len(ordered)} address spaces, {vmas}; kernel {models}")
    paper.line("")
    cells = [
        [str(row.vmas), percent(row.share), str(row.headroom), str(row.savable), row.most,
         row.title]
        for row in ordered
    ]  # fmt: skip
    lefts = [row.headroom / max(row.headroom + row.vmas, 1) for row in ordered]
    write_columns(paper, _HEADS, cells, [style(left) if left < 0.25 else "" for left in lefts])
    if len(rows) == 2 and not any(row.live for row in rows):
        paper.line("")
        paper.paragraph(
            "Of one process, before and after? --compare says what became of it.", "quiet"
        )
    savable = sum(row.savable for row in ordered)
    if savable:
        paper.line("")
        saved = f"{savable} of {vmas} could be saved"
        paper.paragraph(f"{saved}; the audit of one process alone says by what", "failed")
