"""The beginning of a program folded into its start: what it led to, in place of how.

Every fold is a guess that somebody has to try: a start has no record of what was done with its
memory, only of what is there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from vmatrace.engine import view
from vmatrace.engine.mm import Mm
from vmatrace.kernels import Kernel
from vmatrace.layout import Layout
from vmatrace.replayer.run import Replay
from vmatrace.search.goals import with_events
from vmatrace.search.rewriting import Reduction
from vmatrace.trace.file import Trace


def folded(program: Reduction, kernel: Kernel, ksm: bool | None) -> Iterator[Reduction]:
    """A concrete program with all its calls but one in its start, but two, but four…

    Only what the first process does alone can be folded; *kernel* says what it leads to.
    """
    events = program.events
    left = 1
    while left * 2 <= len(events):
        start = _start(program, len(events) - left, kernel, ksm)
        if start is not None:
            yield Reduction(start, events[-left:])
        left *= 2


def _start(program: Reduction, count: int, kernel: Kernel, ksm: bool | None) -> Trace | None:
    """The start that *count* calls lead to; None where they leave more than one address space."""
    base, events = program
    run = Replay(with_events(base, events[:count]), kernel, ksm)
    for event in events[:count]:
        if run.step(event) is None:
            return None
    living = list(run.living())
    if [pid for pid, _ in living] != ["main"]:
        return None
    mm = living[0][1]
    process = dataclasses.replace(
        base.process, ksm=mm.merge_any, brk=mm.start_brk, mmap_base=mm.mmap_base
    )
    return dataclasses.replace(base, maps=_layout(mm), process=process, partial=False)


def _layout(mm: Mm) -> Layout:
    """The layout, and what of it was written to."""
    layout = []
    for vma in mm.vmas:
        mapping = view.mapping(mm, vma)
        mapping.faulted = bool(vma.anon)
        layout.append(mapping)
    return layout
