"""ksmd of the running kernel, let loose for a test: everything set is put back, also on failure."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

KSM: Final = Path("/sys/kernel/mm/ksm")
#: How it is let loose: as fast as it goes, and no page passed over because it seemed to change.
_LOOSE: Final = {"smart_scan": 0, "pages_to_scan": 20000, "sleep_millisecs": 1}
#: Scans: one under way, one to see that a page is quiet, one to find its like, one for the rest.
_SCANS: Final = 4


class Ksmd:
    """What ksmd has come to."""

    def __getattr__(self, name: str) -> int:
        """One of its counters, by the name of its file."""
        return int((KSM / name).read_text())

    def of(self, pid: int, name: str) -> int:
        """A counter of /proc/PID/ksm_stat."""
        lines = Path(f"/proc/{pid}/ksm_stat").read_text().splitlines()
        return int(dict(line.rsplit(" ", 1) for line in lines)[name])

    def settle(self) -> None:
        """Wait until it has been everywhere often enough."""
        target = self.full_scans + _SCANS
        while self.full_scans < target:
            time.sleep(0.02)


@contextmanager
def loose(**settings: int) -> Iterator[Ksmd]:
    """Let it run, with *settings* of /sys/kernel/mm/ksm, one test at a time on this machine.

    What was merged for it is taken apart in the end.
    """
    wanted = {**_LOOSE, **settings, "run": 1}
    with open(KSM / "run", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = {name: (KSM / name).read_text() for name in wanted if (KSM / name).exists()}
        try:
            if before["run"].strip() != "1":
                (KSM / "run").write_text("2")  # nothing merged is left of others
            for name in before:
                (KSM / name).write_text(f"{wanted[name]}")
            yield Ksmd()
        finally:
            if before["run"].strip() != "1":
                (KSM / "run").write_text("2")
            for name, value in before.items():
                (KSM / name).write_text(value)
