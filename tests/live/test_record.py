"""Recordings of programs of all kinds, each replayed to what the kernel showed (--check).

A hang is a failure: every run has a time limit.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from program import LIMIT, ROOT, await_that

from vmatrace import abi
from vmatrace.event import Event
from vmatrace.record.pages import Pagemap
from vmatrace.record.pieces import PRIVATE, WRITABLE, Pieces
from vmatrace.trace.file import load_trace

PYTHON = os.path.realpath(sys.executable)
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
RECORD = (sys.executable, "-m", "vmatrace", "record")


def record(
    tmp_path: Path, *command: str, options: tuple[str, ...] = ("--check",)
) -> subprocess.CompletedProcess[str]:
    """Record *command* into trace.yaml of *tmp_path*."""
    arguments = (*RECORD, *options, "-o", "trace.yaml", "--", *command)
    return subprocess.run(
        arguments, cwd=tmp_path, env=ENVIRONMENT, text=True, capture_output=True, timeout=LIMIT,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def exact(tmp_path: Path, code: str, *options: str) -> list[Event]:
    """Record Python *code*; the check finds nothing, and these are the events."""
    done = record(tmp_path, PYTHON, "-c", code, options=("--check", *options))
    assert done.returncode == 0, done.stderr
    assert "check: exact" in done.stderr
    return [e for e in load_trace(tmp_path / "trace.yaml").items() if isinstance(e, Event)]


THREADS = """
import mmap, os, threading
def work(n):
    for i in range(40):
        area = mmap.mmap(-1, 4096 * (1 + (i * n) % 7))
        area[0] = 1
        area.close()
        bytearray(200_000 + 4096 * n)
threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
ANONYMOUS = "flags=mmap.MAP_PRIVATE|mmap.MAP_ANONYMOUS"


@pytest.mark.parametrize("ksm", [(), ("--ksm",)], ids=["plain", "ksm"])
def test_threads_of_one_address_space_are_recorded_in_the_order_made(
    tmp_path: Path, ksm: tuple[str, ...]
) -> None:
    events = exact(tmp_path, THREADS, *ksm)
    assert sum(event.name == "munmap" for event in events) >= 240
    assert {event.pid for event in events} == {"main"}


def test_children_of_all_kinds_are_processes_of_the_trace(tmp_path: Path) -> None:
    events = exact(
        tmp_path,
        "import os, subprocess\n"
        "if not os.fork():\n    x = bytearray(1 << 22); os._exit(0)\n"
        "os.wait(); subprocess.run(['true'])\n"
        "os.posix_spawn('/bin/sh', ['sh', '-c', 'true'], {}); os.wait()\n"
        "os.execv('/bin/true', ['true'])",
    )
    names = [event.name for event in events]
    assert names.count("exit_group") == 4
    assert names.count("execve") == 3
    assert all(event.maps for event in events if event.name == "execve")


def test_a_file_opened_twice_is_two_files_and_a_duplicate_is_the_same(tmp_path: Path) -> None:
    code = (
        "import mmap, os\n"
        "f = [os.open('/bin/true', 0) for _ in range(2)]; f.append(os.dup(f[0]))\n"
        "keep = [mmap.mmap(fd, 4096, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) for fd in f]"
    )
    exact(tmp_path, code)
    text = (tmp_path / "trace.yaml").read_text()
    used = re.findall(r"mmap\(NULL, 0x1000, PROT_READ, MAP_PRIVATE, (true\w*), 0\)", text)
    assert len(used) == 3
    assert used[0] == used[2] != used[1]


