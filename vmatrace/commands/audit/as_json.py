"""Audits as JSON, format vmatrace-audit/1: one object on one line. Integers are bytes."""

from __future__ import annotations

from typing import Any, Final, TextIO

from vmatrace.commands.audit.question import Audit, LookalikeRun
from vmatrace.commands.forms import Each, Form
from vmatrace.render.jsonform import encode, mapping_json

FORMAT: Final = "vmatrace-audit/1"
SUFFIXES: Final = (".json", ".jsonl")


def form(out: TextIO, count: int) -> Form[Audit]:
    """One line each."""
    return Each(out, write)


def write(out: TextIO, audit: Audit) -> None:
    """One snapshot with every run."""
    snapshot = audit.snapshot
    document = {
        "format": FORMAT,
        "source": audit.snapshot.source,
        "kernel": audit.kernel.name if audit.kernel is not None else None,
        "flags_known": snapshot.flags_known,
        "anonymous_known": snapshot.counted,
        "vmas": audit.vmas,
        "mergeable": audit.mergeable if snapshot.flags_known else None,
        "max_map_count": audit.max_map_count,
        "max_map_count_assumed": audit.assumed,
        "headroom": max(audit.max_map_count - audit.vmas, 0),
        "savable": audit.savable,
        "differ_by_mergeable": audit.by_ksm,
        "special": audit.special,
        "runs": [_run(run) for run in audit.runs],
    }
    out.write(encode(document) + "\n")


def _run(run: LookalikeRun) -> dict[str, Any]:
    return {
        "start": run.start,
        "end": run.end,
        "savable": run.savable,
        "causes": [{"cause": c.name, "confidence": c.confidence} for c in run.causes],
        "vmas": [{**mapping_json(m), "anonymous": m.faulted} for m in run.mappings],
    }
