"""Which function of the engine a call is, and its arguments as the kernel sees them.

Widths and what may be left out are the table of calls'. Calls that are more than numbers and one
address space are the replay's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from vmatrace.calls import CALLS
from vmatrace.engine.faults import fault
from vmatrace.engine.mm import Mm
from vmatrace.engine.syscalls import (
    advice,
    aio,
    control,
    heap,
    locking,
    mapping,
    policy,
    protection,
    remapping,
    sharing,
)

Ints = tuple[int, ...]
Handler = Callable[[Mm, Ints, "int | None"], int]


def truncated(name: str, arguments: Sequence[Any]) -> list[Any]:
    """The arguments as the kernel sees them; what is no number stays as it is."""
    params = CALLS[name].params
    return [
        param.number(a) if type(a) is int else a
        for param, a in zip(params, arguments, strict=False)
    ]


def _handler(name: str, function: Callable[..., int], recorded: bool = False) -> Handler:
    """*function* on arguments as the kernel sees them, with 0 for those left out.

    *recorded*: it wants to know the recorded result. Compiled from the table of calls, because
    asking it of each argument would cost a tenth of the time of an event (0.2 of 2 microseconds).
    """
    seen = []
    for i, param in enumerate(CALLS[name].params):
        value = f"a[{i}] & {(1 << param.bits) - 1:#x}"
        if param.signed:
            value = f"({value} ^ {1 << param.bits - 1:#x}) - {1 << param.bits - 1:#x}"
        seen.append(f"{value} if len(a) > {i} else 0" if param.optional else value)
    written = ", ".join(["mm", *seen, *(["r"] if recorded else [])])
    return cast(Handler, eval(f"lambda mm, a, r: function({written})", {"function": function}))


#: The calls whose every argument is a number.
HANDLERS: Final[dict[str, Handler]] = {
    name: _handler(name, function, recorded)
    for name, function, recorded in (
        ("munmap", mapping.munmap, False),
        ("brk", heap.brk, True),
        ("mprotect", protection.mprotect, False),
        ("pkey_mprotect", protection.pkey_mprotect, True),
        ("madvise", advice.madvise, False),
        ("mlock", locking.mlock, False),
        ("mlock2", locking.mlock2, False),
        ("munlock", locking.munlock, False),
        ("mlockall", locking.mlockall, False),
        ("munlockall", locking.munlockall, False),
        ("mseal", control.mseal, False),
        ("set_mempolicy_home_node", policy.set_home_node, False),
        ("io_destroy", aio.io_destroy, False),
        ("msync", sharing.msync, False),
        ("shmdt", sharing.shmdt, False),
        ("remap_file_pages", sharing.remap_file_pages, False),
        ("mremap", remapping.mremap, True),
        ("fault", fault, False),
    )
}
