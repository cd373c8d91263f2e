"""Problems as a code quality report of GitLab: a list of issues in JSON.

Source: GitLab's documentation, Code Quality, "Code Quality report format". A path is relative to
the root of the repository and does not start with ./.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final, TextIO

from vmatrace.escape import visible
from vmatrace.render.problems import (
    ERROR,
    NOTE,
    WARNING,
    Problem,
    identifier,
    place,
    with_fingerprints,
)

_SEVERITIES: Final = {ERROR: "major", WARNING: "minor", NOTE: "info"}


def write(out: TextIO, problems: Iterable[Problem]) -> None:
    """The whole report."""
    issues = [_issue(problem, found) for problem, found in with_fingerprints(problems)]
    json.dump(issues, out, ensure_ascii=False, indent=1)
    out.write("\n")


def _issue(problem: Problem, fingerprint: str) -> dict[str, Any]:
    lines = [visible(line) for line in (problem.title, *problem.message.splitlines()) if line]
    return {
        "description": "\n".join(lines),
        "check_name": identifier(problem.rule),
        "fingerprint": fingerprint,
        "severity": _SEVERITIES[problem.level],
        "location": {"path": place(problem.path), "lines": {"begin": max(problem.line, 1)}},
    }
