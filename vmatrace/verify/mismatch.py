"""Whether a real kernel and its model part on a program: goals whose judge is the kernel."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from vmatrace.event import Event
from vmatrace.kernels import Kernel
from vmatrace.oracle import KernelDied, Machine, OracleError, Sandbox
from vmatrace.search.conditions import Named
from vmatrace.search.goals import Goal
from vmatrace.trace.file import Trace
from vmatrace.verify import setting
from vmatrace.verify.cost import Guard
from vmatrace.verify.recording import bare
from vmatrace.verify.skip import Skip
from vmatrace.verify.witness import Mismatch, Witness, compare, program

#: An item for each event, None up to what is looked for: witness.compare() has this form.
Judge = Callable[[Trace, Kernel, Witness], Iterator["Mismatch | None"]]


class KernelGoal(Goal):
    """Reached after the event at which a machine and *kernel* part, or at which the machine dies.

    A machine that died is booted anew for the next program.
    """

    def __init__(self, kernel: Kernel, judge: Judge = compare, deaths: bool = True) -> None:
        """*judge* finds what counts in a run; *deaths*: whether the kernel's death does."""
        super().__init__(Named("mismatch"), [kernel])
        self._judge = judge
        self._deaths = deaths
        self._dead = False

    @contextmanager
    def judging(self, kernel: Kernel) -> Iterator[None]:
        """Meanwhile the goal is reached where the machine parts from another model."""
        before, self.models = self.models, (kernel,)
        try:
            yield
        finally:
            self.models = before

    @abstractmethod
    def begin(self, base: Trace) -> Trace | None:
        """Set the sandbox back; *base* as it starts there, None where it cannot start so.

        Raises KernelDied where the machine cannot be booted any more.
        """

    @property
    @abstractmethod
    def revived(self) -> int:
        """How often the machine was booted anew."""

    @property
    def deaths(self) -> int:
        """How often the machine died."""
        return self.revived + self._dead

    @abstractmethod
    def sandbox(self) -> Sandbox:
        """What programs are run in."""

    def reach(self, base: Trace, events: Sequence[Event]) -> int | None:
        """As Goal.reach(); a program that cannot be run to the mismatch does not reach it."""
        self.tries += 1
        found = self.look(base, events)
        return None if found is None else found[0]

    def look(
        self, base: Trace, events: Sequence[Event], kernel: Kernel | None = None
    ) -> tuple[int, Mismatch | KernelDied] | None:
        """After how many events the machine and *kernel* (the goal's) part, and how.

        Raises KernelDied where the machine cannot be booted any more.
        """
        start = self.begin(base)
        self._dead = False
        if start is None:
            return None
        count = 0
        try:
            parted = self._run(start, events, kernel or self.models[0])
            for mismatch in parted:
                count += 1
                if mismatch is not None:
                    return count, mismatch
        except OracleError:
            return None
        except KernelDied as died:
            self._dead = True
            return (min(count + 1, len(events)), died) if self._deaths else None
        return None

    def _run(
        self, start: Trace, events: Sequence[Event], kernel: Kernel
    ) -> Iterator[Mismatch | None]:
        return self._judge(program(bare(events), start), kernel, self.sandbox())


class MismatchGoal(KernelGoal):
    """For programs that start as *trace* does.

    A context manager: its sandbox and the sysctls that it changed end with it.
    """

    def __init__(
        self,
        kernel: Kernel,
        machine: Machine,
        trace: Trace,
        judge: Judge = compare,
        deaths: bool = True,
    ) -> None:
        """Raises Skip where *trace* cannot be run there, and Unavailable."""
        super().__init__(kernel, judge, deaths)
        self._machine = machine
        self._revived = 0
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

    @property
    def revived(self) -> int:
        """See KernelGoal."""
        return self._revived

    def sandbox(self) -> Sandbox:
        """See KernelGoal."""
        return self._sandbox

    def begin(self, base: Trace) -> Trace | None:
        """See KernelGoal. The sandbox has the process of its trace, and no other."""
        if (base.process, base.sysctl) != (self._trace.process, self._trace.sysctl) or base.maps:
            return None
        try:
            self._sandbox.reset()
        except KernelDied:  # in the program before
            self._sandbox.close()
            self._machine.ready()
            self._sandbox = setting.open_sandbox(self._trace, self._machine)
            self._revived += 1
        try:
            return setting.begin(base, self._sandbox, self._knobs)
        except (OracleError, Skip):
            return None

    def _run(
        self, start: Trace, events: Sequence[Event], kernel: Kernel
    ) -> Iterator[Mismatch | None]:
        with Guard(self._sandbox):  # it may be anybody's trace
            yield from super()._run(start, events, kernel)
