"""One trace under several models at once, event by event: ``Lockstep``, and ``Spaces`` for two.

Everything that asks what another model makes of an event starts here. Knows fork, exec and exit
only as far as it takes to say whose memory it is; counts nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Generic, TypeVar, cast

from vmatrace.calls import LIFE
from vmatrace.engine.mm import Mm
from vmatrace.event import Event
from vmatrace.kernels import Kernel
from vmatrace.replayer.alike import WatchedKernel, can_see, watched
from vmatrace.replayer.apart import Apart
from vmatrace.replayer.result import Result, Step
from vmatrace.replayer.run import Replay
from vmatrace.trace.file import Item, Trace


class Lockstep:
    """A trace under several models, event by event, reading it once.

    ``runs`` are the replays under way, and ``of`` has for each model the place of its run in them.
    Models that have done the same so far have one run, if shared() made it; where they part, a new
    run reads again what came before.
    """

    def __init__(self, trace: Trace, replays: Sequence[Replay]) -> None:
        """Each of *replays*, which are at the start of *trace*, is a model of its own."""
        self.runs = list(replays)
        self.of = list(range(len(replays)))
        self._trace = trace
        self._models: Sequence[Kernel] = ()
        self._ksm: bool | None = None
        self._reasons = True
        self._aside: Sequence[str] = ()
        self._agree: list[set[int]] = [set() for _ in replays]
        self._sizes = [0] * len(replays)
        self._behind: dict[int, int] = {}
        #: Where models are apart from the first run that differ in what is set aside.
        self.apart: Apart | None = None
        #: Called where a run begins beside an old one, with both places, before its first step.
        self.begin: Callable[[int, int], None] = lambda place, old: None

    @classmethod
    def shared(
        cls,
        trace: Trace,
        models: Sequence[Kernel],
        ksm: bool | None = None,
        reasons: bool = True,
        aside: Sequence[str] = (),
    ) -> Lockstep:
        """*trace* under *models*; *ksm* as in Replay.

        Without *reasons* models part only in what calls return and in memory: why merges failed,
        and how often for what, is then that of the first model of a run. By answers to *aside*
        (WatchedKernel) nobody parts from the first run; ``apart`` has what that makes, as long as
        it can be told. Only led() is for that.
        """
        if not can_see():
            return cls(trace, [Replay(trace, model, ksm) for model in models])
        self = cls(trace, ())
        self.of = [0] * len(models)
        self._models, self._ksm, self._reasons, self._aside = models, ksm, reasons, aside
        self._begin(range(len(models)))
        under = self.runs[0].kernel
        if aside and isinstance(under, WatchedKernel):
            self.apart = Apart(self.runs[0], under, ksm)
        return self

    def steps(self, asked: Callable[[Event], bool] | None = None) -> Iterator[list[Step]]:
        """What each run does with each event, in the order of ``runs``. Raises TraceError.

        *asked* is shown every event before it is replayed, with its first_write in it; of those to
        which it says no there are no steps, which saves making them.
        """
        agree, sizes, behind = self._agree, self._sizes, self._behind
        for nth, item, stepping in self._items(asked):
            steps = []
            for place, run in enumerate(self.runs):  # which grow while they are walked
                if place in behind:
                    self._make_up(place, nth)
                if not stepping:
                    run.feed(item)
                elif (step := run.step(cast(Event, item))) is not None:
                    steps.append(step)
                if len(agree[place]) != sizes[place]:
                    self._part(place)
            if steps:
                yield steps
        self._finish()

    def _items(self, asked: Callable[[Event], bool] | None) -> Iterator[tuple[int, Item, bool]]:
        """Each item, how many of the trace's items() are before it, and whether it needs steps. One
        that needs none is one with its first_write.
        """
        if asked is None:
            for nth, item in enumerate(self._trace.items()):
                yield nth, item, isinstance(item, Event)
            return
        nth = 0
        for item in self._trace.read():
            stepping = isinstance(item, Event) and asked(item)
            writes = isinstance(item, Event) and item.first_write is not None
            if stepping and writes:
                call, write = cast(Event, item).written()
                yield nth, call, True
                yield nth + 1, write, True
            else:
                yield nth, item, stepping
            nth += 1 + writes

    def _finish(self) -> None:
        for place, run in enumerate(self.runs):
            if place in self._behind:
                self._make_up(place, None)
            run.finish()
            if self._reasons:  # the end asks why VMAs are apart
                self._part(place)

    def led(self, otherwise: Callable[[int, int, int], None]) -> Iterator[Step]:
        """The steps of the first run; the others are replayed beside it, without steps.

        *otherwise* is called where one of them returned something else: with its place, the index
        of the event and what it returned. Raises TraceError.
        """
        lead, apart = self.runs[0], self.apart
        agree, sizes, behind = self._agree, self._sizes, self._behind
        for nth, item in enumerate(self._trace.items()):
            step = None
            if isinstance(item, Event):
                if apart is not None:
                    apart.before(item)
                step = lead.step(item)
                if apart is not None and step is not None:
                    apart.after(step)
                    if apart.lost:
                        apart.stop()
                        apart = self.apart = None
            else:
                lead.feed(item)
            if len(agree[0]) != sizes[0]:
                self._part(0)
            if len(self.runs) > 1:
                others = []
                for place, run in enumerate(self.runs):
                    if place in behind:
                        self._make_up(place, nth)
                    if place:
                        others.append(run.feed(item))
                        if len(agree[place]) != sizes[place]:
                            self._part(place)
                if step is not None:  # not before: who begins now takes over what came before
                    for place, returned in enumerate(others, 1):
                        if returned != step.result and returned is not None:
                            otherwise(place, step.index, returned)
            if step is not None:
                yield step
        self._finish()

    def run(self) -> list[Result]:
        """Replay everything; the result of each model. Raises TraceError."""
        for _ in self.steps(lambda event: False):
            pass
        return self.results()

    def results(self) -> list[Result]:
        """The result of each model, when the steps are exhausted."""
        results = [self.runs[place].result for place in self.of]
        return [
            replace(result, kernel=model.name)
            for result, model in zip(results, self._models, strict=True)
        ] if self._models else results  # fmt: skip

    def _begin(self, models: Sequence[int]) -> None:
        """A run for *models*, by number, that has made no event yet."""
        first, *others = models
        asked = WatchedKernel(
            self._models[first], {other: self._models[other] for other in others},
            reasons=self._reasons, aside=() if self.runs else self._aside,
        )  # fmt: skip
        for model in models:
            self.of[model] = len(self.runs)
        self._agree.append(asked.agree)
        self._sizes.append(len(others))
        self.runs.append(watched(self._trace, asked, self._ksm))
        self._part(len(self.runs) - 1)

    def _part(self, place: int) -> None:
        """A new run for those that answered otherwise than the run there did, if any did."""
        agree = self._agree[place]
        if len(agree) == self._sizes[place]:
            return
        self._sizes[place] = len(agree)
        first = self.of.index(place)
        gone = [m for m, at in enumerate(self.of) if at == place and m not in agree and m != first]
        self._behind[len(self.runs)] = place
        self._begin(gone)

    def _make_up(self, place: int, upto: int | None) -> None:
        """Replay the first *upto* items, or all, in the run there."""
        old = self._behind.pop(place)
        for item in islice(self._trace.items(), upto):
            self.runs[place].feed(item)
            self._part(place)
        self.begin(place, old)


class SpacePair:
    """The memory of one process under both models, from its birth over every exec to its exit.

    ``number`` counts them in order of birth and is the same in every run of the trace; ``pid`` is
    the name of the process, as in Event.pid; ``program`` what it executed last. ``mms`` are the
    live address spaces, one for each model, until the exit. Threads are no spaces of their own.
    """

    __slots__ = ("exited", "mms", "names", "number", "pid", "program")

    def __init__(
        self, number: int, pid: str, mms: tuple[Mm, Mm], program: str, born: Step | None
    ) -> None:
        """*born* is the step of the fork or exec, None for the first process."""
        self.number = number
        self.pid = pid
        self.mms: tuple[Mm, Mm] | None = mms
        self.names = {pid}
        self.program = program
        self.exited = False


S = TypeVar("S", bound=SpacePair)
Make = Callable[[int, str, tuple[Mm, Mm], str, "Step | None"], S]


class Spaces(Generic[S]):
    """The address spaces under two models. ``living`` has those that did not exit, oldest first."""

    def __init__(self, pair: Lockstep, make: Make[S]) -> None:
        """*make* is called for each new space with the arguments of SpacePair."""
        self._pair = pair
        self._make = make
        self._born = 0
        self._by_mm: dict[int, S] = {}
        self._by_name: dict[str, S] = {}
        self._begin("main", self._mms("main"), "", None)

    @property
    def living(self) -> list[S]:
        return sorted(self._by_mm.values(), key=lambda space: space.number)

    def of(self, pid: str) -> S:
        """The space of a live process, or of the process of a thread."""
        return self._by_name[pid]

    def steps(self, asked: Callable[[Event], bool] | None = None) -> Iterator[tuple[S, Step, Step]]:
        """Each event: the space of the process that made the call, and the step of each model.

        *asked* as in Lockstep.steps(), which has to ask for all of calls.LIFE. A space that ended
        with the event has ``exited`` set; it loses its memory then.
        """
        by_mm, of = self._by_mm, self._pair.of
        second = of[1]
        for steps in self._pair.steps(asked):
            a, b = steps[0], steps[of[1]]
            if of[1] != second:
                second = of[1]
                self._part(b)
            if a.event.name in LIFE:
                space = self._live(a, b)
                yield space, a, b
                if space.exited:
                    space.mms = None
            else:
                yield by_mm[id(a.mm)], a, b

    def _mms(self, name: str) -> tuple[Mm, Mm]:
        a, b = (self._pair.runs[place].process(name) for place in self._pair.of)
        return a, b

    def _part(self, step: Step) -> None:
        """The second model has memory of its own from this step on."""
        run = self._pair.runs[self._pair.of[1]]
        for space in self._by_mm.values():
            others = space.names - {step.pid}
            mm = run.process(min(others)) if others else step.mm
            assert space.mms is not None
            space.mms = (space.mms[0], mm)

    def _begin(self, name: str, mms: tuple[Mm, Mm], program: str, born: Step | None) -> S:
        space = self._make(self._born, name, mms, program, born)
        self._born += 1
        self._by_mm[id(mms[0])] = self._by_name[name] = space
        return space

    def _live(self, a: Step, b: Step) -> S:
        space = self._by_name[a.pid]
        child = a.born
        if a.ended:
            del self._by_name[a.pid]
            self._leave(space, a.pid)
            space.exited = not space.names
        elif child is not None:
            mms = self._mms(child)
            shared = self._by_mm.get(id(mms[0]))
            if shared is None:
                self._begin(child, mms, space.program, a)
            else:
                shared.names.add(child)
                self._by_name[child] = shared
        elif a.executed:
            space = self._execute(space, a, b)
        return space

    def _execute(self, space: S, a: Step, b: Step) -> S:
        """Exec: a process that shared its memory (a vfork) gets a space of its own."""
        program = str(a.event.args[0]) if a.event.args else ""
        mms = (a.mm, b.mm)
        alone = space.names == {a.pid}
        self._leave(space, a.pid)
        if not alone:
            return self._begin(a.pid, mms, program, a)
        space.names.add(a.pid)
        space.mms = mms
        space.program = program
        self._by_mm[id(a.mm)] = space
        return space

    def _leave(self, space: S, name: str) -> None:
        space.names.discard(name)
        if not space.names and space.mms is not None:
            del self._by_mm[id(space.mms[0])]
