"""What could be changed, as a table for people."""

from __future__ import annotations

from typing import Final, TextIO

from vmatrace.commands.form import Form, Pages
from vmatrace.commands.whatif.question import Cost, WhatIf
from vmatrace.render.paper import Paper

SUFFIXES: Final = (".txt",)
FOR_PEOPLE: Final = True


def form(out: TextIO, count: int) -> Form[WhatIf]:
    """A table, and the rules."""
    return Pages(out, write)


def write(paper: Paper, found: WhatIf) -> None:
    """Now, each change alone, and those together that save something."""
    paper.line((f"{found.trace} under {found.kernel}", "title"))
    if not found.changes:
        paper.line("nothing to change: no rewriting applies")
        return
    paper.line(f"{'':<12}{'calls':>9}{'VMAs':>9}{'peak':>9}{'headroom':>10}")
    _row(paper, "now", None, found.now)
    for change in found.changes:
        _row(paper, change.name, change.calls, change.cost)
    if len(found.combined) > 1 and found.together is not None:
        _row(paper, "together", found.calls, found.together)
        paper.paragraph(f"together: {', then '.join(found.combined)}")
    elif len(found.changes) > 1 and found.combined:
        paper.paragraph(f"{found.combined[0]} alone saves most: no other saves more beside it")
    elif not found.combined:
        paper.paragraph("none of these saves a VMA")
    for change in found.changes:
        paper.line("")
        paper.line((change.name, "title"))
        paper.paragraph(change.rule, first="  ", rest="  ")
        paper.paragraph(f"What changes: {change.meaning}", first="  ", rest="  ")


def _row(paper: Paper, name: str, calls: int | None, cost: Cost) -> None:
    shown = "" if calls is None else f"{calls:,}"
    paper.line(f"{name:<12}{shown:>9}{cost.vmas:>9,}{cost.peak:>9,}{cost.headroom:>10,}")
