"""Mappings that touch and stay apart: which of them one mapping could have been.

Knows when a range was free from one call to the next, of each address space; no word of what the
calls are replaced by.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final

from vmatrace import abi
from vmatrace.calls import Range
from vmatrace.commands.whatif.rewritings.rewriting import Memories, Rewriting
from vmatrace.event import Event, Expr
from vmatrace.replayer.result import Step
from vmatrace.search.rewriting import changed

#: The flags of a mapping that another one can stand for.
_PLAIN: Final = (
    abi.MAP_PRIVATE
    | abi.MAP_ANONYMOUS
    | abi.MAP_NORESERVE
    | abi.MAP_STACK
    | abi.MAP_FIXED_NOREPLACE
)
_NEEDED: Final = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS


@dataclass
class Batch:
    """Mappings that touch, [start, end) together; ``pieces`` by the index of their event.

    ``first`` is the index of the earliest; ``apart`` how many merged with nothing when they came.
    ``label`` is the first that one of them had: what stands for all of them has it.
    """

    start: int
    end: int
    first: int
    pieces: dict[int, Range] = field(default_factory=dict)
    apart: int = 0
    label: str | None = None


class Stamps:
    """When something last was done in each part of an address space: indices of events."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._parts: list[tuple[int, int]] = []  # (end, index)

    def put(self, start: int, end: int, index: int) -> None:
        """Something was done in [start, end)."""
        if start >= end:
            return
        starts, parts = self._starts, self._parts
        low, high = self._within(start, end)
        keep_starts, keep_parts = [], []
        if low < high and starts[low] < start:
            keep_starts.append(starts[low])
            keep_parts.append((start, parts[low][1]))
        keep_starts.append(start)
        keep_parts.append((end, index))
        if low < high and parts[high - 1][0] > end:
            keep_starts.append(end)
            keep_parts.append(parts[high - 1])
        starts[low:high], parts[low:high] = keep_starts, keep_parts

    def latest(self, start: int, end: int) -> int:
        """The last event that did something in [start, end); -1: none did."""
        low, high = self._within(start, end)
        return max((index for _, index in self._parts[low:high]), default=-1)

    def _within(self, start: int, end: int) -> tuple[int, int]:
        """Which parts overlap [start, end)."""
        low = bisect_right(self._starts, start)
        if low and self._parts[low - 1][0] > start:
            low -= 1
        return low, max(low, bisect_left(self._starts, end))


class Adjacent(Rewriting):
    """Two passes: the first looks for batches; of the second, ``_piece()`` is what differs."""

    looks_ahead = True

    def __init__(self, kind: Callable[[Step], Hashable]) -> None:
        """*kind*: what the pieces of a batch have in common; None of what is no piece."""
        super().__init__()
        self._kind = kind
        self._memories = Memories()
        self._stamps: dict[int, Stamps] = {}
        #: The last batch with that border: of an address space, a kind, "start" or "end".
        self._open: dict[int, dict[tuple[Hashable, str, int], Batch]] = {}
        self._of: dict[int, Batch] = {}
        self._lost: set[str] = set()

    def seen(self, step: Step) -> None:
        """See Rewriting."""
        memory = self._memories(step)
        forked = step.born is not None and self._memories.of(step.born) != memory
        # A child would have what is mapped for later: what comes behind a fork is another batch.
        ranges = None if forked else step.touched
        if ranges is None:
            self._open.pop(memory, None)
            return
        kind = self._kind(step)
        if kind is not None:
            self._join(memory, kind, step)
        stamps = self._stamps.setdefault(memory, Stamps())
        for start, end in ranges:
            stamps.put(start, end, step.index)

    def _join(self, memory: int, kind: Hashable, step: Step) -> None:
        start, end = place(step)
        near = self._open.setdefault(memory, {})
        stamps = self._stamps.setdefault(memory, Stamps())
        for batch in (near.get((kind, "start", end)), near.get((kind, "end", start))):
            if batch is not None and stamps.latest(start, end) < batch.first:
                batch.apart += not step.merges
                break
        else:
            batch = Batch(start, end, step.index)
        batch.label = batch.label or step.event.label
        batch.start, batch.end = min(batch.start, start), max(batch.end, end)
        batch.pieces[step.index] = start, end
        self._of[step.index] = batch
        near[kind, "start", batch.start] = near[kind, "end", batch.end] = batch

    def rewritten(self, step: Step) -> list[Event] | None:
        """See Rewriting."""
        batch = self._of.get(step.index)
        label = step.event.label
        if batch is None or not batch.apart:
            self._lost.discard(label or "")
            return None
        if label is not None:
            self._lost.add(label)
            self.places.forget(label)
        if batch.label is not None:
            page = step.mm.world.page_mask + 1
            self.places.put(batch.label, batch.start, batch.end, page)
        return self._piece(step, batch, batch.first == step.index)

    def _piece(self, step: Step, batch: Batch, first: bool) -> list[Event]:
        raise NotImplementedError

    def kept(self, step: Step) -> Event:
        """The event, with other words for the labels of calls that are no more."""
        event = step.event
        if not self._lost or not event.symbolic:
            return event
        args = tuple(
            self.places.told(value)
            if isinstance(arg, Expr)
            and isinstance(value, int)
            and not self._lost.isdisjoint(arg.labels())
            else arg
            for arg, value in zip(event.args, step.args, strict=True)
        )
        return changed(event, args=args)

    def mapped(self, step: Step, batch: Batch, prot: int) -> Event:
        """The mmap() of a step, of all of its batch and with *prot*."""
        event = step.event
        # Without a label, and without a record, only a hint says where it was.
        free = batch.label is not None and event.recorded is None and event.args[0] == 0
        start = 0 if free else batch.start
        args = (start, batch.end - batch.start, prot, *step.args[3:])
        recorded = None if event.recorded is None else batch.start
        return changed(event, args=args, label=batch.label, recorded=recorded)


def is_plain(step: Step) -> bool:
    """Whether a step has mapped private anonymous memory where there was none."""
    args = step.args
    if step.event.name != "mmap" or step.result < 0 or not isinstance(args[3], int):
        return False
    return not args[3] & ~_PLAIN and args[3] & _NEEDED == _NEEDED


def place(step: Step) -> Range:
    """Where a step has mapped memory: whole pages."""
    length = step.args[1]
    assert isinstance(length, int)
    return step.result, step.result + abi.page_align(length, step.mm.world.page_mask)
