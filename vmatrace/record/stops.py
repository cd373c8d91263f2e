"""The stops of traced processes: ptrace(2) requests, and what waitpid(2) says.

Knows wait statuses and registers as the kernel hands them out; nothing of what a call means. The
thread that attaches must make every request.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from vmatrace.oracle.errors import Unavailable

#: How a thread goes on: to the next stop it has anyway, or to the next boundary of a call as well.
CONT, SYSCALL = 7, 24
_SEIZE, _INTERRUPT, _LISTEN, _DETACH = 0x4206, 0x4207, 0x4208, 17
_SETOPTIONS: Final = 0x4200
_GETEVENTMSG, _GETREGSET, _SETREGSET, _GET_SYSCALL_INFO = 0x4201, 0x4204, 0x4205, 0x420E
_NT_PRSTATUS: Final = 1
#: PTRACE_O_TRACE{SYSGOOD,FORK,VFORK,CLONE,EXEC,EXIT,SECCOMP}.
OPTIONS: Final = 0x01 | 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80
#: The one of them for stops at the end.
AT_EXIT: Final = 0x40
#: The kernel kills what is traced when the tracer is gone.
EXITKILL: Final = 1 << 20
FORK, VFORK, CLONE, EXEC, EXIT, SECCOMP, STOP = 1, 2, 3, 4, 6, 7, 128
BIRTHS: Final = (FORK, VFORK, CLONE)
#: The signal of a stop at a boundary of a call.
AT_CALL: Final = signal.SIGTRAP | 0x80
#: Wait statuses of a stop at a boundary of a call, and at one that the filter names.
CALL_STATUS: Final = AT_CALL << 8 | 0x7F
FILTER_STATUS: Final = SECCOMP << 16 | signal.SIGTRAP << 8 | 0x7F
#: ``op`` of ptrace_syscall_info.
ENTRY, LEAVE, FILTERED = 1, 2, 3
_WALL: Final = 0x40000000
#: Seconds after which it is looked for signals again, and between two looks while there is a limit.
_AGAIN, _SOON = 0.1, 0.001

_libc = ctypes.CDLL(None, use_errno=True)
_ptrace = _libc.ptrace
_ptrace.restype = ctypes.c_long
_ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

# struct ptrace_syscall_info: op and arch, ip, sp, then number and arguments, or the result.
_info = ctypes.create_string_buffer(96)
_info_size, _info_at = ctypes.sizeof(_info), ctypes.addressof(_info)
_entered = struct.Struct("=B3xI16xQ6Q").unpack_from
_left = struct.Struct("=B23xq").unpack_from
_status = ctypes.c_int()
_status_at = ctypes.addressof(_status)
_waitpid = _libc.waitpid
_waitpid.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
_message = ctypes.c_ulong()
_message_at = ctypes.addressof(_message)


class Gone(Exception):  # noqa: N818 - it states a fact
    """The thread is no longer there, or no longer stopped: somebody killed it."""


def seize(pid: int, options: int) -> None:
    """Trace the running thread *pid*. Raises Unavailable."""
    if _ptrace(_SEIZE, pid, 0, options) == -1:
        why = os.strerror(ctypes.get_errno())
        raise Unavailable(f"process {pid} cannot be traced (is it yours?): {why}")


def set_options(tid: int, options: int) -> None:
    """Change what a stopped thread stops at."""
    _ptrace(_SETOPTIONS, tid, 0, options)


def resume(tid: int, how: int, sig: int = 0) -> None:
    """Let a stopped thread go on; it may have been killed meanwhile."""
    _ptrace(how, tid, 0, sig)


def listen(tid: int) -> None:
    """Leave a thread in the job-control stop that it is in."""
    _ptrace(_LISTEN, tid, 0, 0)


def interrupt(tid: int) -> None:
    """Make a running thread stop."""
    _ptrace(_INTERRUPT, tid, 0, 0)


def detach(tid: int, sig: int = 0) -> bool:
    """Let a stopped thread go on untraced; whether it was stopped."""
    return bool(_ptrace(_DETACH, tid, 0, sig) != -1)


def message(tid: int) -> int:
    """What the event of the current stop is about. Raises Gone."""
    if _ptrace(_GETEVENTMSG, tid, 0, _message_at) == -1:
        raise Gone
    return _message.value


def call(tid: int) -> tuple[int, int, int, tuple[int, ...]]:
    """At a call: op, AUDIT_ARCH, number, six arguments. Raises Gone."""
    if _ptrace(_GET_SYSCALL_INFO, tid, _info_size, _info_at) <= 0:
        raise Gone
    values = _entered(_info)
    return values[0], values[1], values[2], values[3:]


def is_stopped(tid: int) -> bool:
    """Whether a thread that stopped at a call is still there."""
    return bool(_ptrace(_GET_SYSCALL_INFO, tid, _info_size, _info_at) > 0)


def result(tid: int) -> tuple[int, int]:
    """At a call's boundary: op, and at its end the result, -errno for a failure. Raises Gone."""
    if _ptrace(_GET_SYSCALL_INFO, tid, _info_size, _info_at) <= 0:
        raise Gone
    op, value = _left(_info)
    return op, value


