"""What a report adds up: nothing is lost when a process exits, and costs and gains balance."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from program import RunProgram

from vmatrace.commands.report.question import MAX_EXITED
from vmatrace.kernels import get_kernel
from vmatrace.replayer.run import replay
from vmatrace.trace.file import load_trace

MAP = "mmap({:#x}, 0x1000, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)".format


def written(tmp_path: Path, children: int, after: str = "") -> Path:
    """A process that maps three pages, and children that each map some of their own and exit."""
    lines = [f"  - {MAP(0x10000000 + i * 4096)}" for i in range(3)]
    for child in range(children):
        lines.append(f"  - kid{child} = fork()")
        calls = [MAP(0x20000000 + i * 4096) for i in range(2 + child % 3)]
        calls += ["mprotect(0x20000000, 0x1000, PROT_READ)", "exit(0)"]
        lines += [f'  - {{pid: kid{child}, call: "{call}"}}' for call in calls]
    head = "vmatrace: 1\nname: t\nprocess: {ksm: true}\nevents:\n"
    path = tmp_path / "t.yaml"
    path.write_text(head + "\n".join(lines) + "\n" + after, encoding="utf-8")
    return path


@pytest.mark.parametrize("children", [0, 1, MAX_EXITED, MAX_EXITED + 7])
def test_what_processes_and_the_others_have_is_what_the_replay_has(
    run: RunProgram, tmp_path: Path, children: int
) -> None:
    path = written(tmp_path, children)
    found = json.loads(run("report", str(path), "--format", "json").out)
    assert found["others"]["processes"] == max(0, children - MAX_EXITED)
    for side, model in (("from", "pre-patch"), ("to", "post-patch")):
        tally = replay(load_trace(path), get_kernel(model)).tally
        counts = [process[side] for process in found["processes"]] + [found["others"][side]]
        assert sum(count["merges"] for count in counts) == tally.total
        assert sum(count["blocked_sides"] for count in counts) == tally.blocked_sides
        assert sum(count["blocked_only_by_mergeable"] for count in counts) == tally.only_mergeable
    assert sum(p["events"] for p in found["processes"]) + found["others"]["events"] == len(
        list(load_trace(path).items())
    )


@pytest.mark.parametrize(("pages", "said"), [(1, ["1; 1"]), (2, ["2; 0"]), (3, ["2; 0"]), (0, [])])
def test_what_calls_took_back_is_said_with_what_is_left(
    run: RunProgram, tmp_path: Path, pages: int, said: list[str]
) -> None:
    """Of three VMAs that are one after the series, the upper *pages* go: 2 more, then less."""
    unmap = f"  - munmap({0x10003000 - pages * 0x1000:#x}, {pages * 0x1000:#x})\n"
    done = run("report", str(written(tmp_path, 0, unmap if pages else "")))
    assert re.findall(r"Other calls took back (\d+; -?\d+) in all\.", done.out) == said
