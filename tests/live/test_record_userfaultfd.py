"""userfaultfds from their making to their end, which no call of a trace announces.

Each program is recorded and replayed to what the kernel showed (--check).
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from program import LIMIT

from live.test_record import PYTHON, Running, await_tracer, work
from live.test_record_refusals import said
from live.test_record_unharmed import HEAD
from vmatrace.event import Event
from vmatrace.trace.file import load_trace

pytestmark = [
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of calls"),
    pytest.mark.skipif(os.geteuid() != 0, reason="events of userfaultfd are for root alone"),
]

USERFAULTFD = """
import struct
libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]
libc.mremap.argtypes = [ctypes.c_size_t] * 3 + [ctypes.c_int, ctypes.c_size_t]
libc.mremap.restype = ctypes.c_long
def ask(fd, request, *words):
    buffer = (ctypes.c_uint64 * 4)(*words)
    return libc.ioctl(fd, request, ctypes.addressof(buffer))
def make(features=0, flags=0o2004000):
    fd = libc.syscall(323, flags, 0, 0, 0, 0, 0)
    assert ask(fd, 0xC018AA3F, 0xAA, features) == 0
    return fd
def register(fd, start, pages=2, mode=2):
    assert ask(fd, 0xC020AA00, start, 4096 * pages, mode) == 0
def area(pages=8):
    return libc.mmap(0, 4096 * pages, 3, 0x22, -1, 0)
def read_events(fd):
    # Another process does: a fork waits for it, and Python with it.
    import select
    pid = os.fork()
    if pid:
        os.close(watch[0]), os.close(answer[1])
        return
    os.close(watch[1]), os.close(answer[0])
    poll, children = select.poll(), []
    poll.register(fd, 1), poll.register(watch[0], 1)
    while True:
        for ready, _ in poll.poll():
            if ready == watch[0]:
                if not os.read(ready, 1):
                    os._exit(0)
                poll.unregister(children[0]), os.close(children[0])
                os.write(answer[1], b'!')
                continue
            try:
                message = os.read(ready, 32)
            except BlockingIOError:
                continue
            if message[0] == 0x13:
                children.append(struct.unpack_from('<I', message, 8)[0])
                poll.register(children[-1], 1)
watch, answer = os.pipe(), os.pipe()
"""
CLOSED = """
a, fd = area(), make()
register(fd, a)
os.close(fd)
maps()
"""
DUPLICATED = """
a, fd = area(), make()
register(fd, a)
other = os.dup(fd)
os.close(fd)
maps()
os.close(other)
maps()
fd = make()  # the same number, another userfaultfd
register(fd, a + 4096 * 4)
maps()
"""
INHERITED = """
a, fd = area(), make(flags=0o4000)
register(fd, a)
gate = os.pipe()
pid = os.fork()
if pid == 0:
    os.read(gate[0], 1)
    os._exit(0)
os.close(fd)
maps()
os.write(gate[1], b'!')
os.waitpid(pid, 0)
maps()
"""
EXECUTED = """
a, fd = area(), make(flags=0o4000 | 0o2000000 * KEPT)
register(fd, a)
began, stay = os.pipe(), os.pipe()
pid = os.fork()
if pid == 0:
    os.dup2(stay[0], 0)
    os.execv('/bin/cat', ['cat'])
os.close(began[1])
os.read(began[0], 1)  # execve() closes the other end
os.close(fd)
maps()
os.close(stay[1])
os.waitpid(pid, 0)
maps()
"""
ELSEWHERE = """
import socket
a, ends = area(), socket.socketpair()
pid = os.fork()
if pid == 0:
    _, fds, _, _ = socket.recv_fds(ends[1], 1, 1)
    ask(fds[0], 0x8010AA01, a + 4096, 4096)  # it is about the memory of the parent
    libc.mmap(a + 8 * 4096, 4096, 3, 0x32, -1, 0)
    os.close(fds[0])
    ends[1].send(b'!')
    ends[1].recv(1)
    os._exit(0)
