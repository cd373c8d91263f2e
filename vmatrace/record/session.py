"""A recording from start to end: of a command, or of a process that runs already.

Knows in which order things are set up and what a trace's header says; the rest is in the modules
it puts together.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from vmatrace.kernels import KSM_EXEC_INHERIT, get_kernel
from vmatrace.oracle.errors import Unavailable
from vmatrace.record import launch, stops
from vmatrace.record.files import OpenFiles
from vmatrace.record.filter import calls
from vmatrace.record.launch import CannotStart, Launched
from vmatrace.record.pieces import Pieces
from vmatrace.record.recorder import Recorder
from vmatrace.record.spool import Spool
from vmatrace.record.status import may_lock_all
from vmatrace.record.stops import Gone, Waiter
from vmatrace.record.tasks import AddressSpace, ThreadGroup
from vmatrace.record.tracer import Tracer
from vmatrace.trace.header import ProcessState, Sysctl
from vmatrace.trace.writer import comment, header

#: Signals that end the recording, but not at once what is recorded.
_ENDING: Final = frozenset({signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM})
#: What a program is whose calls are not recorded.
FOREIGN: Final = "it runs a program of 32 bits, or one that is not readable to this user"
_STACK_DEFAULT: Final = 8 << 20


@dataclass(frozen=True)
class Recorded:
    """What a recording came to. ``signal``: what ended it before its programs, else 0.

    ``status`` is the command's exit status, 128 + N for a signal; None with -p and where the
    command had not ended.
    """

    events: int
    faults: int
    processes: int
    layouts: int
    status: int | None
    signal: int
    foreign: tuple[str, ...]
    unfollowed: tuple[str, ...]
    surrendered: tuple[str, ...]
    unknown: tuple[str, ...]
    forgotten: int


class Session:
    """Records; then ``write`` writes the trace. *model* is the row of the kernel's model."""

    def __init__(self, model: str) -> None:
        self._calls = calls()
        self._page = resource.getpagesize()
        self.files = OpenFiles(self._calls.numbers)
        self.spool = Spool()
        self.model = model
        self._recorder = Recorder(self.files, self.spool, model, self._page)
        self._state = ProcessState()
        self._ksm = False

    def command(
        self, command: Sequence[str], ksm: bool, still: bool = False, aside: bool = False
    ) -> Recorded:
        """Run *command* and record it to its end; the switches are those of Launched.

        Raises CannotStart and Unavailable.
        """
        self.files.check()
        inherited = get_kernel(self.model).has(KSM_EXEC_INHERIT)
        if ksm and not inherited:
            raise CannotStart("--ksm: KSM by default does not survive execve() before Linux 6.7")
        self._ksm = inherited and (ksm or launch.ksm_by_default())
        with Waiter(_ENDING) as waiter:
            child = Launched(command, self._calls, ksm, waiter, still, aside)
            _want_descriptors()
            try:
                stops.seize(child.pid, stops.OPTIONS | stops.EXITKILL)
            except BaseException:
                os.kill(child.pid, signal.SIGKILL)
                waiter.reap(child.pid)
                raise
            self._state = self._describe(child.pid)
            tracer = Tracer(self._recorder, self._calls, waiter, every=False)
            process = ThreadGroup(child.pid, "main", AddressSpace(Pieces(self.files.count)))
            tracer.adopt(process, child.pid).stopped = False
            child.go()
            caught = self._run(tracer)
            if caught and self._recorder.root is None:
                os.kill(child.pid, signal.SIGKILL)
                raise KeyboardInterrupt
            if caught:
                self._let_go(tracer, child.pid, caught)
            status = tracer.ended.get(child.pid)
            if self._recorder.root is None:
                raise child.error()
            child.close()
        return self._outcome(None if status is None else _code(status), caught)

    def _run(self, tracer: Tracer) -> int:
        """As tracer.run(); where we fail, the command goes on to its end all the same."""
        try:
            return tracer.run()
        except Exception:
            tracer.thaw()
            while tracer.run():
                pass
            raise

    def _let_go(self, tracer: Tracer, root: int, caught: int) -> None:
        """No more is recorded. The filter would make calls fail without us, so we stay."""
        tracer.freeze()
        tracer.thaw()
        while caught:
            if caught == signal.SIGTERM:  # not from a terminal, so the command did not get it
                with contextlib.suppress(ProcessLookupError):
                    os.kill(root, signal.SIGTERM)
            caught = tracer.run()

    def process(self, pid: int) -> Recorded:
        """Record the running process *pid* until it ends or a signal comes. Raises Unavailable."""
        self.files.check()
        with Waiter(_ENDING) as waiter:
            tracer = Tracer(self._recorder, self._calls, waiter, every=True)
            process = ThreadGroup(pid, "main", AddressSpace(Pieces(self.files.count)))
            try:
                try:
                    tracer.attach(process)
                    self._ksm = _ksm_stat(pid)
                    self._state = self._describe(pid)
                    self._recorder.attached(process)
                except (OSError, Gone) as error:
                    why = getattr(error, "strerror", None) or "it has ended"
                    raise Unavailable(f"process {pid} cannot be recorded: {why}") from None
                if process.foreign:
                    raise Unavailable(f"process {pid} cannot be recorded: {FOREIGN}")
                tracer.go()
                caught = tracer.run()
                if caught:
                    tracer.freeze()
            finally:
                tracer.detach()
        return self._outcome(None, caught)

    def _outcome(self, status: int | None, caught: int) -> Recorded:
        spool = self.spool
        self.files.close()
        return Recorded(
            spool.events, spool.faults, spool.processes, spool.layouts, status, caught,
            tuple(self._recorder.foreign),
            tuple(f"{what} of {name}" for what, name in self._recorder.unfollowed.items()),
            tuple(self._recorder.surrendered),
            tuple(sorted(self.files.unknown)), self.files.forgotten,
        )  # fmt: skip

    # --- the header -------------------------------------------------------------------------

    def _describe(self, pid: int) -> ProcessState:
        limits = {
            "as": resource.RLIMIT_AS, "data": resource.RLIMIT_DATA,
            "memlock": resource.RLIMIT_MEMLOCK, "stack": resource.RLIMIT_STACK,
        }  # fmt: skip
        soft = {name: resource.prlimit(pid, kind)[0] for name, kind in limits.items()}
        if may_lock_all(pid):
            soft["memlock"] = resource.RLIM_INFINITY
        if soft["stack"] == _STACK_DEFAULT:
            del soft["stack"]
        elif soft["stack"] == resource.RLIM_INFINITY:
            soft["stack"] = (1 << 64) - 1
        kept = {name: value for name, value in soft.items() if value != resource.RLIM_INFINITY}
        return ProcessState(self._ksm, None, None, kept)

    def write(self, out: IO[str], name: str, remark: str) -> None:
        """Write the trace called *name*; *remark* is the comment above it."""
        recorder = self._recorder
        state = ProcessState(self._state.ksm, recorder.brk, None, self._state.rlimits)
        cpus = _cpus() if recorder.rings else 1
        head = header(
            name, self.files.described, state, kernel=self.model, page_size=self._page,
            sysctl=_sysctl(), maps=recorder.maps, recorded=True, cpus=cpus,
        )  # fmt: skip
        self.spool.write(out, comment(remark) + head)
        self.spool.close()


def _want_descriptors() -> None:
    """As many as we may have: each mapped file takes one."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _cpus() -> int:
    """How many processors the machine may have (num_possible_cpus())."""
    text = Path("/sys/devices/system/cpu/possible").read_text(encoding="ascii")
    return int(text.strip().rpartition("-")[2]) + 1


def _code(status: int) -> int:
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _ksm_stat(pid: int) -> bool:
    """Whether KSM by default is in force in *pid*, as far as the kernel says (6.14)."""
    with contextlib.suppress(OSError):
        return "ksm_merge_any: yes" in Path(f"/proc/{pid}/ksm_stat").read_text(encoding="ascii")
    return False


def _sysctl() -> Sysctl:
    def knob(name: str, default: int) -> int:
        try:
            return int(Path("/proc/sys/vm", name).read_text(encoding="ascii"))
        except (OSError, ValueError):
            return default

    return Sysctl(
        knob("max_map_count", 65530), knob("overcommit_memory", 0), knob("mmap_min_addr", 65536),
        knob("nr_hugepages", 0),
    )  # fmt: skip
