"""The command: usage, exit statuses, and nothing loaded that is not needed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from program import RunProgram, exhibit

from vmatrace.kernels import KERNELS, Kernel
from vmatrace.oracle import Machine, Unavailable
from vmatrace.trace.file import Trace
from vmatrace.verify import findings, verdict
from vmatrace.verify.findings import Findings
from vmatrace.verify.verdict import Verdict
from vmatrace.verify.witness import Mismatch

ONE, TWO = exhibit("ksm-adjacent-anon"), exhibit("ksm-fill-the-hole")


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    """A kernel that does with each trace (by stem) what it is told: exact, mismatch, skipped."""
    row = KERNELS["6.18"]
    monkeypatch.setattr(findings, "look", lambda machine: Findings({}, row, row))

    def told(words: dict[str, str]) -> None:
        def verify(trace: Trace, kernel: Kernel, machine: Machine) -> Verdict:
            word = words.get(trace.name, "exact")
            event = next(iter(trace.items()))
            differs = Mismatch(0, event, "main", "result", 0, -12, [], [])  # type: ignore[arg-type]
            return Verdict(
                trace.name, trace.path, kernel.name, 3 if word == "exact" else 0,
                differs if word == "mismatch" else None, "no reason" if word == "skipped" else None,
            )  # fmt: skip

        monkeypatch.setattr(verdict, "verify", verify)

    return told


Told = Callable[[dict[str, str]], None]


def test_exact_is_0(run: RunProgram, kernel: Told) -> None:
    kernel({})
    done = run("verify", ONE, TWO)
    assert done.status == 0
    assert "2 exact, 0 mismatches, 0 skipped: 6 events" in done.out


def test_a_mismatch_is_1(run: RunProgram, kernel: Told) -> None:
    kernel({"ksm-adjacent-anon": "mismatch"})
    done = run("verify", ONE, TWO)
    assert done.status == 1
    assert "the model has 0, the kernel -1 ENOMEM" in done.out


def test_skipped_is_0_if_others_are_exact(run: RunProgram, kernel: Told) -> None:
    kernel({"ksm-adjacent-anon": "skipped"})
    assert run("verify", ONE, TWO).status == 0


def test_nothing_verified_is_2(run: RunProgram, kernel: Told) -> None:
    kernel({"ksm-adjacent-anon": "skipped"})
    done = run("verify", ONE, "--format", "json")
    assert done.status == 2
    assert json.loads(done.out)["skipped"] == "no reason"


def test_a_bad_trace_is_2_and_the_others_are_verified(
    run: RunProgram, kernel: Told, tmp_path: Path
) -> None:
    kernel({})
    bad = tmp_path / "bad.yaml"
    bad.write_text("vmatrace: 1\nevents:\n  - munmap(\n")
    done = run("verify", str(bad), ONE)
    assert done.status == 2
    assert f"{bad}:3:" in done.err
    assert "exact" in done.out


def test_what_is_missing_is_said_and_2(run: RunProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(machine: Machine) -> Findings:
        raise Unavailable("no permission to trace (seccomp?)")

    monkeypatch.setattr(findings, "look", look)
    done = run("verify", ONE)
    assert (done.status, done.out) == (2, "")
    assert done.err == "vmatrace: error: no permission to trace (seccomp?)\n"


@pytest.mark.parametrize(
    "arguments",
    [
        (), ("--random", "1", ONE), ("--probe", "--random", "1"), ("--random", "0"),
        ("--probe", "--record", "x"), ("--kernel", "7.99", ONE),
    ],
)  # fmt: skip
def test_bad_usage_is_2(run: RunProgram, arguments: tuple[str, ...]) -> None:
    done = run("verify", *arguments)
    assert (done.status, done.out) == (2, "")
    assert "Error: " in done.err


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "cannot be read: No such file"),
        (b"", "no recording"),
        (b"{}\n", "no recording"),
        (b"\xff\xfe", "no recording"),
        (b'{"format": "vmatrace-recording/1"}\n', "expected format vmatrace-recording/2"),
        (
            b'{"format":"vmatrace-recording/2","model":{"row":"6.18","with":[],"without":[]}}\n{}\n',
            "bad line",
        ),
    ],
)
def test_what_is_no_recording_is_2(
    run: RunProgram, tmp_path: Path, content: bytes | None, what: str
) -> None:
    path = tmp_path / "recording.jsonl"
    if content is not None:
        path.write_bytes(content)
    done = run("verify", "--replay-recording", str(path))
    assert (done.status, done.out) == (2, "")
    assert f"{path}:" in done.err
    assert what in done.err


@pytest.mark.parametrize("arguments", [["--version"], ["replay", "--help"]])
def test_other_commands_do_not_load_it(arguments: list[str]) -> None:
    code = (
        "import sys; from vmatrace.cli import main; main(sys.argv[1:]);"
        "print([m for m in sys.modules if m.startswith(('vmatrace.verify', 'vmatrace.oracle'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
