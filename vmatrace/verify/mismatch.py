"""Whether a real kernel and its model part on a program: a Goal whose judge is the kernel."""

from __future__ import annotations

from collections.abc import Sequence

from vmatrace.event import Event
from vmatrace.kernels import Kernel
from vmatrace.oracle import KernelDied, Machine, OracleError, Sandbox
from vmatrace.search.conditions import Named
from vmatrace.search.goals import Goal
from vmatrace.trace.file import Trace
from vmatrace.verify import setting
from vmatrace.verify.recording import bare
from vmatrace.verify.witness import compare, program


class MismatchGoal(Goal):
    """Reached after the event at which *machine* and *kernel* part, or at which the machine dies.

    A context manager: its sandbox and the sysctls that it changed end with it.
    """

    def __init__(self, kernel: Kernel, machine: Machine, trace: Trace) -> None:
        """Raises Skip where *trace* cannot be run there, and Unavailable."""
        super().__init__(Named("mismatch"), [kernel])
        self._machine = machine
        machine.ready()
        self._trace = trace
        self._knobs = setting.settle(trace, machine)
        setting.check(trace, kernel, machine, self._knobs)
        self._sandbox: Sandbox = setting.open_sandbox(trace, machine)

    def __enter__(self) -> MismatchGoal:
        return self

    def __exit__(self, *_: object) -> None:
        self._sandbox.close()
        self._machine.restore_sysctls()

    def reach(self, base: Trace, events: Sequence[Event]) -> int | None:
        """As Goal.reach(); a program that cannot be run to the mismatch does not reach it."""
        self.tries += 1
        count = 0
        try:
            self._sandbox.reset()
            start = setting.begin(base, self._sandbox, self._knobs)
            for mismatch in compare(program(bare(events), start), self.models[0], self._sandbox):
                count += 1
                if mismatch is not None:
                    return count
        except (OracleError, setting.Skip):
            return None
        except KernelDied:
            self._sandbox.close()
            self._machine.ready()
            self._sandbox = setting.open_sandbox(self._trace, self._machine)
            return count + 1
        return None
