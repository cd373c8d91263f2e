"""What /proc says of a single process: its image, its heap, its privileges."""

from __future__ import annotations

import contextlib
import os
from typing import Final

from vmatrace import abi

_CAP_IPC_LOCK: Final = 14
_START_BRK: Final = 44  # in /proc/PID/stat, counted after the name


def binds_nobody(name: str, args: tuple[int, ...], pid: int) -> bool:
    """Whether the call sets a limit that the process may pass over (CAP_IPC_LOCK)."""
    limits = {"setrlimit": 0, "prlimit64": 1}.get(name)
    if limits is None or args[limits] & 0xFFFFFFFF != abi.RLIMIT_MEMLOCK:
        return False
    return may_lock_all(args[0] & 0xFFFFFFFF or pid if name == "prlimit64" else pid)


def may_lock_all(pid: int) -> bool:
    """Whether RLIMIT_MEMLOCK does not count for process *pid*."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status", "rb") as table:
        for line in table:
            if line.startswith(b"CapEff:"):
                return bool(int(line.split()[1], 16) >> _CAP_IPC_LOCK & 1)
    return False


def start_brk(pid: int) -> int | None:
    """Where the heap of *pid* starts, None where that is not shown."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as table:
            fields = table.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return int(fields[_START_BRK]) or None


def is_short(tid: int) -> bool:
    """Whether thread *tid* runs a 32-bit program."""
    try:
        with open(f"/proc/{tid}/exe", "rb") as image:
            return image.read(5)[4:] == b"\x01"
    except OSError:
        return False


def exe(tid: int) -> str:
    """The path of the image of thread *tid*, empty where it cannot be had."""
    try:
        return os.readlink(f"/proc/{tid}/exe")
    except OSError:
        return ""
