"""What a recorded program does is what it does unrecorded: tracers, sanitizers, seccomp.

Each program runs twice, alone and recorded: the same output and status, and an exact trace.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from program import LIMIT

from live.test_record import ENVIRONMENT, PYTHON, RECORD

HEAD = """
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = libc.ptrace.restype = libc.mmap.restype = ctypes.c_long
libc.syscall.argtypes = [ctypes.c_long] * 7
libc.ptrace.argtypes = [ctypes.c_long] * 4
libc.mmap.argtypes = [ctypes.c_size_t] * 2 + [ctypes.c_int] * 3 + [ctypes.c_long]
def say(*words):
    os.write(1, (' '.join(map(str, words)) + '\\n').encode())
def maps():
    return libc.mmap(0, 4096, 3, 0x22, -1, 0) > 0
def end(pid):
    status = os.waitpid(pid, 0)[1]
    while os.WIFSTOPPED(status):
        libc.ptrace(7, pid, 0, 0 if os.WSTOPSIG(status) == signal.SIGSTOP else os.WSTOPSIG(status))
        status = os.waitpid(pid, 0)[1]
    say('ended', os.WIFEXITED(status) and os.WEXITSTATUS(status), os.WIFSIGNALED(status) and
        os.WTERMSIG(status))
"""
UNTRACED = """
flags = 0x800000 | signal.SIGCHLD
pid = libc.syscall(56, flags, 0, 0, 0, 0, 0)
if pid == 0:
    os._exit(0 if maps() else 1)
end(pid)
"""
UNTRACED_CLONE3 = """
words = (ctypes.c_uint64 * 8)(0x800000, 0, 0, 0, signal.SIGCHLD)
pid = libc.syscall(435, ctypes.addressof(words), 64, 0, 0, 0, 0)
if pid == 0:
    os._exit((0 if maps() else 1) + 2 * (words[0] != 0x800000))
say(hex(words[0]))
end(pid)
"""
TRACEME = """
pid = os.fork()
if pid == 0:
    say('traceme', libc.ptrace(0, 0, 0, 0))
    os.kill(os.getpid(), signal.SIGSTOP)
    os._exit(7 if maps() else 1)
end(pid)
"""
ATTACH = """
import threading, time
gate, let_go = os.pipe(), os.pipe()
pid = os.fork()
if pid == 0:
    threading.Thread(target=time.sleep, args=(0.4,)).start()  # a thread in a call
    threading.Thread(target=lambda: [i for i in range(10**6)]).start()  # and one in none
    os.write(gate[1], b'!')
    time.sleep(0.3)
    os.read(let_go[0], 1)
    say('slept', maps())
    os._exit(5)
os.read(gate[0], 1)
say('attach', libc.ptrace(16, pid, 0, 0))
say('stopped', os.WIFSTOPPED(os.waitpid(pid, 0)[1]))
say('detach', libc.ptrace(17, pid, 0, 0))
os.write(let_go[1], b'!')
end(pid)
"""
STRICT = """
pid = os.fork()
if pid == 0:
    done = libc.prctl(22, 1) if sys.argv[1:] else libc.syscall(317, 0, 0, 0, 0, 0, 0)
    libc.write(1, b'strict\\n' if done == 0 else b'refused\\n', 7)
    maps()
    libc.syscall(60, 1, 0, 0, 0, 0, 0)
end(pid)
"""


def both(tmp_path: Path, *command: str, asked: str = "check: exact") -> str:
    """Run *command* alone and recorded, which must not differ; what the recording says."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, cwd=tmp_path, env=ENVIRONMENT, text=True, capture_output=True, timeout=LIMIT,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip

    alone = run(*command)
    recorded = run(*RECORD, "--check", "-o", "trace.yaml", "--", *command)
    assert (recorded.stdout, recorded.returncode) == (alone.stdout, alone.returncode)
    assert asked in recorded.stderr
    return recorded.stderr


@pytest.mark.parametrize("program", [UNTRACED, UNTRACED_CLONE3])
def test_a_child_that_nobody_may_trace_makes_its_calls(tmp_path: Path, program: str) -> None:
    said = both(tmp_path, PYTHON, "-S", "-c", HEAD + program)
    assert "2 processes" in said


@pytest.mark.parametrize("program", [TRACEME, ATTACH])
def test_who_is_traced_by_another_is_let_go_and_that_is_said(tmp_path: Path, program: str) -> None:
    said = both(tmp_path, PYTHON, "-S", "-c", HEAD + program)
    assert "1 process traced by another program from some point on" in said


@pytest.mark.parametrize("how", ["", "prctl"])
def test_strict_mode_is_entered_and_what_it_forbids_kills(tmp_path: Path, how: str) -> None:
    said = both(tmp_path, PYTHON, "-S", "-c", HEAD + STRICT, *how.split())
    assert "2 processes" in said


