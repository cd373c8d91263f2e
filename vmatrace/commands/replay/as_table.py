"""A replay as text: the totals, with --steps what every call did, then the layouts."""

from __future__ import annotations

from typing import Final, TextIO

from vmatrace.commands.form import Form, Pages
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
    result = replayed.result
    summary.write_head(paper, result)
    if replayed.again is not None:
        paper.line("")
        steps.write(paper, replayed.again())
    if replayed.layouts:
        summary.write_layouts(paper, result, replayed.why)
    else:
        summary.write_processes(paper, result)
    summary.write_faults(paper, result)
