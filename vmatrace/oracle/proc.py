"""Whether /proc is what everything here takes it for."""

from __future__ import annotations

import os

from vmatrace.oracle.errors import Unavailable


def check_proc() -> None:
    """Whether /proc shows processes by the numbers that they have here. Raises Unavailable."""
    try:
        shown = os.readlink("/proc/self")
    except OSError:
        raise Unavailable("/proc is not mounted (mount -t proc proc /proc)") from None
    if shown != str(os.getpid()):
        raise Unavailable(
            "/proc is that of another PID namespace (unshare --mount-proc, or mount -t proc proc "
            "/proc)"
        )
