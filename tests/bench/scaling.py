"""`make scaling`: one command over many traces, by one and two processes, and workers of a cluster.

    python tests/bench/scaling.py [--traces N] [--runs R]

Medians of R runs, after one that is not counted, and each as a ratio to one process. The cluster
is one of Dask on this machine, so its figures are those of sharing out, not of a network.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distributed import LocalCluster

ROOT = Path(__file__).parents[2]
#: A real program's, which each of the traces is a copy of.
TRACE = ROOT / "traces" / "programs" / "git.yaml"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make scaling")
    parser.add_argument("--traces", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(asked.traces):
            Path(folder, f"{number:06}.yaml").write_bytes(TRACE.read_bytes())
        first = _row(folder, asked, "1 process", "--jobs", "1")
        _row(folder, asked, "2 processes", "--jobs", "2", against=first)
        for workers in (1, 2):
            with _cluster(workers) as address:
                name = f"{workers} {'worker' if workers == 1 else 'workers'}"
                for scheme, how in (("dask", ""), ("dask+send", ", sent")):
                    _row(folder, asked, name + how, "--on", f"{scheme}:{address}", against=first)
    return 0


def _row(
    folder: str, asked: argparse.Namespace, name: str, *options: str, against: float | None = None
) -> float:
    """Measure, print, and return the median in seconds."""
    times = [_run(folder, *options) for _ in range(asked.runs + 1)][1:]
    middle = statistics.median(times)
    ratio = "" if against is None else f"  {against / middle:.2f} times as fast"
    sys.stdout.write(f"{name:<18} {middle:7.2f} s  {asked.traces / middle:8,.0f} traces/s{ratio}\n")
    sys.stdout.flush()
    return middle


def _run(folder: str, *options: str) -> float:
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "vmatrace", "diff", folder, *options],
        stdout=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert done.returncode == 1, "the two models differ on this trace"
    return time.perf_counter() - began


@contextmanager
def _cluster(workers: int) -> Iterator[str]:
    make: Any = LocalCluster
    with make(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None
    ) as found:
        yield found.scheduler_address


if __name__ == "__main__":
    sys.exit(main())
