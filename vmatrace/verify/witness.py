"""A trace on the model and on a witness, event by event: everything compared.

The witness is the running kernel (a Sandbox) or a recording of one. Compared are, after every
event, its result and each VMA of the process that made it, and of a child at its birth. Addresses
and results differ only where the two kernels may: process numbers are the machine's own. Knows
neither where the trace comes from nor what is said about a mismatch.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from vmatrace import abi
from vmatrace.calls import BIRTHS, EXECS
from vmatrace.engine import view
from vmatrace.engine.mm import Mm
from vmatrace.event import Event
from vmatrace.kernels import Kernel
from vmatrace.layout import Layout
from vmatrace.oracle.sandbox import Start
from vmatrace.replayer.result import Step
from vmatrace.replayer.run import Replay
from vmatrace.trace.file import Item, Trace


class Witness(Protocol):
    """What a kernel does with events: vmatrace.oracle.Sandbox has this form, and a recording."""

    start: Start

    def run_event(self, event: Event) -> int:
        """The return value or -errno. Raises OracleError where the event cannot be run."""

    def in_turn(self, events: Iterable[Event]) -> Iterator[Event]:
        """*events* as they are; it may look at those to come."""

    def layout(self, pid: str) -> Layout:
        """The VMAs of process *pid* now."""


@dataclass(frozen=True)
class Mismatch:
    """Where model and kernel part: after event number ``index`` (from 0) of the trace.

    ``field`` is "result" or what of the layout differs first. Layouts are those of process ``pid``.
    """

    index: int
    event: Event
    pid: str
    field: str
    modelled: int
    actual: int
    model_layout: Layout
    kernel_layout: Layout


def starting_at(trace: Trace, start: Start) -> Trace:
    """*trace* with the state *start* as its start."""
    for mapping in start.layout:
        mapping.faulted = mapping.start in start.anonymous
    process = dataclasses.replace(trace.process, brk=start.brk, mmap_base=start.mmap_base)
    return dataclasses.replace(trace, maps=start.layout, process=process)


def program(events: Sequence[Item], like: Trace) -> Trace:
    """A trace of *events* with everything else as in *like*."""
    return dataclasses.replace(like, read=lambda: iter(events))


def compare(trace: Trace, kernel: Kernel, witness: Witness) -> Iterator[Mismatch | None]:
    """One item per event: None where all is equal, else the Mismatch, which ends the iteration.

    *trace* has to start where the witness is (starting_at()). Raises OracleError where the witness
    cannot go on, and TraceError for a call that is not modelled.
    """
    feed = _Feed(trace, witness)
    replay = Replay(dataclasses.replace(trace, read=feed.items), kernel)
    for step in replay.steps():
        feed.pending = False
        if step.executed:
            _restart_heap(replay.process(step.pid), witness.start)
        mismatch = _compare_step(step, replay, feed.actual, witness)
        yield mismatch
        if mismatch is not None:
            return


class ModelSide(NamedTuple):
    """What a model did with an event, and where that is not what the witness did."""

    run: Replay
    step: Step
    mismatch: Mismatch | None


class SideBySide(NamedTuple):
    """What the witness did with an event, and each model: ``layout`` is the caller's after it."""

    actual: int
    layout: Layout
    sides: list[ModelSide]


def beside(trace: Trace, kernels: Sequence[Kernel], witness: Witness) -> Iterator[SideBySide]:
    """As compare(), with several models, and on behind what differs.

    Ends where a model cannot go on: it may lack a process that the witness has.
    """
    once = _Once(witness)
    feed = _Feed(trace, once)
    runs = [Replay(dataclasses.replace(trace, read=_nothing), kernel) for kernel in kernels]
    for event in feed.items():
        if any(run.live(event.pid) is None for run in runs):
            return
        steps = [run.step(event) for run in runs]
        feed.pending = False
        sides = []
        for run, step in zip(runs, steps, strict=True):
            if step is None:
                return
            if step.executed:
                _restart_heap(run.process(step.pid), witness.start)
            sides.append(ModelSide(run, step, _compare_step(step, run, feed.actual, once)))
        ended = sides[0].step.ended
        yield SideBySide(feed.actual, [] if ended else once.layout(event.pid), sides)


def _nothing() -> Iterator[Item]:
    return iter(())