def test_the_first_page_of_memory_is_a_fault_and_reading_is_none(tmp_path: Path) -> None:
    events = exact(
        tmp_path,
        f"import mmap\na = mmap.mmap(-1, 0x123000, {ANONYMOUS}); a[5 * 4096]\n"
        f"b = mmap.mmap(-1, 0x124000, {ANONYMOUS}); b[3 * 4096] = 1",
    )
    at = {
        event.args[1]: event.recorded
        for event in events
        if event.name == "mmap" and event.args[1] in (0x123000, 0x124000)
    }
    faults = [event.args[0] for event in events if event.name == "fault"]
    first, second = at[0x123000], at[0x124000]
    assert first is not None
    assert second is not None
    assert second + 3 * 4096 in faults
    assert not [page for page in faults if isinstance(page, int) and 0 <= page - first < 0x123000]


CHURN = Path(__file__).with_name("churn.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("seed", [35, 41, 42, 43])
def test_first_writes_are_found_where_they_matter(tmp_path: Path, seed: int) -> None:
    """VMAs side by side that differ in one thing: who is written to first lends its anon_vma."""
    events = exact(tmp_path, f"SEED = {seed}\n{CHURN}")
    assert sum(event.name == "fault" for event in events) > 20


def test_untouched_memory_costs_nothing_at_the_next_call(tmp_path: Path) -> None:
    """As many mappings as one process may have, and a second thread, which makes all calls wait."""
    events = exact(tmp_path, MANY)
    assert sum(event.name == "mmap" for event in events) > 20_000


MANY = """
import ctypes, threading
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
done = threading.Event()
threading.Thread(target=done.wait).start()
for i in range(20_000):
    assert libc.mmap(0x200000000000 + i * 8192, 4096, 3, 0x32, -1, 0)
done.set()
"""


def test_memory_that_the_kernel_wrote_and_stacks_that_grew_are_faults_too(tmp_path: Path) -> None:
    code = (
        f"import mmap, os\na = mmap.mmap(-1, 0x5000, {ANONYMOUS})\n"
        "os.readv(os.open('/bin/true', 0), [memoryview(a)[0x2000:0x2008]])\n"
        "exec('def f(n):\\n return max(map(f, [n - 1])) if n else 0'); f(150)"
    )
    events = exact(tmp_path, code)
    assert sum(event.name == "fault" for event in events) > 5


@pytest.mark.skipif(os.geteuid() != 0, reason="advice to another process is for root")
def test_a_child_advises_the_memory_of_the_first_process(tmp_path: Path) -> None:
    code = """
import ctypes, os
libc = ctypes.CDLL(None)
libc.syscall.restype = libc.mmap.restype = ctypes.c_long
area = libc.mmap(0, 1 << 16, 3, 0x22, -1, 0)
first = os.getpid()
if os.fork() == 0:
    vector = (ctypes.c_size_t * 2)(area, 8192)
    fd = os.pidfd_open(first)
    done = [libc.syscall(440, fd, vector, 1, advice, 0) for advice in (20, 12, 18)]
    assert done == [8192, -1, -1], done
    assert libc.syscall(440, 1, vector, 1, 20, 0) == -1  # no pidfd
    os._exit(0)
assert os.wait()[1] == 0
os._exit(0)
"""
    events = exact(tmp_path, code)
    asked = [event for event in events if event.name == "process_madvise"]
    assert [(event.args[0], event.recorded) for event in asked] == [
        (1, 8192), (1, -abi.EINVAL), (1, -abi.EINVAL), (-1, -abi.EBADF),
    ]  # fmt: skip


@pytest.mark.parametrize("end", ["", "os.unlink('c')", "os.rename('c', 'd')"])
def test_a_file_that_is_renamed_while_it_is_mapped_keeps_its_name(tmp_path: Path, end: str) -> None:
    code = f"""
import mmap, os
fd = os.open('a', os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 16384)
first = mmap.mmap(fd, 8192)
os.rename('a', 'b')
second = mmap.mmap(fd, 4096)
os.close(fd)
fd = os.open('b', os.O_RDONLY)
third = mmap.mmap(fd, 4096, prot=1, flags=mmap.MAP_PRIVATE)
os.rename('b', 'c')
os.link('c', 'e')
other = os.open('e', os.O_RDONLY)
fourth = mmap.mmap(other, 8192, prot=1, flags=mmap.MAP_PRIVATE, offset=8192)
{end}
os._exit(0)
"""
    exact(tmp_path, code)


def test_odd_file_names_are_kept_readable(tmp_path: Path) -> None:
    exact(
        tmp_path,
        "import mmap, os\n"
        "path = b'a #:{}\\n\\xff\\'\\\"'\n"
        "f = os.open(path, os.O_CREAT | os.O_RDWR); os.ftruncate(f, 4096)\n"
        "a = mmap.mmap(f, 4096); os.unlink(path)\n"
        "m = os.memfd_create('b c'); os.ftruncate(m, 4096); b = mmap.mmap(m, 4096)",
    )
    paths = [file.path for file in load_trace(tmp_path / "trace.yaml").files.values()]
    assert "/memfd:b c (deleted)" in paths
    assert any(path.endswith("a #:{}\\012\\xff'\"") for path in paths)


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 7", 7), ("kill -9 $$", 137), ("kill -SEGV $$", 139), ("echo out; echo err >&2", 0)],
)
def test_output_and_exit_status_are_those_of_the_command(
    tmp_path: Path, script: str, status: int
) -> None:
    done = record(tmp_path, "sh", "-c", script)
    assert done.returncode == status
    assert "check: exact, 1 layout" in done.stderr
    said = [line for line in done.stderr.splitlines() if not line.startswith("vmatrace: ")]
    assert (done.stdout, said) == (("out\n", ["err"]) if status == 0 else ("", []))


