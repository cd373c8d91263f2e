"""Replay mmap/prctl traces against an exact model of Linux's VMA engine.

``__all__`` is the Python API, which docs/python.md describes: what each command answers as a
function, and a Process whose calls a program makes itself. Names are loaded when they are first
used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from vmatrace._version import __version__

if TYPE_CHECKING:
    from vmatrace import abi
    from vmatrace.api import (
        audit,
        audit_pages,
        check,
        diff,
        explain,
        kernel,
        open_trace,
        replay,
        report,
        steps,
    )
    from vmatrace.commands.audit.pages.question import Estimate
    from vmatrace.commands.audit.question import Audit
    from vmatrace.commands.check.question import Checked
    from vmatrace.commands.diff.answer import Diff
    from vmatrace.commands.explain.question import Account, Overview
    from vmatrace.commands.report.question import Report
    from vmatrace.diagnostic import Diagnostic, TraceError
    from vmatrace.engine.merge import Blocker, MergeDecision
    from vmatrace.engine.refusal import Refusal
    from vmatrace.event import Event, Expectation, File
    from vmatrace.kernels import KERNELS, Kernel, UnknownFeature, UnknownKernel
    from vmatrace.layout import Mapping
    from vmatrace.process import Process
    from vmatrace.replayer.result import Result, Step
    from vmatrace.trace.file import Trace

_HOMES = {
    "Account": "vmatrace.commands.explain.question",
    "Audit": "vmatrace.commands.audit.question",
    "Blocker": "vmatrace.engine.merge",
    "Checked": "vmatrace.commands.check.question",
    "Diagnostic": "vmatrace.diagnostic",
    "Diff": "vmatrace.commands.diff.answer",
    "Estimate": "vmatrace.commands.audit.pages.question",
    "Event": "vmatrace.event",
    "Expectation": "vmatrace.event",
    "File": "vmatrace.event",
    "KERNELS": "vmatrace.kernels",
    "Kernel": "vmatrace.kernels",
    "Mapping": "vmatrace.layout",
    "MergeDecision": "vmatrace.engine.merge",
    "Overview": "vmatrace.commands.explain.question",
    "Process": "vmatrace.process",
    "Refusal": "vmatrace.engine.refusal",
    "Report": "vmatrace.commands.report.question",
    "Result": "vmatrace.replayer.result",
    "Step": "vmatrace.replayer.result",
    "Trace": "vmatrace.trace.file",
    "TraceError": "vmatrace.diagnostic",
    "UnknownFeature": "vmatrace.kernels",
    "UnknownKernel": "vmatrace.kernels",
    "audit": "vmatrace.api",
    "audit_pages": "vmatrace.api",
    "check": "vmatrace.api",
    "diff": "vmatrace.api",
    "explain": "vmatrace.api",
    "kernel": "vmatrace.api",
    "load_trace": "vmatrace.trace.file",  # what open_trace() was called before; not in __all__
    "open_trace": "vmatrace.api",
    "replay": "vmatrace.api",
    "report": "vmatrace.api",
    "steps": "vmatrace.api",
}

__all__ = [
    "KERNELS",
    "Account",
    "Audit",
    "Blocker",
    "Checked",
    "Diagnostic",
    "Diff",
    "Estimate",
    "Event",
    "Expectation",
    "File",
    "Kernel",
    "Mapping",
    "MergeDecision",
    "Overview",
    "Process",
    "Refusal",
    "Report",
    "Result",
    "Step",
    "Trace",
    "TraceError",
    "UnknownFeature",
    "UnknownKernel",
    "__version__",
    "abi",
    "audit",
    "audit_pages",
    "check",
    "diff",
    "explain",
    "kernel",
    "open_trace",
    "replay",
    "report",
    "steps",
]


if not TYPE_CHECKING:  # else every name would be one to a type checker

    def __getattr__(name: str) -> object:
        if name == "abi":
            return import_module("vmatrace.abi")
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return found


def __dir__() -> list[str]:
    return sorted(__all__)
