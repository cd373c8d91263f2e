"""Verify one trace, on the running kernel or on a recording: exact, a mismatch, or skipped and why.

Also records one. Knows what ends a verification early.
"""

from __future__ import annotations

from dataclasses import dataclass

from vmatrace.event import Event
from vmatrace.kernels import Kernel
from vmatrace.oracle import OracleError, Unavailable
from vmatrace.trace.file import Trace, TraceError
from vmatrace.verify import setting
from vmatrace.verify.recording import RecordingWriter, bare
from vmatrace.verify.setting import Skip
from vmatrace.verify.witness import Mismatch, Witness, compare


@dataclass(frozen=True)
class Verdict:
    """What became of a trace: ``events`` were equal; then ``mismatch``, or ``skipped`` says why
    the rest, or all of it, could not be verified. Neither: the trace is exact.
    """

    trace: str
    path: str
    kernel: str
    events: int
    mismatch: Mismatch | None = None
    skipped: str | None = None

    @property
    def word(self) -> str:
        return "mismatch" if self.mismatch else "skipped" if self.skipped else "exact"


def verify(trace: Trace, kernel: Kernel) -> Verdict:
    """Run *trace* on the running kernel and on the model. Raises TraceError, Unavailable."""
    machine = setting.machine_sysctl()
    try:
        setting.check(trace, kernel, machine)
        with setting.open_sandbox(trace) as sandbox:
            return replay(setting.begin(trace, sandbox, machine), kernel, sandbox)
    except Unavailable:
        raise
    except (Skip, OracleError) as reason:
        return Verdict(trace.name, trace.path, kernel.name, 0, None, str(reason))


def replay(trace: Trace, kernel: Kernel, witness: Witness) -> Verdict:
    """Compare the model with *witness*, where *trace* starts. Raises TraceError."""
    events = 0
    mismatch: Mismatch | None = None
    skipped: str | None = None
    try:
        for mismatch in compare(trace, kernel, witness):
            events += mismatch is None
    except OracleError as error:
        skipped = str(error)
    except TraceError as error:  # the trace was read before; this is a call without a model
        skipped = error.diagnostics[0].message
    return Verdict(trace.name, trace.path, kernel.name, events, mismatch, skipped)


def record(trace: Trace, recorder: RecordingWriter) -> int:
    """Run *trace* on the running kernel once more and record it; how many events were run."""
    machine = setting.machine_sysctl()
    events = bare([item for item in trace.items() if isinstance(item, Event)])
    with setting.open_sandbox(trace) as sandbox:
        start = setting.begin(trace, sandbox, machine)
        return recorder.record(trace.name, start, events, sandbox)
