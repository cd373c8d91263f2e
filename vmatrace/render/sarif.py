"""Problems as SARIF 2.1.0, which code scanning of GitHub and Azure, and editors, read.

Source: OASIS, Static Analysis Results Interchange Format Version 2.1.0. In a message brackets make
a link and braces a placeholder (3.11.5, 3.11.6), so those of a trace are escaped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any, Final, TextIO
from urllib.parse import quote

from vmatrace._version import __version__
from vmatrace.escape import visible
from vmatrace.render.problems import (
    RULES,
    Problem,
    identifier,
    place,
    with_fingerprints,
)

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"


def write(out: TextIO, problems: Iterable[Problem]) -> None:
    """The whole log, of one run."""
    results = [_result(problem, found) for problem, found in with_fingerprints(problems)]
    driver = {
        "name": "vmatrace",
        "version": __version__,
        "rules": [
            {"id": identifier(rule), "shortDescription": {"text": what}}
            for rule, what in RULES.items()
        ],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    json.dump({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, out, ensure_ascii=False,
              indent=1)  # fmt: skip
    out.write("\n")


def _result(problem: Problem, fingerprint: str) -> dict[str, Any]:
    lines = [visible(line) for line in (problem.title, *problem.message.splitlines()) if line]
    result: dict[str, Any] = {
        "ruleId": identifier(problem.rule),
        "ruleIndex": list(RULES).index(problem.rule),
        "level": problem.level,
        "message": {"text": text("\n".join(lines))},
        "locations": [_location(problem.path, problem.line, problem.column)],
        "partialFingerprints": {"vmatrace/v1": fingerprint},
    }
    if problem.since is not None:
        event = problem.since
        related = _location(problem.path, event.line, event.column)
        related["message"] = {"text": text(visible(event.text))}
        result["relatedLocations"] = [related]
    return result


def text(message: str) -> str:
    """*message* as plain text in which nothing is a link or a placeholder."""
    if "](" in message:
        message = re.sub(r"([\\\[\]])", r"\\\1", message)
    if re.search(r"\{\d+\}", message):
        message = message.replace("{", "{{").replace("}", "}}")
    return message


def _location(path: str, line: int, column: int) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(path)}}
    if line > 0:
        physical["region"] = {"startLine": line, **({"startColumn": column} if column else {})}
    return {"physicalLocation": physical}


def _uri(path: str) -> str:
    """A relative reference, or of an absolute path a file: URI."""
    here = place(path)
    quoted = quote(here.encode("utf-8", "surrogateescape"))
    return f"file://{quoted}" if PurePath(here).is_absolute() else quoted
