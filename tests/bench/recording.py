"""What recording costs the program that is recorded: its wall time with and without."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from vmatrace.record.session import Session

_PYTHON = os.path.realpath(sys.executable)
#: Short name, label, command, and how seldom it is run for each run asked for.
PROGRAMS = (
    ("python", "start of Python (python3 -c pass)", (_PYTHON, "-c", "pass"), 1),
    ("cpu", "CPU-bound Python", (_PYTHON, "-c", "sum(i * i for i in range(10_000_000))"), 5),
)


def overheads(runs: int) -> Iterator[tuple[str, str, float, float]]:
    """Short name, label, seconds alone, seconds recorded: medians of *runs*, taken by turns."""
    for key, label, command, seldom in PROGRAMS:
        alone, recorded = [], []
        for _ in range(max(3, runs // seldom)):
            alone.append(_seconds(_run, command))
            recorded.append(_seconds(_record, command))
        yield key, label, statistics.median(alone), statistics.median(recorded)


def _seconds(work: Callable[[tuple[str, ...]], None], command: tuple[str, ...]) -> float:
    start = time.perf_counter()
    work(command)
    return time.perf_counter() - start


def _run(command: tuple[str, ...]) -> None:
    subprocess.run(command, check=True)


def _record(command: tuple[str, ...]) -> None:
    session = Session("post-patch")
    session.command(command, ksm=False)
    session.spool.close()
