"""replay(trace, kernel): feed a trace's items to the model and collect what comes of it.

Knows processes, labels, descriptors, recorded results and expectations; no rule of the kernel and
no word of output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final, cast

from vmatrace import abi
from vmatrace.calls import BIRTHS, DEATHS, EXECS, shares_memory
from vmatrace.diagnostic import Diagnostic, TraceError
from vmatrace.engine import view
from vmatrace.engine.faults import fault
from vmatrace.engine.limits import Limits
from vmatrace.engine.merge import MergeDecision
from vmatrace.engine.mm import Mm
from vmatrace.engine.syscalls import mapping
from vmatrace.engine.world import World
from vmatrace.event import Arg, Event, Expectation, Expr
from vmatrace.kernels import Kernel
from vmatrace.replayer import assumptions, believed
from vmatrace.replayer.assumptions import PLACED
from vmatrace.replayer.expectations import check
from vmatrace.replayer.files import Files
from vmatrace.replayer.handlers import HANDLERS, truncated
from vmatrace.replayer.processes import Processes
from vmatrace.replayer.result import Divergence, ProcessResult, Result, Step
from vmatrace.replayer.special import SpecialCalls
from vmatrace.trace.file import Item, Trace

#: Where a process starts when the trace does not say: x86-64 without randomization.
DEFAULT_MMAP_BASE: Final = 0x7FFFF7FFF000
DEFAULT_BRK: Final = 0x555555559000
#: Calls whose failure is decided elsewhere.
_FOREIGN: Final = BIRTHS | EXECS
_MASK: Final = abi.ULONG_MAX
_BATCH: Final = 64
#: What a call says that would make one VMA too many; mremap says so a little before.
_TOO_MANY: Final = (-abi.ENOMEM, -abi.EAGAIN)
_NEAR_LIMIT: Final = 8
_NO_LIMIT: Final = (1 << 31) - 1


class Replay:
    """One replay of a trace under a kernel model. Make it, then call run() or iterate steps()."""

    def __init__(
        self, trace: Trace, kernel: Kernel, ksm: bool | None = None,
        watch: Callable[[World], None] | None = None,
    ) -> None:  # fmt: skip
        """*ksm* overrides whether the first process starts under KSM-by-default.

        *watch* is called with the World, before anything is done in it.
        """
        self.trace = trace
        self.kernel = kernel
        self.world = self._make_world()
        if watch is not None:
            watch(self.world)
        self.files = Files(trace, kernel)  # what descriptors refer to
        main = self._first_process(ksm)
        self._processes = Processes(main)
        self.alive = self._processes.alive  # the address spaces by process
        self._personas = self._processes.personas
        self._specials = SpecialCalls(kernel, self.files, self._processes)
        self._labels: dict[str, int] = {}
        self._evaluated: tuple[Arg, ...] = ()
        self.unsupported: list[Diagnostic] = []
        self.result = Result(
            trace.name, trace.path, kernel.name, trace.page_size, trace.sysctl.max_map_count,
            description=trace.description, notes=trace.notes,
        )  # fmt: skip
        self._ended: list[ProcessResult] = []
        self._main: Mm | None = None  # the memory of the first process, when that has ended
        self._partial = trace.partial
        self._believing = trace.partial or trace.recorded
        self._forced = bool(ksm)

    def _make_world(self) -> World:
        trace = self.trace
        return World(
            self.kernel,
            trace.page_size,
            trace.sysctl.max_map_count,
            trace.sysctl.overcommit_memory,
            trace.sysctl.mmap_min_addr,
            trace.sysctl.nr_hugepages,
            trace.arch or (None if trace.partial else "x86_64"),
            trace.cpus,
        )

    def _first_process(self, ksm: bool | None) -> Mm:
        start = self.trace.process
        mm = Mm(
            self.world,
            DEFAULT_MMAP_BASE if start.mmap_base is None else start.mmap_base,
            DEFAULT_BRK if start.brk is None else start.brk,
        )
        mm.brk_known = start.brk is not None
        mm.merge_any = start.ksm if ksm is None else ksm
        if start.rlimits:
            mm.limits = Limits.of(start.rlimits)
        view.load(mm, self.trace.maps, self.files.of_mapping)
        if ksm:
            mm.set_mergeable()
        mm.peak_vmas = mm.vmas.count
        return mm

    # --- running -------------------------------------------------------------------------------

    def run(self) -> Result:
        """Replay everything. Raises TraceError for bad input and calls that are not modelled."""
        execute, check_now = self._execute, self._check
        decisions, add = self.world.decisions, self.result.tally.add
        items = self.trace.read()
        # In batches: reading and replaying by turns costs a tenth more.
        while batch := list(islice(items, _BATCH)):
            for item in batch:
                if type(item) is Event:
                    execute(item)
                    if item.first_write is not None:
                        self._write(item.pid, *item.first_write)
                    if decisions:
                        for decision in decisions:
                            add(decision)
                        decisions.clear()
                else:
                    check_now(cast(Expectation, item))
        return self.finish()

    def steps(self, items: Iterable[Item] | None = None) -> Iterator[Step]:
        """Replay event by event; ``result`` is complete when the iterator is exhausted.

        *items* are the trace's, where somebody else reads it (lockstep.Lockstep).
        """
        for item in self.trace.items() if items is None else items:
            if isinstance(item, Expectation):
                self._check(item)
            elif (step := self.step(item)) is not None:
                yield step
        self.finish()

    def feed(self, item: Item) -> int | None:
        """Replay one item; what it returned, None for what is no call, or is not modelled."""
        if isinstance(item, Expectation):
            self._check(item)
            return None
        returned = self._execute(item)
        if item.first_write is not None:
            self._write(item.pid, *item.first_write)
        self._counted()
        return returned

    def step(self, event: Event) -> Step | None:
        """Replay one event; None where it is not modelled, which ``unsupported`` says."""
        world, pid, splits = self.world, event.pid, self.world.splits
        before = self.alive[pid]
        bounds = (before.start_brk, before.brk)
        returned = self._execute(event)
        if returned is None:
            return None
        made = self._counted() if world.decisions else []
        return Step(
            self.result.events - 1, event, pid, returned, made, world.splits - splits,
            self.alive.get(pid, before), self._evaluated if event.symbolic else event.args, bounds,
        )  # fmt: skip

    def _counted(self) -> list[MergeDecision]:
        """The decisions of the event that just ran, now that they are counted."""
        made = self.world.decisions
        if made:
            self.world.decisions = []
            for decision in made:
                self.result.tally.add(decision)
        return made

    def live(self, pid: str) -> Mm | None:
        """The address space of a process, None while there is none of that name."""
        return self._processes.get(pid)

    def process(self, pid: str) -> Mm:
        """The address space of a live process, as it is now."""
        return self._processes[pid]

    def living(self) -> Iterator[tuple[str, Mm]]:
        """The live address spaces, each once, under the first name that it has."""
        return iter(self._processes)

    def names(self) -> Iterator[tuple[str, Mm]]:
        """Every name of a live process or thread, with its address space."""
        return iter(self.alive.items())

    def _execute(self, event: Event) -> int | None:
        """Run one call; its result, or None where it is not modelled (which is noted)."""
        mm = self.alive[event.pid]
        arguments: Any = event.args
        if event.symbolic:
            arguments = self._evaluated = tuple(
                a.evaluate(self._labels) if isinstance(a, Expr) else a for a in arguments
            )
        self.world.event = event
        if self._personas:
            mm.persona = self._personas.get(event.pid, mm.persona)
        name, recorded = event.name, event.recorded
        if self._believing and recorded is not None:
            if recorded < 0 or name == "brk":
                failed = recorded < 0 or arguments[0] not in (0, recorded)
                if failed and name not in _FOREIGN and self._stands(name, recorded):
                    return self._failed(mm, event, arguments, recorded)
                if self._partial and name == "brk" and arguments[0]:
                    self.result.assumed += assumptions.fill_heap(mm, recorded)
            elif self._partial and name in PLACED:
                hit = assumptions.clear(mm, name, arguments, recorded)
                if hit:
                    self.result.cleared += hit
                if name == "mremap":
                    self.result.assumed += assumptions.obstruct(mm, arguments, recorded)
        handler = HANDLERS.get(name)
        result: int | None
        if handler is not None:
            result = handler(mm, arguments, recorded)
        else:
            result = self._call(mm, event, arguments, recorded)
            if result is None:
                return None
        totals = self.result
        if recorded is not None and recorded != result:
            if self._partial:
                result = self._assume(mm, event, arguments, recorded, result)
            if recorded != result:
                totals.diverge(Divergence(totals.events, event, recorded, result))
        totals.events += 1
        if result < 0:
            totals.errors += 1
        if event.label is not None:
            self._labels[event.label] = result
        if mm.vmas.count > mm.peak_vmas:
            mm.peak_vmas = mm.vmas.count
        return result

    def _call(self, mm: Mm, event: Event, arguments: Any, recorded: int | None) -> int | None:
        """Make one call; its result, or None where it is not modelled (which is noted)."""
        name = event.name
        if name == "mmap":
            addr, length, prot, flags, fd, offset = arguments
            file = None if flags & abi.MAP_ANONYMOUS else self.files.of(fd)
            return mapping.mmap(
                mm, addr & _MASK, length & _MASK, prot, flags, file, offset & _MASK, recorded
            )
        handler = HANDLERS.get(name)
        if handler is not None:
            return handler(mm, arguments, recorded)
        return self._special(mm, event, arguments)

    def _write(self, pid: str, start: int, length: int) -> None:
        """Write to memory, as a fault() event does, which nothing is recorded of."""
        totals = self.result
        totals.events += 1
        if fault(self.alive[pid], start, length, abi.PROT_WRITE):
            totals.errors += 1

    def _stands(self, name: str, recorded: int) -> bool:
        """Whether a recorded failure is believed: of a log each, else what a machine refuses."""
        return self._partial or name in believed.ALWAYS or -recorded not in believed.OF_ARGUMENTS

    def _failed(self, mm: Mm, event: Event, arguments: Any, recorded: int) -> int | None:
        """A call that failed, maybe for reasons that the trace does not show."""
        known = len(self.unsupported)
        if self._partial and event.name == "brk":
            self.result.assumed += assumptions.fill_heap(mm, recorded)
        settled = believed.settle(
            mm, event.name, arguments, recorded,
            lambda where: self._call(where, event, arguments, recorded), whole=not self._partial,
        )  # fmt: skip
        if len(self.unsupported) > known:
            return None
        totals = self.result
        if settled.granted:
            totals.believed += 1
            if self._partial and totals.at_limit is None and settled.crowded:
                totals.at_limit = believed.at_limit(mm, event, totals.assumed)
        elif settled.modelled != recorded:
            totals.diverge(Divergence(totals.events, event, recorded, settled.modelled))
        totals.events += 1
        totals.errors += recorded < 0
        if event.label is not None:
            self._labels[event.label] = recorded
        mm.peak_vmas = max(mm.peak_vmas, mm.vmas.count)
        return recorded

    def _assume(
        self, mm: Mm, event: Event, arguments: tuple[object, ...], recorded: int, result: int
    ) -> int:
        """Of a partial trace: make true what the record proves; the result as it is then."""
        if recorded < 0 or result >= 0:
            return result
        again = False
        if result in _TOO_MANY and mm.vmas.count >= self.world.max_map_count - _NEAR_LIMIT:
            self.world.max_map_count = _NO_LIMIT
            self.result.beyond_limit = mm.vmas.count
            again = True
        if needs := assumptions.range_of(event.name, arguments):
            filled = assumptions.fill(mm, *needs)
            self.result.assumed += filled
            again = again or filled > 0
        changed = self._call(mm, event, arguments, recorded) if again else None
        return result if changed is None else changed

    # --- calls that are more than numbers and one address space --------------------------------

    def _special(self, mm: Mm, event: Event, arguments: Any) -> int | None:
        name = event.name
        if name in _FOREIGN and event.recorded is not None and event.recorded < 0:
            return event.recorded  # not the memory's doing: no such program, too many processes
        if name in BIRTHS:
            shared = shares_memory(name, arguments)
            return self._processes.create(event.pid, shared, event.label, event.recorded)
        if name in DEATHS:
            self._exit(event.pid)
            return 0
        if name in EXECS:
            self._execute_image(event)
            return 0
        result = self._specials.make(mm, event, truncated(name, arguments))
        if result is None:
            what = f"prctl option {arguments[0]}" if name == "prctl" else name
            self._not_modelled(event, what)
        return result

    def _not_modelled(self, event: Event, what: str) -> None:
        message = f"{what} is not modelled yet"
        source = " " * (event.column - 1) + event.text
        self.unsupported.append(
            Diagnostic(self.trace.path, event.line, event.column, message, source)
        )

    def _execute_image(self, event: Event) -> None:
        """A new image; what it maps is known where the event holds the layout after it."""
        self._note_peak(self.alive[event.pid])
        mm = self._processes.execute(event.pid)
        if event.maps is not None:
            view.load(mm, event.maps, self.files.of_mapping)
            mm.peak_vmas = mm.vmas.count
            if self._forced and mm.merge_any:  # the layout is that of a run without it
                mm.set_mergeable()

    def _exit(self, pid: str) -> None:
        """A process ends. The first one's last layout is kept: it is what the trace led to.

        Its memory lives on while it has threads.
        """
        if pid == "main":
            self._main = self.alive[pid]
        mm = self._processes.end(pid)
        if mm is not None:
            self._note_peak(mm)
            if mm is self._main:
                self._ended.append(self._outcome("main", mm, exited=True))

    def _note_peak(self, mm: Mm) -> None:
        self.result.past_peak = max(self.result.past_peak, mm.peak_vmas)

    def _outcome(self, pid: str, mm: Mm, exited: bool = False) -> ProcessResult:
        parent = self._processes.parents.get(pid)
        return ProcessResult(pid, view.layout(mm), mm.peak_vmas, exited, view.borders(mm), parent)

    # --- the end -------------------------------------------------------------------------------

    def _check(self, expectation: Expectation) -> None:
        if self.unsupported:
            return
        failures = check(
            expectation, self.kernel, self._processes[expectation.pid], self._labels,
            self.result.tally,
        )  # fmt: skip
        if failures is not None:
            self.result.failures += failures
            self.result.passed += not failures

    def finish(self) -> Result:
        """The result, when every item has been replayed. Raises TraceError."""
        if self.unsupported:
            raise TraceError(self.unsupported)
        self.result.splits = self.world.splits
        self.result.processes = self._ended + [
            self._outcome(pid, mm) for pid, mm in self._processes
        ]
        return self.result


def replay(trace: Trace, kernel: Kernel, ksm: bool | None = None) -> Result:
    """Replay *trace* under *kernel*; *ksm* overrides KSM-by-default at the start.

    Raises TraceError with every error of the trace.
    """
    return Replay(trace, kernel, ksm).run()
