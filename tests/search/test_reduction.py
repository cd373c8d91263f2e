"""Reducing keeps the condition, ends at a 1-minimal program, and finds what was hidden in it."""

from __future__ import annotations

import dataclasses
from random import Random

import pytest
from program import ROOT

from vmatrace import abi
from vmatrace.event import Event
from vmatrace.kernels import get_kernel
from vmatrace.search.conditions import parse
from vmatrace.search.generate import files, generate
from vmatrace.search.goals import Goal
from vmatrace.search.reduction import NotReachedError, Reducer, Smallest
from vmatrace.search.shrink import consistent
from vmatrace.trace.file import Trace, load_trace

PAGE = 4096
RW = abi.PROT_READ | abi.PROT_WRITE
PRIVATE = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED
EMPTY = Trace("program", "program", lambda: iter(()), files=files())


def goal(text: str, *models: str) -> Goal:
    return Goal(parse(text), [get_kernel(model) for model in models])


def reduced(text: str, events: list[Event], *models: str, base: Trace = EMPTY) -> Smallest:
    found = Reducer(goal(text, *models), base, events).reduce()
    assert goal(text, *models).reach(found.base, found.events) == len(found.events)
    return found


def assert_minimal(found: Smallest, text: str, *models: str) -> None:
    assert found.minimal
    for i in range(len(found.events)):
        rest = consistent(found.events[:i] + found.events[i + 1 :])
        # Numbers stand for the labels here, as when it was reduced: what remains may not do.
        assert not rest or goal(text, *models).reach(found.base, rest) is None, i


@pytest.mark.parametrize("index", range(24))
def test_what_differs_in_a_random_program_is_minimal(index: int) -> None:
    sides = ("6.4", "7.3")
    events = generate("reduce", index, 60)
    if goal("differs", *sides).reach(EMPTY, events) is None:
        with pytest.raises(NotReachedError):
            reduced("differs", events, *sides)
        return
    found = reduced("differs", events, *sides)
    assert_minimal(found, "differs", *sides)
    assert len(found.events) <= 10


def in_much_noise(needle: list[Event], count: int) -> list[Event]:
    """*needle* in order among *count* calls that have nothing to do with it."""
    random = Random("noise")
    events = []
    for i in range(count):
        at = (2 << 40) + random.randrange(4000) * PAGE
        args = (at, random.randint(1, 3) * PAGE, RW, PRIVATE, -1, 0)
        events.append(Event("mmap", args, "", i + 1))
    places = sorted(random.sample(range(count), len(needle)))
    for shift, (position, event) in enumerate(zip(places, needle, strict=True)):
        events.insert(position + shift, event)
    return events


NEEDLE = [
    Event("prctl", (abi.PR_SET_MEMORY_MERGE, 1, 0, 0, 0), ""),
    Event("mmap", (1 << 40, 7 * PAGE, RW, PRIVATE, -1, 0), "", 90001),
    Event("mseal", (1 << 40, 7 * PAGE, 0), "", 90002),
    Event("munmap", (1 << 40, 7 * PAGE), "", 90003),
]


def test_one_call_among_thousands_is_found_with_what_it_needs() -> None:
    events = in_much_noise(NEEDLE, 3000)
    found = reduced("line 90003 fails EPERM", events, "7.3")
    assert [event.name for event in found.events] == ["mmap", "mseal", "munmap"]
    assert found.events[0].args[:2] == (1 << 40, PAGE)  # at a round address, and of one page
    assert found.tries < 300


def test_a_count_is_reached_with_the_fewest_calls() -> None:
    events = in_much_noise(NEEDLE[:1], 3000)
    found = reduced("blocked_only_by_mergeable >= 5", events, "pre-patch")
    assert_minimal(found, "blocked_only_by_mergeable >= 5", "pre-patch")
    assert len(found.events) <= 11


def test_the_limit_is_met_with_fewer_vmas() -> None:
    events = [
        Event("mmap", ((1 << 40) + 2 * i * PAGE, PAGE, RW, PRIVATE, -1, 0), "", i + 1)
        for i in range(300)
    ]
    base = dataclasses.replace(EMPTY, sysctl=dataclasses.replace(EMPTY.sysctl, max_map_count=250))
    wanted = goal("limit_hit", "7.3")
    found = Reducer(wanted, base, wanted.settle(base, events)).reduce()
    assert found.base.sysctl.max_map_count < 10
    assert len(found.events) < 10


def test_a_child_whose_calls_could_be_the_parents_is_not_needed() -> None:
    text = (
        "vmatrace: 1\nevents:\n"
        "  - a = mmap(NULL, 0x2000, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)\n"
        "  - c = fork()\n"
        "  - {pid: c, call: 'mmap(NULL, 0x1000, PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)'}\n"
        "  - {pid: c, call: 'munmap(a, 0x800000000000000)'}\n"
    )
    trace = load_trace(text.encode())
    events = [item for item in trace.items() if isinstance(item, Event)]
    found = reduced("line 6 fails EINVAL", events, "7.3", base=trace)
    assert [event.pid for event in found.events] == ["main"]


def test_a_log_becomes_a_trace_that_is_partial_no_more() -> None:
    from vmatrace.importers import open_trace

    trace = open_trace(str(ROOT / "traces" / "logs" / "sort.log"))
    events = [item for item in trace.items() if isinstance(item, Event)]
    found = reduced("vmas >= 4", events, "7.3", base=trace)
    assert not found.base.partial
    assert all(event.recorded is None for event in found.events)
    assert_minimal(found, "vmas >= 4", "7.3")
