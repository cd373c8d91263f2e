"""Make a stopped process execute system calls and memory accesses.

Knows ptrace(2), wait statuses and the registers of ``arch``; nothing of traces. Every process must
be driven by the thread that started it, as ptrace demands.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from typing import Final, NoReturn

from vmatrace.abi import EFAULT, PROT_EXEC, PROT_WRITE, ULONG_MAX
from vmatrace.oracle.arch import Arch
from vmatrace.oracle.errors import SandboxLost, Unavailable

_CONT, _KILL_OPTIONS, _SINGLESTEP = 7, 0x4200, 9
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


class Tracee:
    """One stopped process. ``start`` adopts it at its first stop, whatever that stop is."""

    def __init__(self, pid: int, arch: Arch) -> None:
        self.pid = pid
        self._arch = arch
        words = ctypes.c_uint64 * arch.registers
        self._out, self._in = words(), words()
        size = ctypes.sizeof(words)
        self._out_iov = _Iovec(ctypes.addressof(self._out), size)
        self._in_iov = _Iovec(ctypes.addressof(self._in), size)
        self._out_ref, self._in_ref = ctypes.byref(self._out_iov), ctypes.byref(self._in_iov)
        #: Processes born of the last call, by kernel pid.
        self.born: list[int] = []
        self.alive = True

    @classmethod
    def first(cls, pid: int, arch: Arch) -> Tracee:
        """Wait for the spawned image to stop at the exec of itself. Raises Unavailable."""
        _, status = os.waitpid(pid, _WALL)
        if os.WIFEXITED(status):
            why = os.strerror(os.WEXITSTATUS(status))
            raise Unavailable(f"a child process cannot ask to be traced or run its image: {why}")
        if os.WIFSIGNALED(status):
            name = signal.Signals(os.WTERMSIG(status)).name
            raise Unavailable(f"the child process was killed by {name} before it could be traced")
        if _ptrace(_KILL_OPTIONS, pid, 0, OPTIONS) == -1:
            why = os.strerror(ctypes.get_errno())
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, _WALL)
            raise Unavailable(f"ptrace is not permitted: {why}")
        tracee = cls(pid, arch)
        tracee.adopt()
        return tracee

    def adopt(self) -> None:
        """Take the registers of the current stop as the ones that every call starts from."""
        _request(_GETREGSET, self.pid, _NT_PRSTATUS, self._out_ref)
        if self._arch.no_restart is not None:
            self._out[self._arch.no_restart] = ULONG_MAX

    def born_child(self, pid: int) -> Tracee:
        """The process *pid* that the last call created, once it has stopped."""
        os.waitpid(pid, _WALL)
        child = Tracee(pid, self._arch)
        child.adopt()
        return child

    def put(self, data: bytes) -> int:
        """Write *data* (below 2 KiB) under the stack pointer; its address. Overwritten next time.

        The write goes through /proc/PID/mem and finds the page in place. Raises SandboxLost if an
        event took the stack away.
        """
        address = (int(self._out[self._arch.stack_pointer]) - len(data) - 128) & -16
        try:
            with open(f"/proc/{self.pid}/mem", "r+b", buffering=0) as memory:
                memory.seek(address)
                memory.write(data)
        except OSError as error:
            raise SandboxLost(
                f"the stack, through which text is passed, is gone: {error}"
            ) from None
        return address

    def kill(self) -> None:
        """End the process and reap it."""
        if self.alive:
            self.alive = False
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(self.pid, signal.SIGKILL)
                while not os.WIFSIGNALED(os.waitpid(self.pid, _WALL)[1]):
                    pass

    def call(self, number: int, *args: int) -> int:
        """Execute system call *number*; its result, negative for -errno. Raises SandboxLost."""
        arch, out, pid = self._arch, self._out, self.pid
        out[arch.program_counter] = arch.syscall_at
        for register, arg in zip(arch.arguments, args, strict=False):
            out[register] = arg & ULONG_MAX
        out[arch.number] = number
        if _ptrace(_SETREGSET, pid, _NT_PRSTATUS, self._out_ref) == -1:
            self._lost()
        status = self._resume(_SINGLESTEP)
        if status != signal.SIGTRAP:
            self._not_executed(status)
        if _ptrace(_GETREGSET, pid, _NT_PRSTATUS, self._in_ref) == -1:
            self._lost()
        result = self._in[arch.result]
        return result - (1 << 64) if result >> 63 else result

    def exit(self, number: int, status: int) -> None:
        """Execute exit_group and wait for the end."""
        self._prepare(self._arch.syscall_at, status, number=number)
        _request(_CONT, self.pid, 0, None)
        _, wait_status = os.waitpid(self.pid, _WALL)
        if os.WIFSTOPPED(wait_status):
            self._not_executed(os.WSTOPSIG(wait_status))
        self.alive = False

    def execve(self, number: int, *args: int) -> int:
        """Execute execve: 0 and stopped before the first instruction of the new image, or -errno.

        Both ends are a SIGTRAP: that of an exec under ptrace, or the breakpoint behind the call.
        """
        arch = self._arch
        self._prepare(arch.syscall_at, *args, number=number)
        stop = self._resume(_CONT)
        if stop != signal.SIGTRAP:
            self._not_executed(stop)
        _request(_GETREGSET, self.pid, _NT_PRSTATUS, self._in_ref)
        if 0 <= self._in[arch.program_counter] - arch.syscall_at < 16:
            return int(self._in[arch.result]) - (1 << 64)
        self.adopt()
        return 0

    def _prepare(self, program: int, *args: int, number: int = 0) -> None:
        arch, out = self._arch, self._out
        out[arch.program_counter] = program
        out[arch.number] = number
        for register, arg in zip(arch.arguments, args, strict=False):
            out[register] = arg & ULONG_MAX
        _request(_SETREGSET, self.pid, _NT_PRSTATUS, self._out_ref)

    def touch(self, address: int, step: int, count: int, access: int) -> int:
        """Access *count* bytes, *step* apart: 0, or -EFAULT at the first that cannot be accessed.

        PROT_WRITE stores (on x86 an ``or`` with 0, which leaves the content alone), PROT_EXEC
        fetches an instruction, anything else loads. With PROT_EXEC and another access, each page
        sees the other one first.
        """
        arch = self._arch
        loop = arch.store_at if access & PROT_WRITE else arch.load_at
        if not access & PROT_EXEC:
            return self._loop(loop, address, step, count)
        for page in range(address, address + step * count, step):
            if access & ~PROT_EXEC and self._loop(loop, page, step, 1):
                return -EFAULT
            if not self._fetch(page & ULONG_MAX):
                return -EFAULT
        return 0

    def _loop(self, program: int, address: int, step: int, count: int) -> int:
        self._prepare(program, address, step, count)
        stop = self._resume(_CONT)
        if stop == signal.SIGTRAP:
            return 0
        if stop not in (signal.SIGSEGV, signal.SIGBUS):
            self._not_executed(stop)
        if stop == signal.SIGSEGV and self._fault_address() == program:
            self._not_executed(stop)
        return -EFAULT

    def _fetch(self, address: int) -> bool:
        """Whether the instruction at *address* can be fetched.

        One instruction is executed there, whatever it is, with every register pointing nowhere.
        Only a fault whose address is the instruction's own means that it was not fetched: zeros,
        the usual content, are ``add [rax], al`` on x86, which fails on rax, and ``udf`` on arm64.
        """
        self._prepare(address, *[_NOWHERE] * 6, number=_NOWHERE)
        stop = self._resume(_SINGLESTEP)
        if stop not in (signal.SIGSEGV, signal.SIGBUS):
            return True
        failed = self._fault_address()
        # Without an address it is a general protection fault: of the instruction, if that can be
        # anywhere at all, for from 2^47 on lie the addresses that are none.
        return address >> 47 == 0 if failed is None else failed != address

    def _fault_address(self) -> int | None:
        """The address whose access raised the signal of the current stop, None if none did."""
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

    def _not_executed(self, stop: int) -> NoReturn:
        name = signal.Signals(stop).name
        raise SandboxLost(
            f"the page at {self._arch.syscall_at & ~0xFFF:#x}, from which calls are made, "
            f"is no longer there or no longer executable ({name}): an earlier event took it away"
        )

    def _lost(self, status: int | None = None) -> NoReturn:
        how = "is gone" if status is None else f"ended with wait status {status:#x}"
        raise SandboxLost(f"process {self.pid} of the sandbox {how}")


_TRAPPED: Final = signal.SIGTRAP << 8 | 0x7F
_SYNCHRONOUS: Final = frozenset(
    {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP, signal.SIGSYS}
)
