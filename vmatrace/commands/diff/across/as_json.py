"""A trace under several models as JSON, format vmatrace-across/1: one object on one line."""

from __future__ import annotations

from typing import Any, Final, TextIO

from vmatrace.commands.diff.across.question import Across, Row
from vmatrace.commands.form import Each, Form
from vmatrace.render.jsonform import encode, errno_name
from vmatrace.replayer.attribution import DiffCause, Parting

FORMAT: Final = "vmatrace-across/1"
SUFFIXES: Final = (".json", ".jsonl")


def form(out: TextIO, count: int) -> Form[Across]:
    """One line each."""
    return Each(out, write)


def write(out: TextIO, found: Across) -> None:
    """One trace as one object on one line."""
    document = {
        "format": FORMAT,
        "trace": found.trace,
        "path": found.path,
        "equal": found.equal,
        "rows": [_row(row) for row in found.rows],
    }
    out.write(encode(document) + "\n")


def _row(row: Row) -> dict[str, Any]:
    """``first`` and ``causes`` are about the difference from the row before."""
    return {
        "models": row.models,
        "vmas": row.vmas,
        "mergeable": row.mergeable,
        "peak_vmas": row.peak_vmas,
        "first": None if row.first is None else _first(row.first),
        "causes": [_cause(cause) for cause in row.causes],
    }


def _first(first: Parting) -> dict[str, Any]:
    event = first.event
    return {
        "index": first.index,
        "line": event.line,
        "pid": event.pid,
        "call": event.text,
        "results": [{"result": r, "errno": errno_name(r)} for r in first.results],
    }


def _cause(cause: DiffCause) -> dict[str, Any]:
    feature = cause.feature
    return {
        "feature": feature.name,
        "added": cause.added,
        "alone": cause.alone,
        "line": None if cause.first is None else cause.first.event.line,
        "index": None if cause.first is None else cause.first.index,
        "summary": feature.summary,
        "commit": feature.commit,
        "subject": feature.subject,
        "release": feature.release,
        "where": feature.where,
        "note": feature.note,
    }
