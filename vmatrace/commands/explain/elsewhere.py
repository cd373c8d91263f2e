"""Whether two neighbours of one replay are one VMA under other kernel models, and what changed it.

Replays the trace once for each group of models that differ on it, all groups in one reading; who
only merges otherwise is replayed where that matters. A border is looked for where the events that
placed its two sides put them there.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final, NamedTuple

from vmatrace import abi
from vmatrace.commands.explain.placements import Origin, ProcessPlacements
from vmatrace.commands.explain.survey import Survey
from vmatrace.engine.merge import RULES
from vmatrace.kernels import KERNELS, Kernel, is_release
from vmatrace.kernels.features import Feature
from vmatrace.layout import Mapping
from vmatrace.replayer.alike import can_see
from vmatrace.replayer.apart import Apart
from vmatrace.replayer.lockstep import Lockstep
from vmatrace.replayer.result import Step
from vmatrace.replayer.run import Replay
from vmatrace.replayer.uses import uses_of
from vmatrace.trace.file import Trace

#: What can have become of a border: the sides are one VMA; they are two that touch; they do not
#: touch; one of them is not mapped.
ONE: Final = "one"
APART: Final = "apart"
ELSEWHERE: Final = "elsewhere"
GONE: Final = "gone"


class BorderPlace(NamedTuple):
    """A border of a process: the address at which its upper side starts, in the first replay."""

    pid: str
    address: int


class BorderState(NamedTuple):
    """What a border is under a model; ``mapping`` is the VMA there, of the upper side if apart."""

    state: str
    mapping: Mapping | None


class BorderCause(NamedTuple):
    """What makes a border of model ``before`` the ``becomes`` that it is under ``after``.

    The models are next to each other. ``features``, each with whether ``after`` has it and not
    ``before``, holds one that does it alone; or all that may have a part, where none does.
    """

    features: tuple[tuple[Feature, bool], ...]
    before: str
    after: str
    becomes: str


#: The mainline releases among the models, oldest first.
RELEASES: Final = tuple(name for name, kernel in KERNELS.items() if is_release(kernel))


#: From here on a result is -errno.
_ERRORS: Final = (1 << 64) - 4095

#: Two models that are next to each other, a feature that one of them has and not the other, whether
#: that is the second, and the first with it switched.
_Switched = tuple[Kernel, Kernel, Feature, bool, Kernel]


class Answer(NamedTuple):
    """``verdicts`` by model, in the order of kernels.KERNELS, and why they change."""

    verdicts: dict[str, BorderState]
    causes: list[BorderCause]

    def one_from(self, name: str) -> bool:
        """Whether *name* is a release that, and every later one, makes them one VMA."""
        later = RELEASES[RELEASES.index(name) :] if name in RELEASES else ()
        return bool(later) and all(self.verdicts[other].state == ONE for other in later)


def predecessors() -> Iterator[tuple[Kernel, Kernel]]:
    """Each model with the one that its ``changes`` are from."""
    rows = list(KERNELS.values())
    for i, kernel in enumerate(rows):
        changed = frozenset(feature.name for feature, _ in kernel.changes)
        for before in reversed(rows[:i]):
            if changed and before.features ^ kernel.features == changed:
                yield before, kernel
                break


class _Moved:
    """What events of a run returned that returned something else in the watched one.

    Of each two numbers: where a model places otherwise, all later calls may return otherwise.
    """

    def __init__(self, like: _Moved | None = None) -> None:
        self._nths: array[int] = array("q", like._nths if like is not None else ())
        self._results: array[int] = array("Q", like._results if like is not None else ())

    def add(self, nth: int, result: int) -> None:
        """The *nth* event, which is later than all before it, returned *result*."""
        self._nths.append(nth)
        self._results.append(result & abi.ULONG_MAX)

    def get(self, nth: int) -> int | None:
        """What the *nth* event returned, None where that was the same."""
        i = bisect_left(self._nths, nth)
        if i == len(self._nths) or self._nths[i] != nth:
            return None
        result = self._results[i]
        return result - (1 << 64) if result >= _ERRORS else result


class Elsewhere:
    """What borders of a replay of *trace* under *kernel* are in replays under the other models.

    steps() come first, and are those of the replay ``watched``; what the borders are is asked then.
    """

    def __init__(self, trace: Trace, kernel: Kernel, ksm: bool | None) -> None:
        self._pairs = list(predecessors())
        self._switched = [
            (before, after, feature, added, before.switched([feature]))
            for before, after in self._pairs
            for feature, added in after.changes
        ]
        # Where nobody sees what is asked, of models that have the same of what can matter, one.
        uses = None if can_see() else uses_of(trace, kernel, ksm)
        models: dict[frozenset[str], Kernel] = {}
        numbers: dict[frozenset[str], int] = {}
        self._numbers: dict[str, int] = {}  # of each model, by its name
        for model in (kernel, *KERNELS.values(), *(switched for *_, switched in self._switched)):
            key = model.features if uses is None else model.relevant(uses)
            models.setdefault(key, model)
            self._numbers[model.name] = numbers.setdefault(key, len(numbers))
        self.lockstep = Lockstep.shared(
            trace, list(models.values()), ksm, reasons=False, aside=RULES
        )
        #: By the place of a run.
        self._moved: dict[int, _Moved] = {}
        #: From where something moved; before that, a place is where it is.
        self._placements: ProcessPlacements | None = None
        #: By the place of a run; and by it, 0, and the branch of who merges otherwise than it.
        self._verdicts: dict[tuple[int, int | None], dict[BorderPlace, BorderState]] = {}

    @property
    def watched(self) -> Replay:
        """The replay under *kernel*."""
        return self.lockstep.runs[0]

    def steps(self) -> Iterator[Step]:
        """Replay all models; the steps of the watched one."""
        moved = self._moved

        def begin(place: int, old: int) -> None:
            moved[place] = _Moved(moved.get(old))

        def otherwise(place: int, nth: int, result: int) -> None:
            moved.setdefault(place, _Moved()).add(nth, result)
            if self._placements is None:
                self._placements = ProcessPlacements(self.watched)

        self.lockstep.begin = begin
        for step in self.lockstep.led(otherwise):
            if self._placements is not None:
                self._placements.see(step)
            yield step

    def answers(self, places: Iterable[BorderPlace], survey: Survey) -> dict[BorderPlace, Answer]:
        """What becomes of each of *places*; *survey* is that of the watched replay."""
        origins: dict[BorderPlace, tuple[Origin | None, Origin | None]] = {}
        by_pid: dict[str, list[BorderPlace]] = {}
        for place in places:
            by_pid.setdefault(place.pid, []).append(place)
        for pid, here in by_pid.items():
            wanted = {p.address for p in here} | {p.address - 1 for p in here}
            found = self._placements.of(pid).origins(wanted) if self._placements is not None else {}
            for p in here:
                origins[p] = found.get(p.address - 1), found.get(p.address)
        for number, run in enumerate(self.lockstep.runs):
            moved = self._moved.get(number, _Moved())
            layouts = {process.pid: process.layout for process in run.result.processes}
            self._verdicts[number, None] = {
                place: _look(place, sides, partial(_at, layouts.get(place.pid, [])), moved)
                for place, sides in origins.items()
            }
        if self.lockstep.apart is not None:
            self._branch(self.lockstep.apart, survey)
        switched = [row for row in self._switched if row[2].can_matter(survey.uses)]
        answers = {}
        for place in origins:
            seen = {kernel.name: self._verdict(kernel, place) for kernel in KERNELS.values()}
            answers[place] = self._answer(place, seen, switched)
        return answers

    def _branch(self, apart: Apart, survey: Survey) -> None:
        """The verdicts of those who merge otherwise: what the watched one has but for a few."""
        same = self._verdicts[0, None]
        for branch in range(apart.branches):
            self._verdicts[0, branch] = {
                place: _look(
                    place, (None, None),
                    partial(apart.mapping, branch, place.pid, survey.mms[place.pid]), _Moved(),
                ) if apart.reaches(*place) else state
                for place, state in same.items()
            }  # fmt: skip

    def _answer(
        self, place: BorderPlace, seen: dict[str, BorderState], switched: list[_Switched]
    ) -> Answer:
        causes = []
        for before, after in self._pairs:
            state = seen[after.name].state
            if seen[before.name].state == state:
                continue
            here = [x for x in switched if (x[0], x[1]) == (before, after)]
            alone = [x for x in here if self._verdict(x[4], place).state == state]
            for part in [[x] for x in alone] or [here]:
                features = tuple((x[2], x[3]) for x in part)
                causes.append(BorderCause(features, before.name, after.name, state))
        return Answer(seen, causes)

    def _verdict(self, kernel: Kernel, place: BorderPlace) -> BorderState:
        number, apart = self._numbers[kernel.name], self.lockstep.apart
        run = self.lockstep.of[number]
        branch = apart.branch_of(number) if apart is not None and run == 0 else None
        return self._verdicts[run, branch][place]


def _look(
    place: BorderPlace, origins: tuple[Origin | None, Origin | None],
    at: Callable[[int], Mapping | None], moved: _Moved,
) -> BorderState:  # fmt: skip
    """What *place* is at the end of a replay in which those events *moved*; *at*: what is where."""
    below, above = origins
    low = _find(below, place.address - 1, moved)
    high = _find(above, place.address, moved)
    lower, upper = at(low), at(high)
    if lower is None or upper is None:
        return BorderState(GONE, upper or lower)
    if low + 1 != high:
        return BorderState(ELSEWHERE, upper)
    return BorderState(ONE if lower.start == upper.start else APART, upper)


def _find(origin: Origin | None, address: int, moved: _Moved) -> int:
    """Where the byte at *address* is in a replay whose events *moved*; -1 for nowhere."""
    result = None if origin is None else moved.get(origin.nth)
    if origin is None or result is None:
        return address
    return result + origin.offset if result >= 0 else -1


def _at(layout: list[Mapping], address: int) -> Mapping | None:
    i = bisect_right(layout, address, key=lambda mapping: mapping.start) - 1
    return layout[i] if i >= 0 and layout[i].end > address else None
