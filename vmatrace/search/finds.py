"""A kind of difference between two models: what was hunted on, what was found, and its cause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vmatrace.event import Event
from vmatrace.kernels import FEATURES, Kernel
from vmatrace.replayer.attribution import causes
from vmatrace.search import scenario, trials
from vmatrace.search.conditions import Condition, Named, parse
from vmatrace.search.goals import Goal, with_events
from vmatrace.search.reduction import Smallest
from vmatrace.trace.file import Trace

_WORSE: Final = "to.vmas > from.vmas or to.blocked > from.blocked or to.errors > from.errors"


@dataclass(frozen=True)
class Ground:
    """What is hunted on: two models, and what narrows it.

    ``calls`` are the names of the calls that may be made, empty: all. ``ksm``: every program
    starts under KSM by default, or none; None: some. ``files`` and ``processes``: whether there
    are mappings of files, and forks; None: as it comes. ``worse`` keeps what leaves ``newer`` with
    more VMAs, more blocked sides or a call that newly fails. ``corpus`` are programs to start from.
    """

    older: Kernel
    newer: Kernel
    seed: str
    calls: frozenset[str] = frozenset()
    ksm: bool | None = None
    files: bool | None = None
    processes: bool | None = None
    worse: bool = False
    corpus: tuple[tuple[Trace, tuple[Event, ...]], ...] = ()

    @property
    def condition(self) -> Condition:
        """What a find has to show."""
        return parse(f"differs and ({_WORSE})") if self.worse else Named("differs")


@dataclass(frozen=True)
class Find:
    """A kind of difference: its smallest program as a trace file, and why it is one.

    ``causes`` are names of features, of which switching any one makes it vanish; ``together``: only
    switching all does. Empty: no feature explains it. ``call`` is what the sides part at, ``what``
    in what, and ``outcomes`` what became of its merges on either. ``program`` is the number of the
    program that showed it, ``seconds`` when.
    """

    kind: tuple[str, ...]
    causes: tuple[str, ...]
    together: bool
    call: str
    what: str
    outcomes: tuple[str, str]
    calls: int
    text: str
    program: int
    lines: tuple[str, ...]
    seconds: float = 0.0


def describe(ground: Ground, smallest: Smallest, number: int) -> Find:
    """The find that a smallest program is: what parts, and by which features."""
    base, events = smallest.base, smallest.events
    older, newer = ground.older, ground.newer
    trial = trials.run(base, events, older, newer, ground.worse)
    names, together = _causes(ground, base, events)
    last = events[(trial.count or len(events)) - 1]
    kind = (*names, last.name, trial.what, *trial.outcomes)
    lines = [f"They part in: {trial.what}."]
    if trial.outcomes[0] != trial.outcomes[1]:
        lines += [f"  {m.name}: {o}" for m, o in zip((older, newer), trial.outcomes, strict=True)]
    for name in names:
        feature = FEATURES[name]
        commit = f"{feature.commit} ({feature.subject})" if feature.commit else feature.note
        lines.append(f"{name}: {feature.summary}")
        if commit:
            lines.append(f"  {commit}")
    if not names:
        lines.append("Cause unknown: no feature explains it.")
    about = "\n".join([
        f"{older.name} and {newer.name} part: found by vmatrace hunt, seed {ground.seed}, program "
        f"{number}.",
        *filter(None, lines),
        "1-minimal: without any one of its calls they do not part.",
    ])  # fmt: skip
    name = "-".join([*(names or ("unknown",)), last.name])
    text = scenario.text(name, base, events, [older, newer], about)
    shown = tuple(scenario.call_lines(base, events))
    return Find(
        kind, names, together, last.name, trial.what, trial.outcomes, len(events), text, number,
        shown,
    )  # fmt: skip


def _causes(ground: Ground, base: Trace, events: Sequence[Event]) -> tuple[tuple[str, ...], bool]:
    """The features whose switch makes the difference vanish; else those that make it together."""
    older, newer = ground.older, ground.newer
    trace = with_events(base, events)
    changed = [f for f in FEATURES.values() if older.has(f) != newer.has(f)]
    alone = []
    for feature in changed:
        goal = Goal(ground.condition, [older, newer.switched([feature])])
        if goal.reach(base, events) is None:
            alone.append(feature.name)
    if alone:
        return tuple(alone), False
    return tuple(cause.feature.name for cause in causes(trace, older, newer)), True
