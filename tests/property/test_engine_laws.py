"""Laws of the engine, for every sequence of calls and every kernel model.

The engine runs beside a model of one entry per page (naive.py), under four kernels at once, and
both must give the same results and the same VMAs after every single call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from naive import ADVICE, Naive, Names, Page, Rules

from vmatrace import abi
from vmatrace.engine import vmamap
from vmatrace.engine.faults import fault
from vmatrace.engine.mm import Mm
from vmatrace.engine.syscalls import advice, control, locking, mapping, protection, remapping
from vmatrace.engine.vma import Vma
from vmatrace.engine.vmamap import VmaMap
from vmatrace.engine.world import World
from vmatrace.kernels import get_kernel
from vmatrace.replayer.processes import fork
from vmatrace.replayer.run import DEFAULT_BRK, DEFAULT_MMAP_BASE, replay
from vmatrace.trace.file import load_trace

PAGE = 4096
BASE = 0x10000  # pages
RW = abi.PROT_READ | abi.PROT_WRITE
WINDOW = 10
KERNELS = {
    "6.12": Rules(False, False, False, False),
    "pre-patch": Rules(False, True, False, True),
    "post-patch": Rules(True, True, False, True),
    "6.18.44": Rules(True, True, True, True),
}
QUICK = settings(suppress_health_check=[HealthCheck.too_slow])

offsets = st.integers(0, WINDOW - 1)
lengths = st.sampled_from([1, 2, 2, 3, 4, WINDOW])
prots = st.sampled_from([abi.PROT_READ, RW, RW, RW, RW | abi.PROT_EXEC, abi.PROT_NONE])


class Pair:
    """One process in both models."""

    def __init__(self, kernel: str) -> None:
        world = World(get_kernel(kernel))
        self.mm = Mm(world, DEFAULT_MMAP_BASE, DEFAULT_BRK)
        self.naive = Naive(KERNELS[kernel], Names())

    def fork(self) -> Pair:
        child = Pair.__new__(Pair)
        child.mm, child.naive = fork(self.mm), self.naive.fork()
        return child


def shown(vmas: Iterable[tuple[int, int, int, object, int, int, bool]]) -> list[tuple[int, ...]]:
    """VMAs with files and anon_vmas numbered in the order in which they appear."""
    numbers: dict[object, int] = {None: 0, 0: 0}
    return [
        (
            start, end, flags, numbers.setdefault(file, len(numbers)), shift,
            numbers.setdefault(("anon", anon) if anon else 0, len(numbers)), int(forked),
        )
        for start, end, flags, file, shift, anon, forked in vmas
    ]  # fmt: skip


def engine_vmas(mm: Mm) -> list[tuple[int, ...]]:
    return shown(
        (v.start // PAGE, v.end // PAGE, v.flags, v.file, v.skew // PAGE, v.anon, v.chain > 1)
        for v in mm.vmas
    )


def naive_vmas(naive: Naive) -> list[tuple[int, ...]]:
    def file(page: Page) -> object:
        return ("file", page.file) if page.file else None

    return shown((s, e, p.flags, file(p), p.shift, p.anon, p.forked) for s, e, p in naive.vmas())


class EngineBesideNaive(RuleBasedStateMachine):
    """The same calls under four kernels, each in both models."""

    def __init__(self) -> None:
        super().__init__()
        self.processes = [{name: Pair(name) for name in KERNELS}]
        self.here = 0
        self.ksm_ever = False
        self.alike = True

    def call(self, engine: Callable[[Mm], int], naive: Callable[[Naive], int]) -> None:
        """Make one call in the current process under each kernel."""
        results = {}
        for name, pair in self.processes[self.here].items():
            got, expected = engine(pair.mm), naive(pair.naive)
            if expected >= BASE:
                expected *= PAGE
            assert got == expected, name
            results[name] = got
        self.alike = self.alike and results["pre-patch"] == results["post-patch"]

    @rule(at=offsets, n=lengths, prot=prots, noreserve=st.sampled_from([False] * 4 + [True]))
    def map_private(self, at: int, n: int, prot: int, noreserve: bool) -> None:
        flags = abi.MAP_FIXED | abi.MAP_PRIVATE | abi.MAP_ANONYMOUS
        flags |= abi.MAP_NORESERVE if noreserve else 0
        self.call(
            lambda mm: mapping.mmap(mm, (BASE + at) * PAGE, n * PAGE, prot, flags, None, 0),
            lambda naive: naive.mmap(BASE + at, n, prot, False, noreserve),
        )

    @rule(at=offsets, n=lengths, prot=prots)
    def map_shared(self, at: int, n: int, prot: int) -> None:
        flags = abi.MAP_FIXED | abi.MAP_SHARED | abi.MAP_ANONYMOUS
        self.call(
            lambda mm: mapping.mmap(mm, (BASE + at) * PAGE, n * PAGE, prot, flags, None, 0),
            lambda naive: naive.mmap(BASE + at, n, prot, True, False),
        )

    @rule(at=offsets, n=lengths)
    def unmap(self, at: int, n: int) -> None:
        self.call(
            lambda mm: mapping.munmap(mm, (BASE + at) * PAGE, n * PAGE),
            lambda naive: naive.munmap(BASE + at, n),
        )

    @rule(at=offsets, n=lengths, prot=prots)
    def protect(self, at: int, n: int, prot: int) -> None:
        self.call(
            lambda mm: protection.mprotect(mm, (BASE + at) * PAGE, n * PAGE, prot),
            lambda naive: naive.mprotect(BASE + at, n, prot),
        )

    @rule(at=st.integers(0, 2), prot=prots)
    def protect_everything(self, at: int, prot: int) -> None:
        """What differs only in protections and touches may now merge."""
        self.protect(at, WINDOW - at, prot)

    @rule(at=offsets, n=lengths, what=st.sampled_from(sorted(ADVICE)))
    def advise(self, at: int, n: int, what: int) -> None:
        self.call(
            lambda mm: advice.madvise(mm, (BASE + at) * PAGE, n * PAGE, what),
            lambda naive: naive.madvise(BASE + at, n, what),
        )

    @rule(at=offsets, n=lengths, on=st.booleans())
    def lock(self, at: int, n: int, on: bool) -> None:
        addr, size = (BASE + at) * PAGE, n * PAGE
        self.call(
            lambda mm: (
                locking.mlock2(mm, addr, size, abi.MLOCK_ONFAULT)
                if on
                else locking.munlock(mm, addr, size)
            ),
            lambda naive: naive.lock(BASE + at, n, abi.VM_LOCKED_MASK if on else 0),
        )

    @rule(at=offsets, n=lengths)
    def write(self, at: int, n: int) -> None:
        self.call(
            lambda mm: fault(mm, (BASE + at) * PAGE, n * PAGE, abi.PROT_WRITE),
            lambda naive: naive.write(BASE + at, n),
        )

    @rule(on=st.booleans())
    def prctl(self, on: bool) -> None:
        self.ksm_ever = self.ksm_ever or on
        self.call(
            lambda mm: control.prctl(mm, abi.PR_SET_MEMORY_MERGE, int(on)),
            lambda naive: naive.prctl_ksm(on),
        )

    @rule(at=offsets, old=lengths, new=lengths)
    def resize(self, at: int, old: int, new: int) -> None:
        addr = (BASE + at) * PAGE
        self.call(
            lambda mm: remapping.mremap(mm, addr, old * PAGE, new * PAGE, 0),
            lambda naive: naive.resize(BASE + at, old, new),
        )

    @rule(at=offsets, old=lengths, grow=st.sampled_from([0, 0, 0, -2, 2]), to=offsets)
    def move(self, at: int, old: int, grow: int, to: int) -> None:
        new = max(old + grow, 1)
        flags = abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED
        self.call(
            lambda mm: remapping.mremap(
                mm, (BASE + at) * PAGE, old * PAGE, new * PAGE, flags, (BASE + to) * PAGE
            ),
            lambda naive: naive.move(BASE + at, old, new, BASE + to),
        )

    @rule(at=offsets, n=lengths, prot=st.sampled_from([RW, RW | abi.PROT_EXEC]))
    def map_written(self, at: int, n: int, prot: int) -> None:
        self.map_private(at, n, prot, False)
        self.write(at, n)

    @precondition(lambda self: len(self.processes) < 3)
    @rule()
    def fork(self) -> None:
        """The calls go on in the child, until a switch."""
        self.processes.append({n: p.fork() for n, p in self.processes[self.here].items()})
        self.here = len(self.processes) - 1

    @precondition(lambda self: len(self.processes) > 1)
    @rule(to=st.integers(0, 2))
    def switch(self, to: int) -> None:
        self.here = to % len(self.processes)

    @invariant()
    def both_models_have_the_same_vmas(self) -> None:
        for process in self.processes:
            for name, pair in process.items():
                pair.mm.vmas.check()
                assert engine_vmas(pair.mm) == naive_vmas(pair.naive), name

    @invariant()
    def the_series_changes_no_page_and_nothing_without_ksm(self) -> None:
        # mremap fails on a range of two VMAs that the series made one: then pages do differ.
        for process in self.processes:
            pre, post = process["pre-patch"].mm, process["post-patch"].mm
            if self.alike:
                assert mapped(pre) == mapped(post)
            if not self.ksm_ever:
                assert self.alike
                assert engine_vmas(pre) == engine_vmas(post)

    def teardown(self) -> None:
        for process in self.processes:
            for pair in process.values():
                assert mapping.munmap(pair.mm, 0, abi.TASK_SIZE) == 0
                pair.mm.vmas.check()
                assert pair.mm.vmas.count == 0
                assert pair.mm.vmas.first is None
                assert pair.mm.vmas.last is None


def mapped(mm: Mm) -> set[int]:
    return {page for v in mm.vmas for page in range(v.start // PAGE, v.end // PAGE)}


TestEngineBesideNaive = EngineBesideNaive.TestCase
TestEngineBesideNaive.settings = settings(QUICK, max_examples=800, stateful_step_count=40)


# --- the model's own laws ------------------------------------------------------------------------

FIXED = abi.MAP_FIXED | abi.MAP_PRIVATE | abi.MAP_ANONYMOUS


@st.composite
def traces(draw: st.DrawFn, mremap: bool = True) -> bytes:
    """A trace of random calls at fixed places, chosen places and the heap."""
    at = offsets.map(lambda n: f"{(BASE + n) * PAGE:#x}")
    size = lengths.map(lambda n: f"{n}*PAGE_SIZE")
    prot = st.sampled_from(["PROT_NONE", "PROT_READ", "PROT_READ|PROT_WRITE"])
    kind = st.sampled_from(["MAP_PRIVATE", "MAP_SHARED"]).map("{}|MAP_ANONYMOUS".format)
    mark = st.sampled_from(["MERGEABLE", "UNMERGEABLE"])
    calls = st.one_of(
        st.builds("mmap({}, {}, {}, {}|MAP_FIXED, -1, 0)".format, at, size, prot, kind),
        st.builds("mmap(NULL, {}, {}, {}, -1, 0)".format, size, prot, kind),
        st.builds("munmap({}, {})".format, at, size),
        st.builds("mprotect({}, {}, {})".format, at, size, prot),
        st.builds("madvise({}, {}, MADV_{})".format, at, size, mark),
        *[st.builds("mremap({}, {}, {}, MREMAP_MAYMOVE)".format, at, size, size)] * mremap,
        st.builds("fault({}, {}, PROT_WRITE)".format, at, size),
        st.builds("brk({:#x})".format, st.integers(DEFAULT_BRK, DEFAULT_BRK + 0x8000)),
        st.builds("prctl(PR_SET_MEMORY_MERGE, {}, 0, 0, 0)".format, st.integers(0, 1)),
    )  # fmt: skip
    lines = "".join(f"  - {call}\n" for call in draw(st.lists(calls, min_size=1, max_size=25)))
    return f"vmatrace: 1\nprocess: {{brk: {DEFAULT_BRK:#x}}}\nevents:\n{lines}".encode()


@settings(QUICK, max_examples=40)
@given(text=traces(), kernel=st.sampled_from(sorted(KERNELS)))
def test_a_replay_is_a_function_of_trace_and_kernel(text: bytes, kernel: str) -> None:
    def outcome() -> list[object]:
        result = replay(load_trace(text), get_kernel(kernel))
        layouts = [[m.key() for m in p.layout] for p in result.processes]
        tally = result.tally
        return [layouts, tally.merges, tally.blocked, result.errors, result.splits]

    assert outcome() == outcome()


@settings(QUICK, max_examples=60)
@given(text=traces(mremap=False))
def test_the_series_changes_how_many_vmas_there_are_and_not_what_they_cover(text: bytes) -> None:
    sizes = []
    for kernel in ("pre-patch", "post-patch"):
        (process,) = replay(load_trace(text), get_kernel(kernel)).processes
        sizes.append(sum(m.end - m.start for m in process.layout))
    assert sizes[0] == sizes[1]


@given(
    length=st.integers(2, 12),
    cuts=st.lists(st.tuples(st.integers(0, 11), st.integers(1, 12)), max_size=8),
    ksm=st.booleans(),
)
@settings(QUICK, max_examples=60)
def test_undone_protections_of_untouched_memory_leave_one_vma(
    length: int, cuts: list[tuple[int, int]], ksm: bool
) -> None:
    mm = Mm(World(get_kernel("post-patch")), DEFAULT_MMAP_BASE, DEFAULT_BRK)
    control.prctl(mm, abi.PR_SET_MEMORY_MERGE, int(ksm))
    start = BASE * PAGE
    mapping.mmap(mm, start, length * PAGE, RW, FIXED, None, 0)
    whole = engine_vmas(mm)
    done = []
    for at, n in cuts:
        addr, size = start + at % length * PAGE, min(n, length - at % length) * PAGE
        assert protection.mprotect(mm, addr, size, abi.PROT_READ) == 0
        done.append((addr, size))
    for addr, size in reversed(done):
        assert protection.mprotect(mm, addr, size, RW) == 0
    assert engine_vmas(mm) == whole


@given(st.permutations(range(8)), st.sampled_from(["pre-patch", "post-patch"]))
@settings(QUICK, max_examples=40)
def test_neighbours_mapped_in_any_order_are_one_vma_unless_ksm_is_set_late(
    order: list[int], kernel: str
) -> None:
    mm = Mm(World(get_kernel(kernel)), DEFAULT_MMAP_BASE, DEFAULT_BRK)
    control.prctl(mm, abi.PR_SET_MEMORY_MERGE, 1)
    for n in order:
        mapping.mmap(mm, (BASE + n) * PAGE, PAGE, RW, FIXED, None, 0)
    assert mm.vmas.count == (8 if kernel == "pre-patch" else 1)


# --- the ordered map beside a sorted list --------------------------------------------------------


class MapBesideList(RuleBasedStateMachine):
    """VmaMap with chunks of a few VMAs beside a list of (start, end, has a guard gap)."""

    TOP = 200
    GUARD = 3

    def __init__(self) -> None:
        super().__init__()
        self.map = VmaMap()
        self.list: list[tuple[int, int, bool]] = []

    def nth(self, n: int) -> Vma:
        return list(self.map)[n % self.map.count]

    def room(self, vma: Vma) -> tuple[int, int]:
        """The free positions around *vma*: from the end before it to the start behind it."""
        return vma.prev.end if vma.prev else 0, vma.next.start if vma.next else self.TOP

    def record(self, vma: Vma, old: tuple[int, int, bool] | None = None) -> None:
        if old is not None:
            self.list.remove(old)
        self.list.append(entry(vma))
        self.list.sort()

    @rule(at=st.integers(0, TOP - 1), n=st.integers(1, 6), grows=st.booleans())
    def insert(self, at: int, n: int, grows: bool) -> None:
        end = min(at + n, self.TOP)
        if any(s < end and at < e for s, e, _ in self.list):
            return
        before = [vma for vma in self.map if vma.end <= at]
        vma = Vma(at, end, abi.VM_GROWSDOWN if grows else 0)
        self.map.insert(vma, before[-1] if before else None)
        self.record(vma)

    @precondition(lambda self: self.list)
    @rule(n=st.integers(0, 99))
    def remove(self, n: int) -> None:
        vma = self.nth(n)
        self.list.remove(entry(vma))
        self.map.remove(vma)

    @precondition(lambda self: self.list)
    @rule(n=st.integers(0, 99), to=st.integers(0, TOP))
    def set_start(self, n: int, to: int) -> None:
        vma = self.nth(n)
        old = entry(vma)
        self.map.set_start(vma, min(max(to, self.room(vma)[0]), vma.end - 1))
        self.record(vma, old)

    @precondition(lambda self: self.list)
    @rule(n=st.integers(0, 99), to=st.integers(0, TOP))
    def set_end(self, n: int, to: int) -> None:
        vma = self.nth(n)
        old = entry(vma)
        self.map.set_end(vma, max(min(to, self.room(vma)[1]), vma.start + 1))
        self.record(vma, old)

    @rule(addr=st.integers(0, TOP))
    def find(self, addr: int) -> None:
        above = [e for e in self.list if e[1] > addr]
        assert known(self.map.find(addr)) == (above[0] if above else None)
        inside = [e for e in above if e[0] <= addr]
        assert known(self.map.at(addr)) == (inside[0] if inside else None)

    @rule(n=st.integers(1, 60), low=st.integers(0, TOP - 1), size=st.integers(1, TOP))
    def gaps(self, n: int, low: int, size: int) -> None:
        high = min(low + size, self.TOP)
        assert self.map.highest_gap(n, low, high, self.GUARD) == self.highest(n, low, high)
        guarded = [at for at in self.free(n, low, high) if at + n <= self.floor(at + n)]
        assert self.map.lowest_gap(n, low, high, self.GUARD) == min(guarded, default=None)

    @rule(n=st.integers(1, 4), high=st.sampled_from([TOP, TOP - 20]))
    def search_again(self, n: int, high: int) -> None:
        """From one ceiling, as a process does: what the last search found is made use of."""
        assert self.map.highest_gap(n, 0, high, self.GUARD) == self.highest(n, 0, high)

    def free(self, n: int, low: int, high: int) -> list[int]:
        """Every start of *n* free positions within [low, high)."""
        taken = {p for start, end, _ in self.list for p in range(start, end)}
        return [at for at in range(low, high - n + 1) if taken.isdisjoint(range(at, at + n))]

    def floor(self, end: int) -> int:
        """How far up a range may reach that ends at *end*, with the next VMA's guard gap kept."""
        above = next((e for e in self.list if e[0] >= end), (self.TOP, self.TOP, False))
        return max(above[0] - self.GUARD, 0) if above[2] else above[0]

    def highest(self, n: int, low: int, high: int) -> int | None:
        """The kernel's retry loop: a refused gap lowers the ceiling to the guard gap's floor."""
        while found := self.free(n, low, high):
            if found[-1] + n <= self.floor(found[-1] + n):
                return found[-1]
            high = self.floor(found[-1] + n)
        return None

    @invariant()
    def the_map_is_sound_and_holds_the_list(self) -> None:
        self.map.check()
        assert [entry(vma) for vma in self.map] == self.list
        assert len(self.map) == len(self.list)


def entry(vma: Vma) -> tuple[int, int, bool]:
    return vma.start, vma.end, bool(vma.flags & abi.VM_GROWSDOWN)


def known(vma: Vma | None) -> tuple[int, int, bool] | None:
    return None if vma is None else entry(vma)


@pytest.mark.parametrize(("chunk", "group", "freed"), [(2, 2, 2), (3, 1, 128), (2, 128, 4)])
def test_the_ordered_map_equals_a_sorted_list(
    chunk: int, group: int, freed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vmamap, "_CHUNK", chunk)
    monkeypatch.setattr(vmamap, "_GROUP", group)
    monkeypatch.setattr(vmamap, "_FREED", freed)
    run: Any = MapBesideList.TestCase
    run.settings = settings(QUICK, max_examples=80, stateful_step_count=60)
    run("runTest").runTest()
