"""Which labels, files and processes exist where.

A process goes by the label of the fork that made it, by the number recorded there, or by both; then
the label is its name. The first process is "main". Knows nothing of memory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from vmatrace import abi
from vmatrace.calls import BIRTHS, DEATHS
from vmatrace.diagnostic import Collector, quoted, suggestion
from vmatrace.event import Arg, Event, Expr, Fd
from vmatrace.trace.values import Values
from vmatrace.trace.yamlstream import Node, position

Position = tuple[int, int]
MAIN: Final = "main"
#: Calls that start or end a process.
LIFECYCLE: Final = BIRTHS | DEATHS


class ProcessNames:
    """The processes created and ended so far in one run through a trace."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {MAIN: MAIN}
        self._doubtful: set[str] = set()
        #: By name, the line of the exit.
        self.ended: dict[str, int] = {}

    def is_name(self, name: str) -> bool:
        return name in self._names

    def normal(self, name: str) -> str:
        """The name that Event.pid holds for the process called *name*."""
        return self._names.get(name, name)

    def unusable(self, name: str) -> str:
        """Why no call can be made by the process called *name*; empty if one can."""
        normal = self._names.get(name)
        if normal is None:
            if name in self._doubtful:
                return ""
            return f"no process {quoted(name)}{suggestion(name, self._names)}"
        if normal in self.ended:
            return f"process {quoted(name)} has ended in line {self.ended[normal]}"
        return ""

    def create(self, label: str | None, number: int | None) -> str:
        """Note a new process. Returns what is wrong with its names, if anything."""
        if number == 0:
            return "the result of a fork is the number of the new process, not 0"
        if number is not None:
            key = str(number)
            if self._names.get(key, MAIN) not in self.ended and key in self._names:
                return f"process {number} exists already"
            name = label or key
            # A number may be used again after its process has ended.
            self.ended.pop(key, None)
            self._names[key] = name
        if label is not None:
            self._names[label] = label
        return ""

    def allow(self, name: str) -> None:
        """Let *name* pass as a process: the call that may have created it was in error."""
        self._doubtful.add(name)

    def end(self, name: str, line: int) -> None:
        self.ended[self._names.get(name, name)] = line


class Names:
    """The names known so far in one run through a trace, whose ``files`` has the keys *files*."""

    def __init__(self, files: Collection[int | str], errors: Collector) -> None:
        self.files = files
        self.errors = errors
        self.processes = ProcessNames()
        self.labels: set[str] = set()

    def forgive(self, label: str) -> None:
        """Let *label* pass from here on: the call that would have bound it was in error."""
        self.labels.add(label)
        self.processes.allow(label)

    def enter(self, event: Event, place: Callable[[int, str], Position]) -> None:
        """Look up the names in *event*; note what it binds and which process it starts or ends.

        *place* gives the position of a name in argument *index*; index -1 is the call itself.
        """
        if problem := self.processes.unusable(event.pid):
            self.errors.add(event.line, event.column, problem)
        if event.symbolic:
            event.args = tuple(self.look_up(i, arg, place) for i, arg in enumerate(event.args))
            event.symbolic = any(isinstance(arg, Expr) for arg in event.args)
        creates = event.name in BIRTHS and not (event.recorded or 1) < 0
        if event.label is not None:
            if self.processes.is_name(event.label) or (creates and event.label in self.labels):
                message = f"label {quoted(event.label)} is taken: a process keeps its name"
                self.errors.add(*place(-1, event.label), message)
                return
            self.labels.add(event.label)
        if creates:
            if problem := self.processes.create(event.label, event.recorded):
                self.errors.add(event.line, event.column, problem)
        elif event.name in DEATHS:
            self.processes.end(event.pid, event.line)

    def look_up(self, index: int, arg: Arg, place: Callable[[int, str], Position]) -> Arg:
        if isinstance(arg, Fd) and isinstance(arg.key, str) and arg.key not in self.files:
            if arg.key in self.labels:
                return Expr(arg.key, arg.key)
            names = [*self.labels, *(key for key in self.files if isinstance(key, str))]
            self.errors.add(
                *place(index, arg.key),
                f"{quoted(arg.key)} is neither in files nor a label bound before"
                f"{suggestion(arg.key, names)}",
            )
        elif isinstance(arg, Expr):
            for name in arg.labels():
                if name not in self.labels:
                    hint = suggestion(name, [*self.labels, *abi.CONSTANTS])
                    message = f"{quoted(name)} is not a label bound before{hint}"
                    self.errors.add(*place(index, name), message)
                    self.labels.add(name)
        return arg

    def pid(self, node: Node | None) -> str:
        """The process that a ``pid`` key names; "main" without one."""
        name = Values(self.errors).text(node, "a process") if node is not None else "main"
        if name is None or node is None:
            return "main"
        if problem := self.processes.unusable(name):
            self.errors.add(*position(node), problem)
            return "main"
        return self.processes.normal(name)
