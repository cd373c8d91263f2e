"""Calls that nobody waits for: where they may be, and what may begin before they are made."""

from __future__ import annotations

from collections import deque

import pytest

from vmatrace import abi
from vmatrace.record.effects import cannot_fail, may_overtake
from vmatrace.record.pieces import ORDINARY, PRIVATE, WRITABLE, Pieces
from vmatrace.record.tasks import AddressSpace, Pending, Task, ThreadGroup, Watcher
from vmatrace.record.unwatched import Unwatched

PAGE = 0x1000
BASE = 0x7F0000000000
ANON = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS
RW = PRIVATE | WRITABLE | ORDINARY


class Pagemap:
    """Which addresses are mapped."""

    def __init__(self) -> None:
        self.mapped: set[int] = set()

    def vma_at(self, address: int) -> tuple[int, int] | None:
        return (address, address + PAGE) if address in self.mapped else None


class Recorder:
    page = PAGE

    def __init__(self) -> None:
        self.made: list[int] = []

    def leave(self, task: Task, pending: Pending, result: int) -> None:
        assert result == 0
        self.made.append(pending.args[0])

    def left(self, task: Task, pending: Pending) -> None:
        start, size = pending.args[:2]
        task.process.space.pieces.clear(start, start + size)


class World:
    """Two threads in pages 0, 2 and 3 above BASE; pages 1 and 4 and all above are free."""

    def __init__(self) -> None:
        self.recorder, self.pagemap, self.hurried = Recorder(), Pagemap(), deque[Task]()
        self.space = AddressSpace(Pieces(lambda file, change: None), self.pagemap)  # type: ignore[arg-type]
        self.space.stacks.add(abi.ULONG_MAX >> 17)
        group = ThreadGroup(1, "main", self.space)
        self.one, self.other = Task(1, group), Task(2, group)
        self.unwatched = Unwatched(self.recorder, self.hurried.append)  # type: ignore[arg-type]
        for number in (0, 2, 3):
            self.space.pieces.add(at(number), at(number + 1), RW)
            self.pagemap.mapped.add(at(number))

    def waits(self, pending: Pending, hurry: bool = False) -> bool:
        return self.unwatched.must_wait(self.space, pending, hurry)


def at(page: int) -> int:
    return BASE + page * PAGE


def munmap(page: int, pages: int = 1) -> Pending:
    return Pending("munmap", (at(page), pages * PAGE, 0, 0, 0, 0))


def mmap(size: int = PAGE, flags: int = ANON, hint: int = 0) -> Pending:
    return Pending("mmap", (hint, size, 3, flags, 0, 0))


def test_a_mapping_may_overtake_what_it_cannot_touch_from_above() -> None:
    world = World()
    assert world.unwatched.take(world.one, munmap(2))
    assert not world.waits(mmap())
    # Page 3 is mapped above page 2, but it goes as well.
    assert world.unwatched.take(world.other, munmap(3))
    assert world.waits(mmap())
    assert not world.hurried
    assert world.waits(mmap(), hurry=True)
    assert set(world.hurried) == {world.one, world.other}


def test_what_has_gone_is_an_event_at_once_and_nobody_waits() -> None:
    world = World()
    world.unwatched.take(world.one, munmap(0))
    assert world.waits(mmap())
    world.pagemap.mapped.discard(at(0))
    assert not world.waits(mmap())
    assert world.recorder.made == [at(0)]
    assert not world.space.unwatched


@pytest.mark.parametrize(
    "pending",
    [
        mmap(1 << 21), mmap(flags=ANON | abi.MAP_FIXED), mmap(hint=at(8)),
        mmap(flags=ANON | abi.MAP_POPULATE), Pending("fork", (0,) * 6),
        Pending("mprotect", (at(3), PAGE, 1, 0, 0, 0)), munmap(7),
    ],
    ids=["large", "fixed", "hint", "populate", "fork", "mprotect", "hole"],
)  # fmt: skip
def test_other_calls_wait_for_all_of_them(pending: Pending) -> None:
    world = World()
    world.unwatched.take(world.one, munmap(2))
    assert world.waits(pending)
    assert not world.waits(munmap(3))


def test_what_was_made_during_a_call_is_before_it_only_where_that_took_its_place() -> None:
    world = World()
    world.unwatched.take(world.one, munmap(2))
    world.unwatched.take(world.other, munmap(0))
    world.space.owner = 3
    world.pagemap.mapped.clear()
    world.unwatched.stopped(world.one)
    world.unwatched.stopped(world.other)
    assert world.recorder.made == []
    world.unwatched.mapped(world.space, at(1), 2 * PAGE)
    assert world.recorder.made == [at(2)]
    world.space.owner = None
    world.unwatched.flush(world.space)
    assert world.recorder.made == [at(2), at(0)]


@pytest.mark.parametrize("gone", [True, False])
def test_who_is_killed_may_not_have_made_it(gone: bool) -> None:
    world = World()
    world.unwatched.take(world.one, munmap(2))
    if gone:
        world.pagemap.mapped.discard(at(2))
    world.unwatched.end(world.space)
    assert world.recorder.made == [at(2)] * gone
    assert not world.space.unwatched


@pytest.mark.parametrize("made", [True, False])
def test_when_a_process_has_ended_nothing_is_made_any_more(made: bool) -> None:
    world = World()
    world.unwatched.take(world.one, munmap(2))
    world.space.owner = 2  # killed in its call, at whose end it does not stop
    if made:
        world.unwatched.stopped(world.one)
    else:
        world.unwatched.end(world.space)
    world.unwatched.leave(world.one.process)
    world.pagemap.mapped.clear()
    world.space.owner = None
    assert not world.waits(mmap())
    assert world.recorder.made == [at(2)] * made


def test_what_may_be_refused_is_waited_for() -> None:
    space = World().space
    assert cannot_fail(space, munmap(2, 2), PAGE)
    refused = [munmap(0, 2), munmap(2, 0), munmap(2, 3), Pending("munmap", (at(2) + 1, PAGE))]
    assert not any(cannot_fail(space, pending, PAGE) for pending in refused)
    space.pieces.change(at(3), at(4), off=ORDINARY)
    assert not cannot_fail(space, munmap(2, 2), PAGE)
    space.watchers.append(Watcher("u", None))
    assert not cannot_fail(space, munmap(2), PAGE)
    assert not may_overtake(space, munmap(2))
