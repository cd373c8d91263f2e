"""Recordings of real programs: what the kernel showed, and what the series saved or would have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from program import ROOT

from vmatrace.kernels import get_kernel
from vmatrace.replayer.run import replay
from vmatrace.trace.file import load_trace

FOLDER = ROOT / "traces" / "programs"
#: VMAs of the first process at its end, and at the peak of all: before the series, and with it.
TABLE = {
    "gcc": ((28, 81), (27, 65)),
    "git": ((61, 63), (55, 56)),
    "java": ((167, 167), (158, 158)),
    "node": ((95, 168), (74, 142)),
    "perl": ((151, 153), (61, 63)),
    "python3": ((120, 123), (97, 98)),
    "sort": ((36, 37), (36, 37)),
}  # fmt: skip
PROGRAMS = sorted(FOLDER.glob("*.yaml"))


def vmas(path: Path, kernel: str) -> tuple[int, int]:
    result = replay(load_trace(path), get_kernel(kernel))
    assert result.diverged == 0
    (main,) = (process for process in result.processes if process.pid == "main")
    return len(main.layout), result.peak_vmas


def test_every_recording_is_in_the_table_and_that_of_the_readme() -> None:
    assert [path.stem for path in PROGRAMS] == sorted(TABLE)
    readme = (ROOT / "README.md").read_text(encoding="utf-8").replace("*", "")
    for name, counts in TABLE.items():
        cells = " | ".join(f"{end}/{peak}" for end, peak in counts)
        row = next(line for line in readme.splitlines() if f"| {cells} |" in line)
        assert re.search(rf"`{name}\b|/{name}\b", row), row


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_the_replay_is_what_the_kernel_showed(path: Path) -> None:
    trace = load_trace(path)
    assert trace.kernel is not None
    result = replay(trace, get_kernel(trace.kernel))
    assert result.failures == []
    assert result.diverged == 0
    assert result.passed >= 1  # the last layout of each process, and that before each exec


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_what_the_series_saves(path: Path) -> None:
    assert (vmas(path, "pre-patch"), vmas(path, "post-patch")) == TABLE[path.stem]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_recording_tells_how_to_repeat_it_and_nothing_of_who_made_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# Recorded by\n#     vmatrace record --ksm -- ")
    assert "/home/" not in text
    assert "/root/" not in text
    assert len(text) < 300_000
