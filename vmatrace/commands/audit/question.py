"""One snapshot of a process: neighbours that look alike and are two VMAs, and what may hide behind
it.

A snapshot shows less than the kernel compares: neither anon_vma nor the page offset of anonymous
memory nor the open file. So a cause is as sure as what is visible makes it (LIKELY, POSSIBLE).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

from vmatrace import abi, kernels
from vmatrace.commands.audit import bill as bills
from vmatrace.commands.audit import snapshot as snapshots
from vmatrace.commands.audit.bill import Bill
from vmatrace.commands.audit.patterns import PatternUse, patterns
from vmatrace.commands.audit.snapshot import Snapshot
from vmatrace.engine.merge import IGNORED_FLAGS
from vmatrace.groups import VmaGroup, groups, is_file
from vmatrace.kernels import Kernel
from vmatrace.layout import Mapping
from vmatrace.printable import Printable

LIKELY: Final = "likely"
POSSIBLE: Final = "possible"

#: What can hide: the KSM flag was set too late to be merged with; each side was written to while
#: apart; only one was written to; it is shared with a forked process; mremap() moved it; the file
#: was opened twice; mbind(); another userfaultfd; flags that a maps text does not show; nothing,
#: but no call tried to merge them.
LATE_FLAG: Final = "flag-set-late"
FAULTED_APART: Final = "faulted-apart"
ONE_FAULTED: Final = "one-faulted"
FORKED: Final = "forked"
PGOFF: Final = "page-offset"
OPENED_TWICE: Final = "opened-twice"
POLICY: Final = "policy"
UFFD: Final = "uffd"
HIDDEN_FLAGS: Final = "hidden-flags"
UNTRIED: Final = "untried"
CAUSES: Final = (
    LATE_FLAG, FAULTED_APART, ONE_FAULTED, OPENED_TWICE, FORKED, PGOFF, POLICY, UFFD, HIDDEN_FLAGS,
    UNTRIED,
)  # fmt: skip

#: sysctl vm.max_map_count where nobody changed it (DEFAULT_MAX_MAP_COUNT).
DEFAULT_MAX_MAP_COUNT: Final = 65530


class Suspicion(NamedTuple):
    """One of CAUSES, and how sure: LIKELY or POSSIBLE."""

    name: str
    confidence: str


@dataclass(frozen=True)
class LookalikeRun:
    """VMAs in a row that look alike and are apart, each two for the same causes, likeliest first.

    One VMA in place of them would save ``savable``.
    """

    mappings: Sequence[Mapping]
    causes: tuple[Suspicion, ...]

    @property
    def start(self) -> int:
        return self.mappings[0].start

    @property
    def end(self) -> int:
        return self.mappings[-1].end

    @property
    def savable(self) -> int:
        return len(self.mappings) - 1


@dataclass(frozen=True, repr=False)
class Audit(Printable):
    """What a snapshot says. ``runs`` in address order; ``groups`` and ``patterns``, each of which
    has every VMA once, the largest first.

    ``kernel`` is the model that stands for the kernel it is of, None where that is not known.
    ``by_ksm`` counts neighbours that differ in VM_MERGEABLE and in nothing else, ``special`` those
    alike that never merge (VM_SPECIAL). ``assumed``: max_map_count is the
    default, and was not read.
    """

    shown_by = "vmatrace.commands.audit.as_table:write"

    snapshot: Snapshot
    kernel: Kernel | None
    runs: list[LookalikeRun]
    by_ksm: int
    special: int
    max_map_count: int
    groups: list[VmaGroup]
    patterns: list[PatternUse]
    bill: Bill
    assumed: bool = False

    def __repr__(self) -> str:
        return f"<Audit of {self.snapshot.source}: {self.vmas} VMAs, {self.savable} savable>"

    @property
    def savable(self) -> int:
        """How many VMAs there would be less."""
        return sum(run.savable for run in self.runs)

    @property
    def vmas(self) -> int:
        return len(self.snapshot.layout)

    @property
    def title(self) -> str:
        """Of a process its number and name, else the file."""
        pid, name = self.snapshot.pid, self.snapshot.process
        return self.snapshot.source if pid is None else f"{pid} {name}".rstrip()

    @property
    def headroom(self) -> int:
        """How many VMAs more there may be."""
        return max(self.max_map_count - self.vmas, 0)

    def share(self, vmas: int) -> float:
        """What *vmas* are of the limit, 1 for all of it."""
        return vmas / self.max_map_count

    @property
    def foreign(self) -> list[str]:
        """VmFlags codes that nobody here knows, sorted."""
        return sorted({code for mapping in self.snapshot.layout for code in mapping.foreign})

    @property
    def mergeable(self) -> int:
        """How many VMAs have VM_MERGEABLE."""
        return sum(bool(m.vm_flags & abi.VM_MERGEABLE) for m in self.snapshot.layout)


def running(release: str) -> Kernel | None:
    """The model nearest to a release as uname(2) has it, such as ``6.12.9-generic``.

    None for kernels before 6.4, which have no KSM by default, and for what is no release.
    """
    try:
        return kernels.named(release)
    except kernels.UnknownKernel:
        return None


def audit(
    snapshot: Snapshot, kernel: Kernel | None = None, max_map_count: int | None = None
) -> Audit:
    """Look at every two neighbours that touch. Of a live process what is not given is this
    machine's.
    """
    if snapshot.live:
        kernel = kernel or running(os.uname().release)
        max_map_count = max_map_count or snapshots.max_map_count()
    runs: list[list[Mapping]] = []
    causes: list[tuple[Suspicion, ...]] = []
    by_ksm = special = 0
    for below, above in pairwise(snapshot.layout):
        difference = _difference(below, above)
        if difference is None or difference & ~abi.VM_MERGEABLE:
            continue
        if below.vm_flags & abi.VM_SPECIAL:
            special += 1
        elif difference:
            by_ksm += 1
        else:
            hidden = _causes(below, above, kernel, snapshot)
            if runs and runs[-1][-1] is below and causes[-1] == hidden:
                runs[-1].append(above)
            else:
                runs.append([below, above])
                causes.append(hidden)
    found = [LookalikeRun(run, why) for run, why in zip(runs, causes, strict=True)]
    limit = max_map_count or DEFAULT_MAX_MAP_COUNT
    layout = snapshot.layout
    return Audit(
        snapshot, kernel, found, by_ksm, special, limit, groups(layout), patterns(layout),
        _bill(snapshot, found, by_ksm), max_map_count is None,
    )  # fmt: skip


def _bill(snapshot: Snapshot, runs: Iterable[LookalikeRun], by_ksm: int) -> Bill:
    """What KSM saves and costs: VMAs that likely got the flag late, and those beside VMAs without
    it.
    """
    late = Suspicion(LATE_FLAG, LIKELY)
    apart = by_ksm + sum(run.savable for run in runs if late in run.causes)
    if snapshot.pid is None:
        return Bill(None, snapshot.ksm, apart)
    counters = bills.read_counters(snapshot.pid)
    return Bill(counters, snapshot.ksm, apart, bills.knob("run") == 1)


def by_cause(runs: Iterable[LookalikeRun]) -> dict[tuple[Suspicion, ...], list[LookalikeRun]]:
    """The runs by their causes; those that cost most first, and so within each."""
    groups: dict[tuple[Suspicion, ...], list[LookalikeRun]] = {}
    for run in sorted(runs, key=lambda run: -run.savable):
        groups.setdefault(run.causes, []).append(run)
    cost = {causes: sum(run.savable for run in group) for causes, group in groups.items()}
    return dict(sorted(groups.items(), key=lambda item: -cost[item[0]]))


def _difference(below: Mapping, above: Mapping) -> int | None:
    """The vm_flags in which two differ that touch and are alike in all else, else None."""
    if below.end != above.start or _name(below) != _name(above):
        return None
    if below.foreign != above.foreign:
        return None  # by flags that nobody here knows
    if (below.device, below.inode) != (above.device, above.inode):
        return None
    if is_file(below) and below.offset + below.end - below.start != above.offset:
        return None
    return (below.vm_flags ^ above.vm_flags) & ~IGNORED_FLAGS


def _name(mapping: Mapping) -> str:
    """What is compared of the name: where the heap is, is no attribute of a VMA."""
    return "" if mapping.name == "[heap]" else mapping.name


def _causes(
    below: Mapping, above: Mapping, kernel: Kernel | None, snapshot: Snapshot
) -> tuple[Suspicion, ...]:
    """What may keep two apart that look alike, likeliest first."""
    found: dict[str, str] = {}
    known = snapshot.flags_known
    file, shared = is_file(below), bool(below.vm_flags & abi.VM_MAYSHARE)
    if not known:
        # Such as VM_ACCOUNT, in which what the loader made read-only differs from its neighbours.
        found[HIDDEN_FLAGS] = LIKELY if file and not shared else POSSIBLE
    series = kernel is not None and kernel.has(kernels.KSM_BEFORE_MERGE)
    if below.vm_flags & abi.VM_MERGEABLE or not (known or shared):
        # With the series a driver that has only .mmap() still gets it late.
        if not series and kernel is not None and known:
            found[LATE_FLAG] = LIKELY
        elif not series or file:
            found[LATE_FLAG] = POSSIBLE
    if not shared:
        written = below.faulted + above.faulted
        found[FAULTED_APART] = LIKELY if written == 2 else POSSIBLE
        older = kernel is not None and not kernel.has(kernels.MERGE_UNFAULTED_TARGET)
        if written == 1 and (older or kernel is None):
            found[ONE_FAULTED] = LIKELY if older else POSSIBLE
    if file:
        found[OPENED_TWICE] = LIKELY if known and LIKELY not in found.values() else POSSIBLE
    if not shared:
        found[FORKED] = POSSIBLE
        if not file:
            found[PGOFF] = POSSIBLE
    found[POLICY] = POSSIBLE
    if below.vm_flags & abi.VM_UFFD_FLAGS:
        found[UFFD] = POSSIBLE
    found[UNTRIED] = POSSIBLE
    likely = [Suspicion(name, sure) for name, sure in found.items() if sure == LIKELY]
    return (*likely, *(Suspicion(name, sure) for name, sure in found.items() if sure == POSSIBLE))
