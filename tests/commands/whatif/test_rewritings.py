"""Each rewriting: that it is the same program, what it does, and where it does not apply."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from types import ModuleType

import pytest
from program import ROOT

from vmatrace.commands.whatif import rewritings
from vmatrace.commands.whatif.question import Rewritten, WhatIf, rewrite, whatif
from vmatrace.commands.whatif.rewritings import (
    arenas,
    dontfork,
    guards,
    locking,
    mergeable,
    reserve,
)
from vmatrace.event import Event
from vmatrace.kernels import get_kernel
from vmatrace.layout import Layout
from vmatrace.replayer.run import Replay, replay
from vmatrace.search.generate import FAMILIES, files, generate
from vmatrace.search.goals import with_events
from vmatrace.search.rewriting import changed
from vmatrace.trace.file import Trace, load_trace

MODELS = ("pre-patch", "6.18")
RW = "PROT_READ|PROT_WRITE"
ANON = "MAP_PRIVATE|MAP_ANONYMOUS"
KSM = "prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0)"
EMPTY = Trace("program", "program", lambda: iter(()), files=files())


def mmap(label: str, pages: int, prot: str = RW, flags: str = ANON, at: str = "NULL") -> str:
    return f"{label} = mmap({at}, {pages}*PAGE_SIZE, {prot}, {flags}, -1, 0)"


def calls_of(program: Rewritten) -> list[str]:
    return [str(event.name) for event in program.trace.items() if isinstance(event, Event)]


def shown(answer: WhatIf) -> set[str]:
    return {change.name for change in answer.changes}


# --- the same program -----------------------------------------------------------------------------


def numbered(trace: Trace) -> Trace:
    """*trace* with a line of its own for each event, by which it is known again."""
    events = [event for event in trace.items() if isinstance(event, Event)]
    return with_events(trace, [changed(event, line=i) for i, event in enumerate(events, 1)])


def failed(program: Rewritten, model: str) -> set[tuple[int, str]]:
    """The line and name of each call that fails."""
    return {
        (step.event.line, step.event.name)
        for step in Replay(program.trace, get_kernel(model), program.ksm).steps()
        if step.result < 0
    }


def memory(layout: Layout) -> list[tuple[int, int, str]]:
    """What can be accessed where: start, end and permissions, whatever VMAs it is made of."""
    found: list[tuple[int, int, str]] = []
    for mapping in layout:
        if found and found[-1][1:] == (mapping.start, mapping.perms):
            found[-1] = (found[-1][0], mapping.end, mapping.perms)
        else:
            found.append((mapping.start, mapping.end, mapping.perms))
    return found


def memories(program: Rewritten, model: str) -> list[tuple[str, list[tuple[int, int, str]]]]:
    """The memory of each process at the end."""
    result = replay(program.trace, get_kernel(model), program.ksm)
    return [(process.pid, memory(process.layout)) for process in result.processes]


def check_all(trace: Trace, model: str, ksm: bool | None = None) -> set[str]:
    """Whatever is shown fails nowhere where the trace did not, and leaves the same memory."""
    start = Rewritten(trace, ksm)
    answer = whatif(trace, get_kernel(model), ksm)
    failing, left = failed(start, model), memories(start, model)
    for module in rewritings.ALL:
        if module.NAME not in shown(answer):
            continue
        other = rewrite(start, get_kernel(model), [module])
        assert other.calls
        still = failed(other, model)
        assert still <= failing, module.NAME
        # What fails may do so halfway, at the end of a VMA: there the memory may differ.
        if not failing and module not in (guards, dontfork):
            assert memories(other, model) == left, module.NAME
    if answer.together is not None:
        for change in answer.changes:
            most = (change.cost.peak, change.cost.vmas)
            assert (answer.together.peak, answer.together.vmas) <= most
    check_together(answer, start, model)
    return shown(answer)


def check_together(answer: WhatIf, start: Rewritten, model: str) -> None:
    """What is said to save together does, and without any one of it more is paid, or it fails."""
    named = {module.NAME: module for module in rewritings.ALL}
    chosen = [named[name] for name in answer.combined]
    assert set(answer.combined) <= shown(answer)

    def paid(modules: list[ModuleType]) -> tuple[int, int]:
        done = rewrite(start, get_kernel(model), modules)
        found = replay(done.trace, get_kernel(model), done.ksm)
        return found.peak_vmas, found.vmas

    now = (answer.now.peak, answer.now.vmas)
    best = paid(chosen)
    assert best == ((answer.together.peak, answer.together.vmas) if answer.together else now)
    assert (best < now) == bool(chosen)
    failing = failed(start, model)
    for one in chosen:
        others = [module for module in chosen if module is not one]
        fails = not failed(rewrite(start, get_kernel(model), others), model) <= failing
        assert paid(others) > best or fails


@pytest.mark.parametrize("model", MODELS)
def test_all_traces_stay_the_same_programs(model: str) -> None:
    seen: set[str] = set()
    for path in sorted((ROOT / "traces").glob("*.yaml")):
        seen |= check_all(numbered(load_trace(path)), model)
    assert seen >= {"names", "dontfork", "locking"}


@pytest.mark.parametrize("family", range(len(FAMILIES)))
def test_random_programs_stay_the_same_programs(family: int) -> None:
    for i in range(3):
        events = generate("whatif", family + i * len(FAMILIES), 60)
        for model in MODELS:
            check_all(numbered(with_events(EMPTY, events)), model)


def allocator(random: Random) -> list[str | dict[str, str]]:
    """A program that maps, frees and forks as allocators and the loaders of libraries do."""
    events: list[str | dict[str, str]] = [KSM] if random.randrange(3) else []
    live: list[str] = []
    pages: dict[str, int] = {}
    for i in range(random.randrange(5, 40)):
        kind = random.choices(
            ("map", "free", "protect", "write", "part", "fork"), (9, 2, 1, 2, 1, 1)
        )
        if kind == ["map"] or not live:
            label = f"m{i}"
            pages[label] = random.choice((1, 4, 4, 4))
            live.append(label)
            prot = random.choice((RW, RW, RW, "PROT_READ"))
            events.append(mmap(label, pages[label], prot))
            continue
        label = random.choice(live)
        size = f"{label}, {pages[label]}*PAGE_SIZE"
        if kind == ["free"]:
            events.append(f"munmap({size})")
            live.remove(label)
        elif kind == ["fork"]:
            events.append(f"c{i} = fork()")
            events.append({"pid": f"c{i}", "call": mmap(f"d{i}", 4)})
            events.append({"pid": f"c{i}", "call": f"munmap({size})"})
        elif kind == ["part"]:
            events.append(f"munmap({label} + {pages[label] - 1}*PAGE_SIZE, PAGE_SIZE)")
        else:
            events.append(
                f"mprotect({size}, PROT_READ)"
                if kind == ["protect"]
                else f"fault({label}, PAGE_SIZE, PROT_READ)"
            )
    return events


@pytest.mark.parametrize("seed", range(40))
def test_programs_with_many_small_mappings_stay_the_same(seed: int) -> None:
    for i in range(4):
        trace = numbered(Trace.of(allocator(Random(f"{seed}/{i}"))))
        check_all(trace, MODELS[i % 2], ksm=True if i == 3 else None)


# --- what each does -------------------------------------------------------------------------------


def vmas(events: Sequence[str], model: str, module: ModuleType | None = None) -> int:
    """How many VMAs there are in the end, after a rewriting or as it is."""
    start = Rewritten(Trace.of(events))
    kernel = get_kernel(model)
    program = start if module is None else rewrite(start, kernel, [module])
    return replay(program.trace, kernel, program.ksm).vmas


def applying(events: Sequence[str], model: str) -> set[str]:
    return shown(whatif(Trace.of(events), get_kernel(model)))


KSM_ARENAS = [KSM, *(mmap(label, 4) for label in "abcd")]


@pytest.mark.parametrize("module", [mergeable, arenas, reserve])
def test_what_ksm_by_default_keeps_apart_becomes_one(module: ModuleType) -> None:
    assert vmas(KSM_ARENAS, "pre-patch") == 4
    assert vmas(KSM_ARENAS, "pre-patch", module) == 1


def test_nothing_is_reserved_or_batched_where_mappings_merge_anyway() -> None:
    assert applying(KSM_ARENAS, "post-patch") == {"mergeable"}
    assert applying(KSM_ARENAS[1:], "pre-patch") == set()


def test_arenas_are_of_one_size_and_reserving_takes_any() -> None:
    sizes = [KSM, mmap("a", 4), mmap("b", 5), mmap("c", 6)]
    assert applying(sizes, "pre-patch") == {"mergeable", "reserve"}
    other = rewrite(Rewritten(Trace.of(sizes)), get_kernel("pre-patch"), [reserve])
    assert calls_of(other) == ["prctl", "mmap", "mprotect", "mprotect", "mprotect"]
    assert vmas(sizes, "pre-patch", reserve) == 1


def test_what_is_told_from_the_label_of_a_batched_mapping_stays_where_it_is() -> None:
    events = [*KSM_ARENAS, "munmap(c, PAGE_SIZE)", "mprotect(b + PAGE_SIZE, PAGE_SIZE, PROT_READ)"]
    trace = Trace.of(events)
    kernel = get_kernel("pre-patch")
    for module in (arenas, reserve):
        other = rewrite(Rewritten(trace), kernel, [module])
        assert memory(replay(other.trace, kernel).processes[0].layout) == memory(
            replay(trace, kernel).processes[0].layout
        )


@pytest.mark.parametrize(
    "between",
    [
        f"mmap(b - 4*PAGE_SIZE, 4*PAGE_SIZE, PROT_READ, {ANON}|MAP_FIXED, -1, 0)\n"
        "munmap(b - 4*PAGE_SIZE, 4*PAGE_SIZE)",
        "munmap(b - 4*PAGE_SIZE, 4*PAGE_SIZE)",
        "k = fork()",
        "mlockall(MCL_CURRENT)",
    ],
)
def test_what_was_touched_between_is_not_reserved_before(between: str) -> None:
    events = [KSM, mmap("a", 4), mmap("b", 4), *between.splitlines(), mmap("c", 4), mmap("d", 4)]
    other = rewrite(Rewritten(Trace.of(events)), get_kernel("pre-patch"), [arenas])
    assert calls_of(other).count("mmap") - between.count("mmap") == 2
    check_all(numbered(Trace.of(events)), "pre-patch")


STACKS = [
    line
    for label in "ab"
    for line in (
        mmap(label, 2048, "PROT_NONE", f"{ANON}|MAP_STACK"),
        f"mprotect({label} + PAGE_SIZE, 2047*PAGE_SIZE, {RW})",
    )
]


def test_guards_of_the_stacks_of_threads_are_installed() -> None:
    assert vmas(STACKS, "6.18") == 4
    assert vmas(STACKS, "6.18", guards) == 1
    other = rewrite(Rewritten(Trace.of(STACKS)), get_kernel("6.18"), [guards])
    assert calls_of(other) == ["mmap", "mprotect", "madvise"] * 2


def test_a_guard_at_both_ends_and_one_that_threads_undo() -> None:
    events = [
        mmap("a", 10, "PROT_NONE"),
        f"mprotect(a + PAGE_SIZE, 8*PAGE_SIZE, {RW})",
        "t = clone(CLONE_VM|CLONE_THREAD)",
    ]
    assert vmas(events, "6.18", guards) == 1
    trace = Trace.of([*events, {"pid": "t", "call": f"mprotect(a, 10*PAGE_SIZE, {RW})"}])
    other = rewrite(Rewritten(trace), get_kernel("6.18"), [guards])
    assert calls_of(other)[-3:] == ["madvise", "madvise", "mprotect"]
    assert "madvise(a + 9*PAGE_SIZE, 0x1000, MADV_GUARD_INSTALL)" in str(other.trace)


def test_a_reservation_that_is_committed_bit_by_bit_has_no_guards() -> None:
    events = [mmap("a", 4096, "PROT_NONE"), f"mprotect(a, 32*PAGE_SIZE, {RW})"]
    assert applying(events, "6.18") == set()
    small = [mmap("a", 200, "PROT_NONE"), f"mprotect(a, 100*PAGE_SIZE, {RW})"]
    assert applying(small, "6.18") == set()


LOCKS = [
    mmap("a", 9),
    "mlock(a, PAGE_SIZE)",
    "mlock2(a + 3*PAGE_SIZE, PAGE_SIZE, MLOCK_ONFAULT)",
    "munlock(a, PAGE_SIZE)",
    mmap("b", 9, flags=f"{ANON}|MAP_LOCKED"),
]


def test_locks_become_one() -> None:
    assert (vmas(LOCKS, "6.18"), vmas(LOCKS, "6.18", locking)) == (4, 1)
    other = rewrite(Rewritten(Trace.of(LOCKS)), get_kernel("6.18"), [locking])
    texts = str(other.trace)
    assert calls_of(other) == ["mmap", "mlockall", "mmap"]
    assert ("ONFAULT" in texts, "MAP_LOCKED" in texts) == (False, False)


def test_locks_on_fault_stay_on_fault_and_are_each_process_own() -> None:
    events: list[str | dict[str, str]] = [
        mmap("a", 9),
        "mlock2(a, PAGE_SIZE, MLOCK_ONFAULT)",
        "c = fork()",
        {"pid": "c", "call": "mlock(a, PAGE_SIZE)"},
    ]
    other = rewrite(Rewritten(Trace.of(events)), get_kernel("6.18"), [locking])
    now = [event for event in other.trace.items() if isinstance(event, Event)]
    assert [event.args[0] for event in now if event.name == "mlockall"] == [7, 3]


def test_what_is_uniform_or_would_exceed_the_limit_is_not_changed() -> None:
    assert applying(["mlockall(MCL_CURRENT|MCL_FUTURE)", mmap("a", 9)], "6.18") == set()
    trace = Trace.of(
        [mmap("a", 9), "mlock(a, PAGE_SIZE)"], process={"rlimits": {"memlock": 2 * 4096}}
    )
    assert shown(whatif(trace, get_kernel("6.18"))) == set()


@pytest.mark.parametrize("start", ["call", "inherited", "option"])
def test_ksm_by_default_becomes_one_madvise_for_each_stretch(start: str) -> None:
    events = [KSM, *KSM_ARENAS[1:]] if start == "call" else KSM_ARENAS[1:]
    events += ["munmap(b, PAGE_SIZE)"]
    trace = Trace.of(events, process={"ksm": True} if start == "inherited" else None)
    ksm = True if start == "option" else None
    kernel = get_kernel("pre-patch")
    other = rewrite(Rewritten(trace, ksm), kernel, [mergeable])
    assert calls_of(other) == ["mmap"] * 4 + ["munmap", "madvise", "madvise"]
    result = replay(other.trace, kernel, other.ksm)
    assert (result.vmas, result.mergeable) == (2, 2)
    assert shown(whatif(trace, kernel, ksm)) >= {"mergeable"}


def test_memory_that_a_program_advised_itself_is_not_changed() -> None:
    assert applying([mmap("a", 4), "madvise(a, PAGE_SIZE, MADV_MERGEABLE)"], "6.18") == set()


def test_a_process_that_exits_is_advised_before() -> None:
    trace = Trace.of([*KSM_ARENAS, "exit_group(0)"])
    other = rewrite(Rewritten(trace), get_kernel("pre-patch"), [mergeable])
    assert calls_of(other) == ["mmap"] * 4 + ["madvise", "exit_group"]
    threads: list[str | dict[str, str]] = [
        *KSM_ARENAS,
        "t = clone(CLONE_VM|CLONE_THREAD)",
        {"pid": "t", "call": "exit(0)"},
    ]
    other = rewrite(Rewritten(Trace.of(threads)), get_kernel("pre-patch"), [mergeable])
    assert calls_of(other)[-3:] == ["clone", "exit", "madvise"]


@pytest.mark.parametrize("name", ["java", "node"])
def test_recorded_programs_stay_the_same(name: str) -> None:
    trace = numbered(load_trace(ROOT / "traces" / "programs" / f"{name}.yaml"))
    found = check_all(trace, "6.12") | check_all(trace, "6.18")
    assert found >= {"mergeable", "guards", "noreserve", "arenas", "reserve"}
