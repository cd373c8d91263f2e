"""What is not as it should be, at a line of a file: what reports to CI servers are made of.

Knows no report; render.github, render.gitlab and render.sarif write them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from vmatrace.diagnostic import TraceError
from vmatrace.event import Event

ERROR: Final = "error"
WARNING: Final = "warning"
NOTE: Final = "note"


class Problem(NamedTuple):
    """One problem. ``rule`` is one of RULES; ``line`` and ``column`` count from 1, 0: not known.

    ``identity`` tells it from the others of its rule in the file, and holds no line, so that it
    outlives edits. ``since`` is the event that it comes from. ``title``: in place of the rule.
    """

    rule: str
    level: str
    path: str
    line: int
    column: int
    message: str
    identity: str
    since: Event | None = None
    title: str = ""


#: Every kind of problem, and what it means.
RULES: Final = {
    "not a valid trace": "A file cannot be read as a trace.",
    "expectation failed": "What a trace expects of a kernel model does not hold under it.",
    "nothing checked": "An expectation is about no kernel model that there is.",
    "nothing to check": "A trace expects nothing of a kernel model that it was checked under.",
    "missing": "A trace or an expectation is on one side of a comparison only.",
    "models differ": "A trace does not lead to the same under two kernel models.",
}


def of_error(error: TraceError) -> Iterator[Problem]:
    """What is wrong with a trace that cannot be read."""
    for wrong in error.diagnostics:
        rule = getattr(error, "rule", "not a valid trace")
        yield Problem(
            rule, ERROR, wrong.path, wrong.line, wrong.column, wrong.message, wrong.message
        )


def identifier(rule: str) -> str:
    """A rule as other programs name it: ``expectation-failed``."""
    return rule.replace(" ", "-")


def place(path: str) -> str:
    """*path* from the working directory, where it is below that, else as it is."""
    here = os.path.relpath(path) if os.path.isabs(path) else os.path.normpath(path)
    return path if here.startswith("..") else here


def with_fingerprints(problems: Iterable[Problem]) -> Iterator[tuple[Problem, str]]:
    """Each problem with a number in hex that stays the same from run to run, and no other has."""
    taken: set[str] = set()
    for problem in problems:
        basis = f"{problem.rule}\0{place(problem.path)}\0{problem.identity}"
        number = 1
        while (found := _digest(f"{basis}\0{number}")) in taken:
            number += 1
        taken.add(found)
        yield problem, found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:32]
