"""What is at an address at the end of a replay, how it came to be, and why it is not one with its
neighbours: explain() for one place, overview() for every border of every process.

Values only. What was refused comes from the engine's decisions, what is now from its VMAs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from vmatrace import abi
from vmatrace.commands.explain.address import (
    Ended,
    NoAddress,
    UnknownName,
    instead_of_label,
)
from vmatrace.commands.explain.borders import BorderLife
from vmatrace.commands.explain.elsewhere import ONE, Answer, BorderPlace, Elsewhere
from vmatrace.commands.explain.lives import LifeEvent, Watch, standing
from vmatrace.commands.explain.survey import Survey
from vmatrace.engine import merge, view
from vmatrace.engine.merge import IGNORED_FLAGS, Border, MergeDecision, Side
from vmatrace.engine.mm import Mm
from vmatrace.event import Event, Expr
from vmatrace.kernels import Kernel
from vmatrace.layout import Mapping
from vmatrace.notes import Notes
from vmatrace.printable import Printable
from vmatrace.replayer.result import Result
from vmatrace.replayer.run import Replay
from vmatrace.trace.file import Trace


@dataclass(frozen=True)
class Contrast:
    """Two that touch, the lower one and the upper one, and the Blockers between them (0: none).

    ``page_size`` in bytes; page offsets are in pages, as the kernel compares them.
    """

    below: Side
    above: Side
    mask: int
    page_size: int

    @property
    def flags(self) -> tuple[int, int]:
        """The vm_flags that only the lower has, and that only the upper has; ignored ones not."""
        a, b = self.below.attributes.flags, self.above.attributes.flags
        return a & ~b & ~IGNORED_FLAGS, b & ~a & ~IGNORED_FLAGS

    @property
    def paths(self) -> tuple[str | None, str | None]:
        """What backs each, None for memory without a file."""
        a, b = self.below.attributes.file, self.above.attributes.file
        return a.path if a else None, b.path if b else None

    @property
    def opened_twice(self) -> bool:
        """Whether both map the file of the same path, through two open files."""
        a, b = self.below.attributes.file, self.above.attributes.file
        return a is not None and b is not None and a is not b and a.path == b.path

    @property
    def pgoff(self) -> tuple[int, int]:
        """The page offset that would continue the lower one, and that of the upper one, in pages.

        Of anonymous memory it is the page number of the address where it was first placed.
        """
        low, high = self.below, self.above
        continued = low.end + low.attributes.skew & abi.ULONG_MAX
        own = high.start + high.attributes.skew & abi.ULONG_MAX
        return continued // self.page_size, own // self.page_size


def anon_state(side: Side) -> str:
    """Whether it has been written to: "unfaulted", "own" anon_vma, or "shared" since a fork."""
    attributes = side.attributes
    return "unfaulted" if not attributes.anon else "own" if attributes.chain < 2 else "shared"


@dataclass(frozen=True)
class Attempt:
    """A merge attempt that was refused: by which event, and what the two sides were then.

    ``op`` is as in MergeDecision; ``upper``: the range that was to merge is the upper one.
    """

    event: Event | None
    op: str
    upper: bool
    then: Contrast


@dataclass(frozen=True)
class BorderAccount:
    """The border of two VMAs that touch at ``address`` in process ``pid``.

    ``life`` says since when they touch, and what the address was before (lives.BorderLife).
    ``attempt`` is the last one, None if none was made; ``answer`` what other models make of it,
    None where that was not asked.
    """

    pid: str
    address: int
    below: Mapping
    above: Mapping
    life: BorderLife
    today: Contrast
    attempt: Attempt | None
    answer: Answer | None = None


@dataclass(frozen=True, repr=False)
class Account(Printable):
    """What is at ``address`` of process ``pid``; ``asked`` is how the question put it.

    ``mapping`` is the VMA there, with ``anon`` its anon_state, or None in a hole. ``history`` is
    how that came to be, and ``before`` what was there before it. ``below`` and ``above`` are the
    nearest VMAs on both sides; ``lower`` and ``upper`` are there where these touch. ``result`` is
    that of the replay, with the ``notes`` of a log.
    """

    shown_by = "vmatrace.commands.explain.as_table:write"

    result: Result
    notes: Notes | None
    pid: str
    asked: str
    address: int
    mapping: Mapping | None
    anon: str | None
    history: list[LifeEvent]
    before: Side | None
    below: Mapping | None
    above: Mapping | None
    lower: BorderAccount | None
    upper: BorderAccount | None

    def __repr__(self) -> str:
        return f"<Account of {self.address:08x} in {self.pid} of {self.result.trace}>"


@dataclass(frozen=True, repr=False)
class Overview(Printable):
    """Every border of the final layouts of ``processes``, which have so many ``vmas`` together.

    ``result`` and ``notes`` as in Account.
    """

    shown_by = "vmatrace.commands.explain.as_table:write"

    result: Result
    notes: Notes | None
    processes: list[str]
    vmas: int
    borders: list[BorderAccount]

    def __repr__(self) -> str:
        return f"<Overview of {self.result.trace}: {len(self.borders)} borders>"


@dataclass
class Group:
    """Borders that are apart for the same reasons, then and now, and under the same models."""

    borders: list[BorderAccount]

    @property
    def first(self) -> BorderAccount:
        return self.borders[0]


def explain(
    trace: Trace,
    kernel: Kernel,
    asked: str,
    where: int | Expr,
    pid: str = "main",
    ksm: bool | None = None,
    models: bool = True,
) -> Account:
    """What is at *where* in process *pid* at the end of *trace*; *models*: ask the others too.

    Raises TraceError, UnknownName, NoAddress, Ended.
    """
    survey, watch, answers = _seen(
        trace, kernel, ksm, where if isinstance(where, int) else None, models
    )
    name, mm = _process(survey, pid)
    address = _address(survey, where)
    vma = mm.vmas.find(address)
    at = vma if vma is not None and vma.start <= address else None
    below = at.prev if at is not None else vma.prev if vma is not None else mm.vmas.last
    above = at.next if at is not None else vma
    edges = [at.start, at.end] if at is not None else []
    touching = [
        edge
        for edge, other in zip(edges, (below, above), strict=False)
        if other is not None and edge in (other.start, other.end)
    ]
    found = answers([BorderPlace(name, edge) for edge in touching])
    borders = watch
    if not all(watch.knows(name, edge) for edge in touching):  # one came from afar
        borders = _watched(trace, kernel, ksm, None)
    accounts = {edge: _border(name, mm, edge, borders, found) for edge in touching}
    if not isinstance(where, int):  # where that is became known at the end
        watch = _watched(trace, kernel, ksm, address)
    life = watch.address(name)
    return Account(
        survey.result, trace.notes, name, asked, address,
        view.mapping(mm, at) if at is not None else None,
        anon_state(standing(at)) if at is not None else None,
        life.changes, life.before,
        view.mapping(mm, below) if below is not None else None,
        view.mapping(mm, above) if above is not None else None,
        accounts.get(at.start) if at is not None else None,
        accounts.get(at.end) if at is not None else None,
    )  # fmt: skip


def overview(
    trace: Trace,
    kernel: Kernel,
    pid: str | None = None,
    ksm: bool | None = None,
    models: bool = True,
) -> Overview:
    """Every border at the end of *trace*, of process *pid* or of all. Raises as explain() does."""
    survey, watch, answers = _seen(trace, kernel, ksm, None, models)
    if pid is not None:
        spaces = dict([_process(survey, pid)])
    else:
        spaces = {p.pid: survey.mms[p.pid] for p in survey.result.processes}
    places = [
        BorderPlace(name, border.address)
        for name, mm in spaces.items()
        for border in view.borders(mm)
    ]
    found = answers(places)
    borders = [_border(name, spaces[name], at, watch, found) for name, at in places]
    vmas = sum(mm.vmas.count for mm in spaces.values())
    return Overview(survey.result, trace.notes, list(spaces), vmas, borders)


def grouped(borders: Iterable[BorderAccount]) -> list[Group]:
    """The borders by what is to be said of them, the largest group first."""
    groups: dict[object, Group] = {}
    for border in borders:
        key = _sameness(border)
        if key in groups:
            groups[key].borders.append(border)
        else:
            groups[key] = Group([border])
    return sorted(groups.values(), key=lambda group: -len(group.borders))


def _sameness(border: BorderAccount) -> object:
    today, attempt, answer = border.today, border.attempt, border.answer
    elsewhere = tuple(v.state for v in answer.verdicts.values()) if answer is not None else None
    if today.mask == 0:  # then what counts is what separated them
        then = (attempt.then.mask, sum(attempt.then.flags)) if attempt is not None else None
        return then, elsewhere
    anon = {anon_state(today.below), anon_state(today.above)}
    tells = today.mask & (merge.ANON_VMA | merge.FORKED)
    return (
        today.mask, sum(today.flags), today.opened_twice, frozenset(anon) if tells else None,
        elsewhere,
    )  # fmt: skip


#: What deliberate() can find.
DELIBERATE: Final = ("protection", "file", "sharing", "special")


def deliberate(border: BorderAccount) -> str | None:
    """What separates two that nobody wants to be one, and that are one under no model asked."""
    answer, today = border.answer, border.today
    if answer is not None and any(v.state == ONE for v in answer.verdicts.values()):
        return None
    differing = sum(today.flags)
    if today.mask & merge.SPECIAL:
        return "special"
    if today.mask & merge.FILE and not today.opened_twice:
        return "file"
    if differing & (abi.VM_SHARED | abi.VM_MAYSHARE):
        return "sharing"
    return "protection" if differing & abi.VM_ACCESS_FLAGS else None


def _process(survey: Survey, pid: str) -> tuple[str, Mm]:
    name = survey.aliases.get(pid, pid)
    if name in survey.mms:
        mm = survey.mms[name]
        # Threads are names of one address space; the results go by the first of them.
        listed = (p.pid for p in survey.result.processes if survey.mms.get(p.pid) is mm)
        return next(listed, name), mm
    if name in survey.exits:
        raise Ended(pid, survey.exits[name])
    raise UnknownName("process", pid, [*survey.mms, *survey.exits])


def _address(survey: Survey, where: int | Expr) -> int:
    if isinstance(where, int):
        return where
    for label in where.labels():
        if label in survey.forks:
            raise NoAddress(label, 0, process=True)
        if label not in survey.labels:
            if where.text == label and (address := instead_of_label(label)) is not None:
                return address
            raise UnknownName("label", label, survey.labels)
        if survey.labels[label] < 0:
            raise NoAddress(label, survey.labels[label], process=False)
    address = where.evaluate(survey.labels)
    if not 0 <= address <= abi.ULONG_MAX:
        raise NoAddress(where.text, address, process=False)
    return address


_Answers = dict[BorderPlace, Answer]


def _seen(
    trace: Trace, kernel: Kernel, ksm: bool | None, address: int | None, models: bool
) -> tuple[Survey, Watch, Callable[[list[BorderPlace]], _Answers]]:
    """One reading of the trace: everything that is asked of it, under *kernel* and the others."""
    if not models:
        replay = Replay(trace, kernel, ksm)
        watch = Watch(replay, address)
        return Survey(replay, watch.see), watch, lambda places: {}
    elsewhere = Elsewhere(trace, kernel, ksm)
    watch = Watch(elsewhere.watched, address)
    survey = Survey(elsewhere.watched, watch.see, elsewhere.steps())
    return survey, watch, lambda places: elsewhere.answers(places, survey)


def _watched(trace: Trace, kernel: Kernel, ksm: bool | None, address: int | None) -> Watch:
    """Another reading, now that it is known what to watch."""
    replay = Replay(trace, kernel, ksm)
    watch = Watch(replay, address)
    for step in replay.steps():
        watch.see(step)
    return watch


def _border(name: str, mm: Mm, at: int, watch: Watch, answers: _Answers) -> BorderAccount:
    above = mm.vmas.at(at)
    assert above is not None
    below = above.prev
    assert below is not None
    life = watch.border(name, at)
    mask = mm.between(below, above)
    page_size = mm.world.page_size
    refusal = Border(below, above, mask).refusal or life.refusal
    return BorderAccount(
        name, at, view.mapping(mm, below), view.mapping(mm, above), life,
        Contrast(standing(below), standing(above), mask, page_size),
        _attempt(refusal, at, page_size) if refusal is not None else None,
        answers.get(BorderPlace(name, at)),
    )  # fmt: skip


def _attempt(decision: MergeDecision, at: int, page_size: int) -> Attempt:
    """The side of a refused attempt that is at *at*."""
    proposed = Side(decision.start, decision.end, decision.proposed)
    if decision.prev is not None and decision.start == at:
        then = Contrast(decision.prev, proposed, decision.left, page_size)
        return Attempt(decision.event, decision.op, True, then)
    assert decision.next is not None
    then = Contrast(proposed, decision.next, decision.right, page_size)
    return Attempt(decision.event, decision.op, False, then)
