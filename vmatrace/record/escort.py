"""Who goes on without us: a process that was recorded and carries our filter.

The filter makes calls fail that have no tracer to ask. So a second one is put on it, which asks a
listener instead, and that outranks the first (seccomp(2): SECCOMP_RET_USER_NOTIF before
SECCOMP_RET_TRACE); the listener, a thread of this program, lets every call pass. It has to be there
as long as such a process lives.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import threading
from typing import Final

from vmatrace.record.borrow import PAGE, Borrowed
from vmatrace.record.filter import SyscallTable, program

#: SECCOMP_FILTER_FLAG_TSYNC, _NEW_LISTENER and _TSYNC_ESRCH: for all threads, or none.
_FLAGS: Final = 1 | 8 | 16
_USER_NOTIF: Final = 0x7FC00000
_RECV, _SEND = 0xC0502100, 0xC0182101
_CONTINUE: Final = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE

_libc = ctypes.CDLL(None, use_errno=True)
_ioctl = _libc.ioctl
_ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [ctypes.c_long] * 6


class Escort:
    """The listeners of those that went, and the thread that serves them."""

    def __init__(self, table: SyscallTable) -> None:
        self._table = table
        self._poll = select.epoll()
        self._open = 0
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """Whether anybody lives who depends on us."""
        return self._open > 0

    def take(self, thread: Borrowed, pid: int) -> None:
        """Put the second filter on all threads of *thread*'s process *pid*. Raises OSError."""
        numbers = self._table.numbers
        code = program(self._table, _USER_NOTIF)
        fd, page = thread.filter(code, _FLAGS, numbers["seccomp"], numbers["mmap"])
        if fd >= 0:
            self._listen(fd, pid)
            thread.call(numbers["close"], fd)
        if page:
            thread.call(numbers["munmap"], page, PAGE)
        if fd < 0:
            raise OSError(-fd, "seccomp")

    def _listen(self, fd: int, pid: int) -> None:
        pidfd = os.pidfd_open(pid)
        own = _syscall(self._table.numbers["pidfd_getfd"], pidfd, fd, 0, 0, 0)
        os.close(pidfd)
        if own < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        self._open += 1
        self._poll.register(own, select.EPOLLIN | select.EPOLLHUP)
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, daemon=True)
            self._thread.start()

    def _serve(self) -> None:
        asked = ctypes.create_string_buffer(80)
        while True:
            for fd, events in self._poll.poll():
                if events & select.EPOLLIN:
                    ctypes.memset(asked, 0, 80)
                    if _ioctl(fd, _RECV, ctypes.addressof(asked)) == 0:
                        self._let_pass(fd, asked.raw[:8])
                elif events & select.EPOLLHUP:  # nobody has the filter any more
                    self._poll.unregister(fd)
                    os.close(fd)
                    self._open -= 1

    @staticmethod
    def _let_pass(fd: int, identity: bytes) -> None:
        answer = ctypes.create_string_buffer(identity + struct.pack("<qiI", 0, 0, _CONTINUE), 24)
        _ioctl(fd, _SEND, ctypes.addressof(answer))
