"""Recordings that are none, or damaged: an error with its place, never a traceback."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from program import RunProgram

from vmatrace.kernels import get_kernel
from vmatrace.trace.file import TraceError
from vmatrace.verify.recording import FORMAT, Recording, RecordingError
from vmatrace.verify.verdict import replay

HEADER = {"format": FORMAT, "model": {"row": "6.18", "with": [], "without": []}}
LINE = {
    "name": "one",
    "start": {
        "layout": [[0x400000, 0x401000, "rd ex"]], "anonymous": [], "brk": 0x500000,
        "mmap_base": 0x7FFFF7FFF000, "sysctl": [65530, 0, 4096, 0],
    },
    "trace": "vmatrace: 1\nevents:\n  - mmap(0x10000, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS"
    "|MAP_FIXED, -1, 0)\n  - child = fork()\n  - munmap(0x10000, 4096)\n",
    "steps": [
        [0x10000, [0, 0, [[0x10000, 0x11000, "rd mr mw me ac"]]]], [1, [], []], [0, [0, 1, []]]
    ],
}  # fmt: skip


def play(path: Path) -> None:
    recording = Recording(str(path))
    kernel = recording.kernel()
    for trace, played in recording.traces():
        replay(trace, kernel, played)


def damaged(value: Any, wrong: object) -> list[Any]:
    """*value* as often as it has parts, each time with another part that is *wrong* or missing."""
    found: list[Any] = []
    if isinstance(value, dict):
        for key, item in value.items():
            found.append({k: v for k, v in value.items() if k != key})
            found += [{**value, key: part} for part in [wrong, *damaged(item, wrong)]]
    elif isinstance(value, list):
        for i, item in enumerate(value):
            found.append(value[:i] + value[i + 1 :])
            for part in [wrong, *damaged(item, wrong)]:
                found.append([*value[:i], part, *value[i + 1 :]])
    return found


@pytest.mark.parametrize("wrong", [None, "x", -1, 1 << 70, True, 0.5, [[]], {"a": 1}])
def test_a_damaged_recording_is_an_error_or_is_read(tmp_path: Path, wrong: object) -> None:
    path = tmp_path / "r.jsonl"
    cases = [(header, LINE) for header in damaged(HEADER, wrong)]
    cases += [(HEADER, line) for line in damaged(LINE, wrong)]
    for header, line in cases:
        path.write_text(f"{json.dumps(header)}\n{json.dumps(line)}\n")
        with contextlib.suppress(RecordingError, TraceError):
            play(path)


def test_the_good_one_is_good(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(f"{json.dumps(HEADER)}\n{json.dumps(LINE)}\n")
    play(path)
    assert Recording(str(path)).kernel() == get_kernel("6.18")


@pytest.mark.parametrize(
    ("header", "line", "message"),
    [
        ({"format": FORMAT}, LINE, "r.jsonl:1:1: error: bad header: no model"),
        (HEADER | {"model": {"row": "9.9x", "with": [], "without": []}}, LINE, "unknown kernel"),
        (HEADER, LINE | {"start": 1}, "r.jsonl:2:1: error: bad line: start is no object"),
        (HEADER, {**LINE, "steps": [["x"]]}, "step 0 is not [result, change,"),
        (HEADER, {k: v for k, v in LINE.items() if k != "start"}, "the first trace has no start"),
        (HEADER, {**LINE, "trace": 3}, "trace is no text"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    run: RunProgram, tmp_path: Path, header: object, line: object, message: str
) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(f"{json.dumps(header)}\n{json.dumps(line)}\n")
    done = run("verify", "--replay-recording", str(path))
    assert done.status == 2
    assert message in done.err


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5000, "\0" * 5000, "{" * 5000, "nope"])
def test_what_is_no_recording_is_an_error(run: RunProgram, tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(text)
    done = run("verify", "--replay-recording", str(path))
    assert (done.status, "error: no recording" in done.err) == (2, True)


def test_an_endless_line_is_not_read(run: RunProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMATRACE_MAX_INPUT", "100000")
    done = run("verify", "--replay-recording", "/dev/zero")
    assert done.status == 2
    assert "VMATRACE_MAX_INPUT=BYTES raises it" in done.err


def verified(trace: str) -> str | None:
    """Why the running kernel is not given this trace."""
    from vmatrace.trace.file import load_trace
    from vmatrace.verify import cost

    return cost.refusal(load_trace(trace.encode()))


HEAD = "vmatrace: 1\nevents:\n"
HUGE = "mmap({}, 0x80000000, 3, MAP_PRIVATE|MAP_ANONYMOUS|{}, -1, 0)"


def test_a_trace_that_would_harm_the_machine_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    said = verified(f"{HEAD}  - {HUGE.format(0x10000000, 'MAP_POPULATE')}\n")
    assert said == (
        "up to line 3 it fills more than 1024 MiB of memory "
        "(VMATRACE_MAX_TOUCHED=BYTES raises that)"
    )
    assert verified(f"{HEAD}  - {HUGE.format(0x10000000, 'MAP_NORESERVE')}\n") is None
    assert verified(f"{HEAD}  - fault(0x10000000, 0x80000000, PROT_WRITE)\n") is not None
    monkeypatch.setenv("VMATRACE_MAX_TOUCHED", str(1 << 32))
    assert verified(f"{HEAD}  - {HUGE.format(0x10000000, 'MAP_POPULATE')}\n") is None
    assert verified(f"{HEAD}  - mlock2(0x10000000, 0x200000000, 0)\n") is not None
    assert verified(f"{HEAD}  - mlock2(0x10000000, 0x200000000, MLOCK_ONFAULT)\n") is None
    mapped = f"  - {HUGE.format(0x10000000, 'MAP_NORESERVE')}\n"
    for how, is_run in (("MCL_FUTURE", False), ("MCL_CURRENT|MCL_FUTURE", False),
                        ("MCL_CURRENT", True), ("MCL_FUTURE|MCL_ONFAULT", True)):  # fmt: skip
        many = f"{HEAD}  - mlockall({how})\n" + 3 * mapped
        assert (verified(many) is None) == is_run, how
    grown = f"{HEAD}  - mlockall(MCL_FUTURE)\n  - mremap(0x1000, 0x1000, 0x180000000, 0)\n"
    assert verified(grown) is not None
    forks = "".join(f"  - c{i} = fork()\n" for i in range(600))
    assert "more than 512 processes" in str(verified(HEAD + forks))
