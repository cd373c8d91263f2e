"""Checks as annotations of GitHub Actions."""

from __future__ import annotations

from typing import TextIO

from vmatrace.commands.check.problems import problems
from vmatrace.commands.check.question import Checked
from vmatrace.commands.check.words import columns, totals
from vmatrace.commands.form import Form
from vmatrace.escape import inert
from vmatrace.render.github import problem_annotation


def form(out: TextIO, count: int) -> Form[Checked]:
    """One for everything that is not as it should be, then the totals."""
    return _Annotations(out, count)


class _Annotations(Form[Checked]):
    def __init__(self, out: TextIO, count: int) -> None:
        super().__init__(out, count)
        self._all: list[Checked] = []

    def write(self, answer: Checked) -> None:
        self._all.append(answer)
        for problem in problems(answer):
            self.out.write(problem_annotation(problem) + "\n")

    def finish(self) -> None:
        # GitHub shows the totals in the log.
        for text, _ in totals(self._all, len(columns(self._all))):
            self.out.write(inert(text) + "\n")
