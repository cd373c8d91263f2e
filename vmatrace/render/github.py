"""Annotations of GitHub Actions: one line of output that GitHub shows at a line of a file.

Knows the form of a workflow command and its escapes; nothing of what is annotated.
Source: actions/toolkit, packages/core/src/command.ts (escapeData, escapeProperty).
"""

from __future__ import annotations

from typing import Final

from vmatrace.render.problems import NOTE, Problem

#: What an annotation can be.
LEVELS: Final = ("notice", "warning", "error")


def annotation(level: str, path: str, line: int, title: str, message: str) -> str:
    """``::warning file=...,line=...,title=...::message``, one line without its end.

    *level* is one of LEVELS. *path* and *line* (from 1) say where; an empty path or a line of 0 is
    left out, as is an empty title. *message* may have several lines.
    """
    where = {"file": path, "line": str(line) if path and line > 0 else "", "title": title}
    properties = ",".join(f"{key}={escape_property(text)}" for key, text in where.items() if text)
    return f"::{level}{' ' + properties if properties else ''}::{escape(message)}"


def problem_annotation(problem: Problem) -> str:
    """The annotation at a problem; GitHub calls a note a notice."""
    level = "notice" if problem.level == NOTE else problem.level
    title = problem.title or problem.rule
    return annotation(level, problem.path, problem.line, title, problem.message)


def escape(text: str) -> str:
    """*text* as the message of a command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """*text* as the value of a property."""
    return escape(text).replace(":", "%3A").replace(",", "%2C")