class _Once:
    """A witness that is asked for each layout once an event."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._layouts: dict[str, Layout] = {}
        self.start = witness.start
        self.in_turn = witness.in_turn

    def run_event(self, event: Event) -> int:
        self._layouts.clear()
        return self._witness.run_event(event)

    def layout(self, pid: str) -> Layout:
        found = self._layouts.get(pid)
        if found is None:
            found = self._layouts[pid] = self._witness.layout(pid)
        return found


class _Feed:
    """Gives the model one event at a time, just after the witness has run it.

    So what only the witness knows can go with it: the layout after an execve. ``actual`` is the
    witness's result; ``pending`` says that the model has not yet answered.
    """

    def __init__(self, trace: Trace, witness: Witness) -> None:
        self._trace = trace
        self.witness = witness
        self.actual = 0
        self.pending = False

    def items(self) -> Iterator[Event]:
        run = self.witness.run_event
        items = (item for item in self._trace.items() if isinstance(item, Event))
        bare = (item if item.recorded is None else without_record(item) for item in items)
        for event in self.witness.in_turn(bare):
            if self.pending:  # the call before was not modelled; the replay ends by saying so
                return
            self.actual = run(event)
            self.pending = True
            if event.name in EXECS and self.actual == 0:
                event = copy.copy(event)
                event.maps = self._after_exec(event.pid)
            yield event

    def _after_exec(self, pid: str) -> Layout:
        layout = self.witness.layout(pid)
        for mapping in layout:
            mapping.faulted = mapping.start in self.witness.start.anonymous
        return layout


def without_record(event: Event) -> Event:
    """*event* without its recorded result, which another machine's is not to follow.

    A birth keeps it, because it may be the child's name. An mmap that let the kernel choose, and
    whose result has no label, is given the recorded address as a hint: later events name it.
    """
    if event.name in BIRTHS:
        return event
    recorded = event.recorded
    event = copy.copy(event)
    event.recorded = None
    if event.name == "mmap" and event.args[0] == 0 and event.label is None:
        event.args = (recorded if recorded and recorded > 0 else 0, *event.args[1:])
    return event


def _restart_heap(mm: Mm, start: Start) -> None:
    """The image is the same as at the start and addresses are not random, so the break is, too."""
    mm.start_brk = mm.brk = start.brk
    mm.brk_known = True


def _compare_step(step: Step, replay: Replay, actual: int, witness: Witness) -> Mismatch | None:
    event, modelled = step.event, step.result
    pid = event.pid
    if step.ended:
        if modelled == actual:
            return None
        return Mismatch(step.index, event, pid, "result", modelled, actual, [], [])
    theirs = witness.layout(pid)
    born = event.name in BIRTHS
    if (modelled < 0) != (actual < 0) if born else modelled != actual:
        ours = view.layout(replay.process(pid))
        return Mismatch(step.index, event, pid, "result", modelled, actual, ours, theirs)
    if not _equal(replay.process(pid), theirs):
        return _layouts_differ(step, pid, replay, actual, theirs)
    if step.born is not None:
        # A numbered child is named by the number that the trace recorded, hence the model's.
        child = event.label or str(modelled if event.recorded is not None else actual)
        theirs = witness.layout(child)
        if not _equal(replay.process(step.born), theirs):
            return _layouts_differ(step, step.born, replay, actual, theirs)
    return None


def _layouts_differ(step: Step, pid: str, replay: Replay, actual: int, theirs: Layout) -> Mismatch:
    ours = view.layout(replay.process(pid))
    field = first_difference(ours, theirs)[1]
    return Mismatch(step.index, step.event, pid, field, step.result, actual, ours, theirs)


def _equal(mm: Mm, theirs: Layout) -> bool:
    """Whether view.layout(mm) would equal *theirs*, without making it."""
    if mm.vmas.count != len(theirs):
        return False
    name = view.name
    for vma, mapping in zip(mm.vmas, theirs, strict=True):
        if (
            vma.start != mapping.start
            or vma.end != mapping.end
            or vma.flags != mapping.vm_flags
            or name(mm, vma) != mapping.name
        ):
            return False
        file = vma.file
        in_file = file is not None and not file.special
        if (vma.start + vma.skew & abi.ULONG_MAX if in_file else 0) != mapping.offset:
            return False
    return True


_FIELDS = (
    ("start", "start"), ("end", "end"), ("perms", "perms"), ("offset", "offset"),
    ("name", "name"), ("codes", "VmFlags"), ("vm_flags", "vm_flags"),
)  # fmt: skip


def first_difference(ours: Layout, theirs: Layout) -> tuple[int, str]:
    """Where two layouts differ first, walking them together: the row and the field's name."""
    for i, (a, b) in enumerate(zip(ours, theirs, strict=False)):
        for field, name in _FIELDS:
            if getattr(a, field) != getattr(b, field):
                return i, name
    return min(len(ours), len(theirs)), "number of VMAs"
