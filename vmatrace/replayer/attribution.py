"""Which features make two models differ on a trace: single ones are switched, and the outcome seen.

Knows nothing of what a feature does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from vmatrace.alignment import align
from vmatrace.event import Event
from vmatrace.kernels import FEATURES, Feature, Kernel
from vmatrace.replayer.alike import can_see
from vmatrace.replayer.changes import Follower
from vmatrace.replayer.lockstep import Lockstep
from vmatrace.replayer.pairs import Pair, start_of
from vmatrace.replayer.result import Result
from vmatrace.replayer.uses import uses_of
from vmatrace.trace.file import Trace


@dataclass(frozen=True)
class Parting:
    """The first event that two models do not do alike. ``results`` are the older's and newer's."""

    index: int
    event: Event
    results: tuple[int, int]


@dataclass(frozen=True)
class DiffCause:
    """A feature that takes part in a difference. ``added``: the later model has it.

    ``alone``: switching it on the earlier model changes the outcome; ``first`` is the first event
    that changes then, or the first that switching it back on the later model changes.
    """

    feature: Feature
    added: bool
    alone: bool
    first: Parting | None


@dataclass
class Reach:
    """How far a cause reaches: the ``events`` (indices) that switching its feature changes, and by
    process the ``ranges`` [start, end) of the final layouts that it changes, in order, disjoint.
    """

    events: set[int]
    ranges: dict[str, list[tuple[int, int]]]


def first_partings(
    models: Lockstep, pairs: Sequence[tuple[int, int]], to_the_end: bool = False
) -> list[Parting | None]:
    """Where the models of each of *pairs*, by number, part first; None where they never do.

    With *to_the_end* their results are complete afterwards.
    """
    found: list[Parting | None] = [None] * len(pairs)
    still = dict(enumerate(pairs))
    runs, of = models.runs, models.of
    starts = {place: start_of(run) for place, run in enumerate(runs)}
    beside: dict[tuple[int, int], tuple[Pair, list[int]]] = {}  # which of *pairs* by their runs

    def sort() -> None:
        sides: dict[tuple[int, int], list[int]] = {}
        for n, (a, b) in still.items():
            if of[a] != of[b]:
                sides.setdefault((of[a], of[b]), []).append(n)
        beside.clear()
        for (a, b), those in sides.items():
            if a in starts and b in starts:
                beside[a, b] = Pair(runs[a], runs[b], (starts[a], starts[b])), those

    def begin(place: int, old: int) -> None:
        starts.setdefault(place, starts[old])  # they were one up to here
        sort()

    sort()
    models.begin = begin
    for steps in models.steps():
        parted = False
        for (a, b), (pair, those) in beside.items():
            if not pair.is_same_after(steps[a], steps[b]):
                parted = True
                step = steps[a]
                for n in those:
                    found[n] = Parting(step.index, step.event, (step.result, steps[b].result))
                    del still[n]
        if parted:
            if not still and not to_the_end:
                break
            sort()
    return found


@dataclass
class Succession:
    """A model and the one before it: where they part first, None where they do not, and why."""

    first: Parting | None
    causes: list[DiffCause]


def compared(
    trace: Trace, models: Sequence[Kernel], ksm: bool | None = None
) -> tuple[list[Result], list[Succession]]:
    """The results of *models*, and each but the first compared with the one before it.

    The features in which they differ are switched one by one in the same reading.
    """
    everyone, pairs = list(models), list(pairwise(range(len(models))))
    switched: list[dict[str, tuple[int, int]]] = []  # of a feature, where its pairs are
    for old, new in list(pairs):
        row: dict[str, tuple[int, int]] = {}
        for feature in _between(models[old], models[new]) if can_see() else ():
            single = len(everyone)
            everyone.append(models[old].switched([feature]))
            row[feature.name] = len(pairs), len(pairs) + 1
            pairs += [(old, single), (single, new)]
        switched.append(row)
    runs = Lockstep.shared(trace, everyone, ksm, reasons=False)
    partings = first_partings(runs, pairs, to_the_end=True)
    found = []
    for (older, newer), parting, row in zip(pairwise(models), partings, switched, strict=False):
        why = []
        if parting is not None and not row:
            why = causes(trace, older, newer, ksm)
        elif parting is not None:
            alone = {name: partings[changed] for name, (changed, _) in row.items()}
            enough = [name for name, (_, rest) in row.items() if alone[name] and not partings[rest]]
            why = _causes(trace, older, newer, ksm, alone, enough)
        found.append(Succession(parting, why))
    return runs.results()[: len(models)], found


def causes(trace: Trace, older: Kernel, newer: Kernel, ksm: bool | None = None) -> list[DiffCause]:
    """The features that make *newer* differ from *older* on *trace*, in the order of FEATURES.

    First those that change the outcome alone. Where these together do not make the whole
    difference, also those without which *newer* would not be as it is; where that is not enough
    either, all in which the two models differ and that can matter to the trace.
    """
    alone = _switched(trace, older, _between(older, newer), ksm)
    return _causes(trace, older, newer, ksm, alone, [])


def reaches(
    trace: Trace,
    older: Kernel,
    newer: Kernel,
    found: Sequence[DiffCause],
    ksm: bool | None = None,
) -> list[Reach]:
    """The reach of each cause that causes() has *found*: switched on *older*, or on *newer*."""
    models = [older, newer]
    pairs = []
    for cause in found:
        for side in (0, 1):
            pairs.append((side, len(models)))
            models.append(models[side].switched([cause.feature]))
    steps = Lockstep.shared(trace, models, ksm, reasons=False)
    reach = [Reach(set(), {}) for _ in found]
    for n, index in _partings(steps, pairs):
        reach[n // 2].events.add(index)
    layouts = [
        {process.pid: process.layout for process in result.processes} for result in steps.results()
    ]
    for n, (a, b) in enumerate(pairs):
        for pid in {*layouts[a], *layouts[b]}:
            blocks = align(layouts[a].get(pid, []), layouts[b].get(pid, []))
            ranges = reach[n // 2].ranges.setdefault(pid, [])
            ranges += [(block.start, block.end) for block in blocks if not block.equal]
    for one in reach:
        one.ranges = {pid: _union(ranges) for pid, ranges in one.ranges.items()}
    return reach


def _union(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if found and start < found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found


def _partings(models: Lockstep, pairs: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Each event that the models of a pair do not do alike: the number of the pair, its index."""
    runs, of = models.runs, models.of
    followers = {place: Follower(runs[place]) for place in set(of)}

    def begin(place: int, old: int) -> None:
        followers[place] = Follower(runs[place], followers[old])

    models.begin = begin
    for steps in models.steps():
        did = {i: (steps[i].result, follower.follow(steps[i])) for i, follower in followers.items()}
        for n, (a, b) in enumerate(pairs):
            if of[a] != of[b] and did[of[a]] != did[of[b]]:
                yield n, steps[of[a]].index


