"""Threads that write while others split and merge what they write to: each recording is exact."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from program import LIMIT

from live.test_record import ENVIRONMENT, PYTHON, RECORD, await_tracer, record

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
        p[PAGE * (rand_r(&seed) % (size[k] / PAGE))] = 1;
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
            p[size[k] - 1] = 1;
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
result = libc.epoll_wait(descriptor, events, 1, 1500)
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
