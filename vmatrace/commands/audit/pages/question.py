"""What ksmd would find in running processes, were KSM by default on: ``estimate()``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from vmatrace import kernels
from vmatrace.commands.audit import snapshot as snapshots
from vmatrace.commands.audit.bill import RECORD, knob
from vmatrace.commands.audit.pages.classes import KsmSettings, Sharing, sharing, zeros
from vmatrace.commands.audit.pages.contents import (
    PAGE_SIZE,
    AnonymousPages,
    Digester,
    Pace,
    Page,
)
from vmatrace.commands.audit.pages.cost import Added, added
from vmatrace.commands.audit.question import DEFAULT_MAX_MAP_COUNT, running
from vmatrace.diagnostic import TraceError
from vmatrace.kernels import Kernel
from vmatrace.printable import Printable

#: Megabytes a second that are read where nobody says otherwise.
RATE: Final = 200
#: Pages between two words about how far it has come.
_OFTEN: Final = 4096


@dataclass(frozen=True)
class Contents:
    """One process. Pages: ``pages`` are anonymous, there, and of VMAs that may be mergeable;
    ``read`` of them were looked at, ``unread`` could not be; ``zeros`` of those read hold nothing
    but zeros; ``swapped`` are not there. ``sharing`` is what merging within it comes to.
    """

    pid: int
    name: str
    pages: int
    read: int
    unread: int
    zeros: int
    swapped: int
    sharing: Sharing
    vmas: int
    max_map_count: int
    added: list[Added]


@dataclass(frozen=True, repr=False)
class Estimate(Printable):
    """What KSM by default would save and cost: all processes together, those first that would save
    most by themselves. Pages: ``sharing`` is what merging comes to, in them and across them,
    ``zeros`` its part for pages of nothing but zeros; ``forked`` are one page already, which
    several of the processes map. ``share`` of the pages was read.
    """

    shown_by = "vmatrace.commands.audit.pages.as_table:write"

    processes: list[Contents]
    sharing: Sharing
    zeros: Sharing
    forked: int
    share: float
    settings: KsmSettings
    page_size: int = PAGE_SIZE

    def __repr__(self) -> str:
        return f"<Estimate of {len(self.processes)} processes: {self.sharing.saved} pages saved>"

    @property
    def pages(self) -> int:
        return sum(process.pages for process in self.processes)

    @property
    def within(self) -> int:
        """What would be saved if each process merged with itself alone, in pages."""
        alone = sum(process.sharing.saved for process in self.processes)
        return min(alone, self.sharing.saved)  # of a sample it is another estimate

    @property
    def added(self) -> list[Added]:
        """VMAs more in all of them, under each model."""
        columns = zip(*(process.added for process in self.processes), strict=True)
        return [
            Added(rows[0].kernel, sum(row.likely for row in rows), sum(row.most for row in rows))
            for rows in columns
        ]

    @property
    def records(self) -> int:
        """The memory that ksmd needs to keep count of the pages, in bytes."""
        return self.pages * RECORD

    @property
    def profit(self) -> int:
        """Bytes saved less ``records``, as general_profit of ksmd has it."""
        return self.sharing.saved * self.page_size - self.records


class _Seen:
    """Pages by content."""

    def __init__(self, digester: Digester) -> None:
        self._zero = digester.zero
        self.counts: Counter[bytes] = Counter()

    @property
    def zeros(self) -> int:
        return self.counts[self._zero]

    def sharing(self, share: float, settings: KsmSettings) -> tuple[Sharing, Sharing]:
        """What merging comes to, and its part for pages of nothing but zeros."""
        nothing = zeros(self.zeros, share, settings)
        others = (n for digest, n in self.counts.items() if digest != self._zero)
        return sharing(others, share, settings) + nothing, nothing


class _Survey:
    """One run over several processes: what was seen in all of them."""

    def __init__(self, share: float, rate: int, models: Sequence[Kernel]) -> None:
        self.digester = Digester()
        self.settings = settings()
        self.every = _Seen(self.digester)
        self.again = 0
        self._share = share
        self._models = models
        self._pace = Pace(rate)
        self._forked: set[tuple[int, bytes]] = set()

    def process(self, pid: int, tell: Callable[[str], None]) -> Contents:
        """Look at one. Raises TraceError where it cannot be read, or is not there."""
        own = _Seen(self.digester)
        read = idle = 0
        snapshot = snapshots.open_snapshot(pid)
        with AnonymousPages(pid, self._share, self._pace) as memory:
            for page in memory.pages(snapshot.layout, self.digester):
                read += 1
                if not read % _OFTEN:
                    tell(f"{pid}: {read * PAGE_SIZE >> 20}M read")
                # Zeros, and not alone: the kernel's own page of them, which costs nothing.
                if not page.alone and page.digest == self.digester.zero:
                    idle += 1
                else:
                    own.counts[page.digest] += 1
                    self._add(page)
        return Contents(
            pid, snapshot.process, memory.present - round(idle / self._share), read - idle,
            memory.unread, own.zeros, memory.swapped, own.sharing(self._share, self.settings)[0],
            len(snapshot.layout), snapshots.max_map_count() or DEFAULT_MAX_MAP_COUNT,
            added(snapshot.layout, self._models),
        )  # fmt: skip

    def _add(self, page: Page) -> None:
        """Count it for all. A page that fork() shares has one address in all, and is one."""
        if not page.alone:
            if (page.address, page.digest) in self._forked:
                self.again += 1
                return
            self._forked.add((page.address, page.digest))
        self.every.counts[page.digest] += 1


def models(kernel: Kernel | None) -> list[Kernel]:
    """What the cost in VMAs is said for: without and with the KSM series, and *kernel* (default:
    the running one).
    """
    this = kernel or running(os.uname().release)
    found = [kernels.get_kernel(name) for name in ("pre-patch", "post-patch")]
    return [*found, this] if this is not None and this not in found else found


def settings() -> KsmSettings:
    """The settings of this machine's ksmd."""
    return KsmSettings(
        knob("max_page_sharing") or KsmSettings.max_page_sharing, bool(knob("use_zero_pages"))
    )


def estimate(
    pids: Sequence[int],
    share: float = 1.0,
    rate: int = 0,
    kernel: Kernel | None = None,
    refuse: Callable[[TraceError, int], None] | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Estimate:
    """What KSM by default would save in the processes *pids*, and what it would cost.

    *share* of their pages is read (above 0 up to 1), *rate* bytes a second at most (0: no limit).
    *refuse* hears of a process that cannot be read, without it that is raised as a TraceError
    (of the kinds of open_snapshot()); *tell* hears how far it has come.
    """
    survey = _Survey(share, rate, models(kernel))
    processes: list[Contents] = []
    for pid in dict.fromkeys(pids):
        try:
            processes.append(survey.process(pid, tell))
        except TraceError as error:
            if refuse is None:
                raise
            refuse(error, pid)
    processes.sort(key=lambda process: (-process.sharing.saved, process.pid))
    total, nothing = survey.every.sharing(share, survey.settings)
    forked = round(survey.again / share)
    return Estimate(processes, total, nothing, forked, share, survey.settings)
