"""Who reads the events of userfaultfds while a call that makes one waits for it.

Events: a fork, whose message brings a descriptor of the child's context; memory that moved or went.
Linux alone, of the running kernel. Source: userfaultfd_ctx_read() and struct uffd_msg.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import struct
import threading
from collections.abc import Iterator
from typing import Final

from vmatrace.oracle.errors import Unsupported

_PIDFD_GETFD: Final = 438
_EVENT_FORK: Final = 0x13
_MESSAGE: Final = 32

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.syscall.argtypes = [ctypes.c_long] * 4
_libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_char_p]


def ioctl(fd: int, request: int, argument: bytes) -> int:
    """ioctl(2) on a descriptor of ours: its result or -errno."""
    buffer = ctypes.create_string_buffer(argument, len(argument))
    result = int(_libc.ioctl(fd, request, buffer))
    return result if result >= 0 else -ctypes.get_errno()


class EventReader:
    """Duplicates of the contexts that have events, and the contexts of children that came."""

    def __init__(self) -> None:
        self._own: dict[int | str, int] = {}
        self._children: dict[tuple[str, int | str], int] = {}
        self._born: list[tuple[int | str, int]] = []

    def add(self, key: int | str, pid: int, fd: int) -> None:
        """EventReader context *key*, descriptor *fd* of process *pid*. Raises Unsupported."""
        pidfd = os.pidfd_open(pid)
        own = int(_libc.syscall(_PIDFD_GETFD, pidfd, fd, 0))
        os.close(pidfd)
        if own < 0:
            raise Unsupported("userfaultfd events need pidfd_getfd()")
        self._own[key] = own

    def child(self, name: str, key: int | str) -> int | None:
        """A descriptor of the context that process *name* has got from its parent as *key*."""
        return self._children.get((name, key))

    def drop(self, name: str, key: int | str) -> None:
        """Have no part in context *key* of process *name* any more."""
        fd = self._own.pop(key, None) if name == "main" else self._children.pop((name, key), None)
        if fd is not None:
            os.close(fd)

    def close(self) -> None:
        """Have no part in anything any more."""
        for fd in (*self._own.values(), *self._children.values(), *(fd for _, fd in self._born)):
            os.close(fd)
        self._own.clear()
        self._children.clear()
        self._born.clear()

    def inherit(self, parent: str, child: str) -> None:
        """The contexts that came with events of the last call are those of process *child*."""
        for key, fd in self._born:
            self._children[child, key] = fd
        self._born.clear()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Read what comes until the block is left."""
        stop, ended = os.pipe()
        reader = threading.Thread(target=self._read, args=(stop,), daemon=True)
        reader.start()
        try:
            yield
        finally:
            os.close(ended)
            reader.join()
            os.close(stop)

    def _read(self, stop: int) -> None:
        waiting = select.poll()
        waiting.register(stop, select.POLLIN | select.POLLHUP)
        keys = {fd: key for key, fd in self._own.items()}
        keys |= {fd: key for (_, key), fd in self._children.items()}
        for fd in keys:
            waiting.register(fd, select.POLLIN)
        while True:
            for fd, _ in waiting.poll():
                if fd == stop:
                    return
                with contextlib.suppress(BlockingIOError):
                    message = os.read(fd, _MESSAGE)
                    if message[0] == _EVENT_FORK:
                        self._born.append((keys[fd], struct.unpack_from("<I", message, 8)[0]))
