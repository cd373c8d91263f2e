"""A sacrificial process with a pristine address space that runs the events of traces.

The process runs an image of one page (``arch``) and is stopped before its first instruction; calls
are injected with ptrace. The other way, a static program that reads calls from a pipe, was not
taken: it needs a stack and a buffer that events could take away, cannot tell a failed access from
its own failure without a signal handler, and has to be followed through fork and exec by other
means; and it would gain little, because reading the layout costs more than the injection.

What a caller has to know:

* Calls are made from the page at ``arch.IMAGE_BASE``; text is passed through the stack. Both are in
  the starting layout. An event that takes the page away (munmap, MAP_FIXED, mprotect) is itself
  observed; the next event of that process raises SandboxLost.
* A new process is made by clone(CLONE_PARENT), so that no SIGCHLD interrupts its parent; vfork by
  clone(CLONE_VM|CLONE_PARENT), and its parent goes on at once. Address spaces see no difference.
* execve executes the image anew, whatever its path says.
* Only the thread that made a sandbox may use it (ptrace).
* Calls that reach beyond the process (MADV_HWPOISON, most prctl options) are Unsupported.

Knows the calls of ``calls.CALLS`` and how to put them to the kernel; knows no rule of any kernel.
"""

from __future__ import annotations

import resource
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import islice
from types import TracebackType
from typing import Final, NamedTuple

from vmatrace import abi
from vmatrace.calls import BIRTHS, DEATHS, EXECS
from vmatrace.event import FIRST, Arg, Event, Expectation, Expr, Fd, File
from vmatrace.layout import Layout
from vmatrace.oracle import arch as archs
from vmatrace.oracle import calls, spawn, uffd
from vmatrace.oracle.errors import SandboxLost, Unavailable, Unsupported
from vmatrace.oracle.files import DESCRIPTORS, ChildFiles
from vmatrace.oracle.machine import Machine, RunningKernel
from vmatrace.oracle.ptrace import CallRun, Tracee
from vmatrace.oracle.smaps import LayoutReader, MappingCache

MAIN: Final = "main"
#: Pages. A fault over more could exhaust the machine's memory.
_MAX_TOUCH: Final = 1 << 18
#: Events that a distant machine is told of at a time.
_FORESEEN: Final = 32
#: More than one run, or one that depends on what was before.
_NOT_FORESEEN: Final = BIRTHS | DEATHS | {
    "execve", "ioctl", "close", "process_madvise", "shmat", "shmdt", "setrlimit", "prlimit64",
    "io_setup",
}  # fmt: skip


def _no_memory(data: bytes) -> int:
    raise Unsupported("what is passed through memory is written just before the call")


class Observation(NamedTuple):
    """What the kernel did with *event*.

    ``result`` is the return value or -errno, for a birth the kernel's pid. ``layout`` is that of
    the process that made the call, right after it; empty when it has ended.
    """

    event: Event
    result: int
    layout: Layout


class Start(NamedTuple):
    """The state of the first process before the first event.

    ``anonymous`` holds the start addresses of the mappings that have anonymous pages, hence an
    anon_vma. ``brk`` in bytes; ``mmap_base`` is where the search for a free range begins.
    """

    layout: Layout
    anonymous: frozenset[int]
    brk: int
    mmap_base: int


class _Process:
    """A traced process and its open smaps. Processes born with CLONE_VM share one address space."""

    __slots__ = ("reader", "tracee")

    def __init__(self, tracee: Tracee, reader: LayoutReader) -> None:
        self.tracee = tracee
        self.reader = reader


