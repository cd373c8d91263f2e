"""Reducing keeps the condition, ends at a 1-minimal program, and finds what was hidden in it."""

from __future__ import annotations

import dataclasses
from random import Random

import pytest
from program import ROOT

from vmatrace import abi
from vmatrace.engine import view
from vmatrace.event import Event
from vmatrace.kernels import get_kernel
from vmatrace.replayer.run import Replay
from vmatrace.search import folding
from vmatrace.search.conditions import parse
from vmatrace.search.generate import files, generate
from vmatrace.search.goals import Goal, with_events
from vmatrace.search.reduction import NotReachedError, Reducer, Smallest
from vmatrace.search.rewriting import Reduction
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


# --- long histories -------------------------------------------------------------------------------


def apart(count: int) -> list[Event]:
    """Mappings that do not touch, made in two calls each: *count* VMAs."""
    return [
        event
        for i in range(count)
        for at in [(1 << 40) + 3 * i * PAGE]
        for event in (
            Event("mmap", (at, PAGE, abi.PROT_NONE, PRIVATE, -1, 0), "", 2 * i + 1),
            Event("mprotect", (at, PAGE, RW), "", 2 * i + 2),
        )
    ]


def assert_no_mapping_can_go(found: Smallest, text: str, *models: str) -> None:
    for i in range(len(found.base.maps)):
        maps = found.base.maps[:i] + found.base.maps[i + 1 :]
        base = dataclasses.replace(found.base, maps=maps)
        assert goal(text, *models).reach(base, found.events) is None, i


def test_a_long_history_is_folded_into_the_start() -> None:
    found = reduced("vmas >= 80", apart(150), "7.3")
    assert ([event.name for event in found.events], len(found.base.maps)) == (["mmap"], 79)
    assert_minimal(found, "vmas >= 80", "7.3")
    assert_no_mapping_can_go(found, "vmas >= 80", "7.3")


def test_a_short_history_is_told_and_not_folded() -> None:
    found = reduced("vmas >= 5", apart(150), "7.3")
    assert (len(found.events), found.base.maps) == (5, [])


def test_what_a_start_cannot_say_is_not_folded() -> None:
    events = [
        Event("mmap", ((1 << 40) + i * PAGE, PAGE, RW, PRIVATE, -1, 0), "") for i in range(90)
    ]
    found = reduced("merges >= 60", events, "7.3")
    assert (len(found.events), found.base.maps) == (61, [])
    assert_minimal(found, "merges >= 60", "7.3")


def test_a_fold_keeps_modes_the_heap_and_what_was_written_to() -> None:
    heap = 0x555555559000
    events = [
        Event("prctl", (abi.PR_SET_MEMORY_MERGE, 1, 0, 0, 0), ""),
        Event("brk", (heap + PAGE,), ""),
        *apart(60),
        Event("madvise", (1 << 40, PAGE, abi.MADV_POPULATE_WRITE), ""),
        Event("brk", (heap + 2 * PAGE,), ""),
    ]
    kernel = get_kernel("7.3")
    whole = Replay(with_events(EMPTY, events), kernel)
    whole.run()
    for fold in folding.folded(Reduction(EMPTY, events), kernel, None):
        run = Replay(with_events(*fold), kernel)
        run.run()
        mms = [replay.process("main") for replay in (whole, run)]
        assert view.layout(mms[0]) == view.layout(mms[1])
        assert len({(mm.brk, mm.start_brk, mm.merge_any) for mm in mms}) == 1
        assert [bool(v.anon) for v in mms[0].vmas] == [bool(v.anon) for v in mms[1].vmas]


def test_two_address_spaces_are_not_folded() -> None:
    events = [*apart(20), Event("fork", (), "", label="c"), *apart(20)]
    folds = list(folding.folded(Reduction(EMPTY, events), get_kernel("7.3"), None))
    assert [len(fold.events) for fold in folds] == []
    folds = list(
        folding.folded(Reduction(EMPTY, [*apart(20), *apart(20)]), get_kernel("7.3"), None)
    )
    assert [len(fold.events) for fold in folds] == [1, 2, 4, 8, 16, 32]


def test_what_holds_for_a_moment_only_is_seen_in_a_long_program() -> None:
    gone = Event("munmap", (1 << 40, 30 * PAGE), "", 61)
    events = [*apart(10), gone, *in_much_noise([], 3000)]
    assert goal("vmas == 10 and events < 30", "7.3").reach(EMPTY, events) == 19
