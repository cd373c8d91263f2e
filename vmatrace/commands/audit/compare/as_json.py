"""A comparison as JSON, format vmatrace-compare/1: one object on one line. Integers are bytes."""

from __future__ import annotations

from typing import Any, Final, TextIO

from vmatrace.commands.audit.compare.question import MapChange, MapComparison
from vmatrace.commands.audit.question import Audit
from vmatrace.commands.form import Each, Form
from vmatrace.render.jsonform import encode, layout_json

FORMAT: Final = "vmatrace-compare/1"
SUFFIXES: Final = (".json", ".jsonl")


def form(out: TextIO, count: int) -> Form[MapComparison]:
    """One line each."""
    return Each(out, write)


def write(out: TextIO, found: MapComparison) -> None:
    """One comparison with every change."""
    document = {
        "format": FORMAT,
        "before": _side(found.before),
        "after": _side(found.after),
        "equal": not found.changes,
        "kinds": {kind: {"times": n, "vmas": more} for kind, (n, more) in found.kinds.items()},
        "patterns": [
            {"pattern": name, "before": was, "after": now} for name, was, now in found.patterns
        ],
        "changes": [_change(change) for change in found.changes],
    }
    out.write(encode(document) + "\n")


def _side(audit: Audit) -> dict[str, Any]:
    return {
        "source": audit.snapshot.source,
        "vmas": audit.vmas,
        "max_map_count": audit.max_map_count,
        "headroom": audit.headroom,
    }


def _change(change: MapChange) -> dict[str, Any]:
    return {
        "kind": change.kind,
        "start": change.start,
        "end": change.end,
        "pattern": change.pattern,
        "before": layout_json(change.before),
        "after": layout_json(change.after),
    }
