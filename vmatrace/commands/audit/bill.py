"""KSM's bill for one process: what ksmd has merged there so far, beside what KSM costs it.

From /proc/PID/ksm_stat, and the KSM lines of smaps. Knows nothing of other processes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

#: What ksmd keeps for each page that it looks at: a struct ksm_rmap_item (mm/ksm.c). Bytes.
RECORD: Final = 64
_KSM_LINE: Final = re.compile(r"\nKSM: +([1-9][0-9]*) kB\n")


@dataclass(frozen=True)
class KsmCounters:
    """/proc/PID/ksm_stat (proc_pid_ksm_stat(), fs/proc/base.c). Pages: ``merged`` are one with
    others (ksm_merging_pages), ``zeros`` became the kernel's page of zeros, ``tracked`` are those
    that ksmd keeps a record of; ``profit`` (ksm_process_profit) in bytes. ``by_default``:
    PR_SET_MEMORY_MERGE is in force, None where the kernel does not say so.
    """

    merged: int
    zeros: int
    tracked: int
    profit: int
    by_default: bool | None

    @property
    def records(self) -> int:
        """Bytes that ksmd needs to keep count."""
        return self.tracked * RECORD


@dataclass(frozen=True)
class Bill:
    """What is saved and what it costs. ``counters``: None of a file, and where they may not be
    read. ``resident``: bytes that are merged, by smaps; None where that has no KSM lines.
    ``apart``: VMAs that are likely there for KSM's sake alone, and would be fewer without.
    ``ksmd``: whether it is running; None of a file.
    """

    counters: KsmCounters | None
    resident: int | None
    apart: int
    ksmd: bool | None = None

    @property
    def none(self) -> bool:
        """Whether KSM does nothing there and costs nothing, or nothing is known of what it does."""
        counters = self.counters
        if counters is None and self.resident is None:
            return True
        busy = counters is not None and (counters.by_default or counters.tracked or counters.zeros)
        return not (self.resident or self.apart or busy)


def resident(text: str) -> int:
    """Bytes merged, of a text of smaps."""
    return sum(map(int, _KSM_LINE.findall(text))) << 10


def read_counters(pid: int) -> KsmCounters | None:
    """Those of a process; None where they may not be read, or the kernel has none."""
    try:
        with open(f"/proc/{pid}/ksm_stat", encoding="ascii") as file:
            fields = dict(line.replace(":", "").split() for line in file)
        merged, zeros, tracked, profit = (
            int(fields.get(f"ksm_{name}", 0))
            for name in ("merging_pages", "zero_pages", "rmap_items", "process_profit")
        )
    except (OSError, ValueError):
        return None
    by_default = fields.get("ksm_merge_any")
    return KsmCounters(
        merged, zeros, tracked, profit, None if by_default is None else by_default == "yes"
    )


def knob(name: str) -> int | None:
    """A setting of this machine's ksmd, None where there is none."""
    try:
        with open(f"/sys/kernel/mm/ksm/{name}", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None
