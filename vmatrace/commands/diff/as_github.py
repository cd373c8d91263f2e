"""Diffs as annotations of GitHub Actions: at the first event that differs, or at each."""

from __future__ import annotations

from typing import TextIO

from vmatrace.commands.diff.answer import Diff
from vmatrace.commands.diff.problems import problems
from vmatrace.commands.form import Form
from vmatrace.diagnostic import TraceError
from vmatrace.render.github import problem_annotation
from vmatrace.render.problems import of_error


def form(out: TextIO, count: int) -> Form[Diff]:
    """Those of each trace that is not equal, or cannot be read."""
    return _Annotations(out, count)


class _Annotations(Form[Diff]):
    def write(self, answer: Diff) -> None:
        for problem in problems(answer):
            self.out.write(problem_annotation(problem) + "\n")

    def refuse(self, error: TraceError) -> None:
        for problem in of_error(error):
            self.out.write(problem_annotation(problem) + "\n")
