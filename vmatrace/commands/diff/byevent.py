"""Two sides of a comparison event by event: what each did, of replays and of saved results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Union, cast

from vmatrace.commands.diff.sides import DiffSide
from vmatrace.event import Event
from vmatrace.layout import Layout, with_flags
from vmatrace.replayer.changes import Change, Follower, Key, changes_in
from vmatrace.replayer.result import Step
from vmatrace.replayer.run import Replay
from vmatrace.trace.file import Item

#: What one side did in an event: its result, what it changed, and where both come from.
EventSide = tuple[int, list[Change], Union[Step, dict[str, Any]]]
#: An event that differs: its index, itself, and what each side did.
PartedEvent = tuple[int, Event, EventSide, EventSide]


#: Calls of which Step.touched depends on the memory that they are made in.
_OF_MEMORY: Final = frozenset({"brk", "fault"})


def both(items: Iterator[Item], one: Replay, other: Replay) -> Iterator[PartedEvent]:
    """The events that two replays do not do alike."""
    ours, theirs = Follower(one), Follower(other)
    index = 0
    for item in items:
        if not isinstance(item, Event):
            one.feed(item)
            other.feed(item)
            continue
        a, b = one.step(item), other.step(item)
        if a is None or b is None:
            continue  # which the end tells of
        # Of a call alone, not of its memory, is what most calls touch.
        same = a.result == b.result and a.args == b.args and item.name not in _OF_MEMORY
        shared = a.touched if same else None
        left, right = ours.look(a, shared), theirs.look(b, shared)
        if left != right or a.result != b.result:
            mine, its = changes_in(left), changes_in(right)
            if mine != its or a.result != b.result:
                yield index, item, (a.result, mine, a), (b.result, its, b)
        index += 1
    one.finish()
    other.finish()


def replayed(replay: Replay, items: Iterator[Item], mask: int) -> Iterator[EventSide]:
    """The steps of a replay. Only those vm_flags count, and the calling process."""
    before: dict[str, list[Key]] = {}
    for step in replay.steps(items):
        yield step.result, _since(before, step.pid, with_flags(step.layout, mask)), step


def recorded(side: DiffSide, mask: int | None) -> Iterator[EventSide]:
    """The events of a saved result."""
    before: dict[str, list[Key]] = {}
    for event in side.events or []:
        changes = _since(before, event["pid"], with_flags(event["layout"], cast(int, mask)))
        yield event["result"], changes, event


def _since(before: dict[str, list[Key]], pid: str, layout: Layout) -> list[Change]:
    """What changed in a process since *before*, which is brought up to date."""
    now = [mapping.key() for mapping in layout]
    old = before.get(pid, [])
    before[pid] = now
    went, came = set(old) - set(now), set(now) - set(old)
    return [(pid, sorted(went), sorted(came))] if went or came else []
