"""Diffs as JSON, format vmatrace-diff/1: one object on one line. Integers are bytes."""

from __future__ import annotations

from typing import Any, Final, TextIO

from vmatrace import abi
from vmatrace.commands.diff.answer import Did, Diff, EventDiff, ProcessDiff
from vmatrace.commands.diff.sides import DiffSide
from vmatrace.commands.form import Each, Form
from vmatrace.layout import Layout
from vmatrace.render.jsonform import attempts_json, encode, errno_name, layout_json

FORMAT: Final = "vmatrace-diff/1"
SUFFIXES: Final = (".json", ".jsonl")


def form(out: TextIO, count: int) -> Form[Diff]:
    """One line each."""
    return Each(out, write)


def write(out: TextIO, diff: Diff) -> None:
    """One trace; its events, where they are asked for, are written as they come."""
    document = encode(_diff(diff))
    if diff.again is None or diff.events is None:
        out.write(document + "\n")
        return
    out.write(document[:-1] + ',"events":[')
    separator = ""
    for event in diff.again():
        out.write(separator + encode(event_json(event)))
        separator = ","
    out.write("]}\n")


def _diff(diff: Diff) -> dict[str, Any]:
    """``first``, ``differing`` and ``compared_events`` are null where events are not compared."""
    return {
        "format": FORMAT,
        "trace": diff.trace,
        "path": diff.path,
        "from": _side(diff.from_),
        "to": _side(diff.to),
        "equal": diff.equal,
        "changed_calls": diff.changed,
        "only_addresses_differ": diff.moved,
        "with_ksm": _with_ksm(diff),
        "compared_events": diff.events,
        "differing_events": diff.differing,
        "first": None if diff.first is None else event_json(diff.first),
        "features": None if diff.causes is None else [c.feature.name for c in diff.causes],
        "processes": [_process(process) for process in diff.processes],
        "totals": {
            name: {
                "from": a,
                "to": b,
                "change": None if a is None or b is None else b - a,
            }
            for name, a, b in diff.totals
        },
    }


def _with_ksm(diff: Diff) -> dict[str, Any] | None:
    """The totals of both models with KSM by default; null where it was on, or not tried."""
    found = diff.with_ksm
    if found is None or found.from_ is None or found.to is None:
        return None
    theirs = dict(found.to.items())
    return {name: {"from": a, "to": theirs[name]} for name, a in found.from_.items()}


def _side(side: DiffSide) -> dict[str, Any]:
    return {
        "name": side.name,
        "kind": side.kind,
        "kernel": side.kernel,
        "lacks": list(side.lacks),
    }


def event_json(event: EventDiff) -> dict[str, Any]:
    """One event; ``equal_after``: right after it the layouts of both sides are equal."""
    call = event.event
    return {
        "index": event.index,
        "line": call.line,
        "pid": call.pid,
        "label": call.label,
        "call": call.text,
        "from": _did(event.from_),
        "to": _did(event.to),
        "equal_after": event.healed,
    }


def _did(did: Did) -> dict[str, Any]:
    if did.record is not None:
        tried = {"merges": did.record.get("merges"), "blocked": did.record.get("blocked")}
    else:
        tried = attempts_json(did.decisions)
    return {
        "result": did.result,
        "errno": errno_name(did.result),
        **tried,
        "went": layout_json(did.went),
        "came": layout_json(did.came),
    }


def _process(process: ProcessDiff) -> dict[str, Any]:
    """``blocks`` are those that differ; a side without the process has null."""
    return {
        "pid": process.pid,
        "equal": process.equal,
        "vmas": {"from": _length(process.from_), "to": _length(process.to)},
        "blocks": [
            {
                "start": block.start,
                "end": block.end,
                "from": layout_json(list(block.left)),
                "to": layout_json(list(block.right)),
            }
            for block in process.blocks
            if not block.equal
        ],
        "flags": [
            {
                "start": start,
                "end": end,
                "only_from": abi.vm_flag_codes(left),
                "only_to": abi.vm_flag_codes(right),
            }
            for start, end, left, right in process.flags
        ],
    }


def _length(layout: Layout | None) -> int | None:
    return None if layout is None else len(layout)
