"""ksmd of the running kernel, let loose for a test: everything set is put back, also on failure."""

from __future__ import annotations

import fcntl
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

KSM: Final = Path("/sys/kernel/mm/ksm")
#: How it is let loose, in this order: as fast as it goes, and no page passed over because it
#: seemed to change.
_LOOSE: Final[dict[str, int | str]] = {
    "advisor_mode": "none",
    "smart_scan": 0,
    "pages_to_scan": 20000,
    "sleep_millisecs": 1,
}
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
        """Let it run until it has been everywhere often enough."""
        (KSM / "run").write_text("1")
        target = self.full_scans + _SCANS
        while self.full_scans < target:
            assert self.run == 1, "somebody else has stopped it"
            time.sleep(0.02)


def setting(name: str) -> str:
    """What a file is set to: of a choice that which stands in brackets."""
    text = (KSM / name).read_text().strip()
    chosen = re.search(r"\[(\S+)\]", text)
    return text if chosen is None else chosen[1]


@contextmanager
def locked() -> Iterator[None]:
    """One test at a time on this machine."""
    with open(KSM / "run", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def switched(settings: Mapping[str, int | str]) -> Iterator[None]:
    """*settings* of /sys/kernel/mm/ksm, in this order; then all is as before, from the last on.

    What was merged is taken apart, before and after, unless ksmd was running.
    """
    before = {name: setting(name) for name in settings if (KSM / name).exists()}
    with ExitStack() as stack:  # each is put back, whatever becomes of the others
        for name, value in before.items():
            stack.callback((KSM / name).write_text, value)
            if name == "run" and value != "1":
                stack.callback((KSM / name).write_text, "2")
                (KSM / name).write_text("2")
            (KSM / name).write_text(str(settings[name]))
        yield


@contextmanager
def loose(**settings: int) -> Iterator[Ksmd]:
    """The ksmd of this machine, with *settings*; it stands still until it is let run."""
    wanted: dict[str, int | str] = {**_LOOSE, **settings, "run": 0}
    with locked(), switched(wanted):
        yield Ksmd()
