"""Which features make two models differ on a trace: single ones are switched, and the outcome seen.

Knows nothing of what a feature does.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from vmatrace.event import Event
from vmatrace.kernels import FEATURES, Feature, Kernel
from vmatrace.replayer.alike import alike
from vmatrace.replayer.changes import Follower
from vmatrace.replayer.lockstep import together
from vmatrace.replayer.run import Replay
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


def first_partings(
    runs: Sequence[Replay], pairs: Sequence[tuple[int, int]], to_the_end: bool = False
) -> list[Parting | None]:
    """Where the runs of each of *pairs* part first, None where they never do.

    *runs* are of one trace. With *to_the_end* their results are complete afterwards.
    """
    found: list[Parting | None] = [None] * len(pairs)
    open_pairs = dict(enumerate(pairs))
    followers = {i: Follower(runs[i]) for pair in pairs for i in pair}
    for steps in together(runs):
        if not open_pairs:
            if not to_the_end:
                break
            continue
        did = {i: (steps[i].result, follower.follow(steps[i])) for i, follower in followers.items()}
        parted = [n for n, (a, b) in open_pairs.items() if did[a] != did[b]]
        for n in parted:
            a, b = open_pairs.pop(n)
            found[n] = Parting(steps[a].index, steps[a].event, (did[a][0], did[b][0]))
        if parted:
            needed = {i for pair in open_pairs.values() for i in pair}
            followers = {i: follower for i, follower in followers.items() if i in needed}
    return found


def causes(
    trace: Trace,
    older: Kernel,
    newer: Kernel,
    ksm: bool | None = None,
    uses: Container[str] | None = None,
) -> list[DiffCause]:
    """The features that make *newer* differ from *older* on *trace*, in the order of FEATURES.

    Asked are those that can matter to a trace that *uses* these things (uses_of()).

    First those that change the outcome alone. Where these together do not make the whole
    difference, also those without which *newer* would not be as it is; where that is not enough
    either, all in which the two models differ.
    """
    if uses is None:
        uses = uses_of(trace, newer, ksm)
    changed = [f for f in FEATURES.values() if older.has(f) != newer.has(f) and f.can_matter(uses)]
    alone = _switched(trace, older, changed, ksm)
    first = {name: parting for name, parting in alone.items() if parting is not None}
    if not first or not _same(trace, _with(older, changed, first), newer, ksm):
        undone = _switched(trace, newer, changed, ksm)
        first = {**{n: p for n, p in undone.items() if p is not None}, **first}
        if not first or not _same(trace, _with(older, changed, first), newer, ksm):
            return [_cause(f, newer, alone, first) for f in changed]
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
    others = [kernel.switched([feature]) for feature in features]
    _, same = alike(trace, kernel, others, ksm)
    found: dict[str, Parting | None] = dict.fromkeys(feature.name for feature in features)
    asked = [i for i in range(len(others)) if i not in same]
    if asked:
        runs = [Replay(trace, model, ksm) for model in (kernel, *(others[i] for i in asked))]
        partings = first_partings(runs, [(0, i) for i in range(1, len(runs))])
        found.update(zip((features[i].name for i in asked), partings, strict=True))
    return found


def _same(trace: Trace, a: Kernel, b: Kernel, ksm: bool | None) -> bool:
    if a.features == b.features or alike(trace, a, [b], ksm)[1]:
        return True
    return first_partings([Replay(trace, k, ksm) for k in (a, b)], [(0, 1)]) == [None]


def _with(older: Kernel, changed: Sequence[Feature], names: dict[str, Parting]) -> Kernel:
    return older.switched(feature for feature in changed if feature.name in names)
