"""What an expectation is called, so that the name outlives edits elsewhere in the trace.

A name does not hold lines: histories of CI servers and ids of tests go by it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Union

from vmatrace.event import Event, Expectation

#: What a trace is made of.
_Item = Union[Event, Expectation]


def named(items: Iterable[_Item]) -> Iterator[tuple[Expectation, str]]:
    """Each expectation of a trace with its name, which no other has.

    It is the ``name`` that the trace gives, else what is expected and the call that it comes after:
    ``vmas after a`` where the call has a label, ``maps of child after munmap(a, PAGE_SIZE)`` where
    it has none, ``…, time 2`` after the second that looks the same. Those that would still be
    called the same are numbered: ``vmas after a (2)``.
    """
    taken: set[str] = set()
    calls: Counter[str] = Counter()
    counted = False  # the call is one of those that expectations come after
    call: Event | None = None
    for item in items:
        if isinstance(item, Event):
            call, counted = item, False
            continue
        where = "at the start" if call is None else f"after {call.label or _short(call.text)}"
        if call is not None and not counted:
            calls[where] += 1
            counted = True
        if calls[where] > 1:  # the same call again
            where = f"{where}, time {calls[where]}"
        yield item, _distinct(item.name or f"{_kind(item)} {where}", taken)


def _kind(expectation: Expectation) -> str:
    kinds = [*expectation.counts, *(["maps"] if expectation.maps is not None else [])]
    process = "" if expectation.pid == "main" else f" of {expectation.pid}"
    return ", ".join(kinds) + process


def _short(call: str) -> str:
    """A call with no more than two of its arguments, for no more is needed to know it by."""
    parts = call.split(", ")
    return call if len(parts) <= 2 else f"{parts[0]}, {parts[1]}, …)"


def _distinct(name: str, taken: set[str]) -> str:
    number, tried = 1, name
    while tried in taken:
        number += 1
        tried = f"{name} ({number})"
    taken.add(tried)
    return tried
