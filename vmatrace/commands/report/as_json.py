"""A report as JSON, format vmatrace-report/1: one object on one line."""

from __future__ import annotations

from typing import Any, Final, TextIO

from vmatrace.calls import CALLS
from vmatrace.commands.form import Each, Form
from vmatrace.commands.report.patterns import Pattern
from vmatrace.commands.report.question import Count, Landmark, ProcessReport, Report
from vmatrace.commands.report.words import names, remarks
from vmatrace.event import format_flags
from vmatrace.render.jsonform import encode
from vmatrace.replayer.result import Result

FORMAT: Final = "vmatrace-report/1"
SUFFIXES: Final = (".json", ".jsonl")


def form(out: TextIO, count: int) -> Form[Report]:
    """One line each."""
    return Each(out, write)


def write(out: TextIO, found: Report) -> None:
    """The whole report as one object on one line."""
    out.write(encode(as_json(found)) + "\n")


def as_json(found: Report) -> dict[str, Any]:
    """The object of format vmatrace-report/1. Pairs by model are {"from": …, "to": …}."""
    before, after = names(found)
    others = found.others
    return {
        "format": FORMAT,
        "trace": found.trace.name,
        "path": found.trace.path,
        "from": before,
        "to": after,
        "ksm": {"in_force": found.ksm, "forced": found.forced},
        "max_map_count": found.max_map_count,
        "page_size": found.trace.page_size,
        "processes": [_process_json(found, process) for process in found.processes],
        "others": {
            "processes": others.processes,
            "events": others.events,
            **_pair(*({"peak_vmas": c.peak, **_decided(c)} for c in others.counts)),
        },
        "patterns": [_pattern_json(pattern) for pattern in found.patterns],
        "summary": {"events": found.events, **_pair(*(_sum(found, i) for i in (0, 1)))},
        "remarks": remarks(found),
    }


def _pair(before: Any, after: Any) -> dict[str, Any]:
    return {"from": before, "to": after}


def _process_json(found: Report, process: ProcessReport) -> dict[str, Any]:
    return {
        "pid": process.pid,
        "program": process.program,
        "exited": process.exited,
        "events": process.events,
        **_pair(*(_count_json(found, count) for count in process.counts)),
        "series": {
            "width": process.curve.width,
            "points": [[p.at, p.low[0], p.high[0], p.low[1], p.high[1]] for p in process.curve],
        },
    }


def _count_json(found: Report, count: Count) -> dict[str, Any]:
    return {
        "vmas": count.vmas,
        "peak_vmas": count.peak,
        "peak_at": _moment_json(count.peak_at),
        "headroom": max(found.max_map_count - count.peak, 0),
        "limit_at": None if count.limit_at is None else _moment_json(count.limit_at),
        **_decided(count),
    }


def _decided(count: Count) -> dict[str, Any]:
    return {
        "merges": count.merges,
        "blocked_sides": count.blocked,
        "blocked_only_by_mergeable": count.only,
    }


def _moment_json(moment: Landmark) -> dict[str, Any]:
    return {"event": moment.number, "line": moment.line, "call": moment.call}


def _pattern_json(pattern: Pattern) -> dict[str, Any]:
    params = CALLS[pattern.call].params
    return {
        "call": pattern.call,
        "size": {"min": pattern.smallest, "max": pattern.largest} if pattern.largest else None,
        **{params[i].name: format_flags(value, params[i].families) for i, value in pattern.flags},
        "backing": pattern.backing or None,
        "caller": pattern.caller,
        "calls": pattern.calls,
        "first_line": pattern.line,
        "cost": pattern.cost,
        "added": _pair(*pattern.added),
        "blocked_only_by_mergeable": _pair(*pattern.blocked),
    }


def _sum(found: Report, side: int) -> dict[str, Any]:
    result: Result = found.results[side]
    counts = list(found.counts(side))
    return {
        "errors": result.errors,
        "divergences": result.diverged,
        "assumed": result.assumed,
        "vmas": result.vmas,
        "peak_vmas": max(count.peak for count in counts),
        "merges": sum(count.merges for count in counts),
        "blocked_sides": sum(count.blocked for count in counts),
        "blocked_only_by_mergeable": sum(count.only for count in counts),
    }
