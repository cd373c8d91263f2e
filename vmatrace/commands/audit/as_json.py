"""Audits as JSON, format vmatrace-audit/1: one object on one line. Integers are bytes."""

from __future__ import annotations

from typing import Any, Final, TextIO

from vmatrace.commands.audit.bill import Bill
from vmatrace.commands.audit.patterns import PatternUse
from vmatrace.commands.audit.patternwords import PATTERNS
from vmatrace.commands.audit.question import Audit, LookalikeRun
from vmatrace.commands.form import Each, Form
from vmatrace.groups import VmaGroup
from vmatrace.render.jsonform import encode, mapping_json

FORMAT: Final = "vmatrace-audit/1"
SUFFIXES: Final = (".json", ".jsonl")
#: So many runs of a pattern are told, the longest.
_LONGEST: Final = 5


def form(out: TextIO, count: int) -> Form[Audit]:
    """One line each."""
    return Each(out, write)


def write(out: TextIO, audit: Audit) -> None:
    """One snapshot with every run."""
    out.write(encode(document(audit)) + "\n")


def document(audit: Audit) -> dict[str, Any]:
    """One snapshot as an object."""
    snapshot = audit.snapshot
    return {
        "format": FORMAT,
        "source": audit.snapshot.source,
        "pid": snapshot.pid,
        "process": snapshot.process or None,
        "kernel": audit.kernel.name if audit.kernel is not None else None,
        "flags_known": snapshot.flags_known,
        "anonymous_known": snapshot.counted,
        "vmas": audit.vmas,
        "mergeable": audit.mergeable if snapshot.flags_known else None,
        "max_map_count": audit.max_map_count,
        "max_map_count_assumed": audit.assumed,
        "headroom": audit.headroom,
        "savable": audit.savable,
        "differ_by_mergeable": audit.by_ksm,
        "special": audit.special,
        "ksm": _ksm(audit.bill),
        "patterns": [_pattern(audit, use) for use in audit.patterns],
        "groups": [_group(audit, group) for group in audit.groups],
        "runs": [_run(run) for run in audit.runs],
    }


def share(audit: Audit, vmas: int) -> float:
    """The part of the limit that *vmas* are, to a millionth."""
    return round(audit.share(vmas), 6)


def _ksm(bill: Bill) -> dict[str, Any]:
    counters = bill.counters
    known = dict.fromkeys(("by_default", "merged", "zeros", "tracked", "records", "profit"))
    if counters is not None:
        known |= {name: getattr(counters, name) for name in known}
    return {"ksmd": bill.ksmd, "resident": bill.resident, "apart": bill.apart, **known}


def _pattern(audit: Audit, use: PatternUse) -> dict[str, Any]:
    said = PATTERNS[use.name]
    longest = [{"start": r.start, "end": r.end, "vmas": r.vmas} for r in use.runs[:_LONGEST]]
    return {
        "pattern": use.name,
        "title": said.title,
        "vmas": use.vmas,
        "bytes": use.bytes,
        "share": share(audit, use.vmas),
        "runs": len(use.runs),
        "longest": longest,
        "made_by": said.made_by,
        "remedy": said.remedy,
        "rewriting": said.rewriting or None,
    }


def _group(audit: Audit, group: VmaGroup) -> dict[str, Any]:
    key = group.key
    return {
        "perms": key.perms,
        "mergeable": key.mergeable if audit.snapshot.flags_known else None,
        "backing": key.backing,
        "name": key.name,
        "vmas": group.vmas,
        "bytes": group.bytes,
        "share": share(audit, group.vmas),
        "sizes": [{"size": size, "vmas": vmas} for size, vmas in group.sizes.items()],
    }


def _run(run: LookalikeRun) -> dict[str, Any]:
    return {
        "start": run.start,
        "end": run.end,
        "savable": run.savable,
        "causes": [{"cause": c.name, "confidence": c.confidence} for c in run.causes],
        "vmas": [{**mapping_json(m), "anonymous": m.faulted} for m in run.mappings],
    }
