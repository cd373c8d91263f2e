"""Calls of one kind, and what they cost in VMAs under two models: ``Patterns``.

A kind is the call, its size class, its flags, what backs it, and who called where a log tells.
Knows what calls look like; knows nothing of how they change memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from vmatrace import abi
from vmatrace.calls import CALLS
from vmatrace.event import Arg, Event, Fd
from vmatrace.replayer.result import Step

#: So many kinds are told apart; what comes later counts under its call alone.
MAX_PATTERNS: Final = 4096

_Key = tuple[object, ...]
#: Of each call: which parameter is its size, which are its flags, and whether it has a size.
_PLACES: Final = {
    call.name: (call.size or 0, call.flags, call.size is not None) for call in CALLS.values()
}


class Pattern:
    """One kind of call. Pairs hold a number for each of the two models.

    ``flags`` are pairs of a parameter's place and its value; ``backing`` is "anonymous", "file" or
    "". ``smallest`` and ``largest`` are the sizes seen, in bytes, 0 where the call has none.
    ``added`` is how many VMAs more there were after the calls than before them, ``blocked`` how
    often VM_MERGEABLE alone kept a side apart. ``line`` is that of the first.
    """

    __slots__ = (
        "added", "backing", "blocked", "call", "caller", "calls", "flags", "largest", "line",
        "merged_kinds", "smallest",
    )  # fmt: skip

    def __init__(
        self,
        call: str,
        flags: tuple[tuple[int, int], ...] = (),
        backing: str = "",
        caller: str | None = None,
        line: int = 0,
    ) -> None:
        self.call = call
        self.flags = flags
        self.backing = backing
        self.caller = caller
        self.line = line
        self.calls = 0
        self.smallest = self.largest = 0
        self.added = [0, 0]
        self.blocked = [0, 0]
        self.merged_kinds = False

    @property
    def cost(self) -> int:
        """How many VMAs more the calls made under the first model than under the second."""
        return self.added[0] - self.added[1]


class Patterns:
    """All kinds of calls seen so far."""

    def __init__(self, page_size: int) -> None:
        self._page_shift = page_size.bit_length() - 1
        self._by_key: dict[_Key, Pattern] = {}
        self._same: dict[_Key, Pattern] = {}  # by all of a call but where; bounded

    def __iter__(self) -> Iterator[Pattern]:
        """The dearest first, then the most frequent; in the order of the trace among equals."""
        return iter(sorted(self._by_key.values(), key=lambda p: (-p.cost, -p.calls)))

    def __len__(self) -> int:
        return len(self._by_key)

    def of(self, step: Step) -> Pattern:
        """The kind of the step's call, which is counted."""
        event, args = step.event, step.args
        name = event.name
        where, flags_at, sized = _PLACES[name]
        size = args[where] if sized else 0
        if type(size) is not int or (not sized and step.decisions):
            # The growth of brk(), or a segment: the range that was placed.
            size = step.decisions[0].end - step.decisions[0].start if step.decisions else 0
        # Most calls are like one that was before, to the byte.
        exactly: _Key = (name, size, event.caller, *[args[i] for i in flags_at if i < len(args)])
        if name == "mmap":
            exactly = (*exactly, type(event.args[4]))
        pattern = self._same.get(exactly)
        if pattern is None:
            if len(self._same) >= MAX_PATTERNS:
                self._same.clear()
            pattern = self._same[exactly] = self._find(event, args, flags_at, size)
        pattern.calls += 1
        return pattern

    def _find(
        self, event: Event, args: Sequence[Arg], flags_at: tuple[int, ...], size: int
    ) -> Pattern:
        """The kind of a call that changes so many bytes."""
        pages = ((size - 1) >> self._page_shift).bit_length() + 1 >> 1 if size > 0 else 0
        flags = [args[i] for i in flags_at if i < len(args)]
        key = (event.name, pages, *flags, _backing(event), event.caller)
        pattern = self._by_key.get(key)
        if pattern is None:
            pattern = self._new(key, event, flags_at, event.caller)
        if size > pattern.largest:
            pattern.largest = size
        if not pattern.smallest or 0 < size < pattern.smallest:
            pattern.smallest = max(size, 0)
        return pattern

    def _new(
        self, key: _Key, event: Event, flags_at: tuple[int, ...], caller: str | None
    ) -> Pattern:
        if len(self._by_key) >= MAX_PATTERNS:
            key = (event.name,)
            pattern = self._by_key.get(key)
            if pattern is None:
                pattern = self._by_key[key] = Pattern(event.name, line=event.line)
                pattern.merged_kinds = True
            return pattern
        flags = tuple(
            (i, value)
            for i in flags_at
            if i < len(event.args) and isinstance(value := event.args[i], int)
        )
        pattern = Pattern(event.name, flags, _backing(event), caller, event.line)
        self._by_key[key] = pattern
        return pattern


def _backing(event: Event) -> str:
    if event.name != "mmap":
        return ""
    flags = event.args[3]
    if isinstance(flags, int) and flags & abi.MAP_ANONYMOUS:
        return "anonymous"
    fd = event.args[4]
    return "file" if isinstance(fd, (int, Fd)) else ""
