"""Which models do the same with a trace because it never asks where they differ: ``alike()``.

A replay under one model notes every answer that another model would have given otherwise. A model
of which none is noted has the same run, and need not be replayed. Knows that features are asked
for by Kernel.has() and by the attributes of a World, and of no feature what it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from vmatrace.diagnostic import TraceError
from vmatrace.engine import world as worlds
from vmatrace.engine.world import World
from vmatrace.kernels import Feature, Kernel
from vmatrace.replayer.result import Result
from vmatrace.replayer.run import Replay
from vmatrace.trace.file import Trace

#: A compiled World is read past its properties, so that what is asked there goes unseen.
_CAN_SEE: Final = not str(worlds.__file__).endswith((".so", ".pyd"))


class _AllPartedError(Exception):
    """No other model is left that does the same."""


class _Asked(Kernel):
    """A model that notes which of *others* would have answered otherwise, from watch() on."""

    # Two of them are never one, even with the same features: each notes for itself.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __init__(self, kernel: Kernel, others: Sequence[Kernel]) -> None:
        super().__init__(**vars(kernel))
        unlike: dict[str, set[int]] = {}
        for i, other in enumerate(others):
            for name in kernel.features ^ other.features:
                unlike.setdefault(name, set()).add(i)
        vars(self).update(others=others, unlike=unlike, agree=set(range(len(others))), begun=False)

    def has(self, feature: Feature) -> bool:
        asked = vars(self)
        if asked["begun"] and feature.name in asked["unlike"]:
            self.part(asked["unlike"][feature.name])
        return feature.name in self.features

    def part(self, those: set[int]) -> None:
        """Those would have answered otherwise. Raises _AllPartedError when nobody else is left."""
        agree: set[int] = vars(self)["agree"]
        agree -= those
        if not agree:
            raise _AllPartedError

    def watch(self, world: World) -> None:
        """From here on it counts what has() answers, and what *world* answers when it is read.

        *world* was made under this model and asked has() beforehand.
        """
        unlike: dict[str, set[int]] = {}
        own = World(self)
        for i, other in enumerate(vars(self)["others"]):
            beside = World(other)
            for name in World.__slots__:
                if name != "kernel" and getattr(own, name) != getattr(beside, name):
                    unlike.setdefault(name, set()).add(i)
        properties: dict[str, Any] = {"__slots__": ()}
        for name, those in unlike.items():
            properties[name] = property(self._reader(getattr(own, name), those))
        world.__class__ = type("World", (World,), properties)
        vars(self)["begun"] = True

    def _reader(self, value: bool, those: set[int]) -> Any:
        def read(_: World) -> bool:
            self.part(those)
            return value

        return read


class _Watched(Replay):
    """A replay whose answers are watched from its first look at the trace on."""

    def _make_world(self) -> World:
        world = super()._make_world()
        assert isinstance(self.kernel, _Asked)
        self.kernel.watch(world)
        return world


def alike(
    trace: Trace, kernel: Kernel, others: Sequence[Kernel], ksm: bool | None = None
) -> tuple[Result | None, set[int]]:
    """Which of *others*, by index, certainly do with *trace* what *kernel* does, in every call.

    With the result under *kernel* (its expectations are those about that model); None when no
    model is left, which ends the replay at once, and for a bad trace, of which nothing is said.
    """
    if not _CAN_SEE or not others:
        return None, set()
    asked = _Asked(kernel, others)
    try:
        return _Watched(trace, asked, ksm).run(), vars(asked)["agree"]
    except (_AllPartedError, TraceError):
        return None, set()


def classes(trace: Trace, models: Sequence[Kernel], ksm: bool | None = None) -> list[int]:
    """For each of *models* the index of the first one that certainly does the same."""
    found = dict.fromkeys(range(len(models)), -1)
    for i, kernel in enumerate(models):
        if found[i] < 0:
            found[i] = i
            rest = [j for j in found if found[j] < 0]
            _, same = alike(trace, kernel, [models[j] for j in rest], ksm)
            found.update({rest[j]: i for j in same})
    return list(found.values())
