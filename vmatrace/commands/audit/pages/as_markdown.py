"""The estimate as a comment or a note: what each process would save and cost, the table folded."""

from __future__ import annotations

import io
from typing import Final, TextIO

from vmatrace.commands.audit.pages import as_table
from vmatrace.commands.audit.pages.question import Estimate
from vmatrace.commands.form import Each, Form
from vmatrace.render import words
from vmatrace.render.markdown import block, cell, comment, details, table
from vmatrace.render.paper import Paper

SUFFIXES: Final = (".md", ".markdown")
_WIDTH: Final = 100


def form(out: TextIO, count: int) -> Form[Estimate]:
    """One comment about all processes."""
    return Each(out, write)


def write(out: TextIO, found: Estimate) -> None:
    """What is saved together, a row for each process, the text of the table below."""
    names = [row.kernel for row in found.added]
    heads = ["process", "pages", "saved", "VMAs", *(f"more under {name}" for name in names)]
    rows = [
        [cell(as_table.who(process)), f"{process.pages:,}", f"{process.sharing.saved:,}",
         f"{process.vmas:,}",
         *(as_table.range_of(row.likely, row.most) for row in process.added)]
        for process in found.processes
    ]  # fmt: skip
    text = io.StringIO()
    as_table.write(Paper(text, _WIDTH), found)
    folded = details("all numbers", block(text.getvalue()))
    saved = words.size(found.sharing.saved * found.page_size)
    error = f" ± {words.size(2 * found.sharing.error * found.page_size)}"
    about = error if found.sharing.error else ""
    total = (
        f"KSM by default would save {saved}{about} of {words.size(found.pages * found.page_size)} "
        f"in {words.plural(len(found.processes), 'process', 'processes')}, less "
        f"{words.size(found.records)} for ksmd's records"
    )
    out.write(comment("vmatrace audit --pages", table(heads, rows), [folded], total))