class Sandbox:
    """Processes on a machine's kernel that a trace's events are run in; a context manager.

    ``files`` are the trace's files by descriptor or name; ``ksm``: PR_SET_MEMORY_MERGE is inherited
    by the image's exec; ``rlimits`` maps resource.RLIMIT_* to a soft limit; ``machine`` is the
    running kernel unless given, and outlives the sandbox. Raises Unavailable if it cannot do it at
    all, Unsupported if it lacks one of the files.
    """

    def __init__(
        self,
        files: Mapping[int | str, File] | None = None,
        *,
        ksm: bool = False,
        rlimits: Mapping[int, int] | None = None,
        machine: Machine | None = None,
    ) -> None:
        self.machine = machine = machine or RunningKernel()
        machine.ready()
        self._arch = machine.arch
        self._page = machine.page
        self._wanted = (dict(files or {}), ksm, dict(rlimits or {}))
        self._files = ChildFiles(machine)
        self._cache = MappingCache(self._files.names)
        self._segments = machine.segments()
        self._processes: dict[str, _Process] = {}
        self._uffd = uffd.Contexts(
            self.inject, self._inject_everywhere,
            None if machine.is_distant else lambda: self._processes[MAIN].tracee.pid,
        )  # fmt: skip
        #: Results by label: what an expression of a later event may mention.
        self.labels: dict[str, int] = {}
        #: Whether events have set limits, which an exec keeps.
        self._limited = False
        self._pin = machine.pin()
        self._open()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every process of the sandbox. May be called again."""
        self.machine.forget()
        self._uffd.forget()
        for pid in list(self._processes):
            self._end(pid)
        self._segments.close()
        self._pin.release()

    def reset(self) -> None:
        """Go back to the start: one process, in the state ``start``, no labels.

        Takes a fifth of the time of a new sandbox. The files stay as events have left them.
        """
        self.machine.forget()
        self.labels.clear()
        self._uffd.forget()
        for name in [name for name in self._processes if name != MAIN]:
            self._end(name)
        try:
            renewed = self._renew()
        except SandboxLost:
            renewed = False
        if not renewed:
            self._end(MAIN)
            self._limited = False
            self._files = ChildFiles(self.machine)
            self._cache = MappingCache(self._files.names)
            self._open()

    def _renew(self) -> bool:
        """Execute the image anew in the first process; whether nothing tells it from a new one."""
        process = self._processes.get(MAIN)
        if process is None or self._limited:
            return False
        if self.inject("prctl", abi.PR_GET_MDWE, 0, 0, 0, 0) > 0:
            return False
        self.inject("prctl", abi.PR_SET_THP_DISABLE, 0, 0, 0, 0)
        self.inject("prctl", abi.PR_SET_MEMORY_MERGE, int(self._wanted[1]), 0, 0, 0)
        return self._execve(process) == 0 and process.reader.read() == self.start.layout

    def _end(self, pid: str) -> None:
        process = self._processes.pop(pid, None)
        if process is not None:
            process.reader.close()
            process.tracee.kill()

    # --- events ---------------------------------------------------------------------------------

    def run(self, items: Iterable[Event | Expectation]) -> Iterator[Observation]:
        """CallRun each event in its process; expectations are passed over. Raises OracleError."""
        for item in items:
            if isinstance(item, Event):
                result = self.run_event(item)
                yield Observation(item, result, self.layout(item.pid))

    def in_turn(self, events: Iterable[Event]) -> Iterator[Event]:
        """*events*, which the caller runs one by one, each with run_event() and then layout().

        A distant machine is told of those to come whose calls do not depend on others' results.
        """
        if not self.machine.is_distant:
            yield from events
            return
        source = iter(events)
        waiting: deque[Event] = deque()
        told = 0
        while True:
            waiting.extend(islice(source, _FORESEEN - len(waiting)))
            if not waiting:
                return
            if told == 0:
                told = self._foresee(waiting)
            told = max(told - 1, 0)
            yield waiting.popleft()

    def _foresee(self, events: Iterable[Event]) -> int:
        """Tell the machine of *events*, up to one that cannot be foreseen; how many those are."""
        runs: list[CallRun] = []
        unknown: set[str] = set()  # labels that will mean something else
        for event in events:
            run = self._run_of(event, unknown)
            if run is None:
                break
            runs.append(run)
            if event.label is not None:
                unknown.add(event.label)
        if runs:
            self.machine.foresee(runs)
        return len(runs)

    def _run_of(self, event: Event, unknown: Set[str]) -> CallRun | None:
        """What run_event() will have its process run, None where only the time will tell."""
        process, name = self._processes.get(event.pid), event.name
        if process is None or name in _NOT_FORESEEN:
            return None
        for arg in event.args:
            if isinstance(arg, Expr) and not self.labels.keys() - unknown >= set(arg.labels()):
                return None
        try:
            values = [self._value(name, i, arg) for i, arg in enumerate(event.args)]
            if name == "fault":
                touch = self._touch(values)
                return touch and process.tracee.run_of_touch(*touch)
            kernel_name, numbers = calls.arguments(name, values, _no_memory)
        except Unsupported:
            return None
        return process.tracee.run_of_call(self._arch.calls[kernel_name], numbers)

    def run_event(self, event: Event) -> int:
        """CallRun one event without reading the layout; its result, which its label then names."""
        args = event.args
        name = event.label
        if event.name in BIRTHS and name is None and event.recorded is not None:
            name = str(event.recorded)
        process = self._processes.get(event.pid)
        if process is not None:
            process.reader.expect()
        result = self.call(event.name, args, event.pid, name)
        if event.label is not None:
            self.labels[event.label] = result
        return result

    def layout(self, pid: str = MAIN) -> Layout:
        """Every VMA of process *pid* with its VmFlags; empty if the process has ended."""
        process = self._processes.get(pid)
        return [] if process is None else process.reader.read()

    def call(
        self, name: str, args: Sequence[Arg] = (), pid: str = MAIN, child: str | None = None
    ) -> int:
        """Make one call in process *pid*: its return value or -errno.

        ``child`` names the process that the call creates; without it the kernel's pid does.
        """
        process = self._processes.get(pid)
        if process is None:
            raise Unsupported(f"there is no process {pid!r}: it has ended or was never created")
        if name in ("ioctl", "close"):
            return self._userfaultfd(pid, args)
        if pid == MAIN and name in EXECS:
            self._uffd.leave()
        watch = self._uffd.watch
        if watch is None:
            return self._call(name, args, pid, process, child)
        with watch.watching():
            result = self._call(name, args, pid, process, child)
        if name in BIRTHS and result > 0:
            watch.inherit(pid, child or str(result))
        return result

    def _call(
        self, name: str, args: Sequence[Arg], pid: str, process: _Process, child: str | None
    ) -> int:
        values = [
            arg if type(arg) is int else self._value(name, i, arg) for i, arg in enumerate(args)
        ]
        if name == "fault":
            return self._fault(process.tracee, values)
        if name in DEATHS:
            return self._exit(pid, process, values)
        if name in EXECS:
            return self._execve(process)
        if name == "process_madvise":
            return self._process_madvise(process, values)
        self._limited = self._limited or name in ("setrlimit", "prlimit64")
        kernel_name, numbers = calls.arguments(name, values, process.tracee.put)
        result = process.tracee.call(self._arch.calls[kernel_name], *numbers)
        if process.tracee.born:
            self._adopt(process, child)
        return result

    def kernel_pid(self, pid: str = MAIN) -> int:
        """The number that the kernel knows process *pid* by. Raises KeyError."""
        return self._processes[pid].tracee.pid

    def kernel_pids(self) -> list[int]:
        """The numbers of all its processes; any thread may ask."""
        return [p.tracee.pid for p in list(self._processes.values()) if p.tracee.alive]

    def inject(self, name: str, *args: int | str | bytes) -> int:
        """Make one call of the kernel itself in the first process, unchecked.

        One argument at most may be text or bytes; its address is passed.
        """
        tracee = self._processes[MAIN].tracee
        numbers = [
            a
            if isinstance(a, int)
            else tracee.put(a if isinstance(a, bytes) else a.encode() + b"\0")
            for a in args
        ]
        return tracee.call(self._arch.calls[name], *numbers)

    def _value(self, call: str, position: int, arg: Arg) -> int | str:
        key = arg.key if isinstance(arg, Fd) else None
        if call == "shmat" and position == 0 and key is not None:
            return self._segments.identifier(key)
        return calls.number(arg, self.labels, self._descriptor)

    def _descriptor(self, fd: Fd) -> int:
        number = self._files.numbers.get(fd.key)
        if number is None:
            if isinstance(fd.key, int) and fd.path is None:
                return fd.key
            raise Unsupported(f"descriptor {fd} is not among the trace's files")
        return number

    def _fault(self, tracee: Tracee, values: Sequence[int | str]) -> int:
        touch = self._touch(values)
        return 0 if touch is None else tracee.touch(*touch)

    def _touch(self, values: Sequence[int | str]) -> tuple[int, int, int, int] | None:
        """The arguments of Tracee.touch() for a fault, None if it touches nothing."""
        address, length, access = (value for value in values if isinstance(value, int))
        first = address & -self._page
        pages = (address + length - first + self._page - 1) // self._page if length > 0 else 0
        if pages > _MAX_TOUCH:
            raise Unsupported(f"fault: {pages} pages are more than the {_MAX_TOUCH} done here")
        if pages == 0 or not access & (abi.PROT_READ | abi.PROT_WRITE | abi.PROT_EXEC):
            return None
        return first, self._page, pages, access

    def _exit(self, pid: str, process: _Process, values: Sequence[int | str]) -> int:
        status = values[0] if values and isinstance(values[0], int) else 0
        process.tracee.exit(self._arch.calls["exit_group"], status)
        process.reader.close()
        del self._processes[pid]
        return 0

    def _execve(self, process: _Process) -> int:
        path = process.tracee.put(archs.SELF_EXE)
        result = process.tracee.execve(self._arch.calls["execve"], path, 0, 0)
        if result == 0:
            # The descriptor of smaps belongs to the address space that it was opened for.
            process.reader.close()
            process.reader = self.machine.reader(process.tracee, self._cache)
        return result

    def _adopt(self, parent: _Process, name: str | None) -> None:
        for pid in parent.tracee.born:
            tracee = parent.tracee.born_child(pid)
            process = _Process(tracee, self.machine.reader(tracee, self._cache))
            self._end(name or str(pid))  # an older process of that name can no longer be named
            self._processes[name or str(pid)] = process
        parent.tracee.born.clear()

    def _userfaultfd(self, pid: str, args: Sequence[Arg]) -> int:
        """ioctl, and close where there is no request."""
        key = args[0].key if isinstance(args[0], Fd) else args[0]
        assert isinstance(key, (int, str))
        if len(args) == 1:
            return self._uffd.close(pid == MAIN, pid, key)
        _, request, argument = args
        if not isinstance(request, int):
            raise Unsupported(f"ioctl: no way to pass the request {request!r}")
        return self._uffd.ioctl(pid == MAIN, pid, key, request, str(argument))

    def _inject_everywhere(self, name: str, *args: int | str | bytes) -> int:
        """As inject(), in every process, numbers alone."""
        numbers = [a for a in args if isinstance(a, int)]
        for process in self._processes.values():
            process.tracee.call(self._arch.calls[name], *numbers)
        return 0

    def _process_madvise(self, process: _Process, values: list[int | str]) -> int:
        """The pidfd is a process of the trace, by name or number; PIDFD_SELF is negative."""
        numbers, tracee, opened = self._arch.calls, process.tracee, None
        wanted = "main" if values[0] == FIRST else values[0]
        if isinstance(wanted, str) or wanted >= 0:
            alive = self._processes.items()
            pids = [p.tracee.pid for name, p in alive if wanted in (name, p.tracee.pid)]
            if not pids:
                raise Unsupported(f"process_madvise: {wanted!r} is no process of the trace")
            opened = values[0] = tracee.call(numbers["pidfd_open"], pids[0], 0)
        name, args = calls.arguments("process_madvise", values, tracee.put)
        result = tracee.call(numbers[name], *args)
        if opened is not None:
            tracee.call(numbers["close"], opened)
        return result

    # --- preparation ----------------------------------------------------------------------------

    def _open(self) -> None:
        try:
            tracee = self.machine.spawn()
            reader = self.machine.reader(tracee, self._cache)
            self._processes[MAIN] = _Process(tracee, reader)
            self._prepare(*self._wanted)
            self.start = self._observe_start()
        except BaseException:
            self.close()
            raise

    def _prepare(
        self, files: Mapping[int | str, File], ksm: bool, rlimits: Mapping[int, int]
    ) -> None:
        """Give the first process its files and limits, and a new image that starts with them.

        What it has from the caller and an exec does not drop is taken from it.
        """
        process = self._processes[MAIN]
        own = {resource.RLIMIT_STACK: spawn.STACK_LIMIT, resource.RLIMIT_NOFILE: DESCRIPTORS}
        for kind, soft in {**own, **rlimits}.items():
            hard = self.machine.limit(process.tracee.pid, kind)[1]
            if kind == resource.RLIMIT_NOFILE and hard != resource.RLIM_INFINITY:
                soft = min(soft, hard)  # fewer may do
            if hard != resource.RLIM_INFINITY and soft > hard:
                raise Unsupported(f"resource limit {kind}: {soft} is above the hard limit {hard}")
            self.machine.set_limit(process.tracee.pid, kind, soft, hard)
        if files:
            self._files.open(files, self.inject)
        if self.inject("prctl", abi.PR_GET_MDWE, 0, 0, 0, 0) > 0:
            raise Unavailable("PR_SET_MDWE is in force and would be for the sandbox, too")
        self.inject("prctl", abi.PR_SET_THP_DISABLE, 0, 0, 0, 0)
        result = self.inject("prctl", abi.PR_SET_MEMORY_MERGE, int(ksm), 0, 0, 0)
        if ksm and result < 0:
            raise Unsupported("this kernel has no PR_SET_MEMORY_MERGE (CONFIG_KSM, Linux 6.4)")
        if self._execve(process) < 0:
            raise SandboxLost("the image cannot be executed anew: is /proc mounted?")
        if ksm:  # before 6.7, exec forgets it
            self.inject("prctl", abi.PR_SET_MEMORY_MERGE, 1, 0, 0, 0)

    def _observe_start(self) -> Start:
        reader = self._processes[MAIN].reader
        layout = reader.read()
        below_stack = [m.end for m in layout if m.name != "[stack]"]
        return Start(layout, reader.anonymous(), self.inject("brk", 0), max(below_stack))
