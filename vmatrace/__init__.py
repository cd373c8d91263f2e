"""Replay mmap/prctl traces against an exact model of Linux's VMA engine.

The public interface: ``load_trace`` reads a trace, ``replay`` runs it under one of ``KERNELS``,
``diff`` compares two of them, and ``TraceError`` is what each raises for bad input. Names are
loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from vmatrace._version import __version__

if TYPE_CHECKING:
    from vmatrace.commands.diff.diff import diff
    from vmatrace.diagnostic import TraceError
    from vmatrace.kernels import KERNELS
    from vmatrace.replayer.run import replay
    from vmatrace.trace.file import load_trace

__all__ = ["KERNELS", "TraceError", "__version__", "diff", "load_trace", "replay"]

_HOMES = {
    "TraceError": "vmatrace.diagnostic",
    "replay": "vmatrace.replayer.run",
    "diff": "vmatrace.commands.diff.diff",
    "KERNELS": "vmatrace.kernels",
    "load_trace": "vmatrace.trace.file",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