@pytest.mark.parametrize(
    ("body", "status"),
    [("", 0), ("volatile char *p = malloc(9); p[0] = 1; p = 0;", 1),
     ("for (int i = 0; i < 3; i++) { pthread_t t; pthread_create(&t, 0, idle, 0); }", 0)],
)  # fmt: skip
def test_a_program_with_leaksanitizer_runs_to_its_end(
    tmp_path: Path, body: str, status: int
) -> None:
    compiler = shutil.which("cc")
    assert compiler is not None, "a C compiler (Debian: apt install gcc libc6-dev)"
    source = (
        "#include <pthread.h>\n#include <stdlib.h>\n#include <unistd.h>\n"
        "static void *idle(void *a) { sleep(9); return a; }\n"
        f"int main(void) {{ (void)idle; {body} return 0; }}\n"
    )
    (tmp_path / "leak.c").write_text(source, encoding="ascii")
    subprocess.run(
        (compiler, "-fsanitize=address", "-pthread", "-o", "leak", "leak.c"), cwd=tmp_path,
        check=True,
    )  # fmt: skip
    both(tmp_path, "./leak")
    assert subprocess.run(["./leak"], cwd=tmp_path, check=False).returncode == status


MANY_FILES = """
import mmap, os
for i in range(120):
    fd = os.open(f'{i}', os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, 4096)
    globals()[f'm{i}'] = libc.mmap(0, 4096, 1, 2, fd, 0)
    os.close(fd)
say('mapped', all(globals()[f'm{i}'] > 0 for i in range(120)))
"""


@pytest.mark.parametrize(
    ("limit", "said"), [("-Sn 64", "check: exact"), ("-n 64", "RLIMIT_NOFILE")]
)
def test_more_files_than_descriptors_can_be_mapped(tmp_path: Path, limit: str, said: str) -> None:
    (tmp_path / "many.py").write_text(HEAD + MANY_FILES, encoding="ascii")
    command = f"ulimit {limit}; exec {shlex.join((*RECORD, '--check', '-o', 'trace.yaml', '--'))}"
    done = subprocess.run(
        ["sh", "-c", f"{command} {PYTHON} -S many.py"], cwd=tmp_path, env=ENVIRONMENT, text=True,
        capture_output=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "mapped True\n")
    assert said in done.stderr
    assert "check: exact" in done.stderr


@pytest.mark.parametrize(("number", "name"), [(438, "pidfd_getfd"), (312, "kcmp")])
def test_what_a_container_denies_is_said_and_nothing_is_written(
    tmp_path: Path, number: int, name: str
) -> None:
    """Docker's and Podman's default seccomp profiles, on x86-64."""
    code = (
        "import struct, sys\n"
        f"words = [(0x20, 0, 0, 0), (0x15, 0, 1, {number}), (6, 0, 0, 0x50001),"
        " (6, 0, 0, 0x7fff0000)]\n"
        "code = b''.join(struct.pack('<HBBI', *w) for w in words)\n"
        "kept = ctypes.create_string_buffer(code, len(code))\n"
        "program = ctypes.create_string_buffer(struct.pack('<QQ', 4, ctypes.addressof(kept)))\n"
        "libc.prctl(38, 1, 0, 0, 0)\n"
        "assert libc.syscall(317, 1, 0, ctypes.addressof(program), 0, 0, 0) == 0\n"
        f"os.execv(sys.executable, {[*RECORD, '-o', 'trace.yaml', '--', '/bin/true']!r})\n"
    )
    done = subprocess.run(
        [PYTHON, "-c", HEAD + code], cwd=tmp_path, env=ENVIRONMENT, text=True,
        capture_output=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert f"error: {name}() is not permitted" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="other namespaces are for root")
def test_a_proc_of_another_namespace_is_said(tmp_path: Path) -> None:
    done = subprocess.run(
        ["unshare", "-pf", *RECORD, "-o", "trace.yaml", "--", "/bin/true"], cwd=tmp_path,
        env=ENVIRONMENT, text=True, capture_output=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "error: /proc is that of another PID namespace" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="other namespaces are for root")
def test_a_segment_of_another_ipc_namespace_is_described(tmp_path: Path) -> None:
    code = (
        "libc.shmat.restype = ctypes.c_long\n"
        "key = libc.shmget(0, 8192, 0o1600)\n"
        "say(libc.shmat(key, 0, 0) > 0)\n"
    )
    done = subprocess.run(
        [*RECORD, "--check", "-o", "trace.yaml", "--", "unshare", "-i", PYTHON, "-S", "-c",
         HEAD + code], cwd=tmp_path, env=ENVIRONMENT, text=True, capture_output=True,
        timeout=LIMIT, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "True\n")
    assert "check: exact" in done.stderr
