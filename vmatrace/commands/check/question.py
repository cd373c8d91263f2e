"""Whether what a trace expects holds: ``check()``, and under which models it is asked.

Values in, values out; what an expectation means is the engine's to say, how it is shown the
renderers'.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from typing import Final, NamedTuple

from vmatrace import kernels
from vmatrace.commands.config import Budget
from vmatrace.diagnostic import Diagnostic, TraceError
from vmatrace.event import Expectation
from vmatrace.kernels import KERNELS, Kernel
from vmatrace.printable import Printable
from vmatrace.replayer.blame import blame
from vmatrace.replayer.expectations import applies
from vmatrace.replayer.identities import named
from vmatrace.replayer.result import Failure, Result
from vmatrace.replayer.run import replay
from vmatrace.trace.file import Item, Trace, load_trace
from vmatrace.trace.update import Rewrite, Seen, Updated, updated

#: What fails a check unless it is allowed: a trace that nothing is expected of, and an expectation
#: that is about no model.
NO_EXPECTATIONS, UNCOVERED = "no-expectations", "uncovered"
ALLOWABLE: Final = (NO_EXPECTATIONS, UNCOVERED)

#: A trace of no more items is read once for all models; a longer one is read anew for each.
_KEPT: Final = 20_000


@dataclass
class Check:
    """One expectation under one model; no ``failures``: it held.

    ``name`` (identities.named()) is the only one of the trace, and outlives edits elsewhere in it.
    """

    line: int
    column: int
    name: str
    failures: list[Failure] = field(default_factory=list)


@dataclass
class UnderModel:
    """The expectations of a trace that are about one model; ``seconds`` is what the replay took."""

    kernel: str
    checks: list[Check]
    seconds: float

    @property
    def failed(self) -> int:
        return sum(bool(check.failures) for check in self.checks)

    @property
    def held(self) -> int:
        return len(self.checks) - self.failed


class Uncovered(NamedTuple):
    """An expectation that is about none of the models there are; ``on`` is its range."""

    line: int
    column: int
    name: str
    on: str


@dataclass(repr=False)
class Checked(Printable):
    """What came of one trace: the models it was asked under, in order, or the ``error`` in it.

    ``uncovered`` holds each expectation that is about no model that there is. A model without
    checks is one of which the trace expects nothing. ``allowed`` holds those of ALLOWABLE that are
    no failure.
    """

    shown_by = "vmatrace.commands.check.as_table:write"

    path: str
    trace: str
    models: list[UnderModel] = field(default_factory=list)
    uncovered: list[Uncovered] = field(default_factory=list)
    error: TraceError | None = None
    allowed: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"<Checked {self.trace}: {self.held} held, {self.failed} failed>"

    @property
    def failed(self) -> int:
        return sum(model.failed for model in self.models)

    @property
    def held(self) -> int:
        return sum(model.held for model in self.models)

    @property
    def empty(self) -> list[str]:
        """The models of which the trace expects nothing."""
        return [model.kernel for model in self.models if not model.checks]

    @property
    def idle(self) -> bool:
        """Whether nothing was checked, no expectation says why, and that is a failure."""
        nothing = self.error is None and not self.uncovered and not self.held + self.failed
        return nothing and NO_EXPECTATIONS not in self.allowed

    @property
    def unchecked(self) -> int:
        """How many expectations are about no model, where that is a failure."""
        return 0 if UNCOVERED in self.allowed else len(self.uncovered)

    @property
    def holds(self) -> bool:
        """Whether nothing failed and nothing is missing."""
        return self.error is None and not (self.failed or self.idle or self.unchecked)

    def failures(self) -> list[tuple[Failure, list[str]]]:
        """Each failure once, in the order of lines, with the models under which it is the same."""
        found: list[tuple[Failure, list[str]]] = []
        for model in self.models:
            for failure in (f for check in model.checks for f in check.failures):
                same = next((names for known, names in found if _same(known, failure)), None)
                if same is None:
                    found.append((failure, same := []))
                same.append(model.kernel)
        return sorted(found, key=lambda pair: (pair[0].line, pair[0].column))


def _same(one: Failure, other: Failure) -> bool:
    """Whether both say the same; the events are of different readings of the trace."""
    since = [(f.since.line, f.since.column) if f.since else None for f in (one, other)]
    return one == other and since[0] == since[1]


def models(trace: Trace, expected: Iterable[Expectation]) -> list[Kernel]:
    """The models that *trace* is checked under when nobody says otherwise, in order.

    Every model that an expectation names; where it names none, the trace's own (its ``kernel``,
    else the default); where it states a range, the trace's own if that is in it, else the oldest
    and the newest in it.
    """
    own = kernels.get_kernel(trace.kernel or kernels.DEFAULT)
    specs = {spec for x in expected for spec in x.on or (own.name,)} or {own.name}
    asked: set[Kernel] = set()
    for spec in specs:
        if kernels.matches(spec, own):
            asked.add(own)
        elif about := _about(spec):
            asked |= {about[0], about[-1]}
    return kernels.in_order(asked)


@cache
def _about(spec: str) -> list[Kernel]:
    """The releases that *spec*, a name or a range, covers, oldest first; else other models."""
    about = [kernel for kernel in KERNELS.values() if kernels.matches(spec, kernel)]
    if not about and not kernels.is_range(spec):
        about = [kernels.get_kernel(spec)]
    releases = [kernel for kernel in about if kernels.is_release(kernel)]
    return sorted(releases or about, key=lambda kernel: kernel.release)


def check(
    trace: Trace,
    chosen: Sequence[Kernel] = (),
    allowed: Iterable[str] = (),
    budgets: Sequence[Budget] = (),
) -> Checked:
    """Check what *trace* expects under the *chosen* models, else under models(); and *budgets*.

    Raises TraceError for a trace in error, also for a call that is not modelled.
    """
    expected = list(named(_read(trace)))
    under = chosen or models(trace, (x for x, _ in expected))
    checked = Checked(trace.path, trace.name, allowed=frozenset(allowed))
    for kernel in under:
        started = time.perf_counter()
        unmet: dict[tuple[int, int], list[Failure]] = {}
        result = replay(trace, kernel)
        failures = result.failures
        blame(trace, kernel, failures)
        for failure in failures:
            unmet.setdefault((failure.line, failure.column), []).append(failure)
        checks = [
            Check(x.line, x.column, name, unmet.get((x.line, x.column), []))
            for x, name in expected
            if applies(x, kernel)
        ]
        if set_ := [budget for budget in budgets if budget.is_for(trace.path)]:
            checks.append(Check(1, 1, "budget", list(_exceeded(set_, result))))
        checked.models.append(UnderModel(kernel.name, checks, time.perf_counter() - started))
    if not chosen:
        checked.uncovered = [
            Uncovered(x.line, x.column, name, ", ".join(x.on))
            for x, name in expected
            if not any(applies(x, kernel) for kernel in under)
        ]
    return checked


def _exceeded(budgets: Iterable[Budget], result: Result) -> Iterator[Failure]:
    counts = {
        "vmas": result.vmas, "peak_vmas": result.peak_vmas, "mergeable": result.mergeable,
        "merges": result.tally.total, "blocked_only_by_mergeable": result.tally.only_mergeable,
    }  # fmt: skip
    for what, most, _ in budgets:
        if counts[what] > most:
            yield Failure(1, 1, "main", what, f"<= {most}", counts[what])


def _read(trace: Trace) -> Iterator[Item]:
    """The items of *trace*, which a short one keeps for the replays."""
    items = list(islice(trace.items(), _KEPT + 1))
    if len(items) > _KEPT:
        return trace.items()
    trace.read = lambda: iter(items)
    return trace.items()


def rewrites(checked: Checked) -> list[Rewrite]:
    """What would have to change for the expectations to hold, in the order of lines."""
    found: dict[tuple[int, int, str], Rewrite] = {}
    for model in checked.models:
        for failure in (f for one in model.checks for f in one.failures):
            at = failure.line, failure.column, failure.what
            seen = Seen(model.kernel, failure.expected, failure.actual)
            found.setdefault(at, Rewrite(*at)).seen.append(seen)
    for (line, column, what), rewrite in found.items():
        rewrite.holds += [
            model.kernel
            for model in checked.models
            for one in model.checks
            if (one.line, one.column) == (line, column)
            and all(failure.what != what for failure in one.failures)
        ]
    return [found[at] for at in sorted(found)]


def update(path: str, data: bytes, chosen: Sequence[Kernel] = ()) -> Updated:
    """*data*, the trace at *path*, with the expectations that failed as they would have held.

    They hold then under the *chosen* models and those that the trace is checked under anyway; what
    cannot is a problem, and so is what is spelled in a way that cannot be rewritten. Raises
    TraceError.
    """
    trace = load_trace(data, path)
    asked = models(trace, (item for item in _read(trace) if isinstance(item, Expectation)))
    under = list({kernel.name: kernel for kernel in (*asked, *chosen)}.values())
    wanted = rewrites(check(trace, under))
    done = updated(path, data, wanted, trace.page_size)
    if not done.rewritten:
        return done
    try:
        left = rewrites(check(load_trace(done.data, path), under))
    except TraceError:
        left = wanted
    problems = [
        Diagnostic(
            path, one.line, one.column, f"{one.what} is spelled in a way that cannot be updated"
        )
        for one in left
    ]
    return Updated(path, data, 0, problems) if problems else done
