"""What became of a trace that was reduced, for people."""

from __future__ import annotations

from typing import Final, TextIO

from vmatrace.commands.form import Form, Pages
from vmatrace.commands.shrink.question import Shrunk
from vmatrace.render.paper import Paper

SUFFIXES: Final = (".txt",)
FOR_PEOPLE: Final = True


def form(out: TextIO, count: int) -> Form[Shrunk]:
    """A paragraph."""
    return Pages(out, write)


def write(paper: Paper, found: Shrunk) -> None:
    """From how many calls to how many, and whether that is the least."""
    calls = "1 call" if found.after == 1 else f"{found.after:,} calls"
    paper.line((f"{found.trace}: {found.before:,} events, {calls} left", "title"))
    before, after = found.processes
    if before > 1:
        paper.line(f"processes  {before} before, {after} left")
    paper.line(f"keeps      {found.keep}")
    paper.line(f"under      {', then '.join(found.models)}")
    if found.minimal:
        paper.line("1-minimal: no call of it can go; checked by a fresh replay")
    else:
        paper.line("not proven minimal: the time was over; checked by a fresh replay")
    if found.path is not None:
        paper.line(f"written to {found.path}")
