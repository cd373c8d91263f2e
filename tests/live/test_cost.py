"""What a trace may take of this machine: a call that takes too much is ended in its middle."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from program import RunProgram

from vmatrace.event import Event
from vmatrace.oracle import RunningKernel, Sandbox
from vmatrace.trace.file import load_trace
from vmatrace.verify import cost, findings
from vmatrace.verify.mismatch import MismatchGoal

TIB = 1 << 40
ANON = "MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE"
#: Reading finds the page of zeros everywhere: hours of work, and hardly any memory.
LONG = f"""vmatrace: 1
events:
  - brk(0)
  - a = mmap(NULL, {16 * TIB}, PROT_READ, {ANON}, -1, 0)
  - mlock(a, {16 * TIB})
  - munmap(a, 4096)
"""
#: What MCL_CURRENT finds, no look at the trace can say.
LARGE = f"""vmatrace: 1
events:
  - a = mmap(NULL, 0x40000000, PROT_READ|PROT_WRITE, {ANON}, -1, 0)
  - mlockall(MCL_CURRENT)
  - munmap(a, 4096)
"""


locking = pytest.mark.skipif(os.geteuid() != 0, reason="to lock much memory is for root")


@pytest.fixture(autouse=True)
def needs_the_kernel(oracle: None) -> None:
    """Skips where the running kernel cannot be asked."""


def leftovers() -> list[str]:
    """The children that this process still has."""
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as children:
        return children.read().split()


@locking
def test_a_call_that_takes_long_is_ended_in_its_middle(
    run: RunProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "long.yaml"
    trace.write_text(LONG, encoding="utf-8")
    monkeypatch.setenv("VMATRACE_MAX_TOUCHED", str(1 << 60))
    monkeypatch.setenv("VMATRACE_MAX_SECONDS", "0.3")
    before = leftovers()
    done = run("verify", str(trace), "traces/brk-refused.yaml")
    assert (
        "after 2 events: it takes longer than 0.3 seconds (VMATRACE_MAX_SECONDS=S raises that)"
        in " ".join(done.out.split())
    )
    assert "exact" in done.out  # the next one is verified
    assert done.status == 0
    assert leftovers() == before


@locking
def test_memory_that_no_look_at_the_trace_can_foresee_is_capped(
    run: RunProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "large.yaml"
    trace.write_text(LARGE, encoding="utf-8")
    monkeypatch.setenv("VMATRACE_MAX_TOUCHED", str(64 << 20))
    done = run("verify", str(trace))
    assert (
        "after 1 event: it fills more than 64 MiB of memory (VMATRACE_MAX_TOUCHED=BYTES raises "
        "that)" in " ".join(done.out.split())
    )
    assert done.status == 0  # what was run was exact


def test_what_stays_below_is_left_alone(run: RunProgram, tmp_path: Path) -> None:
    trace = tmp_path / "fits.yaml"
    trace.write_text(LARGE.replace("0x40000000", "0x1000000"), encoding="utf-8")
    assert run("verify", str(trace)).status == 0


def test_a_recording_ends_where_the_guard_ends_it(
    run: RunProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace, out = tmp_path / "long.yaml", tmp_path / "out.jsonl"
    trace.write_text(LONG, encoding="utf-8")
    monkeypatch.setenv("VMATRACE_MAX_TOUCHED", str(1 << 60))
    monkeypatch.setenv("VMATRACE_MAX_SECONDS", "0.3")
    run("verify", str(trace), "--record", str(out))
    monkeypatch.undo()
    assert run("verify", "--replay-recording", str(out)).status == 0


def test_a_program_of_a_search_is_guarded_and_the_next_one_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trace = load_trace(LONG.encode())
    monkeypatch.setenv("VMATRACE_MAX_TOUCHED", str(1 << 60))
    monkeypatch.setenv("VMATRACE_MAX_SECONDS", "0.3")
    machine = RunningKernel()
    model = findings.look(machine).kernel
    events = [item for item in trace.items() if isinstance(item, Event)]
    with MismatchGoal(model, machine, trace) as goal:
        assert goal.look(trace, events) is None
        assert goal.look(trace, events[:2]) is None
        assert goal.sandbox().kernel_pids()


def test_a_guard_says_nothing_where_nothing_was_wrong() -> None:
    with Sandbox() as sandbox, cost.Guard(sandbox) as guard:
        sandbox.call("brk", (0,))
        assert not guard.late()
    assert guard.reason is None