def at(tid: int) -> int:
    """Where in a call a stopped thread is: ENTRY, LEAVE, FILTERED, or 0. Raises Gone."""
    if _ptrace(_GET_SYSCALL_INFO, tid, _info_size, _info_at) <= 0:
        raise Gone
    return _info.raw[0]


def registers(tid: int, count: int) -> list[int]:
    """The *count* words of NT_PRSTATUS. Raises Gone."""
    words = (ctypes.c_uint64 * count)()
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(words), ctypes.sizeof(words))
    if _ptrace(_GETREGSET, tid, _NT_PRSTATUS, ctypes.addressof(vector)) == -1:
        raise Gone
    return list(words)


def set_registers(tid: int, values: list[int]) -> None:
    """Set all words of NT_PRSTATUS. Raises Gone."""
    words = (ctypes.c_uint64 * len(values))(*values)
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(words), ctypes.sizeof(words))
    if _ptrace(_SETREGSET, tid, _NT_PRSTATUS, ctypes.addressof(vector)) == -1:
        raise Gone


def register(tid: int, index: int, count: int) -> int:
    """Register *index* of the *count* in NT_PRSTATUS, signed. Raises Gone."""
    value = registers(tid, count)[index]
    return value - (1 << 64) if value >> 63 else value


def _nothing() -> None:
    pass


class Waiter:
    """Waits for stops and for signals to this process, in one place, so that none gets lost.

    While it is open, *signals* are seen by ``next`` alone; those that are ignored stay ignored.
    """

    def __init__(self, signals: frozenset[signal.Signals]) -> None:
        self._signals = signals
        #: The signals that were blocked before, and of ours those that were ignored.
        self.before: set[int] = set()
        self.ignored: set[int] = set()
        #: Whether to go on waiting when there is nobody to wait for.
        self.patient: Callable[[], bool] = bool
        #: Whether there is something to do while nobody stops, and what does a little of it.
        self.more: Callable[[], bool] = bool
        self.meanwhile: Callable[[], None] = _nothing
        #: What is called about every tenth of a second while next() has no limit.
        self.late: Callable[[], None] = _nothing
        self._due = False
        self._caught: deque[int] = deque()
        self._handlers: dict[signal.Signals, Any] = {}
        self._timer = (0.0, 0.0)

    def __enter__(self) -> Waiter:
        for sig in self._signals:
            if signal.getsignal(sig) != signal.SIG_IGN:
                self._handlers[sig] = signal.signal(sig, lambda got, _: self._caught.append(got))
        # Who started us may have it ignored; then ends would not be reported. By default a stop
        # sends no signal at all.
        self._handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._handlers[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._tick)
        self.ignored = {sig for sig, was in self._handlers.items() if was == signal.SIG_IGN}
        self.before = set(signal.pthread_sigmask(signal.SIG_UNBLOCK, set(self._handlers)))
        # A signal right before waitpid() would not end it: the next of these does.
        self._timer = signal.setitimer(signal.ITIMER_REAL, _AGAIN, _AGAIN)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, *self._timer)
        for sig, handler in self._handlers.items():
            signal.signal(sig, handler or signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.before)

    def _tick(self, *_: object) -> None:
        self._due = True

    def next(self, seconds: float | None = None) -> tuple[int, int]:
        """(thread, wait status) of the next stop or end; (0, signal) for a signal to us.

        (0, 0) when nobody is left to wait for, or after *seconds* without anything.
        """
        if seconds is not None:
            return self._next_within(seconds)
        while True:
            while self._caught:
                return 0, self._caught.popleft()
            if self._due:
                self._due = False
                self.late()
            pid = _waitpid(-1, _status_at, _WALL | os.WNOHANG if self.more() else _WALL)
            if pid > 0:
                return pid, _status.value
            if pid == 0:
                self.meanwhile()
            if pid < 0 and ctypes.get_errno() == errno.ECHILD:
                if not self.patient():
                    return 0, 0
                time.sleep(_AGAIN)

    def _next_within(self, seconds: float) -> tuple[int, int]:
        end = time.monotonic() + seconds
        while True:
            if self._caught:
                return 0, self._caught.popleft()
            pid = _waitpid(-1, _status_at, _WALL | os.WNOHANG)
            if pid > 0:
                return pid, _status.value
            left = end - time.monotonic()
            if left <= 0 or (pid < 0 and not self.patient()):
                return 0, 0
            time.sleep(min(left, _SOON))

    def reap(self, pid: int) -> None:
        """Wait for a child that was killed."""
        with contextlib.suppress(ChildProcessError):
            while os.WIFSTOPPED(os.waitpid(pid, _WALL)[1]):
                pass
