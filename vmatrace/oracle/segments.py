"""System V segments for the shmat calls of a trace. Knows shmget(2) and nothing of traces."""

from __future__ import annotations

import ctypes
import os
from typing import Final, Protocol

from vmatrace.oracle.errors import Unsupported

#: Bytes of a segment: the trace does not say.
SEGMENT_SIZE: Final = 1 << 16
IPC_RMID, SHM_RDONLY = 0, 0o10000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.shmat.restype = ctypes.c_void_p
_libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
_libc.shmdt.argtypes = [ctypes.c_void_p]


class Segments(Protocol):
    """One segment for each key. They vanish with the process that keeps them, however it ends.

    A segment is marked for removal at once and kept by an attachment, read-only; Linux lets others
    attach a marked one.
    """

    def identifier(self, key: int | str) -> int:
        """The shmid of segment *key*, made when first asked for. Raises Unsupported."""

    def close(self) -> None:
        """Give the segments back."""


class LocalSegments:
    """Segments of this machine, kept by this process."""

    def __init__(self) -> None:
        self._identifiers: dict[int | str, int] = {}
        self._attached: list[int] = []

    def identifier(self, key: int | str) -> int:
        known = self._identifiers.get(key)
        if known is not None:
            return known
        shmid = _libc.shmget(0, ctypes.c_size_t(SEGMENT_SIZE), 0o600)
        if shmid < 0:
            raise Unsupported(f"no System V segment: {os.strerror(ctypes.get_errno())}")
        address = _libc.shmat(shmid, None, SHM_RDONLY)
        _libc.shmctl(shmid, IPC_RMID, None)
        if address is None or address == ctypes.c_void_p(-1).value:
            raise Unsupported(f"no System V segment: {os.strerror(ctypes.get_errno())}")
        self._attached.append(address)
        self._identifiers[key] = shmid
        return int(shmid)

    def close(self) -> None:
        while self._attached:
            _libc.shmdt(self._attached.pop())
        self._identifiers.clear()
