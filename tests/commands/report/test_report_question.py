"""What a report counts: the same as the replays, in bounded memory, and where the limit is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from program import EXHIBITS, ROOT, exhibit

from vmatrace import abi
from vmatrace.commands.report import curve as curves
from vmatrace.commands.report import patterns, question
from vmatrace.commands.report.curve import Curve
from vmatrace.commands.report.question import Report
from vmatrace.event import Event
from vmatrace.kernels import get_kernel
from vmatrace.replayer.run import Replay, replay
from vmatrace.trace.file import Item, ProcessState, Sysctl, Trace, load_trace

PRE, POST = get_kernel("pre-patch"), get_kernel("post-patch")
PAGE = 4096
BASE = 0x10000000
_ANON = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED
_RW = abi.PROT_READ | abi.PROT_WRITE


def text_trace(text: str) -> Trace:
    return load_trace(("vmatrace: 1\n" + text).encode(), "x.yaml")


def of(text: str, ksm: bool | None = None) -> Report:
    return question.report(text_trace(text), (PRE, POST), ksm)


def endless(count: int, limit: int = 65530) -> Trace:
    """*count* pages, one by one, each touching the one before: a trace that no file holds."""

    def items() -> Iterator[Item]:
        for i in range(count):
            args = (BASE + PAGE * i, PAGE, _RW, _ANON, -1, 0)
            yield Event("mmap", args, "mmap", line=i + 1)

    return Trace(
        "x", "x", items, sysctl=Sysctl(max_map_count=limit), process=ProcessState(ksm=True)
    )


@pytest.mark.parametrize("name", EXHIBITS)
def test_the_counts_are_those_of_the_replays(name: str) -> None:
    trace = load_trace(ROOT / exhibit(name))
    free = question.unlimited(trace)
    found = question.report(trace, (PRE, POST))
    for side, kernel in enumerate((PRE, POST)):
        result = replay(free, kernel)
        counts = list(found.counts(side))
        assert max(c.peak for c in counts) == result.peak_vmas
        assert sum(c.merges for c in counts) == result.tally.total
        assert sum(c.blocked for c in counts) == result.tally.blocked_sides
        assert sum(c.only for c in counts) == result.tally.only_mergeable
        at_end = {p.pid: p.counts[side].vmas for p in found.processes}
        assert {p.pid: len(p.layout) for p in result.processes}.items() <= at_end.items()


def test_a_pattern_is_told_by_call_size_flags_and_backing() -> None:
    found = of(
        """\
process: {ksm: true}
files:
  3: {path: /lib/libc.so.6}
