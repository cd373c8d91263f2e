"""What a rewriting saves is what it saves on the running kernel."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from vmatrace import kernels
from vmatrace.commands.whatif.question import Rewritten, rewrite
from vmatrace.commands.whatif.rewritings import guards, locking, mergeable, names
from vmatrace.oracle.machine import RunningKernel
from vmatrace.replayer.run import replay
from vmatrace.trace.file import Trace
from vmatrace.verify import findings, setting

MAP = "a = mmap(NULL, 9*PAGE_SIZE, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)"
WRITE = "fault(a, 9*PAGE_SIZE, PROT_WRITE)"
STACKS = [
    line
    for label in "st"
    for line in (
        f"{label} = mmap(NULL, 2048*PAGE_SIZE, PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)",
        f"mprotect({label} + PAGE_SIZE, 2047*PAGE_SIZE, PROT_READ|PROT_WRITE)",
    )
]


def vmas_there(trace: Trace) -> int:
    """How many VMAs the running kernel has after *trace* that were not there at its start."""
    with setting.open_sandbox(trace, RunningKernel()) as sandbox:
        before = len(sandbox.layout())
        for _ in sandbox.run(trace.items()):
            pass
        return len(sandbox.layout()) - before


@pytest.mark.parametrize(
    ("module", "calls", "saved"),
    [
        (guards, ["mprotect(a + 4*PAGE_SIZE, PAGE_SIZE, PROT_NONE)"], 2),
        (guards, STACKS, 3),
        (locking, ["mlock(a, PAGE_SIZE)", "mlock(a + 4*PAGE_SIZE, PAGE_SIZE)"], 3),
        (mergeable, ["prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0)"], 0),
        (names, ['prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, a, PAGE_SIZE, "x")'], 1),
    ],
)
def test_the_saving_is_the_kernels(
    oracle: None, module: object, calls: Sequence[str], saved: int
) -> None:
    kernel = findings.look().kernel
    trace = Trace.of([MAP, WRITE, *calls])
    other = rewrite(Rewritten(trace), kernel, [module]).trace  # type: ignore[list-item]
    has = module is not names or kernel.has(kernels.ANON_VMA_NAME)
    theirs = vmas_there(trace) - vmas_there(other)
    assert theirs == (saved if has else 0)
    assert replay(trace, kernel).vmas - replay(other, kernel).vmas == theirs
