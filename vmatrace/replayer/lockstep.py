"""One trace under several models at once, event by event: ``together()``, and ``Spaces`` for two.

Everything that asks what another model makes of an event starts here. Knows fork, exec and exit
only as far as it takes to say whose memory it is; counts nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import tee
from typing import Generic, TypeVar

from vmatrace.calls import LIFE
from vmatrace.engine.mm import Mm
from vmatrace.replayer.result import Step
from vmatrace.replayer.run import Replay


def together(replays: Sequence[Replay]) -> Iterator[tuple[Step, ...]]:
    """Replay one trace under several models event by event, reading it once: their steps.

    All *replays* are of the same trace. The results are complete when the iterator is exhausted.
    """
    copies = tee(replays[0].trace.items(), len(replays))
    runs = [replay.steps(items) for replay, items in zip(replays, copies, strict=True)]
    # strict: it asks every one of them for its end.
    return zip(*runs, strict=True)


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
    """The address spaces of two replays. ``living`` has those that did not exit, oldest first."""

    def __init__(self, pair: Sequence[Replay], make: Make[S]) -> None:
        """*make* is called for each new space with the arguments of Space."""
        self._pair = pair
        self._make = make
        self._born = 0
        self._by_mm: dict[int, S] = {}
        self._by_name: dict[str, S] = {}
        self._begin("main", self._mms("main"), "", None)

    @property
    def living(self) -> list[S]:
        return sorted(self._by_mm.values(), key=lambda space: space.number)

    def steps(self) -> Iterator[tuple[S, Step, Step]]:
        """Each event: the space of the process that made the call, and the step of each model.

        A space that ended with the event has ``exited`` set; it loses its memory then.
        """
        by_mm = self._by_mm
        for a, b in together(self._pair):
            if a.event.name in LIFE:
                space = self._live(a, b)
                yield space, a, b
                if space.exited:
                    space.mms = None
            else:
                yield by_mm[id(a.mm)], a, b

    def _mms(self, name: str) -> tuple[Mm, Mm]:
        a, b = (replay.process(name) for replay in self._pair)
        return a, b

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