events:
  - a = mmap(0x10000000, 0x1000, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - mmap(a + 0x1000, 0x1000, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - mmap(a + 0x2000, 0x4000, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - mmap(a + 0x6000, 0x3000, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - mmap(a + 0x9000, 0x1000, PROT_READ, MAP_PRIVATE|MAP_FIXED, 3, 0)
  - munmap(a, 0x1000)
"""
    )
    seen = {(p.call, p.smallest, p.largest, p.backing): p for p in found.patterns}
    assert set(seen) == {
        ("mmap", 0x1000, 0x1000, "anonymous"),
        ("mmap", 0x3000, 0x4000, "anonymous"),
        ("mmap", 0x1000, 0x1000, "file"),
        ("munmap", 0x1000, 0x1000, ""),
    }
    few = seen["mmap", 0x3000, 0x4000, "anonymous"]
    assert (few.calls, few.added, few.cost, few.blocked) == (2, [2, 0], 2, [2, 0])
    assert [p.cost for p in found.patterns] == [2, 1, 0, -1]


def test_a_size_may_be_an_expression_over_labels() -> None:
    found = of(
        """\
events:
  - a = mmap(0x10000000, 0x4000, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - munmap(a, a + 0x2000 - a)
  - mprotect(a + 0x2000, a + 0x1000 - a, PROT_NONE)
"""
    )
    assert {(p.call, p.largest) for p in found.patterns} == {
        ("mmap", 0x4000), ("munmap", 0x2000), ("mprotect", 0x1000),
    }  # fmt: skip


def test_a_caller_parts_what_is_alike_otherwise() -> None:
    def items() -> Iterator[Item]:
        for i, caller in enumerate(("malloc", "malloc", "dlopen")):
            event = Event("mmap", (BASE + PAGE * i, PAGE, _RW, _ANON, -1, 0), "mmap", line=i)
            event.caller = caller
            yield event

    found = question.report(Trace("x", "x", items), (PRE, POST))
    assert {(p.caller, p.calls) for p in found.patterns} == {("malloc", 2), ("dlopen", 1)}


def test_past_the_most_patterns_calls_count_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "MAX_PATTERNS", 2)
    found = of(
        """\
events:
  - mmap(0x10000000, 0x1000, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - mmap(0x20000000, 0x9000, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - mmap(0x30000000, 0x100000, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - mmap(0x40000000, 0x1000000, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
"""
    )
    rest = [p for p in found.patterns if p.merged_kinds]
    assert [(p.call, p.calls, p.added) for p in rest] == [("mmap", 2, [2, 2])]
    assert sum(p.calls for p in found.patterns) == 4


def test_the_limit_is_hit_at_the_first_call_that_it_refuses() -> None:
    """do_mmap() refuses a process that has more than max_map_count, so the 102nd call here."""
    found = question.report(endless(300, limit=100), (PRE, POST))
    (process,) = found.processes
    before, after = process.counts
    assert (before.peak, after.peak) == (300, 1)
    assert before.limit_at is not None
    assert (before.limit_at.number, before.limit_at.line) == (102, 102)
    assert after.limit_at is None


def test_just_below_the_limit_it_is_not_hit() -> None:
    (process,) = question.report(endless(101, limit=100), (PRE, POST)).processes
    assert process.counts[0].peak == 101
    assert process.counts[0].limit_at is None


def test_a_fork_is_counted_from_its_birth_and_an_exit_ends_it() -> None:
    found = of(
        """\
events:
  - mmap(0x10000000, 0x4000, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - child = fork()
  - {pid: child, call: "munmap(0x10001000, 0x1000)"}
  - {pid: child, call: "exit_group(0)"}
  - munmap(0x10000000, 0x4000)
"""
    )
    main, child = found.processes
    assert (main.pid, main.exited, main.counts[0].vmas, main.events) == ("main", False, 0, 3)
    assert (child.pid, child.exited, child.counts[0].vmas, child.counts[0].peak) == (
        "child", True, 2, 2,
    )  # fmt: skip
    assert [(p.at, p.last[0]) for p in child.curve] == [(2, 1), (3, 2), (4, 2)]


def test_a_vfork_gets_memory_of_its_own_with_its_exec() -> None:
    found = of(
        """\
events:
  - mmap(0x10000000, 0x4000, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - child = vfork()
  - {pid: child, call: "munmap(0x10001000, 0x1000)"}
  - {pid: child, call: 'execve("/bin/true", [], 0)'}
  - {pid: child, call: "mmap(0x10000000, 0x1000, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)"}
"""
    )
    main, child = found.processes
    assert (main.counts[0].vmas, main.program) == (2, "")
    assert (child.counts[0].vmas, child.counts[0].peak, child.program) == (1, 1, "/bin/true")


def test_of_many_that_exited_those_with_the_highest_peaks_are_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(question, "MAX_EXITED", 2)
    events = [
        line
        for i in range(1, 6)
        for line in (
            f"  - c{i} = fork()",
            *(
                f'  - {{pid: c{i}, call: "mmap({0x10000000 * j:#x}, 4096, PROT_READ, '
                'MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)"}'
                for j in range(1, i + 1)
            ),
            f'  - {{pid: c{i}, call: "exit_group(0)"}}',
        )
    ]
    found = of("events:\n" + "\n".join(events) + "\n")
    assert [p.pid for p in found.processes] == ["main", "c4", "c5"]
    assert (found.others.processes, found.others.events) == (3, 9)
    assert found.others.counts[0].peak == 3


def test_it_is_known_whether_ksm_by_default_was_in_force() -> None:
    events = "events:\n  - mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)\n"
    assert not of(events).ksm
    assert of(events, ksm=True).ksm
    assert of("process: {ksm: true}\n" + events).ksm
    assert of(events + "  - prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0)\n").ksm
    assert not of("process: {ksm: true}\n" + events, ksm=False).ksm


def test_what_if_ksm_were_on_covers_what_an_exec_mapped() -> None:
    """The layout after an exec was seen without KSM by default; with it, it would have mg."""
    found = of(
        """\
events:
  - call: 'execve("/bin/true", [], 0)'
    maps: |
      10000000-10002000 rw-p 00000000 00:00 0
      Size:                  8 kB
      VmFlags: rd wr mr mw me ac
  - mmap(0x10002000, 0x1000, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
""",
        ksm=True,
    )
    (process,) = found.processes
    assert [count.vmas for count in process.counts] == [2, 1]
    assert [count.only for count in process.counts] == [1, 0]


# --- the curve -----------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 99), st.integers(0, 99)), min_size=1))
def test_a_curve_keeps_every_peak_and_dip(moves: list[tuple[int, int, int]]) -> None:
    most, curves.MAX_POINTS = curves.MAX_POINTS, 8  # type: ignore[misc]
    try:
        curve = Curve()
        at = 0
        for step, a, b in moves:
            at += step
            curve.add(at, a, b)
    finally:
        curves.MAX_POINTS = most  # type: ignore[misc]
    points = list(curve)
    assert len(points) <= 8
    for side in (0, 1):
        values = [move[side + 1] for move in moves]
        assert max(p.high[side] for p in points) == max(values)
        assert min(p.low[side] for p in points) == min(values)
        assert points[-1].last[side] == values[-1]
    assert [p.at for p in points] == sorted({p.at for p in points})
    assert points[-1].at <= at < points[-1].at + curve.width


def test_memory_does_not_grow_with_the_events() -> None:
    found = question.report(endless(5 * curves.MAX_POINTS), (POST, POST))
    (process,) = found.processes
    assert len(process.curve) <= curves.MAX_POINTS
    assert process.curve.width == 8
    assert len(found.patterns) == 1


def test_the_replays_of_a_report_are_those_it_names() -> None:
    found = question.report(endless(3), (PRE, POST))
    assert [r.kernel for r in found.results] == ["pre-patch", "post-patch"]
    assert Replay(endless(3), PRE).run().vmas == found.results[0].vmas == 3
