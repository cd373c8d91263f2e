"""What KSM by default would cost in VMAs: memory that grew call by call, under a kernel model.

A snapshot does not say of how many calls a VMA was made. What a model does to two calls for memory
of one kind, side by side, the replay says; the number of calls is an assumption, so the answer is a
range: from the heap alone, which malloc grows by STEP, up to all anonymous memory in such calls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Final, NamedTuple

from vmatrace import abi
from vmatrace.engine.ksm import compatible
from vmatrace.groups import is_file
from vmatrace.kernels import Kernel
from vmatrace.layout import Layout, Mapping
from vmatrace.replayer.run import replay
from vmatrace.trace.file import Trace

#: How far malloc of glibc grows a heap at once, in bytes: M_TOP_PAD and the request, in whole pages
#: (sysmalloc(), malloc/malloc.c).
STEP: Final = 132 << 10

_AT: Final = 0x100000000
_PROT: Final = (
    (abi.VM_READ, "PROT_READ"), (abi.VM_WRITE, "PROT_WRITE"), (abi.VM_EXEC, "PROT_EXEC"),
)  # fmt: skip


class Added(NamedTuple):
    """How many VMAs more there would be under a model: ``likely`` if only the heap grew by STEP,
    ``most`` if all anonymous memory came in calls of STEP.
    """

    kernel: str
    likely: int
    most: int


def added(layout: Layout, models: Sequence[Kernel]) -> list[Added]:
    """What KSM by default, in force from the start, would cost the process of *layout*."""
    borders: Counter[tuple[str, bool]] = Counter()
    for mapping in layout:
        if not is_file(mapping) and compatible(mapping.vm_flags, None):
            calls = -(-(mapping.end - mapping.start) // STEP)
            borders[_prot(mapping), mapping.name == "[heap]"] += calls - 1
    return [_added(model, borders) for model in models]


def _added(model: Kernel, borders: Counter[tuple[str, bool]]) -> Added:
    stay = {kind: count for kind, count in borders.items() if count and _parts(model, *kind)}
    heap = sum(count for (_, is_heap), count in stay.items() if is_heap)
    return Added(model.name, heap, sum(stay.values()))


def _prot(mapping: Mapping) -> str:
    names = [name for bit, name in _PROT if mapping.vm_flags & bit]
    return "|".join(names) or "PROT_NONE"


@cache
def _parts(kernel: Kernel, prot: str, heap: bool) -> bool:
    """Whether KSM by default keeps memory apart that two calls gave, one after the other."""
    if heap:
        calls = [f"brk({_AT + size * STEP})" for size in (1, 2)]
    else:
        flags = "MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED"
        calls = [f"mmap({_AT + i * STEP}, {STEP}, {prot}, {flags}, -1, 0)" for i in range(2)]
    trace = Trace.of(calls, name="growth", process={"brk": _AT})
    plain, merging = (replay(trace, kernel, ksm).vmas for ksm in (False, True))
    return merging > plain
