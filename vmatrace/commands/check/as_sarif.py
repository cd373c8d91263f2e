"""Checks as SARIF 2.1.0."""

from __future__ import annotations

from typing import Final, TextIO

from vmatrace.commands.check.problems import problems
from vmatrace.commands.check.question import Checked
from vmatrace.commands.form import Form, Reports
from vmatrace.render import sarif

SUFFIXES: Final = (".sarif", ".sarif.json", ".json")


def form(out: TextIO, count: int) -> Form[Checked]:
    """One log of all problems."""
    return Reports(out, problems, sarif.write)
