"""What a diff finds, as values: the events and the final layouts in which two sides differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from vmatrace.alignment import Block, FlagDifference, align, flag_differences
from vmatrace.commands.diff.moved import Ranges, brought_along, only_moved
from vmatrace.commands.diff.sides import DiffSide, Totals
from vmatrace.engine.merge import MergeDecision
from vmatrace.event import Event
from vmatrace.layout import Layout, with_flags
from vmatrace.printable import Printable
from vmatrace.replayer.attribution import DiffCause, Reach


@dataclass
class Did:
    """What an event did on one side: its result, and the VMAs that went and came there alone.

    ``result`` is the return value, -errno for a failure. ``decisions`` are the merge attempts of a
    replay; ``record`` is the event of a saved result, as vmatrace-replay has it.
    """

    result: int
    went: Layout
    came: Layout
    decisions: list[MergeDecision] = field(default_factory=list)
    record: dict[str, Any] | None = None


@dataclass
class EventDiff:
    """An event that did not do the same on both sides.

    ``index`` counts events from 0, ``line`` those of the trace from 1. ``healed``: right after it
    the layouts of both sides are equal.
    """

    index: int
    event: Event
    from_: Did
    to: Did
    healed: bool

    @property
    def line(self) -> int:
        return self.event.line


@dataclass
class ProcessDiff:
    """The final layouts of a process, aligned; None where a side does not have the process."""

    pid: str
    from_: Layout | None
    to: Layout | None

    @cached_property
    def blocks(self) -> list[Block]:
        """Both layouts in address order, every VMA of both in one block."""
        return align(self.from_ or [], self.to or [])

    @property
    def flags(self) -> list[FlagDifference]:
        """Where both have memory, but not with the same vm_flags."""
        return flag_differences(self.blocks)

    @property
    def equal(self) -> bool:
        return self.from_ == self.to


@dataclass(frozen=True)
class WithKsm:
    """What the two models of a trace without KSM by default come to with it; None: not tried."""

    from_: Totals | None = None
    to: Totals | None = None

    @property
    def differs(self) -> bool:
        """Whether they then need other numbers of VMAs."""
        if self.from_ is None or self.to is None:
            return False
        ours, theirs = ((t.vmas, t.peak_vmas, t.mergeable) for t in (self.from_, self.to))
        return ours != theirs


@dataclass(repr=False)
class Diff(Printable):
    """How two sides of a trace differ.

    ``first`` is the first event that did not do the same on both sides, of ``differing`` in all,
    among ``events``; None and None where a side has no events to compare. ``changed``: a saved
    result is of other calls than the trace has now, so only the ends were compared. ``moved``: the
    ends are equal but for the addresses that the kernel chose (moved.only_moved()). ``with_ksm``,
    where KSM by default was never on: what it would make of both models. ``processes`` are those
    of both sides, in the order of the replay. ``causes``, where a real kernel is on a side: the
    features by which the models of both sides differ in the same way; empty if the models do not,
    None where that was not asked. ``why`` is the same of any two sides that have models, ``early``
    are the first events that differ, as many as were asked for, and ``reaches`` how far each of
    ``why`` reaches; none where one makes the whole difference. These three are the page's.
    """

    shown_by = "vmatrace.commands.diff.as_table:write"

    trace: str
    path: str
    description: str
    from_: DiffSide
    to: DiffSide
    processes: list[ProcessDiff]
    events: int | None = None
    differing: int | None = None
    first: EventDiff | None = None
    changed: bool = False
    moved: bool = False
    with_ksm: WithKsm | None = None
    causes: list[DiffCause] | None = None
    why: list[DiffCause] | None = None
    early: list[EventDiff] = field(default_factory=list)
    reaches: list[Reach] = field(default_factory=list)
    #: All events that differ, compared anew at each call; None where they are not asked for.
    again: Callable[[], Iterator[EventDiff]] | None = None

    def __repr__(self) -> str:
        return f"<Diff of {self.trace}: {self.from_.name}, {self.to.name}>"

    @property
    def totals(self) -> list[tuple[str, int | None, int | None]]:
        """Each count with its name and its value on either side, None where that is unknown."""
        theirs = dict(self.to.totals.items())
        return [(name, value, theirs[name]) for name, value in self.from_.totals.items()]

    @property
    def equal(self) -> bool:
        """Whether each call returned the same and left the same VMAs, as far as that is known.

        Where events cannot be compared: whether the final layouts, the peak and the number of
        failed calls are equal. How many merges it took does not count.
        """
        return (
            not self.differing
            and all(process.equal for process in self.processes)
            and all(
                None in (ours, theirs) or ours == theirs
                for name, ours, theirs in self.totals
                if name in ("peak_vmas", "errors")
            )
        )


# --- the ends ------------------------------------------------------------------------------------


def common_flags(sides: Iterable[DiffSide | None]) -> int:
    """The vm_flags that every side can show."""
    mask = -1
    for side in sides:
        if side is not None:
            mask &= side.flags
    return mask


def processes_of(from_: DiffSide, to: DiffSide) -> list[ProcessDiff]:
    """The final layouts, with no more in them than both sides can show."""
    mask = common_flags((from_, to))
    names = dict.fromkeys([*from_.processes, *to.processes])
    if "processes" in from_.lacks + to.lacks:
        names = dict.fromkeys(name for name in names if name == "main")

    def of(side: DiffSide, name: str) -> Layout | None:
        layout = side.processes.get(name)
        return None if layout is None else with_flags(layout, mask)

    return [ProcessDiff(name, of(from_, name), of(to, name)) for name in names]


def _in_order_of_birth(from_: DiffSide, to: DiffSide) -> list[ProcessDiff]:
    """processes_of() where numbers of processes mean nothing: the first beside the first."""
    if len(from_.processes) != len(to.processes):
        return processes_of(from_, to)
    renamed = dict(zip(to.processes, from_.processes.values(), strict=True))
    return processes_of(replace(from_, processes=renamed), to)


def settle(diff: Diff, chosen: Ranges | None) -> None:
    """Compare the ends up to where the kernel placed things."""
    pairs = _in_order_of_birth(diff.from_, diff.to)
    differ = [pair for pair in pairs if not pair.equal]
    diff.moved = bool(differ) and all(
        p.from_ is not None and p.to is not None and only_moved(p.from_, p.to, chosen)
        for p in differ
    )
    for pair in differ:
        if diff.moved:
            pair.from_ = pair.to
        elif pair.from_ is not None and pair.to is not None:
            pair.from_ = brought_along(pair.from_, pair.to, chosen)
    diff.processes = pairs
