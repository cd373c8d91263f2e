"""Many random programs, verified at full speed, and the first that differs made small.

One process for each job, pinned to a CPU, with a sandbox that is used again (Sandbox.reset());
programs go to them in batches. The number of jobs does not change what comes out: the mismatch
of the lowest program number.
"""

from __future__ import annotations

import ctypes
import dataclasses
import multiprocessing
import multiprocessing.util
import os
import shlex
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from vmatrace.abi import SHM_EXEC, TASK_SIZE
from vmatrace.event import Event
from vmatrace.kernels import Kernel
from vmatrace.oracle import KernelDied, Machine, OracleError
from vmatrace.oracle.boot import open_machine
from vmatrace.printable import Printable
from vmatrace.search.generate import family, files, generate
from vmatrace.search.shrink import BUDGET, Shrinker
from vmatrace.trace import writer
from vmatrace.trace.file import Trace
from vmatrace.verify import exhibit, setting
from vmatrace.verify.recording import RecordingWriter
from vmatrace.verify.witness import Mismatch, compare, program, starting_at

_BATCH: Final = 40  # programs: a fraction of a second


@dataclass(frozen=True)
class Campaign(Printable):
    """``programs`` random programs of some ``events`` events from ``seed``, against ``kernel``.

    ``asked`` is the name of the model where it was not found but asked for; ``boot`` the image of
    the kernel to run them on, None for the running one. ``release`` is that kernel's.
    """

    shown_by = "vmatrace.commands.verify.as_table:write_campaign"

    seed: str
    programs: int
    events: int
    kernel: Kernel
    asked: str | None = None
    boot: str | None = None
    release: str = ""

    def command(self) -> str:
        """The command that repeats it."""
        size = "" if self.events == 40 else f" --events {self.events}"
        model = "" if self.asked is None else f" --kernel {self.asked}"
        options = f"{size}{model}{self.where()}"
        return f"vmatrace verify --random {self.programs} --seed {self.seed}{options}"

    def where(self) -> str:
        """The option that says where it is run."""
        return "" if self.boot is None else f" --boot {shlex.quote(self.boot)}"


class BatchResult(NamedTuple):
    """What a batch came to: ``events`` were equal; program ``failed`` was the first that was not.

    ``cut`` programs could not be run to their end (the sandbox was gone). ``died``: the kernel did.
    """

    programs: int
    events: int
    cut: int
    failed: int | None
    died: KernelDied | None = None


class Total:
    """The batches so far. ``seconds`` is the time since the campaign began."""

    def __init__(self, campaign: Campaign) -> None:
        self.campaign = campaign
        self.programs = self.events = self.cut = 0
        self.failed: int | None = None
        self.died: KernelDied | None = None
        self._began = time.monotonic()
        self.seconds = 0.0

    def add(self, tally: BatchResult) -> None:
        self.programs += tally.programs
        self.events += tally.events
        self.cut += tally.cut
        self.failed, self.died = tally.failed, tally.died
        self.seconds = time.monotonic() - self._began


