"""`audit --every`: a process that grows is sampled, shown and summed up, and not harmed."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from program import ROOT, RunProgram

from vmatrace.commands.audit import snapshot
from vmatrace.commands.audit.snapshot import ForbiddenError, GoneError, TornError
from vmatrace.diagnostic import Diagnostic, TraceError

# Ten guard pages for each line that it reads.
_CHILD = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
P = os.sysconf("SC_PAGE_SIZE")
base = libc.mmap(None, 2000 * P, 3, 0x4022, -1, 0)
print("ready", flush=True)
for i, line in enumerate(sys.stdin):
    for j in range(10 * i, 10 * i + 10):
        assert libc.mprotect(base + (2 * j + 1) * P, P, 0) == 0
    print(i, flush=True)
"""


class Child:
    """A process that splits its map on demand."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _CHILD],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._said()

    def _said(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline()

    def grow(self) -> None:
        """Twenty VMAs more."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self._said()

    @property
    def vmas(self) -> int:
        """How many it has, less [vsyscall]."""
        lines = Path(f"/proc/{self.process.pid}/maps").read_text().splitlines()
        return sum(not line.endswith("[vsyscall]") for line in lines)


@pytest.fixture
def child() -> Iterator[Child]:
    started = Child()
    try:
        yield started
    finally:
        started.process.communicate()


def test_samples_go_on_in_their_file_and_are_what_the_kernel_shows(
    child: Child, tmp_path: Path, run: RunProgram
) -> None:
    file, seen = tmp_path / "x.sqlite", []
    for _ in range(6):
        child.grow()
        seen.append(child.vmas)
        done = run(
            "audit", str(child.process.pid), "--every", "10ms", "--count", "1", "-o", str(file)
        )
        assert (done.status, done.err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(run("audit", str(file), "--format", "csv").out)))
    assert [int(row["vmas"]) for row in rows] == seen
    guards = [int(row["guard-pages"]) for row in rows]
    assert [after - before for before, after in pairwise(guards)] == [20] * 5
    told = json.loads(run("audit", str(file), "--format", "json").out)
    assert [sample["vmas"] for sample in told["samples"]] == seen
    ratchet = {r["pattern"]: r for r in told["ratchets"]}["guard-pages"]
    assert (ratchet["came"], ratchet["healed"], ratchet["unmapped"]) == (100, 0, 0)
    assert told["forecast"]["rate"] > 0
    assert told["last"]["vmas"] == seen[-1]
    out = run("audit", str(file), columns=80).out
    assert "a ratchet: guard pages between small pieces, 100 cuts came and none went" in out
    assert " VMAs/" in out
    assert run("audit", str(file), "--fail-below", "100%").status == 1


def test_a_pipe_gets_a_line_for_each_sample_and_a_summary(child: Child, run: RunProgram) -> None:
    done = run("audit", str(child.process.pid), "--every", "20ms", "--count", "3")
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    line = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ  \d+ VMAs  \d+\.\d%  [+]0  no forecast yet")
    assert [bool(line.fullmatch(text)) for text in lines[:4]] == [True, True, True, False]
    assert lines[3].startswith(f"{child.process.pid} python")
    assert "3 samples in" in lines[3]
    assert "what fills the map" in done.out


def test_json_on_standard_output_is_nothing_but_json(child: Child, run: RunProgram) -> None:
    done = run(
        "audit", str(child.process.pid), "--every", "10ms", "--count", "2", "--format", "json"
    )
    told = json.loads(done.out)
    assert told["format"] == "vmatrace-watch/1"
    assert len(told["samples"]) == 2
    assert told["forecast"] is None


def test_a_process_that_exits_ends_it_with_a_summary(run: RunProgram) -> None:
    with subprocess.Popen(["sleep", "0.3"]) as process:
        done = run("audit", str(process.pid), "--every", "50ms")
    assert (done.status, done.err) == (0, "")
    assert f"{process.pid} exited" in done.out
    assert "samples in" in done.out


@pytest.mark.parametrize(
    ("error", "taken", "said"),
    [
        (ForbiddenError, 2, "may not be read any more"),
        (GoneError, 2, "exited"),
        (TornError, 4, "samples in"),  # which is passed over
    ],
)
def test_what_happens_to_a_process_meanwhile_ends_in_a_summary(
    child: Child, run: RunProgram, monkeypatch: pytest.MonkeyPatch,
    error: type[TraceError], taken: int, said: str,
) -> None:  # fmt: skip
    read, times = snapshot._opened, [0]

    def failing(source: snapshot.SnapshotLike) -> snapshot.Snapshot:
        times[0] += 1
        if 3 <= times[0] < 3 + snapshot._TRIES:
            raise error([Diagnostic(str(source), 1, 1, "it is so")])
        return read(source)

    monkeypatch.setattr(snapshot, "_opened", failing)
    done = run("audit", str(child.process.pid), "--every", "10ms", "--count", "5")
    assert (done.status, done.err) == (0, "")
    assert said in done.out
    assert f"{taken} samples in" in done.out


