"""What the machine refused, what changed a process's limits, and what a trace cannot hold.

Each program is recorded and replayed to what the kernel showed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from program import LIMIT
from sysctls import strict_overcommit

from live.test_record import ENVIRONMENT, PYTHON, RECORD, exact, record
from live.test_record_unharmed import HEAD
from vmatrace import abi
from vmatrace.event import Event
from vmatrace.record.filter import has_x32
from vmatrace.trace.file import load_trace

#: A program of 32 bits, which maps memory and exits (or sleeps, if told so by a second argument).
OLD = """
.globl _start
_start:
    mov $90, %eax
    mov $block, %ebx
    int $0x80
    cmpl $1, (%esp)
    je 1f
    mov $162, %eax
    mov $nap, %ebx
    xor %ecx, %ecx
    int $0x80
1:  mov $1, %eax
    xor %ebx, %ebx
    int $0x80
.data
block: .long 0, 4096, 3, 0x22, -1, 0
nap: .long 120, 0
"""


@pytest.fixture
def old(tmp_path: Path) -> str:
    """The path of a static program of 32 bits."""
    (tmp_path / "old.s").write_text(OLD, encoding="ascii")
    assemble = shutil.which("as")
    assert assemble is not None, "an assembler (Debian: apt install binutils)"
    for command in (("as", "--32", "-o", "old.o", "old.s"), ("ld", "-m", "elf_i386", "-o", "old",
                                                             "old.o")):  # fmt: skip
        subprocess.run(command, cwd=tmp_path, check=True)
    return str(tmp_path / "old")


def said(tmp_path: Path, code: str) -> tuple[list[Event], str]:
    """Record Python *code* with ctypes at hand, which is exact: its events, and what was said."""
    done = record(tmp_path, PYTHON, "-S", "-c", HEAD + code)
    assert done.returncode == 0, done.stderr
    assert "check: exact" in done.stderr, done.stderr
    events = [e for e in load_trace(tmp_path / "trace.yaml").items() if isinstance(e, Event)]
    return events, done.stderr


def test_memory_that_the_machine_has_not_is_refused_and_believed(tmp_path: Path) -> None:
    events, text = said(tmp_path, "assert libc.mmap(0, 1 << 46, 3, 0x22, -1, 0) == -1")
    assert ("mmap", -abi.ENOMEM) in {(event.name, event.recorded) for event in events}
    assert "1 refused by the machine, believed" in text


#: What vm.overcommit_memory=2 refuses, each beside a call like it that it grants.
STRICT = """
libc.mprotect.argtypes = [ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
libc.mremap.argtypes = [ctypes.c_size_t] * 3 + [ctypes.c_int]
libc.mremap.restype = ctypes.c_long
page, much = 4096, 60 << 40
assert libc.mmap(0, much, 3, 0x22, -1, 0) == -1
assert libc.mmap(0, much, 3, 0x4022, -1, 0) == -1
area = libc.mmap(0, much, 1, 0x22, -1, 0)
assert area > 0
assert libc.mprotect(area, page, 3) == 0
assert libc.mprotect(area, much, 3) == -1
assert libc.mprotect(area + 2 * page, page, 3) == 0
libc.munmap(ctypes.c_size_t(area), ctypes.c_size_t(much))  # of two there is not always room
area = libc.mmap(0, page, 3, 0x4022, -1, 0)
assert area > 0
assert libc.mremap(area, page, 8 * page, 1) > 0
assert libc.mremap(libc.mmap(0, page, 3, 0x22, -1, 0), page, much, 1) == -1
assert libc.mmap(0, much, 3, 0x4021, -1, 0) == -1
"""


@pytest.mark.alone_on_machine
@pytest.mark.skipif(os.geteuid() != 0, reason="asks for what root alone may")
def test_what_strict_overcommit_refuses_is_believed(tmp_path: Path) -> None:
    with strict_overcommit():
        events, text = said(tmp_path, STRICT)
    refused = [event.name for event in events if event.recorded == -abi.ENOMEM]
    assert refused == ["mmap", "mmap", "mprotect", "mremap", "mmap"]
    assert load_trace(tmp_path / "trace.yaml").sysctl.overcommit_memory == 2
    assert "5 refused by the machine, believed" in text


@pytest.mark.skipif(os.geteuid() != 0, reason="asks for what root alone may")
def test_what_is_refused_to_who_gave_up_its_privileges_is_believed(tmp_path: Path) -> None:
    code = """
libc.mlock.argtypes = [ctypes.c_size_t] * 2
area = libc.mmap(0, 1 << 26, 3, 0x22, -1, 0)
segment = libc.shmget(0, 8192, 0o1600)
os.setresuid(65534, 65534, 65534)
assert libc.mlock(area, 1 << 26) == -1
assert libc.shmat(segment, 0, 0) == -1
assert libc.mlock(area, 4096) == 0
"""
    events, text = said(tmp_path, code)
    failed = {(event.name, event.recorded) for event in events if (event.recorded or 0) < 0}
    assert failed >= {("mlock", -abi.ENOMEM), ("shmat", -abi.EACCES)}
    assert "2 refused by the machine, believed" in text


LIMITS = """
import resource, subprocess
def asks(kind):
    return libc.mmap(0, 1 << 30, 3, kind, -1, 0) > 0
least, most = 1 << 29, resource.RLIM_INFINITY
for limit, kind in ((resource.RLIMIT_AS, 0x21), (resource.RLIMIT_DATA, 0x22)):
    hard = resource.getrlimit(limit)[1]
    resource.setrlimit(limit, (least, hard))
    assert not asks(kind)
    libc.setrlimit(limit, (ctypes.c_ulong * 2)(3 << 29, hard))
    assert asks(kind)
    assert os.fork() or os._exit(asks(kind)) is None
    os.wait()
    resource.setrlimit(limit, (hard, hard))
    if os.fork() == 0:
        resource.prlimit(os.getppid(), limit, (least, hard))
        os._exit(0)
    os.wait()
    assert not asks(kind)
    resource.setrlimit(limit, (hard, hard))
    subprocess.run(['/bin/true'], preexec_fn=lambda: resource.setrlimit(limit, (most // 2, hard)))
"""


def test_limits_that_change_on_the_way_are_followed(tmp_path: Path) -> None:
    events, text = said(tmp_path, LIMITS)
    assert {event.name for event in events} >= {"prlimit64"}
    assert "believed" not in text


def test_a_question_about_limits_is_no_event(tmp_path: Path) -> None:
    events = exact(tmp_path, "import resource; resource.getrlimit(resource.RLIMIT_AS)")
    assert not [event for event in events if event.name == "prlimit64"]


PERSONA = """
assert libc.personality(libc.personality(0xffffffff) | 0x400000) >= 0
area = libc.mmap(0, 8192, 1, 0x22, -1, 0)
libc.mprotect.argtypes = [ctypes.c_size_t] * 2 + [ctypes.c_int]
libc.mprotect(area, 4096, 3)
[bytearray(100) for i in range(100000)]
os.fork() or (maps(), os._exit(0))
os.wait()
libc.personality(0)
maps()
"""
HOME = """
area = libc.mmap(0, 16384, 3, 0x22, -1, 0)
libc.syscall(237, area, 16384, 2, ctypes.addressof(ctypes.c_ulong(1)), 64, 0)
assert libc.syscall(450, area, 8192, 0, 0, 0, 0) == 0
"""
RINGS = """
libc.munmap.argtypes = [ctypes.c_size_t] * 2
rings = []
for size in (1, 128, 300):
    ring = ctypes.c_ulong(0)
    assert libc.syscall(206, size, ctypes.addressof(ring), 0, 0, 0, 0) == 0
    rings.append(ring.value)
assert libc.syscall(207, rings[1], 0, 0, 0, 0, 0) == 0
assert libc.syscall(207, rings[1], 0, 0, 0, 0, 0) == -1
maps()
os.fork() or os._exit(0)
os.wait()
"""
GONE = """
pid = os.fork()
if pid == 0:
    os._exit(0)
fd = os.pidfd_open(pid)
os.waitpid(pid, 0)
area = libc.mmap(0, 8192, 3, 0x22, -1, 0)
one = (ctypes.c_size_t * 2)(area, 4096)
assert libc.syscall(440, fd, ctypes.addressof(one), 1, 20, 0, 0) == -1
assert ctypes.get_errno() == 3
many = (ctypes.c_size_t * 4096)(*[area, 4096] * 2048)
own = os.pidfd_open(os.getpid())
assert libc.syscall(440, own, ctypes.addressof(many), 1025, 20, 0, 0) == -1
assert ctypes.get_errno() == 22
assert libc.syscall(440, own, 8, 1, 20, 0, 0) == -1
assert ctypes.get_errno() == 14
"""


@pytest.mark.parametrize(
    ("code", "name"),
    [(PERSONA, "personality"), (HOME, "set_mempolicy_home_node"), (RINGS, "io_setup"),
     (GONE, "process_madvise")],
    ids=["personality", "home node", "rings", "dead process"],
)  # fmt: skip
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of calls")
def test_rarer_calls_are_recorded_and_replayed(tmp_path: Path, code: str, name: str) -> None:
    events, text = said(tmp_path, code)
    assert name in {event.name for event in events}
    assert "believed" not in text


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="programs of 32 bits")
def test_a_program_of_32_bits_alone_gives_no_trace(tmp_path: Path, old: str) -> None:
    done = record(tmp_path, old)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "vmatrace: error: nothing could be recorded: 1 program of 32 bits"
    )
    assert old in done.stderr
    assert not (tmp_path / "trace.yaml").exists()


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="programs of 32 bits")
def test_a_program_of_32_bits_among_others_is_named_in_the_trace(tmp_path: Path, old: str) -> None:
    done = record(tmp_path, "sh", "-c", f"{old}; true")
    assert done.returncode == 0, done.stderr
    assert "check: exact" in done.stderr
    comment = (tmp_path / "trace.yaml").read_text(encoding="utf-8").partition("vmatrace: 1")[0]
    assert old in comment.replace("\n# ", "")


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="programs of 32 bits")
def test_a_running_program_of_32_bits_is_let_be(tmp_path: Path, old: str) -> None:
    with subprocess.Popen([old, "sleep"]) as process:
        done = subprocess.run(
            [*RECORD, "--check", "-p", str(process.pid)], cwd=tmp_path, env=ENVIRONMENT, text=True,
            capture_output=True, timeout=LIMIT, check=False,
        )  # fmt: skip
        assert process.poll() is None
        process.kill()
    assert done.returncode == 2
    assert "runs a program of 32 bits" in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path).count("trace.yaml") == 0


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="calls of 32 bits")
def test_calls_of_32_bits_are_named(tmp_path: Path) -> None:
    """Int 0x80 with the number of munmap, of nothing: no memory changes."""
    code = """
page = libc.mmap(0, 4096, 7, 0x22, -1, 0)
ctypes.memmove(page, bytes.fromhex('53b85b000000bb00000000b900100000cd805bc3'), 20)
ctypes.CFUNCTYPE(ctypes.c_int)(page)()
"""
    _, text = said(tmp_path, code)
    assert "not followed" in text
    comment = (tmp_path / "trace.yaml").read_text(encoding="utf-8").partition("vmatrace: 1")[0]
    assert "calls of 32 bits (int 0x80) of main" in comment.replace("\n# ", " ")


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="x32 is an ABI of x86-64")
def test_calls_of_the_x32_abi_are_named_where_the_kernel_has_it(tmp_path: Path) -> None:
    code = "say(libc.syscall(0x40000009, 0, 4096, 3, 0x22, -1, 0) > 0)"
    done = record(tmp_path, PYTHON, "-S", "-c", HEAD + code, options=())
    assert done.returncode == 0
    named = "calls of the x32 ABI of main" in done.stderr
    assert named == (done.stdout == "True\n") == has_x32()


def test_processes_that_vanish_while_they_are_attached_to_give_no_traceback(tmp_path: Path) -> None:
    """However far it has come: an error of one line, or a trace."""
    for delay in (0, 0.005, 0.01, 0.02):
        code = (
            "import threading, time\n"
            "while True:\n"
            "    threading.Thread(target=time.sleep, args=(0.001,)).start(); time.sleep(0.0005)\n"
        )
        with subprocess.Popen([sys.executable, "-S", "-c", code]) as process:
            time.sleep(0.3)
            with subprocess.Popen(
                [*RECORD, "-o", "trace.yaml", "-p", str(process.pid)], cwd=tmp_path,
                env=ENVIRONMENT, text=True, stderr=subprocess.PIPE,
            ) as recorder:  # fmt: skip
                time.sleep(0.3 + delay)
                process.kill()
                _, text = recorder.communicate(timeout=LIMIT)
        assert "Traceback" not in text
        assert recorder.returncode in (0, 2), text


PARTLY = """
libc.mprotect.argtypes = [ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
page, much = 4096, 1 << 42
area = libc.mmap(0, much + 4 * page, 0, 0x22, -1, 0)
assert libc.mmap(area, 2 * page, 1, 0x32, -1, 0) == area
assert libc.mmap(area + 2 * page, page, 1, 0x4032, -1, 0) == area + 2 * page
assert libc.mmap(area + 3 * page, much, 1, 0x32, -1, 0) == area + 3 * page
assert libc.mprotect(area + page, {length}, {prot}) == -1
libc.mprotect(area + 2 * page, page, 1)
"""


@pytest.mark.parametrize(
    ("length", "prot", "events"),
    [
        # Two VMAs are changed, and for the third there is no memory.
        ("2 * page + much", 3, [(0, 8192, 0), (8192, 1 << 42, -abi.ENOMEM)]),
        # The same, and the refused part is not whole.
        ("2 * page + much // 2 + 5", 3, [(0, 8192, 0), (8192, (1 << 41) + 5, -abi.ENOMEM)]),
        # What has the protection already, and a hole after it.
        ("3 * page + much", 1, [(0, (1 << 42) + 12288, -abi.ENOMEM)]),
    ],
)
def test_a_protection_that_is_refused_in_the_middle_leaves_what_the_kernel_left(
    tmp_path: Path, length: str, prot: int, events: list[tuple[int, int, int]]
) -> None:
    code = PARTLY.format(length=length, prot=prot)
    if prot == 1:  # without the PROT_NONE page behind
        end = "libc.munmap(ctypes.c_size_t(area + 3 * page + much), page)\n"
        code = code.replace("assert libc.mprotect", f"{end}assert libc.mprotect", 1)
    found, _ = said(tmp_path, code)
    calls = [e for e in found if e.name == "mprotect"][-len(events) - 1 : -1]
    base = calls[0].args[0]
    assert [(int(e.args[0]) - int(base), e.args[1], e.recorded) for e in calls] == events  # type: ignore[arg-type]


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a namespace")
def test_a_segment_of_another_ipc_namespace_is_not_there_and_its_number_is_another_ones(
    tmp_path: Path,
) -> None:
    events, _ = said(
        tmp_path,
        """
libc.shmat.restype = ctypes.c_long
libc.shmat.argtypes = libc.shmdt.argtypes = [ctypes.c_long] * 3
outer = [libc.shmget(0, size, 0o1600) for size in (4096, 8192)]
try:
    pid = os.fork()
    if pid == 0:
        assert libc.unshare(0x08000000) == 0
        assert libc.shmat(outer[1], 0, 0) == -1
        inner = libc.shmget(0, 5 * 4096, 0o1600)
        at = libc.shmat(inner, 0, 0)
        assert at > 0 and libc.shmdt(at, 0, 0) == 0
        again = libc.shmat(inner, 0, 0)
        os._exit(0 if again > 0 else 1)
    assert os.waitpid(pid, 0)[1] == 0
    at = libc.shmat(outer[1], 0, 0)
finally:
    for segment in outer:
        libc.shmctl(segment, 0, 0)
""",
    )
    assert sum(e.name == "shmat" and (e.recorded or 0) > 0 for e in events) == 3


def test_a_pointer_that_io_setup_cannot_use_is_believed(tmp_path: Path) -> None:
    code = """
used = ctypes.c_long(1)
assert libc.syscall(206, 1, 0, 0, 0, 0, 0) == -1
assert libc.syscall(206, 1, ctypes.addressof(used), 0, 0, 0, 0) == -1
"""
    _, text = said(tmp_path, code)
    assert "2 refused by the machine, believed" in text


def test_a_removed_segment_that_is_not_mapped_again_leaves_a_hole(tmp_path: Path) -> None:
    events, _ = said(
        tmp_path,
        """
libc.shmat.restype = ctypes.c_long
libc.shmat.argtypes = libc.shmdt.argtypes = [ctypes.c_long] * 3
segment = libc.shmget(0, 8192, 0o1600)
at = libc.shmat(segment, 0, 0)
libc.shmctl(segment, 0, 0)
assert libc.syscall(216, at, 8192, 0, 0, 0, 0) == -1
assert libc.shmdt(at, 0, 0) == -1
maps()
""",
    )
    assert ("munmap", 0) in {(event.name, event.recorded) for event in events[-8:]}
