"""A process that a program drives, call by call: ``Process``.

Each method is a call of the table with the parameters of its man page. It goes through the replayer
as an event of a trace would, and the trace of all that was called is at hand.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Union, overload

from vmatrace import kernels
from vmatrace.api import Following, KernelLike, explain, kernel, layout_after
from vmatrace.calls import CALLS, Param
from vmatrace.engine import view
from vmatrace.event import FIRST, Arg, Event, Fd, File, format_call
from vmatrace.kernels import Kernel
from vmatrace.layout import Layout, parse_layout
from vmatrace.replayer.result import Step
from vmatrace.replayer.run import Replay
from vmatrace.trace.callstring import CallError, CallParser
from vmatrace.trace.file import Trace

if TYPE_CHECKING:
    from vmatrace.commands.explain.question import Account, Overview

#: A number, or as text what a trace has there: ``"PROT_READ|PROT_WRITE"``, ``"3*PAGE_SIZE"``.
Value = Union[int, str]
#: Ranges of memory: address and length of each, in bytes.
Ranges = Sequence[tuple[int, int]]


class _Machine:
    """What all processes of one family share: the replay, and the events so far."""

    def __init__(self, start: Trace, model: Kernel) -> None:
        self.start = start
        self.kernel = model
        self.events: list[Event] = []
        self.files: dict[int | str, File] = {}
        self.children = 0
        self.parser = CallParser(start.page_size)
        self.replay = Replay(start, model)
        self._following = Following(self.replay)
        self._last: Step | None = None

    def trace(self) -> Trace:
        """Everything that was called so far."""
        start, state = self.start, self.start.process
        process: dict[str, object] = {"ksm": state.ksm, "rlimits": state.rlimits}
        process |= {k: v for k in ("brk", "mmap_base") if (v := getattr(state, k)) is not None}
        knobs = {name: getattr(start.sysctl, name) for name in start.sysctl.__dataclass_fields__}
        return Trace.of(
            self.events, name=start.name, kernel=start.kernel, page_size=start.page_size,
            sysctl=knobs, process=process, files=self.files, maps=start.maps,
        )  # fmt: skip

    def do(self, event: Event) -> Step:
        """Make one call. Raises NotImplementedError where it is not modelled."""
        step = self.replay.step(event)
        if step is None:
            raise NotImplementedError(self.replay.unsupported.pop().message)
        if self._last is not None:
            self._last.past = partial(self._layout_after, self._last.index)
        self.events.append(event)
        self._following.see(step)
        self._last = step
        return step

    def _layout_after(self, index: int) -> Layout:
        return layout_after(self.trace(), self.kernel, None, index)


class Process:
    """A process under a kernel model, as a test or a notebook drives it.

    Every call of a trace is a method with the parameters of its man page. Numbers may be ints
    (those of the modules mmap and ``vmatrace.abi``) or text as in a trace; None is NULL. A call
    returns what the kernel would, fork() and its kind a Process; one that fails raises OSError with
    its ``errno``. ``pid`` is "main" for the first process.
    """

    def __init__(
        self,
        kernel: KernelLike = kernels.DEFAULT,
        *,
        ksm: bool = False,
        maps: str | Layout | None = None,
        page_size: int = 4096,
        brk: int | None = None,
        mmap_base: int | None = None,
        rlimits: Mapping[str, int] | None = None,
        sysctl: Mapping[str, int] | None = None,
    ) -> None:
        """*ksm*: KSM by default is in force. *maps*, text of maps or smaps or a Layout, is what is
        there at the start; the other keywords are keys of a trace file. Raises UnknownKernel, and
        TraceError for a bad keyword.
        """
        process: dict[str, object] = {"ksm": ksm, "brk": brk, "mmap_base": mmap_base}
        process["rlimits"] = rlimits
        given = {key: value for key, value in process.items() if value is not None}
        start = Trace.of(
            (), name="process", page_size=page_size, sysctl=sysctl, process=given, maps=maps
        )
        self.pid = "main"
        #: The number that fork() returned for it.
        self.number = FIRST
        self._machine = _Machine(start, _kernel(kernel))
        self._last: Step | None = None
        self._ended = False

    def _child(self, pid: str, number: int) -> Process:
        child = Process.__new__(Process)
        child.pid, child.number = pid, number
        child._machine, child._last, child._ended = self._machine, None, False
        return child

    def __repr__(self) -> str:
        name = self._machine.kernel.name
        return f"<Process {self.pid} under {name}: {len(self.vmas)} VMAs>"

    # --- what there is --------------------------------------------------------------------------

    @property
    def kernel(self) -> Kernel:
        """The model that it runs under."""
        return self._machine.kernel

    @property
    def vmas(self) -> Layout:
        """Its VMAs as /proc/PID/smaps shows them; none when it has ended."""
        return [] if self._ended else view.layout(self._machine.replay.process(self.pid))

    @property
    def last(self) -> Step | None:
        """What its last call did, also one that failed; None before the first."""
        return self._last

    @property
    def trace(self) -> Trace:
        """All calls so far, of its whole family, as a trace that leads to the same."""
        return self._machine.trace()

    @overload
    def why(self, address: Value, *, models: bool = True) -> Account: ...

    @overload
    def why(self, address: None = None, *, models: bool = True) -> Overview: ...

    def why(self, address: Value | None = None, *, models: bool = True) -> Account | Overview:
        """What is at *address*, how it came to be, and why it is not one with its neighbours;
        without *address*, of every border. Parameters and errors are those of explain().
        """
        trace, model = self.trace, self.kernel
        if address is None:
            return explain(trace, None, model, process=self.pid, models=models)
        return explain(trace, address, model, process=self.pid, models=models)

    def open(self, path: str, fs: str = "ext4", mode: str = "rw", size: int | None = None) -> int:
        """A descriptor of the file *path*, for mmap() and (of /SYSV…) shmat().

        *fs* is its file system, "legacy" or "mmap_prepare"; *size* in bytes, None: large enough.
        Every open() is a file of its own: two mappings of one path merge only through one of them.
        Raises TraceError for an unknown *fs* or *mode*.
        """
        machine = self._machine
        number = len(machine.files) + 3
        known = Trace.of((), files={number: File(path, fs, mode, size)}).files
        machine.files[number] = known[number]
        return number

    # --- memory calls ---------------------------------------------------------------------------

    def mmap(
        self, addr: Value | None, length: Value, prot: Value, flags: Value, fd: int = -1,
        offset: Value = 0,
    ) -> int:  # fmt: skip
        """Map memory; its address."""
        return self._do("mmap", addr, length, prot, flags, fd, offset)

    def munmap(self, addr: Value, length: Value) -> int:
        """Unmap memory."""
        return self._do("munmap", addr, length)

    def mprotect(self, addr: Value, len: Value, prot: Value) -> int:
        """Change what may be done with memory."""
        return self._do("mprotect", addr, len, prot)

    def pkey_mprotect(self, addr: Value, len: Value, prot: Value, pkey: int) -> int:
        """mprotect() with a protection key."""
        return self._do("pkey_mprotect", addr, len, prot, pkey)

    def mremap(
        self, old_address: Value, old_size: Value, new_size: Value, flags: Value = 0,
        new_address: Value | None = None,
    ) -> int:  # fmt: skip
        """Move or resize a mapping; its address."""
        more = () if new_address is None else (new_address,)
        return self._do("mremap", old_address, old_size, new_size, flags, *more)

    def madvise(self, addr: Value, length: Value, advice: Value) -> int:
        """Advise how memory will be used."""
        return self._do("madvise", addr, length, advice)

    def process_madvise(
        self, pidfd: int | Process, iovec: Ranges | str, vlen: Value | None = None,
        advice: Value = 0, flags: int = 0,
    ) -> int:  # fmt: skip
        """madvise() on ranges of a process, which stands for its descriptor."""
        who = pidfd.number if isinstance(pidfd, Process) else pidfd
        count = 1 if isinstance(iovec, str) else len(iovec)
        text = iovec if isinstance(iovec, str) else _iovec(iovec)
        return self._do(
            "process_madvise", who, text, count if vlen is None else vlen, advice, flags
        )

    def brk(self, addr: Value | None = None) -> int:
        """Move the end of the heap; where it is now, which does not change on failure."""
        return self._do("brk", addr)

    def mlock(self, addr: Value, len: Value) -> int:
        """Lock memory."""
        return self._do("mlock", addr, len)

    def mlock2(self, addr: Value, len: Value, flags: Value = 0) -> int:
        """Lock memory, maybe on fault."""
        return self._do("mlock2", addr, len, flags)

    def munlock(self, addr: Value, len: Value) -> int:
        """Unlock memory."""
        return self._do("munlock", addr, len)

    def mlockall(self, flags: Value) -> int:
        """Lock all memory, now or in future."""
        return self._do("mlockall", flags)

    def munlockall(self) -> int:
        """Unlock all memory."""
        return self._do("munlockall")

    def mseal(self, addr: Value, len: Value, flags: int = 0) -> int:
        """Seal memory."""
        return self._do("mseal", addr, len, flags)

    def msync(self, addr: Value, length: Value, flags: Value) -> int:
        """Write memory back to its file."""
        return self._do("msync", addr, length, flags)

    def remap_file_pages(
        self, addr: Value, size: Value, prot: Value = 0, pgoff: Value = 0, flags: Value = 0
    ) -> int:
        """Map another part of the file in place."""
        return self._do("remap_file_pages", addr, size, prot, pgoff, flags)

    def mbind(
        self, addr: Value, len: Value, mode: Value, nodemask: int | str = 0, maxnode: int = 0,
        flags: Value = 0,
    ) -> int:  # fmt: skip
        """Set the NUMA policy of memory; *nodemask* is text such as "[0x1]", or 0."""
        return self._do("mbind", addr, len, mode, nodemask, maxnode, flags)

    def set_mempolicy_home_node(
        self, start: Value, len: Value, home_node: int, flags: int = 0
    ) -> int:
        """Set the home node of a NUMA policy that memory has."""
        return self._do("set_mempolicy_home_node", start, len, home_node, flags)

    def io_setup(self, nr_events: int, ctx_idp: str = "NULL") -> int:
        """Map the ring of an AIO context; 0, and the ring is among the ``vmas``."""
        return self._do("io_setup", nr_events, ctx_idp)

    def io_destroy(self, ctx_id: Value) -> int:
        """Unmap the ring at *ctx_id*."""
        return self._do("io_destroy", ctx_id)

    def shmat(self, shmid: int, shmaddr: Value | None = None, shmflg: Value = 0) -> int:
        """Attach a segment of shared memory, which open() gave; its address."""
        return self._do("shmat", shmid, shmaddr, shmflg)

    def shmdt(self, shmaddr: Value) -> int:
        """Detach a segment of shared memory."""
        return self._do("shmdt", shmaddr)

    def prctl(
        self, option: Value, arg2: Value = 0, arg3: Value = 0, arg4: Value = 0, arg5: Value = 0
    ) -> int:
        """Control the process: PR_SET_MEMORY_MERGE, PR_SET_VMA, PR_SET_MDWE and such."""
        return self._do("prctl", option, arg2, arg3, arg4, arg5)

    def personality(self, persona: Value) -> int:
        """Set the execution domain, of which READ_IMPLIES_EXEC counts; what it was before."""
        return self._do("personality", persona)

    def setrlimit(self, resource: Value, rlim: str) -> int:
        """Set a limit of calls.LIMITED; *rlim* is ``{rlim_cur=…, rlim_max=…}``."""
        return self._do("setrlimit", resource, rlim)

    def prlimit64(
        self, pid: int | Process, resource: Value, new_limit: str = "NULL", old_limit: str = "NULL"
    ) -> int:
        """setrlimit() of any process, 0 for this one."""
        who = pid.number if isinstance(pid, Process) else pid
        return self._do("prlimit64", who, resource, new_limit, old_limit)

    def ioctl(self, fd: int, request: Value, argp: str) -> int:
        """UFFDIO_REGISTER or UFFDIO_UNREGISTER on the userfaultfd *fd*, any number.

        *argp* is the structure as strace prints it.
        """
        return self._do("ioctl", fd, request, argp)

    def close(self, fd: int) -> int:
        """Close the last descriptor of the userfaultfd *fd*: it watches nothing any more."""
        return self._do("close", fd)

    def fault(self, addr: Value, length: Value = 1, access: Value = "PROT_WRITE") -> int:
        """Access each page of the range once; raises OSError (EFAULT) where a signal would come."""
        return self._do("fault", addr, length, access)

    # --- processes ------------------------------------------------------------------------------

    def fork(self) -> Process:
        """A child with a copy of the memory."""
        return self._birth("fork")

    def vfork(self) -> Process:
        """A child that shares the memory."""
        return self._birth("vfork")

    def clone(self, flags: Value) -> Process:
        """A child or, with CLONE_VM, a thread."""
        return self._birth("clone", flags)

    def clone3(self, cl_args: str) -> Process:
        """The same; *cl_args* is the structure as strace prints it, ``{flags=CLONE_VM, …}``."""
        return self._birth("clone3", cl_args)

    def execve(self, pathname: str, *, maps: str | Layout | None = None) -> int:
        """Execute a program; *maps* is what it maps, as text of maps or smaps or as a Layout."""
        layout = parse_layout(maps) if isinstance(maps, str) else maps
        return self._do("execve", pathname, maps=layout)

    def exit(self, status: int = 0) -> int:
        """End the process. Its calls raise ProcessLookupError from then on."""
        return self._end("exit", status)

    def exit_group(self, status: int = 0) -> int:
        """The same."""
        return self._end("exit_group", status)

    # --- how ------------------------------------------------------------------------------------

    def _birth(self, name: str, *given: Value) -> Process:
        machine = self._machine
        machine.children += 1
        label = f"child{machine.children}"
        return self._child(label, self._do(name, *given, label=label))

    def _end(self, name: str, status: int) -> int:
        result = self._do(name, status)
        self._ended = True
        return result

    def _do(
        self, name: str, *given: Value | None, label: str | None = None, maps: Layout | None = None
    ) -> int:
        if self._ended:
            raise ProcessLookupError(errno.ESRCH, "the process has ended", self.pid)
        params = CALLS[name].params
        pairs = zip(params, given, strict=False)
        args = tuple(self._argument(name, param, value) for param, value in pairs)
        text = format_call(name, args)
        event = Event(name, args, text, len(self._machine.events) + 1, 1, self.pid, label)
        event.maps = maps
        step = self._machine.do(event)
        self._last = step
        if step.result < 0:
            raise OSError(-step.result, os.strerror(-step.result), text)
        return step.result

    def _argument(self, name: str, param: Param, value: Value | None) -> Arg:
        """What the event holds. Raises TypeError, ValueError."""
        if value is None:
            return 0
        if isinstance(value, int):
            file = self._machine.files.get(value) if param.kind == "fd" else None
            return value if file is None else Fd(value, None, file)
        if not isinstance(value, str):
            kind = type(value).__name__
            raise TypeError(f"{name}(): {param.name}: expected int, text or None, not {kind}")
        if param.kind in ("text", "any"):
            return value
        try:
            found = self._machine.parser.argument(param, value)
        except CallError as error:
            raise ValueError(f"{name}(): {param.name}: {error.message}") from None
        if not isinstance(found, int):
            raise ValueError(f"{name}(): {param.name}: {value!r} is no number and no constant")
        return found


def _iovec(ranges: Ranges) -> str:
    """As strace prints it."""
    each = (f"{{iov_base={start:#x}, iov_len={length:#x}}}" for start, length in ranges)
    return f"[{', '.join(each)}]"


def _kernel(name: KernelLike) -> Kernel:
    return kernel(name)
