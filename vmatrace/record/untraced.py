"""Children that are not to be traced (CLONE_UNTRACED) are: they would carry our filter without us.

The flag is taken out of the call while it is made. Knows the registers and memory of a stopped
thread; nothing of processes.
"""

from __future__ import annotations

from vmatrace.abi import CLONE_UNTRACED
from vmatrace.oracle.arch import native
from vmatrace.record import decode, stops
from vmatrace.record.tasks import Task


def keep_traced(task: Task, name: str, args: tuple[int, ...], flags: int) -> None:
    """Take CLONE_UNTRACED out of the call *name* that *task* begins."""
    task.restore = (None, args[0]) if name == "clone" else (args[0], flags)
    _put_flags(task, task.restore[0], task.restore[1] & ~CLONE_UNTRACED)


def restore(task: Task) -> None:
    """Give *task* the flags that it asked for back: who knows whether it looks at them."""
    kept, task.restore = task.restore, None
    if kept is not None:
        _put_flags(task, *kept)


def _put_flags(task: Task, address: int | None, value: int) -> None:
    if address is not None:
        decode.Memory(task.tid).write(address, value.to_bytes(8, "little"))
        return
    arch = native()
    words = stops.registers(task.tid, arch.registers)
    words[arch.arguments[0]] = value
    stops.set_registers(task.tid, words)
