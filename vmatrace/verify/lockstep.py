"""Run a trace on the model and on the running kernel, event by event, and compare everything."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vmatrace.engine import view
from vmatrace.engine.replay import Replay
from vmatrace.event import Event
from vmatrace.kernels import Kernel
from vmatrace.layout import Layout
from vmatrace.oracle.sandbox import Sandbox
from vmatrace.trace import Item, Process, Trace


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


def starting_at(trace: Trace, sandbox: Sandbox) -> Trace:
    """*trace* with the sandbox's state as its start."""
    start = sandbox.start
    for mapping in start.layout:
        mapping.faulted = mapping.start in start.anonymous
    process = Process(trace.process.ksm, start.brk, start.mmap_base)
    return dataclasses.replace(trace, maps=start.layout, process=process)


def program(events: Sequence[Item], files: Trace) -> Trace:
    """A trace of *events* with everything else as in *files*."""
    return dataclasses.replace(files, read=lambda: iter(events))


def compare(trace: Trace, kernel: Kernel, sandbox: Sandbox) -> Iterator[Mismatch | None]:
    """One item per event: None where all is equal, else the Mismatch, which ends the iteration.

    *trace* has to start where the sandbox is (starting_at()).
    """
    replay = Replay(trace, kernel)
    for step in replay.steps():
        event = step.event
        actual = sandbox.run_event(event)
        result = step.result
        pids = [event.pid]
        if event.name in _BIRTHS:
            if (result < 0) != (actual < 0):
                yield _mismatch(step.index, event, event.pid, "result", result, actual, [], [])
                return
            pids.append(event.label or str(result))
        elif result != actual:
            ours = view.layout(replay.process(event.pid))
            theirs = sandbox.layout(event.pid)
            yield _mismatch(step.index, event, event.pid, "result", result, actual, ours, theirs)
            return
        if event.name not in _DEATHS:
            for pid in pids:
                ours = view.layout(replay.process(pid))
                theirs = sandbox.layout(pid)
                if ours != theirs:
                    field = first_difference(ours, theirs)
                    yield _mismatch(step.index, event, pid, field, result, actual, ours, theirs)
                    return
        yield None


_BIRTHS = frozenset({"fork", "vfork", "clone", "clone3"})
_DEATHS = frozenset({"exit", "exit_group"})


def _mismatch(
    index: int,
    event: Event,
    pid: str,
    field: str,
    modelled: int,
    actual: int,
    ours: Layout,
    theirs: Layout,
) -> Mismatch:
    return Mismatch(index, event, pid, field, modelled, actual, ours, theirs)


def first_difference(ours: Layout, theirs: Layout) -> str:
    """The name of the first field in which two layouts differ, walking them together."""
    for a, b in zip(ours, theirs, strict=False):
        for field in ("start", "end", "perms", "offset", "name", "codes"):
            if getattr(a, field) != getattr(b, field):
                return "VmFlags" if field == "codes" else field
    return "number of VMAs"
