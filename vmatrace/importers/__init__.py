"""Other people's formats as traces, and which of them an input is: ``open_trace()``."""

from __future__ import annotations

import os
from io import BytesIO
from typing import BinaryIO

from vmatrace.diagnostic import Diagnostic
from vmatrace.importers.sources import Input, set_of
from vmatrace.importers.strace import logline
from vmatrace.importers.strace.log import HEAD, head_lines, log_trace, set_trace
from vmatrace.trace.file import Trace, TraceError, load_trace

__all__ = ["open_trace"]

#: What is said of text that is no trace file at all; then it may have been meant for a log.
_NO_MAPPING = "expected a mapping with the keys vmatrace"
_NEITHER = "nor is it a log of strace (expected lines such as 'brk(NULL) = 0x55d0c8a5f000')"


def open_trace(source: str | BinaryIO, assume_faulted: str | None = None) -> Trace:
    """The trace in *source*, a path, "-" or an open binary file: a trace file or a log of strace,
    compressed or not.

    A path that does not exist is the set of files PATH.PID that strace -ff writes, if there are
    any. *assume_faulted* ("none" or "writable") says what of a log counts as written to; None: as
    strace.DEFAULT_FAULTED. Raises TraceError.
    """
    path = source if isinstance(source, str) else "-"
    if path != "-" and not os.path.exists(path) and (files := set_of(path)):
        lines = head_lines(Input(files[0]).head(HEAD))
        return set_trace(path, files, lines, assume_faulted)
    found = Input(source)
    lines = head_lines(found.head(HEAD))
    if logline.looks_like_log(lines):
        return log_trace(found, lines, assume_faulted)
    try:
        if path != "-" and not found.packed and os.path.isfile(path):
            return load_trace(path)
        return load_trace(BytesIO(b"".join(found.blocks())), found.name)
    except TraceError as error:
        if error.diagnostics[0].message.startswith(_NO_MAPPING):
            error.diagnostics.append(Diagnostic(found.name, 0, 0, _NEITHER))
        raise
