"""Diffs as SARIF 2.1.0."""

from __future__ import annotations

from typing import Final, TextIO

from vmatrace.commands.diff.answer import Diff
from vmatrace.commands.diff.problems import problems
from vmatrace.commands.form import Form, Reports
from vmatrace.render import sarif

SUFFIXES: Final = (".sarif", ".sarif.json", ".json")


def form(out: TextIO, count: int) -> Form[Diff]:
    """One log of all that differs."""
    return Reports(out, problems, sarif.write)