def test_ctrl_c_ends_it_with_a_summary_and_a_whole_file(
    child: Child, tmp_path: Path, run: RunProgram
) -> None:
    file = tmp_path / "x.sqlite"
    command = [sys.executable, "-m", "vmatrace", "audit", str(child.process.pid), "--every", "20ms"]
    with subprocess.Popen(
        [*command, "-o", str(file)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        first = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, err) == (130, "")
    assert all(" VMAs " in line for line in first)
    assert " samples in " in out
    taken = json.loads(run("audit", str(file), "--format", "json").out)["samples"]
    assert len(taken) >= 3
    assert child.process.poll() is None


# Samples a process three times, with Ctrl-C at the nth line of what waits, for each n.
_PRESSED = """
import signal, sys, threading
from vmatrace.commands.audit.watch import live
from vmatrace.commands.audit.watch.samples import Samples

def press(frame, what, _):
    global left
    if what == "line" and frame.f_code.co_filename in (live.__file__, threading.__file__):
        left -= 1
        if not left:
            signal.raise_signal(signal.SIGINT)
    return press

signal.signal(signal.SIGINT, signal.default_int_handler)
about, lines, ended = live.about(int(sys.argv[1])), 0, True
while ended:
    lines += 1
    left, samples = lines, Samples(':memory:', about)
    try:
        sys.settrace(press)
        ended = live.watch(samples, 0.001, 3, None, True)
    except KeyboardInterrupt:  # before or after it looks at the signal itself
        pass
    finally:
        sys.settrace(None)
    if left > 0:
        break  # it was never pressed
    ended = True
print(lines, len(samples.taken))
"""


def test_ctrl_c_ends_it_wherever_it_is(child: Child) -> None:
    command = [sys.executable, "-c", _PRESSED, str(child.process.pid)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    lines, taken = map(int, done.stdout.split())
    assert lines > 30
    assert taken == 3


def test_the_file_is_good_while_it_is_written_and_when_the_writer_is_killed(
    child: Child, tmp_path: Path, run: RunProgram
) -> None:
    file = tmp_path / "x.sqlite"
    command = [sys.executable, "-m", "vmatrace", "audit", str(child.process.pid), "--every", "10ms"]
    with subprocess.Popen(
        [*command, "-o", str(file)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
            child.grow()
            done = run("audit", str(file), "--format", "json")
            assert (done.status, done.err) == (0, "")
        process.kill()
    told = json.loads(run("audit", str(file), "--format", "json").out)
    assert len(told["samples"]) >= 3
    assert told["last"]["vmas"] == told["samples"][-1]["vmas"]
    done = run(*command[3:], "--count", "1", "-o", str(file))
    assert done.status == 0
    after = json.loads(run("audit", str(file), "--format", "json").out)["samples"]
    assert len(after) == len(told["samples"]) + 1
    assert after[-1]["vmas"] == child.vmas


def test_who_reads_no_further_ends_it(child: Child) -> None:
    command = f"{sys.executable} -m vmatrace audit {child.process.pid} --every 10ms | head -2"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--every", "0", "1"], "is no interval (expected such as 10s, 500ms, 2m or 1h"),
        (["--every", "fast", "1"], "is no interval"),
        (["--every", "1s", __file__], "--every samples a process, not a file"),
        (["--every", "1s", "4194305"], "there is no such process"),
        (["--every", "1s", "--format", "prometheus", "1"], "samples have no --format prometheus"),
        (["--count", "3", "1"], "--count goes with --every"),
        (["-o", "x", "--compare", "1", "2"], "--compare does not go with --output"),
    ],
)
def test_what_cannot_be_sampled_is_refused(
    arguments: list[str], said: str, run: RunProgram
) -> None:
    done = run("audit", *arguments)
    assert (done.status, done.out) == (2, "")
    assert said in " ".join(done.err.split())


def test_several_processes_are_not_sampled(child: Child, run: RunProgram) -> None:
    done = run("audit", str(child.process.pid), str(os.getpid()), "--every", "1s")
    assert (done.status, done.out) == (2, "")
    assert "--every samples one process, not 2" in " ".join(done.err.split())


def test_samples_stand_alone(child: Child, tmp_path: Path, run: RunProgram) -> None:
    file, pid = str(tmp_path / "x"), str(child.process.pid)
    run("audit", pid, "--every", "10ms", "--count", "1", "-o", file)
    done = run("audit", file, pid)
    assert (done.status, done.out) == (2, "")
    assert "do not go with other sources" in " ".join(done.err.split())
