"""A trace as a C program: each call in C, and what has to hold after it.

Knows what of a trace a program can do for itself, and refuses the rest (UnperformableError); what
every program needs is in runtime.c.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from vmatrace import abi, kernels
from vmatrace.calls import BIRTHS, CALLS, DEATHS, EXECS, shares_memory
from vmatrace.commands.export.spelling import (
    CONSTANT,
    TAKEN,
    arguments,
    comment,
    function,
    harmless,
    is_kernels,
    quoted,
)
from vmatrace.escape import visible
from vmatrace.event import Arg, Event, Expectation, Expr, Fd, format_arg
from vmatrace.kernels import Kernel
from vmatrace.replayer.expectations import applies
from vmatrace.replayer.result import Step
from vmatrace.replayer.run import Replay
from vmatrace.structures import iovec, nodemask, uffdio_range
from vmatrace.trace.file import Trace

_UFFD_MODE: Final = re.compile(r"mode=([A-Z_|0-9x]+)")
_UFFD_API: Final = re.compile(r"features=([A-Z_|0-9x]+)")
#: What a program looks at for a count of a trace; what is not here no program can see.
_SEEN: Final = {"vmas": "mapped", "mergeable": "mergeable()", "peak_vmas": "peak"}


class UnperformableError(Exception):
    """A program of its own cannot do what the trace does; says why."""


@dataclass
class Statement:
    """C of one process at one place; ``titles`` has one for each verdict that it gives."""

    pid: str
    code: list[str]
    titles: list[str] = field(default_factory=list)

    def titled(self, title: str) -> str:
        """One more verdict: its *title* as a C string."""
        self.titles.append(visible(title))
        return quoted(self.titles[-1])


@dataclass
class CProgram:
    """A trace in C: what is to be declared, what opens its files, and its lines in order.

    ``constants`` are all names that need a definition where the C library has none.
    """

    trace: Trace
    kernel: Kernel
    variables: list[str] = field(default_factory=list)
    pids: list[str] = field(default_factory=list)
    lines: list[Statement] = field(default_factory=list)
    constants: dict[str, int] = field(default_factory=dict)
    calls: set[str] = field(default_factory=set)
    #: Descriptors of userfaultfd, and whether the trace asks for their features itself.
    uffds: dict[str, bool] = field(default_factory=dict)
    #: Whether it gives names to anonymous memory, where the model knows them.
    anon_names: bool = False
    #: Whether it fetches instructions from memory of the trace.
    executes: bool = False

    @property
    def tests(self) -> int:
        """How many verdicts the program gives."""
        return sum(len(line.titles) for line in self.lines)


def program(trace: Trace, kernel: Kernel, layouts: bool = False) -> CProgram:
    """*trace* as a program whose checks hold on *kernel*.

    *layouts*: the whole layout of the model is checked after every call, too. Raises TraceError
    for a trace in error, UnperformableError for what no program can do.
    """
    _check_start(trace)
    return _Writer(trace, kernel, layouts).program()


def _check_start(trace: Trace) -> None:
    if trace.partial:
        raise UnperformableError("it is a part of a program's life (a log, or partial: true)")
    if trace.maps:
        raise UnperformableError("it starts with a layout of its own (maps:)")
    if trace.sysctl.max_map_count != 65530:
        raise UnperformableError("it wants another vm.max_map_count, which counts this program too")
    if {"as", "data"} & set(trace.process.rlimits or ()):
        raise UnperformableError("its limits count the memory of this program too")


class _Writer:
    """Writes the lines of one program, beside a replay that knows what has to come of them."""

    def __init__(self, trace: Trace, kernel: Kernel, layouts: bool) -> None:
        self._trace = trace
        self._layouts = layouts
        self._program = CProgram(trace, kernel)
        self._names: dict[str, str] = {}
        #: (first address of the model, end, variable) of what was placed, newest last.
        self._anchors: list[tuple[int, int, str]] = []
        self._peaks = False

    def program(self) -> CProgram:
        """All of it."""
        trace, made = self._trace, self._program
        items = list(trace.items())
        self._peaks = any(
            isinstance(item, Expectation) and "peak_vmas" in item.counts for item in items
        )
        made.pids.append("main")
        replay = Replay(trace, made.kernel)
        for item in items:
            if isinstance(item, Expectation):
                if applies(item, made.kernel):
                    made.lines.append(self._expectation(item))
                continue
            step = replay.step(item)
            if step is None:
                raise UnperformableError(replay.unsupported[0].message)
            made.lines.append(self._event(item, step))
        return made

    # --- calls ---------------------------------------------------------------------------------

    def _event(self, event: Event, step: Step) -> Statement:
        line = Statement(event.pid, [f"/* {comment(event)} */"])
        if event.name in EXECS:
            raise UnperformableError("it replaces its program (execve)")
        if event.name == "close":
            raise UnperformableError("its children would have the descriptor too (close)")
        if event.name == "brk":
            raise UnperformableError("the heap is the C library's (brk)")
        if event.name in DEATHS:
            return line
        if event.name in BIRTHS:
            return self._birth(event, step, line)
        self._program.calls.add(event.name)
        address = CALLS[event.name].result == "addr" and step.result >= 0
        target = "r"
        if event.label is not None:
            target = self._variable(event.label)
        elif address:
            target = self._variable(f"at_{event.line}")
        line.code.append(f"{target} = {self._call(event)};")
        text = line.titled(f"line {event.line}: {event.text}")
        asked = step.args[0] if step.args else 0
        if address and step.result == asked:
            line.code.append(f"address_is({target}, {step.result:#x}, {text});")
        else:
            expected = f"-{abi.ERRNO_NAME[-step.result]}" if step.result < 0 else "0"
            cast = "(long)" if target != "r" else ""
            line.code.append(f"result_is({cast}{target}, {expected}, {text});")
        if address:
            size = step.args[CALLS[event.name].placed or 0]
            length = size if isinstance(size, int) else 0
            chosen = step.result != asked
            self._anchors.append((step.result, step.result + length, target if chosen else ""))
        if self._peaks:
            line.code.append("look();")
        if self._layouts:
            self._layout(line, step)
        return line

    def _birth(self, event: Event, step: Step, line: Statement) -> Statement:
        if shares_memory(event.name, step.args):
            raise UnperformableError("its processes share memory (vfork, CLONE_VM)")
        name = event.label or str(step.result)
        self._program.pids.append(name)
        target = self._variable(event.label or f"child_{event.line}")
        text = line.titled(f"line {event.line}: {event.text}")
        line.code += [
            f"{target} = (unsigned long)fork();",
            f"if (!{target})",
            f"\t{function(name)}();",
            f"result_is((long){target}, 0, {text});",
        ]
        return line

    def _call(self, event: Event) -> str:
        params = CALLS[event.name].params
        written = arguments(event)
        values = []
        for i, arg in enumerate(event.args):
            param = params[i] if i < len(params) else None
            special = self._special(event.name, i, arg)
            if special is not None:
                values.append(special)
            elif event.name == "ioctl" and i == 0:
                values.append(self._uffd(event, arg))
            elif isinstance(arg, Fd) or (param is not None and param.kind == "fd"):
                values.append(self._descriptor(arg))
            elif written is not None:
                values.append(self._renamed(written[i]))
            elif isinstance(arg, (int, Expr)):
                values.append(self._renamed(format_arg(param, arg)))
            else:
                raise UnperformableError(f"{event.name}: no way to write the argument {arg!r} in C")
        if event.name == "fault":
            access = event.args[2]
            self._program.executes |= isinstance(access, int) and bool(access & abi.PROT_EXEC)
            return f"fault({', '.join(values)})"
        return f"CALL({event.name}, {', '.join(values) or '0'})"

    def _special(self, name: str, i: int, arg: Arg) -> str | None:
        """Arguments that are text in a trace and memory in C; None for all others."""
        if not isinstance(arg, str):
            return None
        if name == "prctl" and i == 4:
            self._program.anon_names = self._program.kernel.has(kernels.ANON_VMA_NAME)
            return f"(unsigned long){quoted(arg.strip(chr(34)))}"
        if name == "mbind" and i == 3:
            words = ", ".join(map(str, nodemask(arg)))
            return f"(unsigned long)(unsigned long[]){{ {words} }}" if words else "0"
        if name == "process_madvise" and i == 1:
            parts = iovec(arg)
            inner = ", ".join(f"{{ (void *){base:#x}, {size:#x} }}" for base, size in parts)
            return f"(unsigned long)(struct iovec[]){{ {inner} }}" if parts else "0"
        if name == "ioctl" and i == 2:
            return self._userfaultfd(arg)
        return None

    def _userfaultfd(self, text: str) -> str:
        area, mode = uffdio_range(text), _UFFD_MODE.search(text)
        if area is None:
            features = _UFFD_API.search(text)
            value = self._renamed(features[1]) if features else "0"
            return f"(unsigned long)&(struct uffdio_api){{ .api = 0xaa, .features = {value} }}"
        inner = ", ".join(map(hex, area))
        if mode is None:
            return f"(unsigned long)&(struct uffdio_range){{ {inner} }}"
        return (
            f"(unsigned long)&(struct uffdio_register){{ .range = {{ {inner} }}, "
            f".mode = {self._renamed(mode[1])} }}"
        )

    def _uffd(self, event: Event, arg: Arg) -> str:
        key = arg.key if isinstance(arg, Fd) else arg
        name = "uffd_" + re.sub(r"\W", "_", str(key))
        asks = event.args[1] == abi.UFFDIO_API
        self._program.uffds[name] = self._program.uffds.get(name, False) or asks
        return name

    def _descriptor(self, arg: Arg) -> str:
        if isinstance(arg, Fd):
            if self._trace.file(arg) is None and arg.key not in self._trace.files:
                raise UnperformableError(f"descriptor {arg} is not one of the trace's files")
            return f"fd_{arg.key}"
        if isinstance(arg, int) and arg in self._trace.files:
            return f"fd_{arg}"
        return str(arg)

    def _variable(self, label: str) -> str:
        name = self._names.get(label)
        if name is None:
            name = label if label.isidentifier() and label.isascii() else f"l{len(self._names)}"
            if name in TAKEN or CONSTANT.fullmatch(name) or name.startswith("fd_"):
                name = f"{name}_"
            while name in self._program.variables:
                name += "_"
            self._names[label] = name
            self._program.variables.append(name)
        return name

    def _renamed(self, text: str) -> str:
        """An expression of the trace in C; its constants are noted."""
        for word in CONSTANT.findall(text):
            if word in abi.CONSTANTS:
                self._program.constants[word] = abi.CONSTANTS[word]
        text = re.sub(r"\bNULL\b", "0", text)
        return re.sub(
            r"[A-Za-z_]\w*", lambda found: self._names.get(found[0], found[0]), text
        ) if any(label in text for label in self._names) else text  # fmt: skip

    # --- expectations --------------------------------------------------------------------------

    def _expectation(self, item: Expectation) -> Statement:
        said = harmless(item.name or "expected")
        line = Statement(item.pid, [f"/* {said}, line {item.line} */", "look();"])
        title = f"line {item.line}: {item.name + ': ' if item.name else ''}"
        for what, bound in item.counts.items():
            value = _SEEN.get(what)
            if value is None:
                line.code.append(f"/* {what} {bound}: no program can see them */")
                continue
            text = line.titled(f"{title}{what} {bound}")
            line.code.append(f"count_is({value}, {value} {bound.operator} {bound.value}, {text});")
        if item.maps is not None:
            rows = [
                (self._address(row.start), self._address(row.end), row.perms, row.offset, row.name,
                 row.flags)
                for row in item.maps
            ]  # fmt: skip
            self._maps(line, rows, f"{title}the layout")
        return line

    def _layout(self, line: Statement, step: Step) -> None:
        """The layout of the model after an event, relative to what the kernel placed."""
        rows = [
            (self._relative(m.start), self._relative(m.end), m.perms, None, None, tuple(m.codes))
            for m in step.layout
        ]
        line.code.append("look();")
        self._maps(line, rows, f"line {step.event.line}: the layout after it")

    def _maps(
        self,
        line: Statement,
        rows: Sequence[tuple[str, str, str | None, int | None, str | None, tuple[str, ...] | None]],
        title: str,
    ) -> None:
        text = line.titled(title)
        if not rows:
            line.code.append(f"maps_are(NULL, 0, {text});")
        else:
            line.code.append("{")
            line.code.append("\tconst struct expected wanted[] = {")
            for start, end, perms, offset, name, flags in rows:
                line.code.append(
                    f"\t\t{{ {start}, {end}, {quoted(perms) if perms else 'NULL'}, "
                    f"{-1 if offset is None else offset}, "
                    f"{quoted(name) if name is not None and is_kernels(name) else 'NULL'}, "
                    f"{quoted(' '.join(flags)) if flags is not None else 'NULL'} }},"
                )
            line.code.append("\t};")
            line.code.append("")
            line.code.append(f"\tmaps_are(wanted, {len(rows)}, {text});")
            line.code.append("}")

    def _address(self, value: int | Expr) -> str:
        return self._relative(value) if isinstance(value, int) else self._renamed(value.text)

    def _relative(self, address: int) -> str:
        for start, end, variable in reversed(self._anchors):
            if start <= address <= end and variable:
                return variable if address == start else f"{variable} + {address - start:#x}"
        return hex(address)
