"""What a trace may take of the machine that it is run on: memory, processes, time.

What is written in it is judged before it runs (``check()``); a ``Guard`` looks on, ends what takes
more all the same, also in the middle of a call, and says why.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import Final

from vmatrace import abi
from vmatrace.calls import BIRTHS
from vmatrace.event import Event
from vmatrace.oracle import Sandbox
from vmatrace.trace.file import Trace

#: So many bytes of memory a trace may fill, and so many seconds it may take; the variables of the
#: environment raise that.
_MOST_TOUCHED: Final = 1 << 30
_TOUCHED: Final = "VMATRACE_MAX_TOUCHED"
_MOST_SECONDS: Final = 600.0
_SECONDS: Final = "VMATRACE_MAX_SECONDS"
#: Enough for every program that a trace is of, and too few to harm a machine.
_MOST_PROCESSES: Final = 512
_POPULATE_ADVICE: Final = (abi.MADV_POPULATE_READ, abi.MADV_POPULATE_WRITE)
#: Seconds between two looks: a kernel fills some GiB in a second.
_EVERY: Final = 0.02
#: What a process has taken of memory: its pages, and the tables that say where they are.
_TAKEN: Final = (b"VmRSS:", b"VmPTE:")


def most_touched() -> int:
    """How many bytes of memory a trace may fill."""
    given = os.environ.get(_TOUCHED, "")
    return int(given) if given.isascii() and given.isdecimal() else _MOST_TOUCHED


def most_seconds() -> float:
    """How long a trace may take."""
    with contextlib.suppress(ValueError):
        given = float(os.environ.get(_SECONDS, ""))
        if given > 0:
            return given
    return _MOST_SECONDS


def refusal(trace: Trace) -> str | None:
    """Why running *trace* would take more of a machine than a trace should, as far as is written.

    Raises TraceError if it cannot be read.
    """
    most = most_touched()
    touched = births = 0
    locks = False
    for event in (item for item in trace.items() if isinstance(item, Event)):
        if event.name == "mlockall" and isinstance(event.args[0], int):
            locks = event.args[0] & (abi.MCL_FUTURE | abi.MCL_ONFAULT) == abi.MCL_FUTURE
        touched += min(_touches(event, locks), most + 1)
        births += event.name in BIRTHS
        if touched > most:
            return f"up to line {event.line} {_filled(most)}"
        if births > _MOST_PROCESSES:
            return f"it makes more than {_MOST_PROCESSES} processes, up to line {event.line}"
    return None


def _filled(most: int) -> str:
    return f"it fills more than {most >> 20} MiB of memory ({_TOUCHED}=BYTES raises that)"


def _touches(event: Event, locks: bool) -> int:
    """So many bytes *event* has allocated at once; *locks*: what is mapped is locked."""
    args = [value if isinstance(value, int) else 0 for value in event.args]
    length = args[1] if len(args) > 1 else 0
    fills: object = event.name in ("fault", "mlock")
    if event.name == "mmap":
        fills = locks or args[3] & (abi.MAP_POPULATE | abi.MAP_LOCKED)
        fills = fills and not args[3] & abi.MAP_NONBLOCK
    elif event.name == "mremap":
        fills, length = locks, max(args[2] - length, 0)
    elif event.name == "madvise":
        fills = args[2] in _POPULATE_ADVICE
    elif event.name == "mlock2":
        fills = not args[2] & abi.MLOCK_ONFAULT
    return length if fills else 0


class Guard:
    """Looks on while a *sandbox* runs a trace, and kills its processes when it takes too much.

    Then what waits for them raises OracleError, and ``reason`` says why, as a clause. A context
    manager. On a machine that is distant nothing is killed: there ``late()`` has to be asked.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self.reason: str | None = None
        self._sandbox = sandbox
        self._bytes, self._seconds = most_touched(), most_seconds()
        self._until = time.monotonic() + self._seconds
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Guard:
        if not self._sandbox.machine.is_distant:
            self._thread = threading.Thread(target=self._look_on, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def late(self) -> bool:
        """Whether the time is over; then ``reason`` says so."""
        if self.reason is None and time.monotonic() > self._until:
            self.reason = (
                f"it takes longer than {self._seconds:g} seconds ({_SECONDS}=S raises that)"
            )
        return self.reason is not None

    def _look_on(self) -> None:
        while not self._over.wait(min(_EVERY, max(self._until - time.monotonic(), 0.001))):
            pids = self._sandbox.kernel_pids()
            if not self.late() and sum(map(_taken, pids)) > self._bytes:
                self.reason = _filled(self._bytes)
            if self.reason is not None:
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)


def _taken(pid: int) -> int:
    """How many bytes of memory process *pid* has taken; 0 where it has ended."""
    try:
        with open(f"/proc/{pid}/status", "rb") as status:
            lines = status.read().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(_TAKEN))
