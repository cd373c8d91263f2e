"""Shrinking finds the shortest program for whatever is taken for a failure."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from vmatrace import abi
from vmatrace.event import Event, Expr
from vmatrace.search.generate import generate
from vmatrace.search.shrink import Fails, Shrinker, consistent
from vmatrace.trace.writer import call_text

PAGE = 4096
RW = abi.PROT_READ | abi.PROT_WRITE


def event(name: str, *args: int | str | Expr, pid: str = "main", label: str | None = None) -> Event:
    symbolic = any(isinstance(arg, Expr) for arg in args)
    return Event(name, args, "", 1, 1, pid, label, None, symbolic)


def names_in_order(*wanted: str) -> Fails:
    """Fails as soon as calls of these names have come in this order."""

    def fails(events: Sequence[Event]) -> int | None:
        missing = list(wanted)
        for count, item in enumerate(events, 1):
            if missing and item.name == missing[0]:
                del missing[0]
            if not missing:
                return count
        return None

    return fails


def test_only_the_events_that_matter_stay() -> None:
    program = generate("shrink", 0, 200)
    wanted = ["mmap", "mprotect", "munmap"]
    assert [e.name for e in Shrinker(names_in_order(*wanted)).shrink(program)] == wanted


def test_what_follows_the_failure_is_cut_off_first() -> None:
    program = [event("munlockall") for _ in range(50)]
    shrinker = Shrinker(lambda events: 1 if events else None)
    assert len(shrinker.shrink(program)) == 1


def test_arguments_become_simple_where_they_do_not_matter() -> None:
    flags = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED | abi.MAP_NORESERVE
    program = [event("mmap", 1 << 40, 7 * PAGE, 7, flags, -1, 0)]
    (simple,) = Shrinker(names_in_order("mmap")).shrink(program)
    assert simple.args[1:3] == (PAGE, RW)
    assert not int(str(simple.args[3])) & abi.MAP_NORESERVE


def test_arguments_stay_where_they_matter() -> None:
    def fails(events: Sequence[Event]) -> int | None:
        return next((i for i, e in enumerate(events, 1) if e.args[1] == 7 * PAGE), None)

    (kept,) = Shrinker(fails).shrink([event("munmap", 1 << 40, 7 * PAGE)])
    assert call_text(kept) == "munmap(0x10000000000, 0x7000)"


def test_without_its_birth_a_process_makes_no_calls() -> None:
    events = [event("fork", label="p"), event("munlockall", pid="p"), event("munlockall")]
    assert consistent(events[1:]) == [events[2]]
    assert consistent(events) == events


def test_nobody_acts_after_the_end() -> None:
    events = [
        event("fork", label="p"), event("exit_group", 0, pid="p"), event("munlockall", pid="p"),
    ]  # fmt: skip
    assert consistent(events) == events[:2]


def test_without_its_mmap_a_label_is_not_used() -> None:
    where = Expr(("+", "a", PAGE), "a + 0x1000")
    assert consistent([event("munmap", where, PAGE)]) == []


def test_a_program_that_does_not_fail_cannot_be_shrunk() -> None:
    with pytest.raises(ValueError, match="does not fail"):
        Shrinker(lambda events: None).shrink([event("munlockall")])


def test_the_budget_ends_the_search_with_what_was_found() -> None:
    program = generate("shrink", 0, 100)
    shrinker = Shrinker(names_in_order("mprotect"), budget=5)
    shrunk = shrinker.shrink(program)
    assert shrinker.runs == 5
    assert "mprotect" in [e.name for e in shrunk]
