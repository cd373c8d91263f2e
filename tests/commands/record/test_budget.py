"""Budgets that a recorded program is held against."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmatrace.commands.record.budget import budget, held_against
from vmatrace.kernels import get_kernel
from vmatrace.replayer.run import replay
from vmatrace.trace.file import TraceError, load_trace

POST = get_kernel("post-patch")
CALL = "mmap({}, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)"
RECORDED = f"""\
vmatrace: 1
process: {{ksm: true}}
events:
  - {CALL.format("0x10000")}
  - {CALL.format("0x20000")}
  - munmap(0x20000, 4096)
  - exit_group(0)
"""


def stated(tmp_path: Path, *events: str) -> str:
    path = tmp_path / "budget.yaml"
    path.write_text("vmatrace: 1\nevents:\n" + "".join(f"  - {event}\n" for event in events))
    return str(path)


def test_the_counts_of_a_program_are_held_against_a_budget(tmp_path: Path) -> None:
    result = replay(load_trace(RECORDED.encode()), POST)
    path = stated(
        tmp_path,
        "expect: {vmas: 1, peak_vmas: '<= 1', mergeable: '> 1'}",
        "expect: {on: pre-patch, vmas: 9}",
        "expect: {blocked_only_by_mergeable: 0, merges: 0}",
    )
    found = held_against(path, budget(path, POST), result)
    assert found.counts == 5
    assert [(f.line, f.what, f.expected, f.actual) for f in found.failures] == [
        (3, "peak_vmas", "<= 1", 2),
        (3, "mergeable", "> 1", 1),
    ]


def test_only_what_stands_behind_the_last_call_is_a_budget(tmp_path: Path) -> None:
    path = stated(
        tmp_path, "expect: {vmas: 0}", CALL.format("0x10000"), "expect: {vmas: 1}", "exit_group(0)",
    )  # fmt: skip
    assert [expected.line for expected in budget(path, POST)] == [5]


@pytest.mark.parametrize(
    "event", [CALL.format("0x10000"), "expect: {on: pre-patch, vmas: 1}", "expect: {maps: []}"]
)
def test_a_trace_without_a_budget_is_an_error(tmp_path: Path, event: str) -> None:
    with pytest.raises(TraceError, match="holds no budget for post-patch"):
        budget(stated(tmp_path, event), POST)
