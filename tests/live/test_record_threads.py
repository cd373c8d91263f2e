"""Threads that write while others split and merge what they write to: each recording is exact."""

from __future__ import annotations

import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from program import LIMIT

from live.test_record import ENVIRONMENT, PYTHON, RECORD, await_tracer, record
from vmatrace import abi
from vmatrace.event import Event
from vmatrace.trace.file import load_trace

#: One thread writes to the first page of an area at some time around the other's mprotect() of the
#: second. Only if it was before, the third has the same anon_vma, and all are one VMA again.
SPLITS = """
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
enum { PAGE = 4096, TIMES = 150, RW = PROT_READ | PROT_WRITE, ANON = MAP_PRIVATE | MAP_ANONYMOUS };
static _Atomic(char *) area;
static atomic_int done;
static void *write_to_first(void *a) {
    for (int i = 0; i < TIMES; i++) {
        char *p;
        while (!(p = area)) ;
        area = 0;
        for (volatile int wait = 0; wait < i * 800; wait++) ;
        p[0] = done = 1;
    }
    return a;
}
int main(void) {
    pthread_t thread;
    char *p = mmap((void *)0x200000000000, TIMES * 8 * PAGE, PROT_NONE, ANON, -1, 0);
    pthread_create(&thread, 0, write_to_first, 0);
    for (int i = 0; i < TIMES; i++, p += 8 * PAGE) {
        mmap(p, 3 * PAGE, RW, ANON | MAP_FIXED, -1, 0);
        area = p;
        mprotect(p + PAGE, PAGE, PROT_READ);
        while (!done) ;
        done = 0;
        p[2 * PAGE] = 1;
        mprotect(p + PAGE, PAGE, RW);
    }
    pthread_join(thread, 0);
    return 0;
}
"""
#: Four threads with areas side by side, where the kernel places them.
CHURN = """
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
enum { PAGE = 4096, AREAS = 8, RW = PROT_READ | PROT_WRITE, ANON = MAP_PRIVATE | MAP_ANONYMOUS };
static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
static void write_to(char *p) {
    /* A call lies between any two writes: else nobody sees which was first. */
    pthread_mutex_lock(&one);
    madvise(p, PAGE, MADV_NORMAL);
    *p = 1;
    pthread_mutex_unlock(&one);
}
static void *work(void *a) {
    unsigned seed = (unsigned)(long)a;
    char *area[AREAS] = {0};
    size_t size[AREAS];
    for (int i = 0; i < 300; i++) {
        int k = rand_r(&seed) % AREAS, next = rand_r(&seed) % 6, kept = rand_r(&seed) % 2;
        if (area[k]) {
            munmap(area[k], size[k]);
            area[k] = 0;
            if (kept) continue;
        }
        size[k] = PAGE * (2 + rand_r(&seed) % 7);
        char *p = mmap(0, size[k], RW, ANON, -1, 0);
        write_to(p + PAGE * (rand_r(&seed) % (size[k] / PAGE)));
        if (next < 2) {
            pid_t child = fork();
            if (child == 0) _exit(0);
            waitpid(child, 0, 0);
        } else if (next == 2) {
            mprotect(p, PAGE, PROT_READ);
        } else if (next == 3) {
            mprotect(p + size[k] - PAGE, PAGE, PROT_NONE);
        } else if (next == 4) {
            madvise(p, size[k], MADV_DONTFORK);
            madvise(p, size[k], MADV_DOFORK);
        } else {
            p = mremap(p, size[k], size[k] * 2, MREMAP_MAYMOVE);
            size[k] *= 2;
            write_to(p + size[k] - PAGE);
        }
        area[k] = p;
    }
    return a;
}
int main(void) {
    pthread_t threads[4];
    for (long i = 0; i < 4; i++) pthread_create(&threads[i], 0, work, (void *)(i + 4));
    for (int i = 0; i < 4; i++) pthread_join(threads[i], 0);
    return 0;
}
"""
#: Four threads that do nothing but map and unmap, COUNT times each.
MAPS = """
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
static void *work(void *a) {
    for (int i = 0; i < COUNT; i++) {
        size_t size = 4096 * (1 + i % 60);
        char *p = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memset(p, 1, size);
        munmap(p, size);
    }
    return a;
}
int main(void) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], 0, work, 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], 0);
    return 0;
}
"""
#: Calls of munmap() that are refused, and one that is not.
REFUSED = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
size, number = ctypes.c_size_t, ctypes.c_int
libc.mmap.argtypes = [size, size, number, number, number, ctypes.c_long]
libc.munmap.argtypes = [size, size]
libc.syscall.argtypes = [ctypes.c_long, size, size, size]
area = libc.mmap(0, 8 * 4096, 3, 0x22, -1, 0)
sealed = libc.syscall(462, area, 4096, 0) == 0
for address, length in ((area, 8192), (area + 4096, 0), (area + 1, 4096), (area, 1 << 63)):
    libc.munmap(address, length)
