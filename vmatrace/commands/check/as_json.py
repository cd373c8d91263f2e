"""Checks as JSON, format vmatrace-check/1: one object for each trace that could be read."""

from __future__ import annotations

from typing import Final, TextIO

from vmatrace.commands.check.question import Checked
from vmatrace.commands.form import Each, Form
from vmatrace.render import jsonform

FORMAT: Final = "vmatrace-check/1"
SUFFIXES: Final = (".json", ".jsonl")


def form(out: TextIO, count: int) -> Form[Checked]:
    """One line for each trace that could be read."""
    return Each(out, write)


def write(out: TextIO, checked: Checked) -> None:
    """The object of one trace."""
    if checked.error is not None:
        return
    models = [
        {
            "kernel": model.kernel,
            "passed": model.held,
            "failed": model.failed,
            "expectations": [
                {
                    "line": check.line,
                    "column": check.column,
                    "name": check.name,
                    "passed": not check.failures,
                    "failures": list(map(jsonform.failure_json, check.failures)),
                }
                for check in model.checks
            ],
        }
        for model in checked.models
    ]
    summed = {
        "passed": checked.held,
        "failed": checked.failed,
        "nothing_expected": checked.empty,
        "missing": checked.idle + checked.unchecked,
    }
    document = {
        "format": FORMAT,
        "trace": checked.trace,
        "path": checked.path,
        "models": models,
        "uncovered": [
            {"line": lost.line, "name": lost.name, "on": lost.on} for lost in checked.uncovered
        ],
        "summary": summed,
    }
    out.write(jsonform.encode(document) + "\n")
