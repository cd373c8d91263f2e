"""Verification as JSON, formats vmatrace-verify/1 and vmatrace-probe/1: one object on one line."""

from __future__ import annotations

from typing import Any, Final, TextIO

from vmatrace import kernels
from vmatrace.commands.form import Each, Form
from vmatrace.commands.verify.question import OfRecording, Outcome, Verified
from vmatrace.oracle import KernelDied
from vmatrace.render.jsonform import encode, errno_name, layout_json
from vmatrace.verify.findings import Findings
from vmatrace.verify.verdict import Verdict
from vmatrace.verify.witness import Mismatch

FORMAT: Final = "vmatrace-verify/1"
SUFFIXES: Final = (".json", ".jsonl")


def form(out: TextIO, count: int) -> Form[Verified]:
    """One line each; the announcement of a campaign and the end of a recording have none."""
    return Each(out, write)


def write(out: TextIO, answer: Verified) -> None:
    """One answer as one object on one line."""
    if isinstance(answer, (Verdict, OfRecording)):
        document = _verdict(answer if isinstance(answer, Verdict) else answer.verdict)
    elif isinstance(answer, Outcome):
        document = _outcome(answer)
    elif isinstance(answer, Findings):
        document = _findings(answer)
    else:
        return
    out.write(encode(document) + "\n")


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "trace": verdict.trace,
        "path": verdict.path,
        "kernel": verdict.kernel,
        "verdict": verdict.word,
        "events": verdict.events,
        "skipped": verdict.skipped,
        "mismatch": None if verdict.mismatch is None else mismatch_json(verdict.mismatch),
        "died": death_json(verdict.died),
    }


def death_json(died: KernelDied | None) -> dict[str, Any] | None:
    """How the kernel died and the last lines of its console; None if it did not."""
    return None if died is None else {"how": died.how, "console": died.console}


def mismatch_json(mismatch: Mismatch) -> dict[str, Any]:
    """Results as in vmatrace-replay: -errno and its name."""
    return {
        "index": mismatch.index,
        "line": mismatch.event.line,
        "pid": mismatch.pid,
        "call": mismatch.event.text,
        "field": mismatch.field,
        "modelled": mismatch.modelled,
        "modelled_errno": errno_name(mismatch.modelled),
        "actual": mismatch.actual,
        "actual_errno": errno_name(mismatch.actual),
        "model_layout": layout_json(mismatch.model_layout),
        "kernel_layout": layout_json(mismatch.kernel_layout),
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    total, reduced = outcome.total, outcome.reduced
    found = None if reduced is None else reduced.found
    return {
        "format": FORMAT,
        "kernel": total.campaign.kernel.name,
        "seed": total.campaign.seed,
        "programs": total.programs,
        "events": total.events,
        "cut": total.cut,
        "seconds": round(total.seconds, 3),
        "verdict": "exact" if total.failed is None else "died" if total.died else "mismatch",
        "program": total.failed,
        "exhibit": outcome.written,
        "mismatch": mismatch_json(found) if isinstance(found, Mismatch) else None,
        "died": death_json(total.died),
    }


def _findings(findings: Findings) -> dict[str, Any]:
    return {
        "format": "vmatrace-probe/1",
        "nearest": findings.nearest.name,
        "kernel": findings.kernel.name,
        "differing": findings.differing(),
        "features": {name: findings.found.get(name) for name in kernels.FEATURES},
    }