fd = make()
register(fd, a, 4)
socket.send_fds(ends[0], [b'!'], [fd])
os.close(fd)
ends[0].recv(1)
maps()
ends[0].send(b'!')
os.waitpid(pid, 0)
"""
FORKS = """
a, fd = area(), make(2)
read_events(fd)
register(fd, a)
register(fd, a + 4096 * 4)
pid = os.fork()
if pid == 0:
    maps()
    libc.mremap(a, 4096, 4096, 3, a + 4096 * 6)
    second = os.fork()
    if second == 0:
        maps()
        os._exit(0)
    os.waitpid(second, 0)
    os._exit(0)
os.waitpid(pid, 0)
maps()
"""
CHILD_RELEASED = """
a, fd = area(), make(2)
read_events(fd)
register(fd, a)
pid = os.fork()
if pid == 0:
    maps()
    os.write(watch[1], b'!')
    os.read(answer[0], 1)
    maps()
    os._exit(0)
os.waitpid(pid, 0)
"""
MOVES = """
a, fd = area(), make(FEATURES)
read_events(fd)
register(fd, a)
libc.mremap(a, 4096, 4096, 3, a + 4096 * 6)
maps()
os.close(make(FEATURES))
maps()
"""


@pytest.mark.parametrize(
    ("code", "closes"),
    [(CLOSED, 1), (DUPLICATED, 1), (INHERITED, 1), (EXECUTED.replace("KEPT", "0"), 1),
     (EXECUTED.replace("KEPT", "1"), 1), (ELSEWHERE, 1), (FORKS, 0),
     (MOVES.replace("FEATURES", "0"), 1), (MOVES.replace("FEATURES", "4"), 1)],
    ids=["closed", "duplicated", "inherited", "executed", "closed by exec", "elsewhere", "forks",
         "moves", "moves and is told"],
)  # fmt: skip
def test_a_userfaultfd_is_followed_to_its_end(tmp_path: Path, code: str, closes: int) -> None:
    events, _ = said(tmp_path, USERFAULTFD + code)
    names = [event.name for event in events]
    assert names.count("close") == closes
    assert "ioctl" in names


def test_that_of_a_child_ends_for_the_child_alone(tmp_path: Path) -> None:
    events, _ = said(tmp_path, USERFAULTFD + CHILD_RELEASED)
    assert [event.pid == "main" for event in events if event.name == "close"] == [False]


def test_an_ioctl_of_another_file_is_no_event(tmp_path: Path) -> None:
    events, _ = said(tmp_path, USERFAULTFD + "assert ask(1, 0xC018AA3F, 0xAA, 0) == -1")
    assert "ioctl" not in {event.name for event in events}


#: Registers the second and third of eight pages, and at the second line closes the descriptors. The
#: pages touch no other memory: which anon_vmas that shares cannot be seen.
EARLY = """
fds = [make({features}) for _ in range({count})]
a = libc.mmap(0, 16 * 4096, 0, 0x22, -1, 0) + 4 * 4096
assert libc.mmap(a, 8 * 4096, 3, 0x32, -1, 0) == a
register(fds[0], a + 4096)
for line in sys.stdin:
    maps()
    if line == 'close\\n':
        [os.close(fd) for fd in fds]
        libc.mmap(a, 4096, 1, 0x32, -1, 0)
    print('worked', flush=True)
"""


@pytest.mark.parametrize(
    ("count", "features", "why"),
    [(1, 0, "check: exact"), (1, 0x42, "check: exact"), (2, 0, "several userfaultfds from before")],
)
def test_one_that_was_made_before_is_found_at_its_process(
    tmp_path: Path, count: int, features: int, why: str
) -> None:
    code = EARLY.format(features=features, count=count)
    with subprocess.Popen(
        (PYTHON, "-S", "-c", HEAD + USERFAULTFD + code), stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    ) as other:  # fmt: skip
        work(other)
        running = Running(tmp_path, "-p", str(other.pid))
        await_tracer(other.pid)
        work(other)
        assert other.stdin is not None
        other.stdin.write("close")
        work(other)
        work(other)
        _, _, err = running.end(signal.SIGINT)
        assert why in err
        other.communicate(timeout=LIMIT)
    events = [e for e in load_trace(tmp_path / "trace.yaml").items() if isinstance(e, Event)]
    assert [event.name for event in events].count("close") == (count == 1)
