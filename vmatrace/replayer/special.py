"""Calls that are more than numbers and one address space: files, texts, other processes.

Knows how a trace writes their arguments, and who is meant; the rules are the engine's. Births,
deaths and new images are the replay's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from vmatrace import abi, kernels
from vmatrace.calls import CALLS, LIMITED
from vmatrace.engine.mm import Mm
from vmatrace.engine.syscalls import advice, aio, control, policy, sharing, uffd
from vmatrace.event import Event, Fd
from vmatrace.kernels import Kernel
from vmatrace.replayer.files import Files
from vmatrace.replayer.processes import Processes
from vmatrace.structures import ring, soft_limit

_IOV_MAX: Final = 1024
#: PIDFD_SELF_THREAD_GROUP before 6.17.
_OLD_GROUP: Final = -20000


class SpecialCalls:
    """Makes them, in the address space of who called and with arguments as the kernel sees them."""

    def __init__(self, kernel: Kernel, files: Files, processes: Processes) -> None:
        self._kernel = kernel
        self._files = files
        self._processes = processes
        self._last_context = 0
        self._makers: dict[str, Callable[..., int | None]] = {
            "prctl": self._prctl,
            "shmat": self._shmat,
            "mbind": lambda mm, event, *args: policy.mbind(mm, *args),
            "process_madvise": self._process_madvise,
            "setrlimit": lambda mm, event, *args: self._limit(mm, event, 0, *args),
            "prlimit64": self._limit,
            "io_setup": self._io_setup,
            "personality": self._personality,
            "ioctl": self._ioctl,
            "close": self._close,
        }

    def make(self, mm: Mm, event: Event, arguments: list[Any]) -> int | None:
        """Make the call of *event*: its result, or None where it is not modelled."""
        maker = self._makers.get(event.name)
        return None if maker is None else maker(mm, event, *arguments)

    def _prctl(self, mm: Mm, event: Event, *arguments: Any) -> int | None:
        known = CALLS["prctl"].concerns_memory(arguments)
        return control.prctl(mm, *arguments) if known else None

    def _shmat(self, mm: Mm, event: Event, shmid: int | Fd, addr: int, flags: int) -> int:
        return sharing.shmat(mm, self._files.of(shmid), addr, flags, event.recorded)

    def _io_setup(self, mm: Mm, event: Event, events: int, context: object) -> int:
        return aio.io_setup(mm, events, ring(context) if event.recorded == 0 else None)

    def _process_madvise(
        self, mm: Mm, event: Event, pidfd: int, vector: int | str, count: int, what: int, flags: int
    ) -> int:
        """process_madvise(2): import_iovec() looks at the vector before it is asked whom."""
        if flags or count > _IOV_MAX:
            return -abi.EINVAL
        if count and isinstance(vector, int):
            return -abi.EFAULT
        target = self._target(pidfd, mm)
        if target is not None:
            return advice.process_madvise(target, target is mm, vector, what, flags)
        # Which descriptors there are, and whose, no trace says.
        gone = self._processes.has_ended(pidfd)
        return -abi.ESRCH if gone or event.recorded == -abi.ESRCH else -abi.EBADF

    def _target(self, pidfd: int, own: Mm) -> Mm | None:
        """The address space a pidfd means: PIDFD_SELF, or a process of the trace by its number."""
        group = abi.PIDFD_SELF_THREAD_GROUP
        if not self._kernel.has(kernels.PIDFD_SELF_10001):
            group = _OLD_GROUP
        if pidfd in (abi.PIDFD_SELF_THREAD, group) and self._kernel.has(kernels.PIDFD_SELF):
            return own
        return self._processes.numbered(pidfd)

    def _limit(
        self, mm: Mm, event: Event, pid: int, resource: int, new: object, old: object = 0
    ) -> int:
        """setrlimit(2) and prlimit(2) of calls.LIMITED: 0 or -errno."""
        if pid and self._processes.numbered(pid) is None:
            return -abi.ESRCH
        soft = soft_limit(new)
        if soft is not None and resource in LIMITED:
            name = self._processes.name_of(pid) if pid else event.pid
            self._processes.limit(name, resource, soft)
        return 0

    def _personality(self, mm: Mm, event: Event, persona: int) -> int:
        """personality(2): what it was before, as far as the recorded result does not say."""
        recorded = event.recorded
        before = mm.persona if recorded is None or recorded < 0 else recorded
        new = before if persona == abi.PERSONALITY_ASK else persona
        self._processes.set_persona(event.pid, new)
        return before

    def _ioctl(
        self, mm: Mm, event: Event, fd: int | Fd, request: int, argument: object
    ) -> int | None:
        """A request to the userfaultfd of this memory that the descriptor means, new if need be."""
        key = fd.key if isinstance(fd, Fd) else fd
        if key not in mm.contexts:
            self._last_context += 1
            mm.contexts[key] = self._last_context
        return uffd.ioctl(mm, mm.contexts[key], request, str(argument))

    def _close(self, mm: Mm, event: Event, fd: int | Fd) -> int:
        """The last descriptor of a userfaultfd is closed; of any other file it is no matter."""
        context = mm.contexts.pop(fd.key if isinstance(fd, Fd) else fd, None)
        if context is not None:
            uffd.release(mm, context)
        return min(event.recorded or 0, 0)
