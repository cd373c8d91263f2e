"""What a recorded program came to, held against the budget that a trace states.

A budget is the counts that a trace expects of its first process, behind its last call: where the
kernel puts things plays no part in it, so it holds for every run of a program.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vmatrace.diagnostic import Diagnostic, TraceError
from vmatrace.event import Event, Expectation
from vmatrace.kernels import Kernel
from vmatrace.replayer.expectations import applies, counted
from vmatrace.replayer.result import Failure, Result
from vmatrace.trace.file import load_trace

_FIRST = "main"
_ENDS = ("exit", "exit_group")


@dataclass(frozen=True)
class Budgeted:
    """The expectations of the file at ``path`` that are a budget, and what does not hold."""

    path: str
    counts: int
    failures: list[Failure]


def budget(path: str, kernel: Kernel) -> list[Expectation]:
    """The expectations in the trace at *path* that a run under *kernel* has to meet.

    Raises TraceError, also where there is none.
    """
    found: list[Expectation] = []
    for item in load_trace(path).items():
        if isinstance(item, Event):
            if item.name not in _ENDS:
                found.clear()
        elif item.counts and item.pid == _FIRST and applies(item, kernel):
            found.append(item)
    if not found:
        what = (
            f"it holds no budget for {kernel.name} (expected, behind its last call, such as "
            "- expect: {peak_vmas: '<= 100'})"
        )
        raise TraceError([Diagnostic(path, 0, 0, what)])
    return found


def held_against(path: str, expected: list[Expectation], result: Result) -> Budgeted:
    """Whether *result*, the replay of a recording, is within what the trace at *path* expects."""
    return Budgeted(
        path, sum(len(one.counts) for one in expected),
        [failure for one in expected for failure in _failures(one, result)],
    )  # fmt: skip


def _failures(expectation: Expectation, result: Result) -> Iterator[Failure]:
    first = next(process for process in result.processes if process.pid == _FIRST)
    actual = {
        "vmas": len(first.layout), "peak_vmas": first.peak_vmas, "mergeable": first.mergeable,
        "merges": result.tally.total, "blocked_only_by_mergeable": result.tally.only_mergeable,
    }  # fmt: skip
    return counted(expectation, actual.__getitem__)