class Bench:
    """A sandbox that random programs are run in, one after the other; a context manager.

    Most programs start without the vdso and its data, which makes reading a layout faster; every
    fourth starts with it. On *machine* if it is given, else on one of its own.
    """

    def __init__(self, campaign: Campaign, machine: Machine | None = None) -> None:
        self.kernel = campaign.kernel
        #: How often the machine had died and was booted anew.
        self.revived = 0
        self._own = machine is None
        self.machine = machine or open_machine(campaign.boot)
        self._privileged = self.machine.privileged
        self._five_levels = setting.has_five_levels(self.machine)
        try:
            self._open()
        except BaseException:
            if self._own:
                self.machine.close()
            raise

    def _open(self) -> None:
        machine = self.machine
        # A descriptor whose file cannot be as a trace means it is not open, for the model too.
        opened = {key: file for key, file in files().items() if setting.is_here(file, machine)}
        empty = Trace("random", "random", lambda: iter(()), files=opened)
        self.sandbox = setting.open_sandbox(empty, machine)
        self._full = setting.begin(empty, self.sandbox, setting.sysctls(machine))
        self._vdso = [m for m in self.sandbox.start.layout if m.name.startswith("[v")]
        self._strip()
        lean = self.sandbox.start._replace(layout=self.sandbox.layout())
        self._lean = starting_at(self._full, lean)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the machine, and if it is the bench's own, end it."""
        self.sandbox.close()
        if self._own:
            self.machine.close()

    def _strip(self) -> None:
        for vma in self._vdso:
            self.sandbox.call("munmap", (vma.start, vma.end - vma.start))

    def start(self, index: int) -> Trace:
        """Set the sandbox back to where program *index* starts; that start."""
        try:
            return self._start(index)
        except KernelDied:  # in the program before, or just now
            self.sandbox.close()
            self._open()
            self.revived += 1
            return self._start(index)

    def _start(self, index: int) -> Trace:
        self.sandbox.reset()
        if index % 4:
            self._strip()
        return self._lean if index % 4 else self._full

    def events(self, campaign: Campaign, index: int) -> list[Event]:
        """Program *index*, without arguments that mean something else on this machine."""
        return self.allowed(generate(campaign.seed, index, campaign.events))

    def allowed(self, events: list[Event]) -> list[Event]:
        """Those of *events* that mean the same on this machine."""
        return [
            event for event in events
            if not (self._five_levels and _is_high(event))
            and not (_takes_privilege(event) and not self._privileged)
        ]  # fmt: skip

    def run(self, index: int, events: Sequence[Event]) -> Iterator[Mismatch | None]:
        """witness.compare() of *events*. Raises OracleError."""
        return compare(program(events, self.start(index)), self.kernel, self.sandbox)

    def fails(self, index: int, events: Sequence[Event]) -> int | None:
        """How many of *events* it takes to a mismatch or to the kernel's death, or None."""
        count = 0
        try:
            for mismatch in self.run(index, events):
                count += 1
                if mismatch is not None:
                    return count
        except OracleError:
            pass
        except KernelDied:
            return count + 1
        return None


def _is_high(event: Event) -> bool:
    """Whether an argument is beyond what four levels of page tables reach, but not five."""
    return any(type(a) is int and TASK_SIZE <= a < 1 << 57 for a in event.args)


def _takes_privilege(event: Event) -> bool:
    """Whether a capability decides: CAP_SYS_NICE, and CAP_IPC_OWNER (segments have mode 0600)."""
    if event.name == "shmat":
        return bool(int(str(event.args[2])) & SHM_EXEC)
    return event.name == "process_madvise"


def verify_batch(bench: Bench, campaign: Campaign, first: int, count: int) -> BatchResult:
    """Programs *first* to *first* + *count* - 1, up to the first that differs."""
    total = cut = 0
    for index in range(first, first + count):
        try:
            for mismatch in bench.run(index, bench.events(campaign, index)):
                if mismatch is not None:
                    return BatchResult(index - first + 1, total, cut, index)
                total += 1
        except OracleError:
            cut += 1
        except KernelDied as died:
            return BatchResult(index - first + 1, total, cut, index, died)
    return BatchResult(count, total, cut, None)


def run(campaign: Campaign, machine: Machine, jobs: int | None = None) -> Iterator[BatchResult]:
    """The batches of *campaign* in order, ending with the first that holds a mismatch.

    *machine* is used where one job is enough; several have one each. Raises Unavailable. Close the
    iterator to end early: no process is left behind.
    """
    starts = range(0, campaign.programs, _BATCH)
    batches = [(first, min(_BATCH, campaign.programs - first)) for first in starts]
    cpus = sorted(os.sched_getaffinity(0))
    jobs = min(jobs or len(cpus), len(batches))
    if jobs == 1:
        with Bench(campaign, machine) as bench:
            for first, count in batches:
                tally = verify_batch(bench, campaign, first, count)
                yield tally
                if tally.failed is not None:
                    return
        return
    Bench(campaign, machine).close()  # what is missing is said here, not by every job
    yield from _run_jobs(campaign, batches, jobs, cpus)


def _run_jobs(
    campaign: Campaign, batches: list[tuple[int, int]], jobs: int, cpus: list[int]
) -> Iterator[BatchResult]:
    context = multiprocessing.get_context("spawn")
    places: Any = context.SimpleQueue()
    for job in range(jobs):
        places.put(cpus[job % len(cpus)])
    pool = ProcessPoolExecutor(jobs, context, _begin_job, (places, campaign, os.getpid()))
    waiting: list[Future[BatchResult]] = []
    try:
        todo = iter(batches)
        while True:
            while len(waiting) < 3 * jobs and (batch := next(todo, None)) is not None:
                waiting.append(_submit(pool, campaign, batch))
            if not waiting:
                return
            tally = waiting.pop(0).result()
            yield tally
            if tally.failed is not None:
                return
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _submit(
    pool: ProcessPoolExecutor, campaign: Campaign, batch: tuple[int, int]
) -> Future[BatchResult]:
    # This may start a process. It inherits the mask, so that Ctrl-C is told to the parent alone,
    # which waits for the batches under way.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(_work, campaign, *batch)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_bench: Bench | None = None