def _between(older: Kernel, newer: Kernel) -> list[Feature]:
    """The features in which they differ."""
    return [f for f in FEATURES.values() if older.has(f) != newer.has(f)]


def _causes(
    trace: Trace,
    older: Kernel,
    newer: Kernel,
    ksm: bool | None,
    alone: dict[str, Parting | None],
    enough: Sequence[str],
) -> list[DiffCause]:
    """The causes, where it is known what each feature does *alone*, and which is *enough*."""
    changed = _between(older, newer)
    first = {name: parting for name, parting in alone.items() if parting is not None}
    whole = len(first) == 1 and list(first) == list(enough)
    if not whole and (not first or not _same(trace, _with(older, changed, first), newer, ksm)):
        undone = _switched(trace, newer, changed, ksm)
        first = {**{n: p for n, p in undone.items() if p is not None}, **first}
        if not first or not _same(trace, _with(older, changed, first), newer, ksm):
            uses = uses_of(trace, newer, ksm)
            return [_cause(f, newer, alone, first) for f in changed if f.can_matter(uses)]
    return [_cause(f, newer, alone, first) for f in changed if f.name in first]


def _cause(
    feature: Feature,
    newer: Kernel,
    alone: dict[str, Parting | None],
    first: dict[str, Parting],
) -> DiffCause:
    name = feature.name
    return DiffCause(feature, newer.has(feature), alone[name] is not None, first.get(name))


def _switched(
    trace: Trace, kernel: Kernel, features: Sequence[Feature], ksm: bool | None
) -> dict[str, Parting | None]:
    """What changes first when each of *features* is switched alone."""
    models = Lockstep.shared(
        trace, [kernel, *(kernel.switched([f]) for f in features)], ksm, reasons=False
    )
    partings = first_partings(models, [(0, i) for i in range(1, 1 + len(features))])
    return {feature.name: parting for feature, parting in zip(features, partings, strict=True)}


def _same(trace: Trace, a: Kernel, b: Kernel, ksm: bool | None) -> bool:
    if a.features == b.features:
        return True
    return first_partings(Lockstep.shared(trace, [a, b], ksm, reasons=False), [(0, 1)]) == [None]


def _with(older: Kernel, changed: Sequence[Feature], names: dict[str, Parting]) -> Kernel:
    return older.switched(feature for feature in changed if feature.name in names)
