"""Other people's formats as traces, and which of them an input is: ``open_trace()``."""

from __future__ import annotations

from vmatrace.trace import Trace, load_trace


def open_trace(source: str, assume_faulted: str | None = None) -> Trace:
    """The trace in *source*, a path or "-": a trace file, or a log in a format known here.

    *assume_faulted* says what of a log counts as written to. Raises TraceError.
    """
    return load_trace(source)
