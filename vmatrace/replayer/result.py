"""What a replay yields: steps, totals, divergences, failed expectations. Values, no behaviour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from vmatrace import abi, calls
from vmatrace.engine import view
from vmatrace.engine.merge import Border, MergeDecision
from vmatrace.engine.mm import Mm
from vmatrace.engine.refusal import Refusal, refusals
from vmatrace.event import Arg, Event, format_result
from vmatrace.layout import Layout
from vmatrace.notes import Notes
from vmatrace.printable import Printable
from vmatrace.replayer.believed import AtLimit
from vmatrace.replayer.tally import Tally

#: So many divergences are kept; the others are counted.
MAX_DIVERGENCES = 10_000


@dataclass
class Divergence:
    """A recorded result that the model disagrees with. ``index`` counts events from 0."""

    index: int
    event: Event
    recorded: int
    modelled: int


@dataclass
class Failure:
    """An expectation that did not hold: which, what was expected and what was there.

    ``since`` is the event at which a number went wrong (blame.blame()). ``name`` is what the trace
    calls the expectation, or empty.
    """

    line: int
    column: int
    pid: str
    what: str
    expected: object
    actual: object
    since: Event | None = field(default=None, compare=False)
    name: str = field(default="", compare=False)


def child_name(label: str | None, number: int) -> str:
    """The name in Event.pid of a process by the label of its birth and its number."""
    return label or str(number)


class Step(Printable):
    """One event and what it did. ``layout`` is that of its process right after it.

    ``index`` counts events from 0; ``result`` is the return value, -errno for a failure; ``args``
    are the event's with every expression evaluated. ``decisions`` are the merge attempts. ``came``
    and ``went`` are the VMAs that it made and that it did away with, in whichever process; they are
    there where somebody followed the replay. ``heap`` is (start_brk, brk) before the call.

    The rest of a step is valid until the next one is asked for: ``mm`` is the live model of the
    process that made the call (its last state, where the call ended it), and layout and
    ``touched`` are read from it, unless ``past`` says how to have the layout again.
    """

    __slots__ = (
        "_reach", "args", "came", "decisions", "event", "heap", "index", "mm", "past", "pid",
        "result", "splits", "went",
    )  # fmt: skip
    shown_by = "vmatrace.render.steps:write_step"

    came: Layout
    went: Layout
    _reach: list[calls.Range] | bool | None  # False: nobody has asked

    def __init__(
        self,
        index: int,
        event: Event,
        pid: str,
        result: int,
        decisions: list[MergeDecision],
        splits: int,
        mm: Mm,
        args: tuple[Arg, ...],
        heap: tuple[int, int],
    ) -> None:
        self.index = index
        self.event = event
        self.pid = pid
        self.result = result
        self.decisions = decisions
        self.splits = splits
        self.mm = mm
        self.args = args
        self.heap = heap
        self._reach = False
        self.past: Callable[[], Layout] | None = None

    def __repr__(self) -> str:
        return f"<Step {self.index}: {self.event.text} = {format_result(self.result)}>"

    @property
    def layout(self) -> Layout:
        return view.layout(self.mm) if self.past is None else self.past()

    @property
    def born(self) -> str | None:
        """The process that the call made, by its name in Event.pid."""
        if self.event.name not in calls.BIRTHS or self.result <= 0:
            return None
        return child_name(self.event.label, self.result)

    @property
    def executed(self) -> bool:
        """Whether the process has a new image, and ``mm`` is new."""
        return self.event.name in calls.EXECS and self.result >= 0

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self.event.name in calls.DEATHS

    @property
    def touched(self) -> list[calls.Range] | None:
        """Where the call can have changed VMAs: ranges of whole pages; None: anywhere.

        Of process_madvise() that is in the memory of the process that it names.
        """
        name, mm = self.event.name, self.mm
        if name == "brk":
            start, old = self.heap
            ranges = [(min(old, mm.brk), max(old, mm.brk))] if start == mm.start_brk else None
        else:
            ranges = calls.touched(name, self.args, self.result, self.event.recorded)
        if ranges is None:
            return None
        if name == "fault":
            vma = mm.vmas.at(ranges[0][0])
            if vma is not None and vma.flags & abi.VM_GROWSDOWN:
                ranges.append((vma.start, vma.end))  # a stack, which may have grown
        mask = mm.world.page_mask
        for start, end in ranges:
            if (start | end) & mask:
                return [(start & ~mask, end + mask & ~mask) for start, end in ranges]
        return ranges

    @property
    def reach(self) -> list[calls.Range] | None:
        """``touched``, and what was to merge there and lies outside; read once for all who ask."""
        known = self._reach
        if not isinstance(known, bool):
            return known
        ranges = self._reach = self.touched
        if ranges is not None:
            for d in self.decisions:
                start, end = d.start, d.end
                for low, high in ranges:
                    if low <= start and end <= high:
                        break
                else:
                    ranges.append((start, end))
        return ranges

    def foreseen(self, reach: list[calls.Range]) -> None:
        """``reach`` is within these, which were known before."""
        self._reach = reach

    @property
    def vmas(self) -> int:
        return self.mm.vmas.count if self.past is None else len(self.past())

    @property
    def errno(self) -> str | None:
        """The name of the error, such as ENOMEM; None for a success."""
        return abi.ERRNO_NAME.get(-self.result) if self.result < 0 else None

    @property
    def merges(self) -> list[MergeDecision]:
        """The attempts that merged."""
        return [decision for decision in self.decisions if decision.kind is not None]

    @property
    def refusals(self) -> list[Refusal]:
        """Where a VMA touched and stayed apart, and why."""
        return [refusal for decision in self.decisions for refusal in refusals(decision)]


@dataclass
class ProcessResult:
    """A process at the end, or as it was when it exited. ``borders`` in address order.

    ``parent`` is the process that made it, None of the first.
    """

    pid: str
    layout: Layout
    peak_vmas: int
    exited: bool = False
    borders: list[Border] = field(default_factory=list)
    parent: str | None = None

    @property
    def mergeable(self) -> int:
        """How many VMAs have VM_MERGEABLE."""
        return sum("mg" in m.codes for m in self.layout)


@dataclass
class Result(Printable):
    """The outcome of a replay. ``vmas`` and ``mergeable`` are sums over the processes listed;
    ``peak_vmas`` is the most that any one process had after an event, also one that has ended.
    ``divergences`` holds the first MAX_DIVERGENCES of ``diverged``. ``assumed`` counts mappings
    that a partial trace never showed and its results prove, ``cleared`` those that they prove gone.
    ``description`` is the trace's, ``notes`` are those of a log.
    ``believed`` counts calls that failed in a partial trace and that the model would have granted;
    ``at_limit`` is the first of them that the number of VMAs explains. ``beyond_limit``: with so
    many VMAs a call succeeded that vm.max_map_count, as the trace has it, would have refused; 0:
    none did.
    """

    shown_by = "vmatrace.render.summary:write_result"

    trace: str
    path: str
    kernel: str
    page_size: int
    max_map_count: int
    events: int = 0
    errors: int = 0
    splits: int = 0
    tally: Tally = field(default_factory=Tally)
    processes: list[ProcessResult] = field(default_factory=list)
    divergences: list[Divergence] = field(default_factory=list)
    diverged: int = 0
    assumed: int = 0
    cleared: int = 0
    believed: int = 0
    at_limit: AtLimit | None = None
    beyond_limit: int = 0
    past_peak: int = 0
    passed: int = 0
    failures: list[Failure] = field(default_factory=list)
    description: str = ""
    notes: Notes | None = None

    def __repr__(self) -> str:
        vmas, merges = self.vmas, self.tally.total
        return f"<Result of {self.trace} under {self.kernel}: {vmas} VMAs, {merges} merges>"

    def diverge(self, divergence: Divergence) -> None:
        """Count one, and keep it if there is room."""
        self.diverged += 1
        if len(self.divergences) < MAX_DIVERGENCES:
            self.divergences.append(divergence)

    @property
    def vmas(self) -> int:
        return sum(len(p.layout) for p in self.processes)

    @property
    def mergeable(self) -> int:
        return sum(p.mergeable for p in self.processes)

    @property
    def peak_vmas(self) -> int:
        return max([self.past_peak, *(p.peak_vmas for p in self.processes)])
