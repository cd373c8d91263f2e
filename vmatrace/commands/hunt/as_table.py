"""What a hunt found, for people: each kind with its cause and its program."""

from __future__ import annotations

from typing import Final, TextIO

from vmatrace.commands.form import Form, Pages
from vmatrace.commands.hunt.question import Hunted
from vmatrace.kernels import FEATURES
from vmatrace.render.paper import Paper
from vmatrace.search.finds import Find

SUFFIXES: Final = (".txt",)
FOR_PEOPLE: Final = True


def form(out: TextIO, count: int) -> Form[Hunted]:
    """The finds, then how many there are."""
    return Pages(out, write)


def write(paper: Paper, found: Hunted) -> None:
    """The finds, then how many there are."""
    for number, find in enumerate(found.finds, 1):
        _write_find(paper, number, find, (found.from_, found.to))
        paper.line("")
    how = "interrupted after " if found.interrupted else ""
    kinds = "1 kind" if len(found.finds) == 1 else f"{len(found.finds)} kinds"
    what = f"{kinds} of difference" if found.finds else "no difference"
    if found.worse:
        what += f" by which {found.to} is worse"
    paper.paragraph(
        f"{found.from_} and {found.to}: {what} in {how}{found.programs:,} programs, seed "
        f"{found.seed}"
    )
    if found.died:
        times = "once" if found.died == 1 else f"{found.died} times"
        paper.paragraph(f"the kernel died {times} and was booted anew", "warning")
    if found.ended:
        paper.paragraph(f"ended early: {found.ended}", "warning")
    if found.skipped:
        count = len(found.skipped)
        what = "1 trace" if count == 1 else f"{count} traces"
        paper.paragraph(f"{what} of the corpus not started from, such as {found.skipped[0]}")
    for path in found.paths:
        paper.line(f"written to {path}")


def _write_find(paper: Paper, number: int, find: Find, sides: tuple[str, str]) -> None:
    cause = ", ".join(find.causes) if find.causes else "cause unknown"
    if find.together and len(find.causes) > 1:
        cause = "together: " + cause
    paper.line((f"{number}. {find.call}: {find.what}", "title"))
    paper.paragraph(cause, "key" if find.causes else "warning", "   ", "   ")
    for name in find.causes:
        feature = FEATURES[name]
        if feature.commit:
            paper.paragraph(f'{feature.commit} ("{feature.subject}")', "quiet", "   ", "   ")
    if find.outcomes[0] != find.outcomes[1]:
        for side, outcome in zip(sides, find.outcomes, strict=True):
            paper.paragraph(f"{side}: {outcome}", "", "   ", "     ")
    for line in find.lines:
        paper.paragraph(line, "", "     ", "         ")
