"""Make a stopped process execute system calls and memory accesses.

``Tracee`` knows what to run and what a stop means, whoever traces; ``Child`` traces a process of
this machine with ptrace(2), and must be driven by the thread that started it. Knows nothing of
traces.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, NamedTuple, NoReturn

from vmatrace.abi import EFAULT, PROT_EXEC, PROT_WRITE, ULONG_MAX
from vmatrace.oracle.arch import Arch
from vmatrace.oracle.errors import SandboxLost, Unavailable

CONT, SINGLESTEP = 7, 9
_SETOPTIONS: Final = 0x4200
_GETEVENTMSG, _GETSIGINFO, _GETREGSET, _SETREGSET = 0x4201, 0x4202, 0x4204, 0x4205
_NT_PRSTATUS: Final = 1
#: PTRACE_O_EXITKILL and PTRACE_O_TRACE{FORK,VFORK,CLONE}: the children of a traced process are
#: traced as well, and the kernel kills all of them when the tracer ends, however it ends. Without
#: PTRACE_O_TRACEEXEC an exec stops at its end and not in its middle.
OPTIONS: Final = 1 << 20 | 0x02 | 0x04 | 0x08
_EVENTS_OF_BIRTH: Final = (1, 2, 3)
_WALL: Final = 0x40000000
_SEGV_CODES: Final = (1, 2, 4)  # SEGV_MAPERR, SEGV_ACCERR, SEGV_PKUERR: the access itself failed
#: An address that no instruction can touch: it has neither 48 nor 57 significant bits.
_NOWHERE: Final = 0x8000_1234_0000_0000


class _Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class _Siginfo(ctypes.Structure):
    _fields_ = [
        ("signo", ctypes.c_int), ("errno", ctypes.c_int), ("code", ctypes.c_int),
        ("pad", ctypes.c_int), ("address", ctypes.c_uint64), ("rest", ctypes.c_char * 104),
    ]  # fmt: skip


_libc = ctypes.CDLL(None, use_errno=True)
_ptrace = _libc.ptrace
_ptrace.restype = ctypes.c_long
_ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def _request(request: int, pid: int, addr: int, data: object) -> None:
    if _ptrace(request, pid, addr, data) == -1:
        raise SandboxLost(f"process {pid} is gone: {os.strerror(ctypes.get_errno())}")


class CallRun(NamedTuple):
    """What a tracee is told to run: from ``program`` on, with ``args`` and ``number`` in registers.

    ``how`` is CONT or SINGLESTEP.
    """

    tracee: Tracee
    how: int
    program: int
    number: int
    args: Sequence[int]


class Tracee(ABC):
    """One stopped process, which runs what it is told to and stops again.

    ``born`` are the processes that the last run has created, by the kernel's pid.
    """

    def __init__(self, pid: int, arch: Arch) -> None:
        self.pid = pid
        self._arch = arch
        self.born: list[int] = []
        self.alive = True

    # --- what it takes to trace -------------------------------------------------------------------

    @abstractmethod
    def _run(self, how: int, program: int, number: int, args: Sequence[int]) -> int:
        """Do a CallRun up to the next stop; the stop's signal. Raises SandboxLost.

        The other registers are those of adopt(). Births on the way are noted.
        """

    @abstractmethod
    def _result(self) -> int:
        """What the call returned that ran last, negative for -errno."""

    @abstractmethod
    def _program_counter(self) -> int:
        """Where it stopped."""

    @abstractmethod
    def _fault_address(self) -> int | None:
        """The address whose access raised the signal of the last stop, None if none did."""

    @abstractmethod
    def adopt(self) -> None:
        """Take the registers of the current stop as the ones that every run starts from."""

    @abstractmethod
    def born_child(self, pid: int) -> Tracee:
        """The process *pid* that the last run created, once it has stopped."""

    @abstractmethod
    def put(self, data: bytes) -> int:
        """Write *data* (below 2 KiB) under the stack pointer; its address. Overwritten next time.

        The write finds the page in place. Raises SandboxLost if an event took the stack away.
        """

    @abstractmethod
    def kill(self) -> None:
        """End the process and reap it."""

    @abstractmethod
    def exit(self, number: int, status: int) -> None:
        """Execute exit_group and wait for the end."""

    # --- what is run ------------------------------------------------------------------------------

    def call(self, number: int, *args: int) -> int:
        """Execute system call *number*; its result, negative for -errno. Raises SandboxLost."""
        stop = self._run(*self.run_of_call(number, args)[1:])
        if stop != signal.SIGTRAP:
            self._not_executed(stop)
        return self._result()

    def run_of_call(self, number: int, args: Sequence[int]) -> CallRun:
        """The one run that call() makes."""
        return CallRun(self, SINGLESTEP, self._arch.syscall_at, number, args)

    def run_of_touch(self, address: int, step: int, count: int, access: int) -> CallRun | None:
        """The one run that touch() makes, None if it takes several."""
        if access & PROT_EXEC:
            return None
        arch = self._arch
        loop = arch.store_at if access & PROT_WRITE else arch.load_at
        return CallRun(self, CONT, loop, 0, (address, step, count))

    def execve(self, number: int, *args: int) -> int:
        """Execute execve: 0 and stopped before the first instruction of the new image, or -errno.

        Both ends are a SIGTRAP: that of an exec under ptrace, or the breakpoint behind the call.
        """
        start = self._arch.syscall_at
        stop = self._run(CONT, start, number, args)
        if stop != signal.SIGTRAP:
            self._not_executed(stop)
        if 0 <= self._program_counter() - start < 16:
            return self._result()
        self.adopt()
        return 0

    def touch(self, address: int, step: int, count: int, access: int) -> int:
        """Access *count* bytes, *step* apart: 0, or -EFAULT at the first that cannot be accessed.

        PROT_WRITE stores a zero, PROT_EXEC fetches an instruction, anything else loads. With
        PROT_EXEC and another access, each page sees the other one first.
        """
        run = self.run_of_touch(address, step, count, access)
        if run is not None:
            return self._loop(run)
        for page in range(address, address + step * count, step):
            first = self.run_of_touch(page, step, 1, access & ~PROT_EXEC)
            if access & ~PROT_EXEC and first is not None and self._loop(first):
                return -EFAULT
            if not self._fetch(page & ULONG_MAX):
                return -EFAULT
        return 0

    def _loop(self, run: CallRun) -> int:
        stop = self._run(*run[1:])
        if stop == signal.SIGTRAP:
            return 0
        if stop not in (signal.SIGSEGV, signal.SIGBUS):
            self._not_executed(stop)
        if stop == signal.SIGSEGV and self._fault_address() == run.program:
            self._not_executed(stop)
        return -EFAULT

    def _fetch(self, address: int) -> bool:
        """Whether the instruction at *address* can be fetched.

        One instruction is executed there, whatever it is, with every register pointing nowhere.
        Only a fault whose address is the instruction's own means that it was not fetched: zeros,
        the usual content, are ``add [rax], al`` on x86, which fails on rax, and ``udf`` on arm64.
        """
        stop = self._run(SINGLESTEP, address, _NOWHERE, [_NOWHERE] * 6)
        if stop not in (signal.SIGSEGV, signal.SIGBUS):
            return True
        failed = self._fault_address()
        # Without an address it is a general protection fault: of the instruction, if that can be
        # anywhere at all, for from 2^47 on lie the addresses that are none.
        return address >> 47 == 0 if failed is None else failed != address

    def _not_executed(self, stop: int) -> NoReturn:
        name = signal.Signals(stop).name
        raise SandboxLost(
            f"the page at {self._arch.syscall_at & ~0xFFF:#x}, from which calls are made, "
            f"is no longer there or no longer executable ({name}): an earlier event took it away"
        )

    def _lost(self, status: int | None = None) -> NoReturn:
        how = "is gone" if status is None else f"ended with wait status {status:#x}"
        raise SandboxLost(f"process {self.pid} of the sandbox {how}")


class Child(Tracee):
    """A process of this machine, traced with ptrace(2)."""

    def __init__(self, pid: int, arch: Arch) -> None:
        super().__init__(pid, arch)
        words = ctypes.c_uint64 * arch.registers
        self._out, self._in = words(), words()
        size = ctypes.sizeof(words)
        self._out_iov = _Iovec(ctypes.addressof(self._out), size)
        self._in_iov = _Iovec(ctypes.addressof(self._in), size)
        self._out_ref, self._in_ref = ctypes.byref(self._out_iov), ctypes.byref(self._in_iov)

    @classmethod
    def first(cls, pid: int, arch: Arch) -> Child:
        """Wait for the spawned image to stop at the exec of itself. Raises Unavailable."""
        _, status = os.waitpid(pid, _WALL)
        check_first_stop(status)
        if _ptrace(_SETOPTIONS, pid, 0, OPTIONS) == -1:
            why = os.strerror(ctypes.get_errno())
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, _WALL)
            raise Unavailable(f"ptrace is not permitted: {why}")
        tracee = cls(pid, arch)
        tracee.adopt()
        return tracee

    def adopt(self) -> None:
        _request(_GETREGSET, self.pid, _NT_PRSTATUS, self._out_ref)
        if self._arch.no_restart is not None:
            # The stop is not to be taken for that of an interrupted call.
            self._out[self._arch.no_restart] = ULONG_MAX

    def born_child(self, pid: int) -> Child:
        os.waitpid(pid, _WALL)
        child = Child(pid, self._arch)
        child.adopt()
        return child

    def put(self, data: bytes) -> int:
        address = under_stack(int(self._out[self._arch.stack_pointer]), data)
        try:
            with open(f"/proc/{self.pid}/mem", "r+b", buffering=0) as memory:
                memory.seek(address)
                memory.write(data)
        except OSError as error:
            raise stack_gone(error.strerror) from None
        return address

    def kill(self) -> None:
        if self.alive:
            self.alive = False
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(self.pid, signal.SIGKILL)
                while not os.WIFSIGNALED(os.waitpid(self.pid, _WALL)[1]):
                    pass

    def exit(self, number: int, status: int) -> None:
        self._prepare(self._arch.syscall_at, number, (status,))
        _request(CONT, self.pid, 0, None)
        _, wait_status = os.waitpid(self.pid, _WALL)
        if os.WIFSTOPPED(wait_status):
            self._not_executed(os.WSTOPSIG(wait_status))
        self.alive = False

    def _run(self, how: int, program: int, number: int, args: Sequence[int]) -> int:
        self._prepare(program, number, args)
        return self._resume(how)

    def _prepare(self, program: int, number: int, args: Sequence[int]) -> None:
        arch, out = self._arch, self._out
        out[arch.program_counter] = program
        out[arch.number] = number
        for register, arg in zip(arch.arguments, args, strict=False):
            out[register] = arg & ULONG_MAX
        if _ptrace(_SETREGSET, self.pid, _NT_PRSTATUS, self._out_ref) == -1:
            self._lost()

    def _result(self) -> int:
        if _ptrace(_GETREGSET, self.pid, _NT_PRSTATUS, self._in_ref) == -1:
            self._lost()
        result = self._in[self._arch.result]
        return result - (1 << 64) if result >> 63 else result

    def _program_counter(self) -> int:
        _request(_GETREGSET, self.pid, _NT_PRSTATUS, self._in_ref)
        return int(self._in[self._arch.program_counter])

    def _fault_address(self) -> int | None:
        info = _Siginfo()
        _request(_GETSIGINFO, self.pid, 0, ctypes.byref(info))
        failed = info.signo == signal.SIGBUS or info.code in _SEGV_CODES
        return int(info.address) if failed else None

    def _resume(self, how: int) -> int:
        """Let it run to its next stop; the stop's signal. Events on the way are noted."""
        pid = self.pid
        while True:
            if _ptrace(how, pid, 0, None) == -1:
                self._lost()
            _, status = os.waitpid(pid, _WALL)
            if status == _TRAPPED:
                return signal.SIGTRAP
            if not os.WIFSTOPPED(status):
                self.alive = False
                self._lost(status)
            event = status >> 16
            if event in _EVENTS_OF_BIRTH:
                message = ctypes.c_ulong()
                _request(_GETEVENTMSG, pid, 0, ctypes.byref(message))
                self.born.append(message.value)
            elif event == 0 and os.WSTOPSIG(status) in _SYNCHRONOUS:
                return os.WSTOPSIG(status)


def check_first_stop(status: int) -> None:
    """Raise Unavailable unless wait status *status*, the first of the image, is a stop."""
    if os.WIFEXITED(status):
        why = os.strerror(os.WEXITSTATUS(status))
        raise Unavailable(f"a child process cannot ask to be traced or run its image: {why}")
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        raise Unavailable(f"the child process was killed by {name} before it could be traced")


def under_stack(stack_pointer: int, data: bytes) -> int:
    """Where Tracee.put() writes *data*."""
    return (stack_pointer - len(data) - 128) & -16


def stack_gone(why: str | None) -> SandboxLost:
    """The error of Tracee.put()."""
    return SandboxLost(f"the stack, through which text is passed, is gone: {why}")


_TRAPPED: Final = signal.SIGTRAP << 8 | 0x7F
_SYNCHRONOUS: Final = frozenset(
    {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP, signal.SIGSYS}
)
