"""Start the image: a process that is stopped at its first instruction and dies with its tracer.

Knows posix_spawn and the memfd that holds the image; nothing of what the process is for.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from typing import Final

from vmatrace.oracle.arch import Arch
from vmatrace.oracle.errors import Unavailable
from vmatrace.oracle.proc import check_proc
from vmatrace.oracle.ptrace import Child

_libc = ctypes.CDLL(None)
#: Bytes; the address layout depends on RLIMIT_STACK.
STACK_LIMIT: Final = 8 << 20
_MFD_EXEC: Final = 0x10
#: Shown by /proc/PID/maps as /memfd:vmatrace (deleted).
_NAME: Final = "vmatrace"


def spawn(arch: Arch) -> Child:
    """A new process that runs ``arch.image``. Raises Unavailable.

    The image is started by posix_spawn, asks to be traced and executes itself. So the tracer never
    forks Python: it may have threads, and no memory of it is ever in the child.
    """
    check_proc()
    image = _memfd(arch.image)
    try:
        pid = os.posix_spawn(
            f"/proc/self/fd/{image}",
            [_NAME],
            {},
            setsigmask=(),
            setsigdef=signal.valid_signals() - _FIXED,
        )
    except OSError as error:
        raise Unavailable(f"the image of the child process cannot be executed: {error}") from None
    finally:
        os.close(image)
    try:
        tracee = Child.first(pid, arch)
    except BaseException:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        raise
    with contextlib.suppress(OSError), open(f"/proc/{pid}/oom_score_adj", "w") as score:
        score.write("1000")  # should a trace use up the memory, its process is the one to go
    return tracee


_FIXED: Final = frozenset({signal.SIGKILL, signal.SIGSTOP})


class Pin:
    """Keeps the calling thread and what it starts on the processor it is on, until ``release``.

    Tracer and traced process run in turns; on two processors each turn would wake an idle one,
    which takes several times as long as the call.
    """

    def __init__(self) -> None:
        self._before: set[int] | None = None
        with contextlib.suppress(OSError, AttributeError):
            before = os.sched_getaffinity(0)
            os.sched_setaffinity(0, {_libc.sched_getcpu()})
            self._before = before

    def release(self) -> None:
        """Let the thread run where it might before. The same thread must call it."""
        if self._before is not None:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, self._before)
            self._before = None


def _memfd(content: bytes) -> int:
    if not hasattr(os, "memfd_create"):
        raise Unavailable("no memfd_create: the oracle runs on Linux only")
    try:
        try:
            fd = os.memfd_create(_NAME, os.MFD_CLOEXEC | _MFD_EXEC)
        except OSError:
            fd = os.memfd_create(_NAME, os.MFD_CLOEXEC)  # before 6.3 there was no MFD_EXEC
        os.write(fd, content)
    except OSError as error:
        raise Unavailable(f"no executable memfd (vm.memfd_noexec?): {error}") from None
    # Executing a file that somebody holds open for writing is ETXTBSY.
    try:
        reading = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
    except OSError as error:
        raise Unavailable(f"/proc is not mounted: {error}") from None
    finally:
        os.close(fd)
    os.set_inheritable(reading, False)
    return reading
