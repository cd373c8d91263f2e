"""What two sides do differently, by example: the hunt as it was asked for, and its answer."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from vmatrace.event import Event
from vmatrace.printable import Printable
from vmatrace.search.finds import Find, Ground
from vmatrace.search.hunting import Hunter, HuntTotal, SliceResult, hunt
from vmatrace.trace.file import Item, Trace

#: So many events of a trace of the corpus are started from.
_MOST: Final = 60
#: So many events has a program for a real kernel, about.
_EVENTS: Final = 16


@dataclass
class Hunted(Printable):
    """What a hunt came to. ``paths`` are the files that the finds were written to, if any were.

    ``died`` is how often a real kernel did; ``skipped`` are the traces of the corpus that were not
    started from, each with the reason; ``ended``: why the hunt ended before its time.
    """

    shown_by = "vmatrace.commands.hunt.as_table:write"

    from_: str
    to: str
    seed: str
    programs: int
    seconds: float
    finds: list[Find]
    interrupted: bool = False
    worse: bool = False
    paths: list[str] = dataclasses.field(default_factory=list)
    died: int = 0
    skipped: list[str] = dataclasses.field(default_factory=list)
    ended: str = ""


@dataclass(frozen=True)
class Bounds:
    """How long: ``programs``, ``seconds``, at most ``finds`` kinds; None: no bound."""

    programs: int | None = None
    seconds: float | None = None
    finds: int | None = None


#: Runs a function over inputs, in order.
Share = Callable[[Callable[[str], SliceResult], Sequence[str]], Iterator[SliceResult]]


def go(ground: Ground, bounds: Bounds, share: Share, tell: Callable[[HuntTotal], None]) -> Hunted:
    """Hunt on *ground*, the work shared out by *share*. ValueError where no program can be made."""
    hunter = Hunter(ground)
    total = hunt(hunter, bounds.programs, bounds.seconds, share, bounds.finds, tell)
    return Hunted(
        ground.older.name, ground.newer.name, ground.seed, total.programs, total.seconds,
        total.finds, total.interrupted, ground.worse,
    )  # fmt: skip


def go_real(
    ground: Ground, real: str, first: bool, bounds: Bounds, tell: Callable[[HuntTotal], None]
) -> Hunted:
    """Hunt with the kernel called *real* against ground.newer; *first*: it is the side --from.

    Raises Unavailable and KernelDied, and ValueError where no program can be made.
    """
    from vmatrace.oracle.boot import open_machine
    from vmatrace.verify.campaign import Campaign
    from vmatrace.verify.realhunt import RealHunt

    model, seed = ground.newer, ground.seed
    boot = None if real == "running" else real.removeprefix("boot:")
    with open_machine(boot) as machine:
        campaign = Campaign(seed, 0, _EVENTS, model, model.name, boot, machine.release)
        hunted = RealHunt(campaign, machine, ground, first)
        total = hunted.run(bounds.programs, bounds.seconds, bounds.finds, tell)
        names = (machine.release, model.name) if first else (model.name, machine.release)
    return Hunted(
        *names, seed, total.programs, total.seconds, total.finds, total.interrupted, ground.worse,
        died=total.died, skipped=total.skipped, ended=total.ended,
    )  # fmt: skip


def _nothing() -> Iterator[Item]:
    return iter(())


def starting_points(
    traces: Sequence[Trace],
) -> tuple[tuple[tuple[Trace, tuple[Event, ...]], ...], list[str]]:
    """Traces as programs to start from: their first events, without what they recorded.

    And those from which none can start, with the reason. Raises TraceError.
    """
    found, skipped = [], []
    for trace in traces:
        if trace.page_size != 4096:
            skipped.append(f"{trace.path}: it has pages of {trace.page_size} bytes")
        elif trace.partial:
            skipped.append(f"{trace.path}: it is partial, and shows not all that a process did")
        else:
            events = [item for item in trace.items() if isinstance(item, Event)]
            base = dataclasses.replace(trace, read=_nothing, notes=None)
            found.append((base, tuple(events[:_MOST])))
    return tuple(found), skipped


def write(found: Hunted, folder: str, put: Callable[[str, str], None]) -> None:
    """Give each find a file of its own in *folder*; *put* writes a text to a path."""
    taken: set[str] = set()
    for find in found.finds:
        stem = "-".join([*(find.causes[:2] or ("unknown",)), find.call])
        name, number = stem, 1
        while name in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name)
        path = os.path.join(folder, f"{name}.yaml")
        put(path, find.text)
        found.paths.append(path)