def test_signals_reach_the_program_and_job_control_stops_it(tmp_path: Path) -> None:
    script = (
        "trap 'echo got it' USR1; kill -USR1 $$; "
        "(while kill -CONT $$; do sleep 0.05; done) 2>&- & kill -STOP $$; echo on"
    )
    done = record(tmp_path, "sh", "-c", script)
    assert done.stdout == "got it\non\n"
    assert done.returncode == 0, done.stderr


def test_signals_that_were_ignored_or_blocked_are_so_in_the_program(tmp_path: Path) -> None:
    shown = ("grep", "-E", "Sig(Ign|Blk)", "/proc/self/status")
    kinds = "ALRM,CHLD,HUP,USR1"
    before = ("env", f"--ignore-signal={kinds}", "--block-signal=CHLD,WINCH")
    alone, recorded = (
        subprocess.run((*before, *words), cwd=tmp_path, env=ENVIRONMENT, capture_output=True,
                       text=True, check=True, timeout=LIMIT)
        for words in (shown, (*RECORD, "-o", "trace.yaml", "--", *shown))
    )  # fmt: skip
    assert recorded.stdout == alone.stdout


@pytest.mark.parametrize(
    ("command", "why"),
    [("no-such-program", "command not found"), ("/etc/passwd", "Permission denied"),
     ("./nothing", "No such file")],
)  # fmt: skip
def test_what_cannot_be_run_leaves_no_trace(tmp_path: Path, command: str, why: str) -> None:
    done = record(tmp_path, command)
    assert done.returncode == 2
    assert re.fullmatch(rf"vmatrace: error: {re.escape(command)}: {why}.*\n", done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_found_before_the_command_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        (*RECORD, "-o", "no/trace.yaml", "--", "sh", "-c", "echo ran"), cwd=tmp_path,
        env=ENVIRONMENT, text=True, capture_output=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")


class Running:
    """A recording that goes on while the test does something."""

    def __init__(self, tmp_path: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            (*RECORD, "--check", "-o", "trace.yaml", *arguments), cwd=tmp_path, env=ENVIRONMENT,
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def end(self, sig: signal.Signals) -> tuple[int, str, str]:
        self.process.send_signal(sig)
        out, err = self.process.communicate(timeout=LIMIT)
        return self.process.returncode, out, err


#: Does some work for each line that it is sent, and says so.
WORK = """
import mmap, subprocess, sys
for _ in sys.stdin:
    mmap.mmap(-1, 40960)[0] = 1
    subprocess.run(["true"], stdin=subprocess.DEVNULL)
    print("worked", flush=True)
print("done")
"""


def work(worker: subprocess.Popen[str]) -> None:
    """Have the program do its work once, from the first call to the last."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    print(file=worker.stdin, flush=True)
    assert worker.stdout.readline() == "worked\n"


def await_tracer(pid: int) -> None:
    """Wait until the process *pid* is traced."""
    status = Path(f"/proc/{pid}/status")
    await_that(lambda: "TracerPid:\t0\n" not in status.read_text(encoding="utf-8"))


def test_after_ctrl_c_the_program_goes_on_and_the_trace_holds_what_was_seen(
    tmp_path: Path,
) -> None:
    running = Running(tmp_path, "--", PYTHON, "-c", WORK)
    work(running.process)
    running.process.send_signal(signal.SIGINT)
    work(running.process)
    out, err = running.process.communicate(timeout=LIMIT)
    assert (running.process.returncode, out) == (0, "done\n")
    assert "nothing after SIGINT was recorded" in err
    assert "check: exact" in err


def test_sigterm_is_passed_on(tmp_path: Path) -> None:
    running = Running(tmp_path, "--", PYTHON, "-c", WORK)
    work(running.process)
    status, _, err = running.end(signal.SIGTERM)
    assert status == 128 + signal.SIGTERM
    assert "check: exact" in err


def test_a_running_process_is_recorded_and_goes_on_alone(tmp_path: Path) -> None:
    with subprocess.Popen(
        (PYTHON, "-c", WORK), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        work(other)
        running = Running(tmp_path, "-p", str(other.pid))
        await_tracer(other.pid)
        work(other)
        status, _, err = running.end(signal.SIGINT)
        assert status == 128 + signal.SIGINT
        assert "check: exact" in err
        work(other)
        assert other.communicate(timeout=LIMIT)[0] == "done\n"
        assert other.returncode == 0


def test_a_process_that_is_not_there_cannot_be_recorded(tmp_path: Path) -> None:
    done = subprocess.run(
        (*RECORD, "-p", str((1 << 22) + 1)), cwd=tmp_path, env=ENVIRONMENT, text=True,
        capture_output=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == f"vmatrace: error: no process {(1 << 22) + 1}\n"


def test_without_a_scan_of_the_kernel_pagemap_itself_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on kernels before 6.7."""
    monkeypatch.setattr(Pagemap, "scans", False)
    area = mmap.mmap(-1, 0x5000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    start = ctypes.addressof(ctypes.c_char.from_buffer(area))
    pieces = Pieces(lambda file, change: None)
    pieces.add(start, start + 0x5000, PRIVATE | WRITABLE)
    pages = Pagemap(os.getpid(), 4096)
    area[0x1000]  # the page of zeros
    assert list(pages.fresh(pieces)) == []
    area[0x2000] = 1
    assert list(pages.fresh(pieces)) == [start + 0x2000]
    assert list(pages.fresh(pieces)) == []
    pages.close()


@pytest.mark.parametrize(("most", "status"), [(500, 0), (3, 1)])
def test_a_program_is_held_against_a_budget(tmp_path: Path, most: int, status: int) -> None:
    (tmp_path / "budget.yaml").write_text(
        f"vmatrace: 1\nevents:\n  - expect: {{peak_vmas: '<= {most}', mergeable: '> 0'}}\n"
    )
    options = ("--ksm", "--check-budget", "budget.yaml")
    done = record(tmp_path, "/bin/true", options=options)
    assert done.returncode == status, done.stderr
    held = 2 - status
    assert f"vmatrace: budget budget.yaml: {held} of 2 counts held" in done.stderr
    assert ("budget.yaml:3: peak_vmas" in done.stderr) == bool(status)
