"""What a real kernel does with a trace, as values: each result, each layout, and where it started.

Makes what a replay makes of a trace, without a model: processes are named and numbered as there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from vmatrace.calls import BIRTHS, DEATHS, shares_memory
from vmatrace.event import Event
from vmatrace.kernels import Kernel
from vmatrace.layout import Layout
from vmatrace.oracle import Machine, Sandbox
from vmatrace.replayer.processes import FIRST_CHILD
from vmatrace.trace.file import Trace
from vmatrace.verify import setting
from vmatrace.verify.recording import bare, child_name
from vmatrace.verify.witness import program


class SeenEvent(NamedTuple):
    """What the kernel did with an event: its result, and the caller's layout right after it.

    A birth's result is the number that a replay gives the child. A process that has ended keeps
    its last layout.
    """

    event: Event
    result: int
    layout: Layout


@dataclass
class Observed:
    """``trace`` is the trace as it started there, without recorded results.

    ``processes`` are the layouts at the end, of those that have ended when they did, each address
    space once.
    """

    trace: Trace
    events: list[SeenEvent]
    processes: dict[str, Layout]


def observe(trace: Trace, kernel: Kernel, machine: Machine) -> Observed:
    """Run *trace* on *machine*, whose model is *kernel*.

    Raises Skip, OracleError and KernelDied where it cannot be run to the end, and TraceError.
    """
    machine.ready()
    try:
        knobs = setting.settle(trace, machine)
        setting.check(trace, kernel, machine, knobs)
        with setting.open_sandbox(trace, machine) as sandbox:
            start = setting.begin(trace, sandbox, knobs)
            events = bare([item for item in trace.items() if isinstance(item, Event)])
            watch = _Watch(sandbox)
            done = [watch.run(event) for event in sandbox.in_turn(events)]
            return Observed(program(events, start), done, watch.layouts())
    finally:
        machine.restore_sysctls()


class _Watch:
    """Keeps the layouts of all processes while events are run."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._last: dict[str, Layout] = {"main": sandbox.start.layout}
        #: Who shares an address space has it under the same first name.
        self._space = {"main": "main"}
        self._next = FIRST_CHILD

    def run(self, event: Event) -> SeenEvent:
        result = self._sandbox.run_event(event)
        if event.name in DEATHS:
            return SeenEvent(event, result, self._last[event.pid])
        layout = self._keep(event.pid)
        if event.name in BIRTHS and result > 0:
            name = child_name(event, result)
            shares = shares_memory(event.name, event.args)
            self._space[name] = self._space[event.pid] if shares else name
            self._keep(name)
            recorded = event.recorded
            result = recorded if recorded is not None and recorded > 0 else self._next
            self._next = max(self._next, result) + 1
        return SeenEvent(event, result, layout)

    def _keep(self, pid: str) -> Layout:
        layout = self._last[pid] = self._sandbox.layout(pid)
        return layout

    def layouts(self) -> dict[str, Layout]:
        """The layouts by process, as they are now or were last."""
        found: dict[str, Layout] = {}
        for name, space in self._space.items():
            if name == space:
                found[name] = self._sandbox.layout(name) or self._last[name]
        return found
