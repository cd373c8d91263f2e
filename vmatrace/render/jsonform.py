"""Results as JSON, format vmatrace-replay/1: one object on one line.

Integers are bytes. The events come before what is only known at the end, so that they can be
written as they happen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final, Literal, TextIO

from vmatrace import abi
from vmatrace._version import __version__
from vmatrace.calls import CALLS
from vmatrace.engine import merge
from vmatrace.engine.merge import Border, MergeDecision, blockers
from vmatrace.event import Event, ExpectedMapping, format_result
from vmatrace.layout import Layout, Mapping
from vmatrace.notes import Notes
from vmatrace.render import lognotes
from vmatrace.replayer.result import Divergence, Failure, ProcessResult, Result, Step

FORMAT: Final = "vmatrace-replay/1"
encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def write(
    out: TextIO,
    result: Result,
    steps: Iterable[Step] | None = None,
    notes: Notes | None = None,
    keeping: bool | Literal["nothing"] | None = "nothing",
) -> None:
    """Write *result*; with *steps*, its events first.

    *notes* are those of a log; *keeping* makes it part of a baseline, with the KSM by default
    that was asked for.
    """
    kept = {} if keeping == "nothing" else {"version": __version__, "ksm": keeping}
    head = encode({"format": FORMAT, **kept, "trace": result.trace, "path": result.path,
                    "kernel": result.kernel, "page_size": result.page_size})  # fmt: skip
    out.write(head[:-1])
    if steps is not None:
        out.write(',"events":[')
        separator = ""
        for step in steps:
            out.write(separator + encode(_event(step)))
            separator = ","
        out.write("]")
    log = {} if notes is None else {"log": lognotes.as_json(notes)}
    out.write("," + encode(_end(result) | log)[1:] + "\n")


def _end(result: Result) -> dict[str, Any]:
    tally = result.tally
    return {
        "processes": [_process(process) for process in result.processes],
        "divergences": [_divergence(divergence) for divergence in result.divergences],
        "expectations": {
            "passed": result.passed,
            "failed": [failure_json(failure) for failure in result.failures],
        },
        "summary": {
            "events": result.events,
            "errors": result.errors,
            "divergences": result.diverged,
            "assumed": result.assumed,
            "cleared": result.cleared,
            "vmas": result.vmas,
            "peak_vmas": result.peak_vmas,
            "max_map_count": result.max_map_count,
            "mergeable": result.mergeable,
            "merges": tally.merges,
            "splits": result.splits,
            "blocked": tally.blocked,
            "blocked_sides": tally.blocked_sides,
            "blocked_only_by_mergeable": tally.only_mergeable,
            **_believed(result),
        },
    }


def _believed(result: Result) -> dict[str, Any]:
    """Of calls that failed in a partial trace and that the model would have granted."""
    if not result.believed:
        return {}
    where = result.at_limit
    limit = None
    if where is not None:
        limit = {
            "line": where.event.line, "call": where.event.text, "maps": where.maps,
            "unseen": where.unseen, "max_map_count": where.limit,
        }  # fmt: skip
    return {"believed": result.believed, "at_limit": limit}


def _event(step: Step) -> dict[str, Any]:
    event, result = step.event, step.result
    return {
        "index": step.index,
        "line": event.line,
        "pid": step.pid,
        "label": event.label,
        "call": event.text,
        "result": result,
        "errno": errno_name(result),
        **attempts_json(step.decisions),
        "splits": step.splits,
        "layout": layout_json(step.layout),
    }


def attempts_json(decisions: Iterable[MergeDecision]) -> dict[str, Any]:
    """``merges`` and ``blocked`` of an event: the merge attempts that it made."""
    return {
        "merges": [
            {"kind": d.kind, "start": d.merged_start, "end": d.merged_end}
            for d in decisions
            if d.kind is not None
        ],
        "blocked": [blocked for d in decisions for blocked in _blocked(d)],
    }


def errno_name(result: int) -> str | None:
    """``ENOMEM`` for -12, None for a success."""
    return abi.ERRNO_NAME.get(-result, f"E{-result}") if -4096 < result < 0 else None


def _blocked(decision: MergeDecision) -> list[dict[str, Any]]:
    """``address`` is where the two touch; ``neighbour`` the VMA that stayed apart."""
    return [
        {
            "side": side,
            "address": decision.start if side == "prev" else decision.end,
            "reasons": _codes(mask),
            "flags": abi.vm_flag_codes(decision.flag_difference(neighbour)),
            "neighbour": {"start": neighbour.start, "end": neighbour.end},
        }
        for side, neighbour, mask in decision.blocked()
    ]


def _codes(mask: int) -> list[str]:
    return [reason.code for reason in blockers(mask & ~merge.NOTHING_THERE)]


def mapping_json(mapping: Mapping) -> dict[str, Any]:
    """One VMA as the contract has it."""
    return {
        "start": mapping.start,
        "end": mapping.end,
        "perms": mapping.perms,
        "offset": mapping.offset,
        "name": mapping.name,
        "vmflags": mapping.codes,
    }


def layout_json(layout: Layout) -> list[dict[str, Any]]:
    """The VMAs of one process in address order."""
    return [mapping_json(mapping) for mapping in layout]


def _process(process: ProcessResult) -> dict[str, Any]:
    return {
        "pid": process.pid,
        "exited": process.exited,
        "peak_vmas": process.peak_vmas,
        "layout": layout_json(process.layout),
        "borders": [_border(border) for border in process.borders],
    }


def _border(border: Border) -> dict[str, Any]:
    """Where two VMAs touch; no reasons: they would be one if a merge were tried."""
    return {
        "address": border.address,
        "refused_in_line": border.refusal.event.line
        if border.refusal is not None and border.refusal.event is not None
        else None,
        "reasons": _codes(border.mask),
        "flags": abi.vm_flag_codes(border.flags),
    }


def _divergence(divergence: Divergence) -> dict[str, Any]:
    event = divergence.event
    kind = CALLS[event.name].result
    return {
        "index": divergence.index,
        "line": event.line,
        "pid": event.pid,
        "call": event.text,
        "recorded": format_result(divergence.recorded, kind),
        "modelled": format_result(divergence.modelled, kind),
    }


def failure_json(failure: Failure) -> dict[str, Any]:
    """A value of an expectation that did not hold."""
    return {
        "line": failure.line,
        "pid": failure.pid,
        "what": failure.what,
        "expected": _plain(failure.expected),
        "actual": _plain(failure.actual),
        "since": None if failure.since is None else called(failure.since),
    }


def called(event: Event) -> dict[str, Any]:
    """Which event of the trace."""
    return {"line": event.line, "pid": event.pid, "call": event.text}


def _plain(value: object) -> Any:
    """An expected or actual value: a number, a bound as text, or a list of mappings."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return mapping_json(value)
    if isinstance(value, ExpectedMapping):
        stated = {
            "start": value.start, "end": value.end, "perms": value.perms,
            "offset": value.offset, "name": value.name, "vmflags": value.flags,
        }  # fmt: skip
        return {key: item for key, item in stated.items() if item is not None}
    return value
