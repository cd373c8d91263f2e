"""What can stand on one side of a comparison, reduced to what both sides can have.

A side is a replay under a model, a saved result of one, or a snapshot of a process. Values only:
what a side does not know is None.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from vmatrace.kernels import Kernel
from vmatrace.layout import CODED_FLAGS, PERMS_FLAGS, Layout
from vmatrace.replayer.result import Result
from vmatrace.trace.file import Trace


@dataclass(frozen=True)
class Totals:
    """The counts of a side. ``merges`` and ``blocked`` (sides of attempts) are sums over kinds."""

    vmas: int | None = None
    peak_vmas: int | None = None
    mergeable: int | None = None
    merges: int | None = None
    splits: int | None = None
    blocked: int | None = None
    blocked_only_by_mergeable: int | None = None
    errors: int | None = None

    def items(self) -> Iterator[tuple[str, int | None]]:
        """Each count with its name."""
        return ((entry.name, getattr(self, entry.name)) for entry in fields(self))


@dataclass
class DiffSide:
    """One side of a comparison.

    ``name`` is the model's, the release of a real kernel, or the path of the file; ``kind`` is
    "model", "kernel", "result" (saved by ``vmatrace replay --format json``), "trace" (another
    one, replayed) or "snapshot" (/proc/PID/smaps or maps). ``processes`` are the final layouts by
    process. ``flags`` are the vm_flags that it can show. ``events`` are those of a saved result or
    a real kernel, each as vmatrace-replay has it, or None; ``calls`` is their number. ``lacks``
    says what it does not know: "events", "counts", "flags", "processes" (all but the first).
    ``expected`` is how many expectations were checked. ``started`` is the trace as it started on a
    real kernel, and ``model`` that kernel's.
    """

    name: str
    kind: str
    processes: dict[str, Layout]
    totals: Totals
    kernel: str | None = None
    page_size: int | None = None
    flags: int = -1
    events: list[dict[str, Any]] | None = None
    lacks: tuple[str, ...] = ()
    calls: int | None = None
    expected: int | None = None
    started: Trace | None = None
    model: Kernel | None = None


def of_result(result: Result) -> DiffSide:
    """The side that a replay is."""
    tally = result.tally
    totals = Totals(
        result.vmas, result.peak_vmas, result.mergeable, tally.total, result.splits,
        tally.blocked_sides, tally.only_mergeable, result.errors,
    )  # fmt: skip
    processes = {process.pid: process.layout for process in result.processes}
    return DiffSide(
        result.kernel, "model", processes, totals, result.kernel, result.page_size,
        calls=result.events, expected=result.passed + len(result.failures),
    )  # fmt: skip


def of_snapshot(path: str, layout: Layout, page_size: int | None) -> DiffSide:
    """The side that a snapshot is, whose process stands for the first one of a trace."""
    known = all(mapping.flags_known for mapping in layout)
    mergeable = sum("mg" in mapping.codes for mapping in layout) if known else None
    return DiffSide(
        path, "snapshot", {"main": layout}, Totals(vmas=len(layout), mergeable=mergeable),
        page_size=page_size, flags=CODED_FLAGS if known else PERMS_FLAGS,
        lacks=("events", "counts", "processes", *(() if known else ("flags",))),
    )  # fmt: skip
