"""Verify one trace, on a machine's kernel or on a recording: exact, a mismatch, or skipped and why.

Also records one. Knows what ends a verification early.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from vmatrace.event import Event
from vmatrace.kernels import Kernel
from vmatrace.oracle import KernelDied, Machine, OracleError, Unavailable
from vmatrace.printable import Printable
from vmatrace.trace.file import Trace, TraceError
from vmatrace.verify import setting
from vmatrace.verify.cost import Guard
from vmatrace.verify.recording import RecordingWriter, bare
from vmatrace.verify.skip import Skip
from vmatrace.verify.witness import Mismatch, Witness, compare


@dataclass(frozen=True)
class Verdict(Printable):
    """What became of a trace: ``events`` were equal; then ``mismatch``, or ``skipped`` says why
    the rest, or all of it, could not be verified, or the kernel ``died`` in the event after them.
    None of these: the trace is exact. ``where`` names the machine.
    """

    shown_by = "vmatrace.commands.verify.as_table:write"

    trace: str
    path: str
    kernel: str
    events: int
    mismatch: Mismatch | None = None
    skipped: str | None = None
    died: KernelDied | None = None
    where: str = "the running kernel"

    @property
    def word(self) -> str:
        if self.died is not None:
            return "died"
        return "mismatch" if self.mismatch else "skipped" if self.skipped else "exact"

    @property
    def differs(self) -> bool:
        """Whether the kernel did not do what the model does."""
        return self.mismatch is not None or self.died is not None


def verify(trace: Trace, kernel: Kernel, machine: Machine) -> Verdict:
    """Run *trace* on *machine* and on the model. Raises TraceError, Unavailable."""
    try:
        machine.ready()
        knobs = setting.settle(trace, machine)
        setting.check(trace, kernel, machine, knobs)
        with setting.open_sandbox(trace, machine) as sandbox:
            start = setting.begin(trace, sandbox, knobs)
            with Guard(sandbox) as guard:
                verdict = replay(start, kernel, sandbox, guard)
            return replace(verdict, where=machine.known_as)
    except Unavailable:
        raise
    except (Skip, OracleError) as reason:
        return Verdict(trace.name, trace.path, kernel.name, 0, None, str(reason))
    except KernelDied as died:
        return Verdict(trace.name, trace.path, kernel.name, 0, died=died)
    finally:
        machine.restore_sysctls()


def replay(trace: Trace, kernel: Kernel, witness: Witness, guard: Guard | None = None) -> Verdict:
    """Compare the model with *witness*, where *trace* starts, while *guard* lets it. TraceError."""
    events = 0
    mismatch: Mismatch | None = None
    skipped: str | None = None
    died: KernelDied | None = None
    try:
        for mismatch in compare(trace, kernel, witness):
            events += mismatch is None
            if mismatch is None and guard is not None and guard.late():
                break
    except OracleError as error:
        skipped = str(error)
    except TraceError as error:  # the trace was read before; this is a call without a model
        skipped = error.diagnostics[0].message
    except KernelDied as error:
        died = error
    if guard is not None and guard.reason is not None:
        mismatch, skipped = None, guard.reason
    return Verdict(trace.name, trace.path, kernel.name, events, mismatch, skipped, died)


def record(trace: Trace, recorder: RecordingWriter, machine: Machine) -> int:
    """Run *trace* on *machine* once more and record it; how many events were run."""
    knobs = setting.settle(trace, machine)
    events = bare([item for item in trace.items() if isinstance(item, Event)])
    try:
        with setting.open_sandbox(trace, machine) as sandbox, Guard(sandbox):
            start = setting.begin(trace, sandbox, knobs)
            return recorder.record(trace.name, start, events, sandbox)
    finally:
        machine.restore_sysctls()
