"""Where a recording goes: files whole or as before, pipes, standard output; names of every kind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from program import LIMIT

from live.test_record import ENVIRONMENT, PYTHON, RECORD, exact
from vmatrace.event import Event
from vmatrace.trace.file import load_trace

REPLAY = (sys.executable, "-m", "vmatrace", "replay", "--strict")


def run(*command: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env={**ENVIRONMENT, **more}, text=True, capture_output=True,
        timeout=LIMIT, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def test_a_dash_is_standard_output_and_holds_the_trace_alone(tmp_path: Path) -> None:
    done = run(*RECORD, "--check", "-o", "-", "--", "echo", "hello", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "hello" in done.stderr
    assert "check: exact" in done.stderr
    assert load_trace(done.stdout.encode(), "-").files is not None
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("most", "status"), [(500, 0), (3, 1)])
def test_budgets_are_held_against_what_goes_to_standard_output(
    tmp_path: Path, most: int, status: int
) -> None:
    (tmp_path / "b.yaml").write_text(
        f"vmatrace: 1\nevents:\n  - expect: {{vmas: '> 1', peak_vmas: '<= {most}'}}\n",
        encoding="utf-8",
    )
    command = ("--check-budget", "b.yaml", "-o", "-", "--", "echo", "hello")
    done = run(*RECORD, *command, cwd=tmp_path)
    assert done.returncode == status, done.stderr
    assert f"budget b.yaml: {2 - status} of 2 counts held" in done.stderr
    assert load_trace(done.stdout.encode(), "-").recorded
    assert os.listdir(tmp_path) == ["b.yaml"]


def test_a_pipe_is_opened_once_and_checked_all_the_same(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()))
    reader.start()
    done = run(*RECORD, "--check", "-o", "fifo", "--", "true", cwd=tmp_path)
    reader.join(LIMIT)
    assert done.returncode == 0, done.stderr
    assert "check: exact" in done.stderr
    load_trace(read[0], "fifo").validate()


@pytest.mark.parametrize("place", [">(cat >out.yaml; echo done >&2)", "/dev/fd/3 3>out.yaml"])
def test_an_open_descriptor_takes_the_trace(tmp_path: Path, place: str) -> None:
    line = f'"{sys.executable}" -m vmatrace record --check -o {place} -- true; sleep 0.5'
    done = run("bash", "-c", line, cwd=tmp_path)
    assert "check: exact" in done.stderr, done.stderr
    load_trace(tmp_path / "out.yaml").validate()


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    command = f'"{sys.executable}" -m vmatrace record -o - -- true'
    line = f"{command} | head -c 10; echo ${{PIPESTATUS[0]}}"
    done = run("bash", "-c", line, cwd=tmp_path)
    assert done.stdout.endswith("0\n"), done.stdout
    assert "Traceback" not in done.stderr


def run_with_mounts(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run *script* where its mounts are its own; it exits with 77 where it may not mount."""
    done = run("unshare", "-m", "bash", "-c", script, cwd=folder)
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip("no mount namespace for us")
    return done


def test_the_old_trace_stays_where_the_disk_is_full(tmp_path: Path) -> None:
    script = (
        "mount -t tmpfs -o size=8k none . || exit 77; cd $PWD; echo old >old.yaml; "
        f'"{sys.executable}" -m vmatrace record -o old.yaml -- {PYTHON} -c pass; '
        "echo status $?; cat old.yaml; ls -A"
    )
    done = run_with_mounts(script, tmp_path)
    assert done.stdout == "status 2\nold\nold.yaml\n", done.stderr
    assert "old.yaml: cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("size", ["4k", "16k"])
def test_a_full_temporary_directory_is_named(tmp_path: Path, size: str) -> None:
    script = (
        f"mkdir small; mount -t tmpfs -o size={size} none small || exit 77; TMPDIR=$PWD/small "
        f'"{sys.executable}" -m vmatrace record -o t.yaml -- '
        f"{PYTHON} -c 'import mmap; [mmap.mmap(-1, 4096).close() for _ in range(2000)]; print(7)';"
        "echo status $?; ls -A"
    )
    done = run_with_mounts(script, tmp_path)
    assert done.stdout == "7\nstatus 2\nsmall\n", done.stderr
    assert re.search(r"small: the recording cannot be kept there: No space left", done.stderr)
    assert "Traceback" not in done.stderr


SLEEPER = "print(1); import time; time.sleep(60)"


def test_nothing_is_left_where_vmatrace_is_killed(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text("old\n")
    command = (*RECORD, "-o", "old.yaml", "--", PYTHON, "-uc", SLEEPER)
    with subprocess.Popen(
        command, cwd=tmp_path, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "1\n"
        running.send_signal(signal.SIGKILL)
        running.wait(LIMIT)
    time.sleep(0.1)
    assert os.listdir(tmp_path) == ["old.yaml"]
    assert (tmp_path / "old.yaml").read_text() == "old\n"


@pytest.mark.parametrize(
    "name", ['qu"ote', "a'b", "new\nline", "tab\tbell\a", "esc\x1b[31m", "back\\slash", "ü€ 字",
             b"\xff\xfe".decode("utf-8", "surrogateescape"), "{a: b}, #c", "del\x7f\x85"],
)  # fmt: skip
def test_every_command_reads_what_files_are_called(tmp_path: Path, name: str) -> None:
    code = (
        "import mmap, os, sys\n"
        f"path = {os.fsencode(name)!r}\n"
        "fd = os.open(path, os.O_RDWR | os.O_CREAT); os.ftruncate(fd, 8192)\n"
        "kept = mmap.mmap(fd, 4096)\n"
    )
    exact(tmp_path, code)
    for command in (REPLAY, (*REPLAY[:3], "diff"), (*REPLAY[:3], "check")):
        done = run(*command, "trace.yaml", cwd=tmp_path)
        assert done.returncode in (0, 1), done.stderr
        assert "error" not in done.stderr


def test_addresses_repeat_without_randomization(tmp_path: Path) -> None:
    code = "import mmap; kept = mmap.mmap(-1, 1 << 20)"

    def addresses() -> list[int | None]:
        events = exact(tmp_path, code, "--no-aslr")
        return [e.recorded for e in events if isinstance(e, Event) and e.name == "mmap"]

    assert addresses() == addresses()
    assert "--no-aslr" in (tmp_path / "trace.yaml").read_text()[:400]
