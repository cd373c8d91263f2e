"""What recording costs: the whole of a run, and the program inside it, beside strace's.

A program is run by a driver that times it, and all of that alone, recorded, and under strace, by
turns. So the time inside is that of the program, without the start of the tracer.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_PYTHON = os.path.realpath(sys.executable)
_RECORD = (sys.executable, "-m", "vmatrace", "record", "-o", "trace.yaml", "--")
_STRACE = ("strace", "-f", "--seccomp-bpf", "-e", "trace=%memory,%process", "-o", "strace.log")
#: Runs the command in its arguments, and writes how many seconds that took.
_DRIVER = """
import subprocess, sys, time
start = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
with open("seconds", "w") as out:
    out.write(str(time.perf_counter() - start))
"""
_THREADS = """
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
static void *work(void *a) {
    for (int i = 0; i < 500; i++) {
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
_UNIT = "".join(f"int f{i}(int a) {{ return a * {i} + (a > {i} ? f{i - 1}(a - 1) : 1); }}\n"
                for i in range(1, 60))  # fmt: skip
_MAKE = "all: a.o b.o c.o d.o\n%.o: %.c\n\tcc -O2 -w -c -o $@ $<\n"
_CHILDREN = "i=0; while [ $i -lt 200 ]; do (:); i=$((i+1)); done"


class Overhead(NamedTuple):
    """Medians in seconds: all of the run, and the program inside it. None without strace."""

    key: str
    label: str
    alone: float
    inside_alone: float
    recorded: float
    inside: float
    inside_strace: float | None


def overheads(runs: int) -> Iterator[Overhead]:
    """Of each program, medians of *runs*, taken by turns."""
    with tempfile.TemporaryDirectory() as folder:
        for key, label, command, seldom in _programs(Path(folder)):
            yield _measured(key, label, command, Path(folder), max(3, runs // seldom))


def _programs(folder: Path) -> Iterator[tuple[str, str, tuple[str, ...], int]]:
    """Short name, label, command, and how seldom it is run for each run asked for."""
    yield "python", "python -c pass", (_PYTHON, "-c", "pass"), 1
    yield "cpu", "python, CPU-bound", (_PYTHON, "-c", "sum(i * i for i in range(10**7))"), 5
    yield "children", "shell with 200 children", ("sh", "-c", _CHILDREN), 2
    if shutil.which("cc") is None:
        return
    (folder / "threads.c").write_text(_THREADS, encoding="ascii")
    subprocess.run(["cc", "-O2", "-pthread", "-o", "threads", "threads.c"], cwd=folder, check=True)
    yield "threads", "4 threads that map and unmap", ("./threads",), 1
    if shutil.which("make") is not None:
        (folder / "Makefile").write_text(_MAKE, encoding="ascii")
        for name in "abcd":
            (folder / f"{name}.c").write_text("int f0(int a);\n" + _UNIT, encoding="ascii")
        yield "make", "make -B -j2, 4 files", ("make", "-B", "-j2"), 3


def _measured(
    key: str, label: str, command: tuple[str, ...], folder: Path, runs: int
) -> Overhead:  # fmt: skip
    ways: dict[str, tuple[str, ...]] = {"alone": (), "recorded": _RECORD}
    if shutil.which("strace") is not None:
        ways["strace"] = _STRACE
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(runs):
        for way, before in ways.items():
            times[way].append(_run(folder, (*before, _PYTHON, "-S", "-c", _DRIVER, *command)))
    middle = {
        way: [statistics.median(column) for column in zip(*each, strict=True)]
        for way, each in times.items()
    }
    inside_strace = middle["strace"][1] if "strace" in middle else None
    (alone, inside_alone), (recorded, inside) = middle["alone"], middle["recorded"]
    return Overhead(key, label, alone, inside_alone, recorded, inside, inside_strace)


def _run(folder: Path, command: tuple[str, ...]) -> tuple[float, float]:
    """Seconds of the whole, and of the program inside."""
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stderr=subprocess.DEVNULL,
                   env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})  # fmt: skip
    whole = time.perf_counter() - start
    return whole, float((folder / "seconds").read_text(encoding="ascii"))


def main() -> None:
    """The table alone, as Markdown; the argument is how many runs."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    out = sys.stdout
    out.write(
        "| program | alone | record, whole | inside | strace inside |\n|---|---|---|---|---|\n"
    )
    for each in overheads(runs):
        alone, strace = each.inside_alone, each.inside_strace
        beside = "-" if strace is None else f"{strace / alone:.1f}"
        out.write(
            f"| {each.label} | {1000 * alone:.0f} ms | {each.recorded / each.alone:.1f} "
            f"| {each.inside / alone:.1f} | {beside} |\n"
        )
        out.flush()


if __name__ == "__main__":
    main()
