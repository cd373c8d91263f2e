"""The child never outlives the command, whichever way the command ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from program import LIMIT, ROOT, await_that

from vmatrace.oracle import Sandbox, SandboxLost

PROGRAM = """
import os, signal, sys
from vmatrace.oracle import Sandbox
{beginning}
with Sandbox() as sandbox:
    sandbox.call("fork", child="child")
    print(sandbox.kernel_pid(), sandbox.kernel_pid("child"), flush=True)
    {ending}
    while True:
        sandbox.call("munmap", (0x10000000000, 0x1000))
"""


def start(ending: str = "", beginning: str = "") -> tuple[subprocess.Popen[str], list[int]]:
    """A command with a sandbox of two processes, and their numbers."""
    command = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(ending=ending, beginning=beginning)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        start_new_session=True,
    )  # fmt: skip
    assert command.stdout is not None
    return command, [int(number) for number in command.stdout.readline().split()]


def await_end(pids: list[int]) -> None:
    """Wait until the processes have ended (a zombie has)."""

    def running(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
        except (FileNotFoundError, ProcessLookupError):
            return False

    await_that(lambda: not any(running(pid) for pid in pids))


@pytest.mark.parametrize("ending", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(0)", "1 / 0"])
def test_the_processes_end_with_the_command(ending: str) -> None:
    command, pids = start(ending)
    command.communicate()
    assert len(pids) == 2
    await_end(pids)


def test_ctrl_c_interrupts_the_command_and_ends_the_processes() -> None:
    command, pids = start()
    os.killpg(command.pid, signal.SIGINT)
    _, complaint = command.communicate()
    assert complaint.rstrip().endswith("KeyboardInterrupt")
    await_end(pids)


def test_ctrl_c_does_not_reach_the_processes() -> None:
    with Sandbox() as sandbox:
        assert os.getsid(sandbox.kernel_pid()) == sandbox.kernel_pid()


def test_closing_ends_every_process_and_may_be_repeated() -> None:
    sandbox = Sandbox()
    sandbox.call("fork", child="child")
    pids = [sandbox.kernel_pid(), sandbox.kernel_pid("child")]
    before = os.sched_getaffinity(0)
    sandbox.close()
    sandbox.close()
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
    assert before <= os.sched_getaffinity(0)


def test_a_killed_child_is_reported() -> None:
    with Sandbox() as sandbox:
        os.kill(sandbox.kernel_pid(), signal.SIGKILL)
        with pytest.raises(SandboxLost):
            sandbox.call("munmap", (0x10000000000, 0x1000))


NO_PTRACE = """
import ctypes, struct
from vmatrace.oracle import Unavailable
from vmatrace.oracle.arch import native
libc = ctypes.CDLL(None)
filters = b"".join(struct.pack("<HBBI", *f) for f in (
    (0x20, 0, 0, 0), (0x15, 0, 1, native().calls["ptrace"]), (6, 0, 0, 0x50001),
    (6, 0, 0, 0x7FFF0000),
))
code = ctypes.create_string_buffer(filters, len(filters))
program = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", 4, ctypes.addressof(code)), 16)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program) == 0
try:
    Sandbox()
except Unavailable as reason:
    print(reason)
    raise SystemExit(2)
"""


def test_where_ptrace_is_forbidden_the_refusal_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(ending="", beginning=NO_PTRACE)],
        capture_output=True, text=True, cwd=ROOT, timeout=LIMIT,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "")
    assert "cannot ask to be traced" in done.stdout
    assert "Operation not permitted" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="the whole suite runs without root")
def test_root_is_not_needed() -> None:
    nobody = "os.setgroups([]); os.setresgid(*[65534] * 3); os.setresuid(*[65534] * 3)"
    command, pids = start("os._exit(len(sandbox.layout()) < 3)", nobody)
    _, complaint = command.communicate()
    assert (complaint, command.returncode) == ("", 0)
    await_end(pids)
