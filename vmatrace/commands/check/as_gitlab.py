"""Checks as a code quality report of GitLab."""

from __future__ import annotations

from typing import Final, TextIO

from vmatrace.commands.check.problems import problems
from vmatrace.commands.check.question import Checked
from vmatrace.commands.form import Form, Reports
from vmatrace.render import gitlab

SUFFIXES: Final = (".json",)


def form(out: TextIO, count: int) -> Form[Checked]:
    """One list of all problems."""
    return Reports(out, problems, gitlab.write)
