"""What a trace leads to under a model; the replayer knows it, and here it is put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vmatrace.kernels import Kernel
from vmatrace.printable import Printable
from vmatrace.replayer.blame import blame
from vmatrace.replayer.result import Result
from vmatrace.replayer.run import Replay
from vmatrace.trace.file import Trace


def outcome(trace: Trace, kernel: Kernel, ksm: bool | None = None) -> Result:
    """What *trace* leads to, and of each failed expectation where it went wrong.

    *ksm* as in Replay. Raises TraceError.
    """
    result = Replay(trace, kernel, ksm).run()
    blame(trace, kernel, result.failures, ksm)
    return result


@dataclass
class Replayed(Printable):
    """A trace and its ``result``. ``again``, if every event is wanted: a fresh replay of it.

    ``why``: for which borders who reads it wants the reasons; ``layouts``: whether any layout.
    """

    shown_by = "vmatrace.commands.replay.as_table:write"

    trace: Trace
    result: Result
    again: Callable[[], Replay] | None = None
    why: str = "interesting"
    layouts: bool = True
