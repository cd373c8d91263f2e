"""A trace's result as a baseline keeps it: what it is replayed under, and its line of JSON."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

from vmatrace.commands.diff.baseline import Baseline, SavedResult
from vmatrace.commands.replay.question import outcome
from vmatrace.kernels import Kernel
from vmatrace.render import jsonform
from vmatrace.replayer.run import Replay
from vmatrace.trace.file import Trace


@dataclass(frozen=True)
class Wish:
    """How traces are replayed: ``model`` of the name that a trace has for its kernel, or of none.

    ``kernel``, ``ksm`` and ``steps`` are those of the command line; None: not said there.
    """

    model: Callable[[str | None], Kernel]
    kernel: Kernel | None = None
    ksm: bool | None = None
    steps: bool = False


def saved(trace: Trace, wish: Wish, before: SavedResult | None = None) -> SavedResult:
    """The result of *trace* now; where *wish* leaves it open, as it was *before*. TraceError."""
    kernel = before.model() if before and wish.kernel is None else wish.model(trace.kernel)
    ksm = before.ksm if before and wish.ksm is None else wish.ksm
    steps = wish.steps or (before is not None and before.side.events is not None)
    out = io.StringIO()
    result = outcome(trace, kernel, ksm)
    again = Replay(trace, kernel, ksm).steps() if steps else None
    jsonform.write(out, result, again, trace.notes, keeping=ksm)
    (found,) = Baseline(trace.path, out.getvalue()).results
    return found
