"""A replay as text: with --steps what every call did, then the layouts and the totals."""

from __future__ import annotations

from typing import Final, TextIO

from vmatrace.commands.forms import Form, Pages
from vmatrace.commands.replay.question import Replayed
from vmatrace.render import steps, summary
from vmatrace.render.paper import Paper

SUFFIXES: Final = (".txt",)
FOR_PEOPLE: Final = True


def form(out: TextIO, count: int) -> Form[Replayed]:
    """One after the other."""
    return Pages(out, write)


def write(paper: Paper, replayed: Replayed) -> None:
    """One trace."""
    summary.write_title(paper, replayed.result)
    if replayed.again is not None:
        paper.line("")
        steps.write(paper, replayed.again())
    summary.write(paper, replayed.result)