libc.munmap(area + 4096, 4096)
print("sealed" if sealed else "no mseal()")
"""
#: Memory that is lent the anon_vma of a VMA beside it, which then goes.
LENT = """
import ctypes
libc = ctypes.CDLL(None)
size, number = ctypes.c_size_t, ctypes.c_int
libc.mmap.argtypes = [size, size, number, number, number, ctypes.c_long]
libc.munmap.argtypes = [size, size]
libc.mprotect.argtypes = [size, size, number]
def at(page):
    return 0x200000000000 + page * 4096
def place(page, pages):
    libc.mmap(at(page), pages * 4096, 3, 0x32, -1, 0)
place(0, 8)
ctypes.memset(at(0), 1, 1)
libc.mprotect(at(4), 2 * 4096, 1)
libc.munmap(at(6), 2 * 4096)
place(6, 2)
ctypes.memset(at(6), 1, 1)
libc.munmap(at(4), 2 * 4096)
place(4, 2)
"""
#: Waits in a call that the kernel does not make again by itself when it is interrupted.
WAITS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
descriptor, events = libc.epoll_create1(0), ctypes.create_string_buffer(64)
print("waits", flush=True)
result = libc.epoll_wait(descriptor, events, 1, 5000)
print(result, os.strerror(ctypes.get_errno()) if result < 0 else "")
"""


def compiled(tmp_path: Path, source: str) -> str:
    compiler = shutil.which("cc")
    assert compiler is not None, "a C compiler (Debian: apt install gcc libc6-dev)"
    (tmp_path / "program.c").write_text(source, encoding="ascii")
    command = (compiler, "-O2", "-pthread", "-o", "program", "program.c")
    subprocess.run(command, cwd=tmp_path, check=True)
    return "./program"


@pytest.mark.parametrize("ksm", [(), ("--ksm",)], ids=["plain", "ksm"])
@pytest.mark.parametrize("source", [SPLITS, CHURN], ids=["splits", "churn"])
def test_what_threads_write_during_the_calls_of_others_is_on_the_right_side_of_them(
    tmp_path: Path, source: str, ksm: tuple[str, ...]
) -> None:
    done = record(tmp_path, compiled(tmp_path, source), options=("--check", *ksm))
    assert done.returncode == 0, done.stderr
    assert "check: exact" in done.stderr


def test_what_was_lent_an_anon_vma_keeps_it_when_the_lender_goes(tmp_path: Path) -> None:
    done = record(tmp_path, PYTHON, "-S", "-c", LENT)
    assert "check: exact" in done.stderr, done.stderr
    trace = (tmp_path / "trace.yaml").read_text(encoding="utf-8")
    lent = re.search(r"fault\(0x200000006000,.*", trace)
    gone = re.search(r"munmap\(0x200000004000,.*", trace)
    assert lent is not None
    assert gone is not None
    assert lent.start() < gone.start()


