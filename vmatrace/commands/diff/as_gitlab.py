"""Diffs as a code quality report of GitLab."""

from __future__ import annotations

from typing import Final, TextIO

from vmatrace.commands.diff.answer import Diff
from vmatrace.commands.diff.problems import problems
from vmatrace.commands.form import Form, Reports
from vmatrace.render import gitlab

SUFFIXES: Final = (".json",)


def form(out: TextIO, count: int) -> Form[Diff]:
    """One list of all that differs."""
    return Reports(out, problems, gitlab.write)
