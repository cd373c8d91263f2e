"""Which models do the same with a trace because it never asks where they differ: ``alike()``.

A replay under one model notes every answer that another model would have given otherwise. A model
of which none is noted has the same run, and need not be replayed. Knows that features are asked
for by Kernel.has() and by the attributes of a World, and of no feature what it does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from vmatrace.diagnostic import TraceError
from vmatrace.engine import world as worlds
from vmatrace.engine.world import World
from vmatrace.kernels import Feature, Kernel
from vmatrace.replayer.result import Result
from vmatrace.replayer.run import Replay
from vmatrace.trace.file import Trace

#: What a World is asked only to say why a merge failed that failed anyway.
REASONS: Final = frozenset({"unfaulted_reason"})
#: A compiled World is read past its properties, so that what is asked there goes unseen.
_CAN_SEE: Final = not str(worlds.__file__).endswith((".so", ".pyd"))


def can_see() -> bool:
    """Whether models can be watched here."""
    return _CAN_SEE


class _AllPartedError(Exception):
    """No other model is left that does the same."""


class WatchedKernel(Kernel):
    """A model that notes which of *others* would have answered otherwise, from watch() on.

    ``agree`` are the keys of those that would not; *alone* is called when there are none any more.
    Without *reasons* an answer does not count that only says why there was no merge. Answers to
    *aside*, names of World, do not count either: ``note`` is called each time one of the others
    would have answered otherwise, before it is answered; see groups().
    """

    # Two of them are never one, even with the same features: each notes for itself.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    others: Mapping[int, Kernel]
    agree: set[int]
    note: Callable[[], None]
    _aside: dict[str, set[int]]

    def __init__(
        self,
        kernel: Kernel,
        others: Mapping[int, Kernel],
        alone: Callable[[], None] = lambda: None,
        reasons: bool = True,
        aside: Sequence[str] = (),
    ) -> None:
        super().__init__(**vars(kernel))
        unlike: dict[str, set[int]] = {}
        for i, other in others.items():
            for name in kernel.features ^ other.features:
                unlike.setdefault(name, set()).add(i)
        vars(self).update(others=others, unlike=unlike, agree=set(others), alone=alone, begun=False)
        unseen = {"kernel"} if reasons else {"kernel", *REASONS}
        unasked: dict[str, set[int]] = {name: set() for name in aside if name not in unseen}
        vars(self).update(unseen=unseen, _aside=unasked, note=lambda: None)

    def has(self, feature: Feature) -> bool:
        asked = vars(self)
        if asked["begun"] and feature.name in asked["unlike"]:
            self.part(asked["unlike"].pop(feature.name))
        return feature.name in self.features

    def part(self, those: set[int]) -> None:
        """Those would have answered otherwise."""
        self.agree.difference_update(those)
        if not self.agree:
            vars(self)["alone"]()

    def groups(self) -> list[list[int]]:
        """Those of ``agree`` that answer otherwise to what is aside: who answers alike together."""
        groups: dict[tuple[bool, ...], list[int]] = {}
        for i in sorted(self.agree):
            answers = tuple(i in those for those in self._aside.values())
            if any(answers):
                groups.setdefault(answers, []).append(i)
        return list(groups.values())

    def watch(self, world: World) -> None:
        """From here on it counts what has() answers, and what *world* answers when it is read.

        *world* was made under this model and asked has() beforehand.
        """
        unlike: dict[str, set[int]] = {}
        unseen = vars(self)["unseen"]
        own = World(self)
        for i, other in vars(self)["others"].items():
            beside = World(other)
            for name in World.__slots__:
                if name not in unseen and getattr(own, name) != getattr(beside, name):
                    unlike.setdefault(name, set()).add(i)
        watched = type("World", (World,), {"__slots__": ()})
        for name, those in unlike.items():
            value = getattr(own, name)
            if name in self._aside:
                self._aside[name] = those
                setattr(watched, name, property(self._noter(value)))
            else:
                setattr(watched, name, property(self._reader(watched, name, value, those)))
        world.__class__ = watched
        vars(self)["begun"] = True

    def _reader(self, watched: type, name: str, value: bool, those: set[int]) -> Any:
        def read(_: World) -> bool:
            delattr(watched, name)  # who answers otherwise has gone: it is an attribute again
            self.part(those)
            return value

        return read

    def _noter(self, value: bool) -> Any:
        def read(_: World) -> bool:
            self.note()
            return value

        return read


def watched(trace: Trace, kernel: WatchedKernel, ksm: bool | None = None) -> Replay:
    """A replay whose answers are watched from its first look at the trace on."""
    return Replay(trace, kernel, ksm, kernel.watch)


def alike(
    trace: Trace, kernel: Kernel, others: Sequence[Kernel], ksm: bool | None = None
) -> tuple[Result | None, set[int]]:
    """Which of *others*, by index, certainly do with *trace* what *kernel* does, in every call.

    With the result under *kernel* (its expectations are those about that model); None when no
    model is left, which ends the replay at once, and for a bad trace, of which nothing is said.
    """
    if not can_see() or not others:
        return None, set()
    asked = WatchedKernel(kernel, dict(enumerate(others)), _stop)
    try:
        return watched(trace, asked, ksm).run(), asked.agree
    except (_AllPartedError, TraceError):
        return None, set()


def _stop() -> None:
    raise _AllPartedError