def misplaced(trace: str) -> list[str]:
    """The mappings that the kernel would have placed higher, had all before them been made before.

    Of one process: anonymous memory that is small, with the place left to the kernel.
    """
    lines = trace.partition("events:")
    borders = re.findall(r"^  ([0-9a-f]+)-([0-9a-f]+) .*", lines[0], re.MULTILINE)
    mapped = sorted((int(start, 16), int(end, 16)) for start, end in borders)
    stack = mapped[-1][0] if mapped[-1][0] < 1 << 47 else mapped[-2][0]
    mapped = [area for area in mapped if area[1] < stack - (1 << 27)]
    wrong = []
    for line in lines[2].splitlines():
        call = re.match(r"  - (mmap|munmap)\((\w+), (0x\w+).* = (\w+)$", line)
        if call is None:
            continue
        size = int(call[3], 16) + 4095 & -4096
        start = int(call[4 if call[1] == "mmap" else 2], 16)
        if call[1] == "mmap" and call[2] == "NULL" and start < mapped[-1][1]:
            gaps = ((low[1], high[0]) for low, high in pairwise(mapped))
            fitting = [high for low, high in gaps if high - low >= size]
            if fitting and fitting[-1] != start + size:
                wrong.append(line)
        parts = [part for area in mapped for part in ((area[0], min(area[1], start)),
                 (max(area[0], start + size), area[1])) if part[0] < part[1]]  # fmt: skip
        mapped = sorted([*parts, (start, start + size)] if call[1] == "mmap" else parts)
    return wrong


def test_where_the_kernel_placed_what_tells_that_the_order_is_the_real_one(tmp_path: Path) -> None:
    done = record(tmp_path, compiled(tmp_path, MAPS.replace("COUNT", "300")))
    assert "check: exact" in done.stderr, done.stderr
    trace = (tmp_path / "trace.yaml").read_text(encoding="utf-8")
    assert trace.count("munmap(") > 1200
    assert misplaced(trace) == []


@pytest.mark.parametrize("after", ["0.05", "0.1", "0.15", "0.2"])
def test_a_call_that_a_killed_program_did_not_make_is_not_recorded(
    tmp_path: Path, after: str
) -> None:
    program = compiled(tmp_path, MAPS.replace("COUNT", "1000000"))
    done = record(tmp_path, "timeout", "-s", "KILL", after, program)
    assert "check: exact" in done.stderr, done.stderr


def test_unmapping_that_is_refused_is_recorded_with_its_result(tmp_path: Path) -> None:
    done = record(tmp_path, PYTHON, "-S", "-c", REFUSED)
    assert "check: exact" in done.stderr, done.stderr
    events = [e for e in load_trace(tmp_path / "trace.yaml").items() if isinstance(e, Event)]
    unmapped = [event for event in events if event.name == "munmap"]
    first = next(i for i, event in enumerate(unmapped) if event.args[1] == 0) - 1
    results = [event.recorded for event in unmapped[first : first + 5]]
    sealed = 0 if "no mseal()" in done.stdout else -abi.EPERM
    assert results == [sealed, *3 * [-abi.EINVAL], 0]


def test_no_call_fails_because_its_thread_was_stopped(tmp_path: Path) -> None:
    with subprocess.Popen((PYTHON, "-c", WAITS), stdout=subprocess.PIPE, text=True) as waits:
        assert waits.stdout is not None
        assert waits.stdout.readline() == "waits\n"
        recorder = subprocess.Popen(
            (*RECORD, "-o", "trace.yaml", "-p", str(waits.pid)), cwd=tmp_path, env=ENVIRONMENT,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        await_tracer(waits.pid)
        assert waits.communicate(timeout=LIMIT)[0] == "0 \n"
        assert recorder.wait(LIMIT) == 0
