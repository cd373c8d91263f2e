"""Start the command that is to be recorded: a child that waits to be traced, then becomes it.

Knows fork, seccomp(2) and prctl(2); nothing of what happens to the child afterwards.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
from collections.abc import Sequence
from typing import Final

from vmatrace.abi import PR_GET_MEMORY_MERGE, PR_SET_MEMORY_MERGE
from vmatrace.record.filter import SyscallTable, program
from vmatrace.record.stops import Waiter

_PR_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_SET_MODE_FILTER: Final = 1
_FAILED: Final = 127
_ADDR_NO_RANDOMIZE: Final = 0x0040000
_PERSONALITY_ASK: Final = 0xFFFFFFFF

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
_libc.syscall.argtypes = [ctypes.c_long, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_void_p]
_libc.personality.argtypes = [ctypes.c_ulong]


class CannotStart(Exception):  # noqa: N818 - it states a fact
    """The command cannot be run; ``str()`` says why."""


def ksm_by_default() -> bool:
    """Whether PR_SET_MEMORY_MERGE is in force in this process, which its children inherit."""
    return int(_libc.prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0)) == 1


class Launched:
    """A child that runs *command* when it is let ``go``. Raises CannotStart where there is none.

    ``pid`` can be traced from the start. The filter is *table*'s. With *ksm*, PR_SET_MEMORY_MERGE
    is in force in it. Signals are blocked and ignored in it as they were before *waiter*. With
    *still*, its addresses are not randomized; with *aside*, what it prints goes to standard error.
    """

    def __init__(
        self,
        command: Sequence[str],
        table: SyscallTable,
        ksm: bool,
        waiter: Waiter,
        still: bool = False,
        aside: bool = False,
    ) -> None:
        path = shutil.which(command[0])
        if path is None:
            slash = "/" in command[0]
            found = slash and os.path.exists(command[0])
            why = "Permission denied" if found else "No such file or directory"
            raise CannotStart(f"{command[0]}: {why if slash else 'command not found'}")
        code = program(table)
        number = table.numbers["seccomp"]
        reading, self._start = os.pipe()
        self._errors, writing = os.pipe()
        self._name = command[0]
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self._start)
                if os.read(reading, 1):
                    if aside:
                        os.dup2(2, 1)
                    if still:
                        _keep_still()
                    _become(path, command, code, number, ksm, waiter)
            except BaseException as error:  # nothing may return into a second copy of us
                with contextlib.suppress(BaseException):
                    os.write(writing, str(getattr(error, "strerror", None) or error).encode())
            finally:
                os._exit(_FAILED)
        os.close(reading)
        os.close(writing)

    def go(self) -> None:
        """Let it become the command."""
        os.write(self._start, b"!")
        os.close(self._start)

    def close(self) -> None:
        """It has become the command."""
        os.close(self._errors)

    def error(self) -> CannotStart:
        """Why it never became the command, after its end."""
        with os.fdopen(self._errors, "rb") as errors:
            text = errors.read().decode("utf-8", "replace")
        return CannotStart(f"{self._name}: {text or 'it was killed before it could start'}")


def _keep_still() -> None:
    """As setarch -R does."""
    now = _libc.personality(_PERSONALITY_ASK)
    if now == -1 or _libc.personality(now | _ADDR_NO_RANDOMIZE) == -1:
        raise OSError(0, f"--no-aslr: {os.strerror(ctypes.get_errno())}")


def _become(
    path: str, command: Sequence[str], code: bytes, number: int, ksm: bool, waiter: Waiter
) -> None:
    # What Python changes for itself is as it was before; its handlers do not outlive the exec.
    for changed in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(changed, signal.SIG_DFL)
    for ignored in waiter.ignored:
        signal.signal(ignored, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, waiter.before)
    if ksm and _libc.prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0):
        raise OSError(0, "this kernel has no KSM by default (PR_SET_MEMORY_MERGE, 6.4)")
    filters = ctypes.create_string_buffer(code, len(code))
    fprog = ctypes.create_string_buffer(
        (len(code) // 8).to_bytes(8, "little") + ctypes.addressof(filters).to_bytes(8, "little"), 16
    )
    at = ctypes.addressof(fprog)
    if _libc.syscall(number, _SECCOMP_SET_MODE_FILTER, 0, at):
        # Without CAP_SYS_ADMIN a filter needs the promise to gain no privileges.
        _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if _libc.syscall(number, _SECCOMP_SET_MODE_FILTER, 0, at):
            raise OSError(0, f"no seccomp filter: {os.strerror(ctypes.get_errno())}")
    os.execv(path, list(command))
