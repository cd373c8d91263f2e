"""Every event of a report as numbers: ``samples()``, for forms that have room for all of them.

Replays the trace once more and holds no more than the present state. What a Report counts is
counted in the same way: the last sample of a process has the numbers of its Count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from vmatrace import abi
from vmatrace.commands.report.question import Report, unlimited
from vmatrace.engine.mm import Mm
from vmatrace.replayer.changes import Follower, Key
from vmatrace.replayer.lockstep import Lockstep, SpacePair, Spaces
from vmatrace.replayer.result import Step
from vmatrace.replayer.run import Replay


class Gauge:
    """One process under one model: VMAs, those with VM_MERGEABLE, sides that stayed apart so far,
    and the most VMAs so far.
    """

    __slots__ = ("blocked", "mergeable", "peak", "vmas")

    def __init__(self, vmas: int) -> None:
        self.vmas = self.peak = vmas
        self.mergeable = self.blocked = 0


class GaugedSpace(SpacePair):
    """A process with a Gauge for each model."""

    __slots__ = ("gauges",)

    def __init__(
        self, number: int, pid: str, mms: tuple[Mm, Mm], program: str, born: Step | None
    ) -> None:
        super().__init__(number, pid, mms, program, born)
        self.gauges = (Gauge(mms[0].vmas.count), Gauge(mms[1].vmas.count))


class SeriesRow(NamedTuple):
    """A process after event ``number``: the one that it made, with the step of each model, or
    the one that it was born with, None (number 0: before the first).
    """

    number: int
    line: int
    space: GaugedSpace
    steps: tuple[Step, Step] | None


def samples(found: Report) -> Iterator[SeriesRow]:
    """The samples of all processes, in the order of the events; each is valid until the next."""
    trace = unlimited(found.trace)
    replays = [Replay(trace, kernel, found.forced) for kernel in found.pair]
    born: list[GaugedSpace] = []

    def make(
        number: int, pid: str, mms: tuple[Mm, Mm], program: str, step: Step | None
    ) -> GaugedSpace:
        space = GaugedSpace(number, pid, mms, program, step)
        born.append(space)
        return space

    spaces = Spaces(Lockstep(trace, replays), make)
    watched = [_Mergeable(replay) for replay in replays]
    yield from _births(born, 0, 0, watched)
    for space, *steps in spaces.steps():
        for gauge, step, mergeable in zip(space.gauges, steps, watched, strict=True):
            mergeable.see(step)
            gauge.vmas = step.mm.vmas.count
            gauge.peak = max(gauge.peak, gauge.vmas)
            gauge.mergeable = mergeable.of(step.pid)
            gauge.blocked += sum(
                (decision.prev is not None) + (decision.next is not None)
                for decision in step.decisions
            )
        a, b = steps
        yield SeriesRow(a.index + 1, a.event.line, space, (a, b))
        if born:
            yield from _births(born, a.index + 1, a.event.line, watched)


def _births(
    born: list[GaugedSpace], number: int, line: int, watched: list[_Mergeable]
) -> Iterator[SeriesRow]:
    for space in born:
        for gauge, mergeable in zip(space.gauges, watched, strict=True):
            gauge.mergeable = mergeable.of(space.pid)
        yield SeriesRow(number, line, space, None)
    born.clear()


class _Mergeable:
    """How many VMAs of each process have VM_MERGEABLE, kept up from what each event changed."""

    def __init__(self, replay: Replay) -> None:
        self._follower = Follower(replay)
        self._counts: Counter[str] = Counter()
        flags = (vma.flags for vma in replay.process("main").vmas)
        self._counts["main"] = sum(1 for each in flags if each & abi.VM_MERGEABLE)

    def of(self, pid: str) -> int:
        return self._counts[self._follower.name(pid)]

    def see(self, step: Step) -> None:
        for pid, went, came in self._follower.follow(step):
            self._counts[pid] += _mergeable(came) - _mergeable(went)


def _mergeable(keys: list[Key]) -> int:
    return sum(1 for _, _, flags, _, _ in keys if flags & abi.VM_MERGEABLE)