def _begin_job(places: Any, campaign: Campaign, parent: int) -> None:
    """Prepare a job's process: a CPU, an end when the parent ends, and a bench."""
    global _bench
    # PR_SET_PDEATHSIG
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    os.sched_setaffinity(0, {places.get()})
    _bench = Bench(campaign)
    multiprocessing.util.Finalize(None, _bench.close, exitpriority=1)


def _work(campaign: Campaign, first: int, count: int) -> BatchResult:
    assert _bench is not None
    return verify_batch(_bench, campaign, first, count)


# --- a program that differs -----------------------------------------------------------------------


#: Tries to reduce a program that the kernel dies of.
_BUDGET_OF_BOOTS: Final = 60


class Reduced(NamedTuple):
    """The shortest program that shows a mismatch, or that the kernel dies of: its start and events.

    ``found`` is what differs, or how the kernel died.
    """

    trace: Trace
    events: list[Event]
    found: Mismatch | KernelDied
    runs: int


def reduce(campaign: Campaign, machine: Machine, index: int, died: bool = False) -> Reduced | None:
    """Shrink program *index*; None if it does not differ when it is run again.

    *died*: the kernel did, so that most tries take a boot.
    """
    with Bench(campaign, machine) as bench:
        events = bench.events(campaign, index)
        budget = BUDGET if campaign.boot is None or not died else _BUDGET_OF_BOOTS
        shrinker = Shrinker(lambda tried: bench.fails(index, tried), budget)
        try:
            events = readable(shrinker.shrink(events))
        except ValueError:
            return None
        start = bench.start(index)
        found: Mismatch | KernelDied
        try:
            found = next(filter(None, compare(program(events, start), bench.kernel, bench.sandbox)))
        except KernelDied as died:
            found = died
    return Reduced(start, events, found, shrinker.runs)


def readable(events: Sequence[Event]) -> list[Event]:
    """The events with their text and the lines that they have in a trace of nothing else."""
    return [
        Event(
            event.name, event.args, writer.call_text(event), line, 1, event.pid, event.label,
            event.recorded, event.symbolic,
        )
        for line, event in enumerate(events, 1)
    ]  # fmt: skip


def exhibit_text(campaign: Campaign, index: int, reduced: Reduced) -> str:
    """The exhibit: a trace that shows what program *index* has found and how to repeat it."""
    found = reduced.found
    one = dataclasses.replace(campaign, programs=index + 1)
    if isinstance(found, KernelDied):
        story = f"The kernel {campaign.release} {found.how} at the last call."
    else:
        story = (
            f"The model {campaign.kernel.name} and the kernel {campaign.release} part after the "
            f"last call: {found.field} differs."
        )
    about = (
        story,
        "",
        f"Reduced from program {index} (family {family(index)}) of seed {campaign.seed} in "
        f"{reduced.runs} runs. To see it again:",
        f"    vmatrace verify FILE{campaign.where()}",
        f"    {one.command()}",
    )
    name = f"mismatch-{campaign.seed}-{index}"
    if isinstance(found, KernelDied):
        return exhibit.deadly(name, reduced.trace, reduced.events, "\n".join(about))
    base = campaign.kernel.base or campaign.kernel.name
    return exhibit.exhibit(name, reduced.trace, reduced.events, found, "\n".join(about), base)


# --- recording ------------------------------------------------------------------------------------


def record(campaign: Campaign, machine: Machine, path: str) -> int:
    """Record every program of *campaign* in *path*; how many events. Raises RecordingError."""
    source = {"seed": campaign.seed, "programs": campaign.programs, "events": campaign.events}
    total = 0
    with Bench(campaign, machine) as bench:
        recorder = RecordingWriter(path, campaign.kernel, machine, source)
        try:
            for index in range(campaign.programs):
                events = bench.events(campaign, index)
                start = bench.start(index)
                total += recorder.record(f"{family(index)}-{index}", start, events, bench.sandbox)
        finally:
            recorder.close()
    return total
