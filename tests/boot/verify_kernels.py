"""`make verify-kernels`: exhibits, recordings and random programs on each kernel in the cache.

    python tests/boot/verify_kernels.py [--events N] [--jobs J] [--seed S] [RELEASE...]

One row for each kernel; below, what was not exact. Exit status 1 if anything was not.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kernel_images import Image, images

from vmatrace.kernels import Kernel
from vmatrace.oracle import KernelDied, Machine
from vmatrace.oracle.boot import BootedKernel
from vmatrace.trace.file import load_trace
from vmatrace.verify import campaign, findings, verdict
from vmatrace.verify.campaign import Campaign
from vmatrace.verify.recording import Recording

ROOT = Path(__file__).parents[2]
_EVENTS_OF_PROGRAM = 40
_HEAD = ("kernel", "model", "boot s", "exhibits", "skipped", "recorded", "random", "events/s")


@dataclass
class Row:
    """What became of one kernel. ``wrong`` are lines about what was not exact."""

    release: str
    model: str = ""
    boot: float = 0.0
    exhibits: int = 0
    skipped: int = 0
    recorded: int = 0
    random: int = 0
    rate: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def cells(self) -> tuple[str, ...]:
        """The columns of _HEAD."""
        return (
            self.release, self.model, f"{self.boot:.1f}", str(self.exhibits), str(self.skipped),
            f"{self.recorded:,}", f"{self.random:,}", f"{self.rate:,.0f}",
        )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="make verify-kernels")
    parser.add_argument("releases", nargs="*")
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", default=secrets.token_hex(4))
    asked = parser.parse_args()
    here = [image for image in images() if image.path.exists()]
    chosen = [i for i in here if not asked.releases or i.release in asked.releases]
    if not chosen:
        sys.exit("no such kernel image in the cache (make kernels)")
    write(_HEAD)
    rows = []
    for image in chosen:
        rows.append(verify(image, asked.events, asked.jobs, asked.seed))
        write(rows[-1].cells())
    for row in rows:
        for line in row.wrong:
            sys.stdout.write(f"{row.release}: {line}\n")
    return 1 if any(row.wrong for row in rows) else 0


def write(cells: tuple[str, ...]) -> None:
    """One line of the table."""
    first, second, *numbers = cells
    sys.stdout.write(f"{first:<9} {second:<24.24}" + "".join(f"{n:>10}" for n in numbers) + "\n")
    sys.stdout.flush()


def verify(image: Image, events: int, jobs: int, seed: str) -> Row:
    """All three on one kernel."""
    row = Row(image.release)
    began = time.monotonic()
    try:
        with BootedKernel(str(image.path)) as machine:
            row.boot = time.monotonic() - began
            model = findings.look(machine).kernel
            row.model = model.name
            exhibits(row, model, machine)
            recordings(row, model)
            random_programs(row, model, machine, events, jobs, seed)
            row.wrong += machine.warnings
    except KernelDied as died:
        row.wrong += [f"the kernel {died.how}", *died.console]
    return row


def exhibits(row: Row, model: Kernel, machine: Machine) -> None:
    """The traces of the exhibition."""
    for path in sorted((ROOT / "traces").glob("*.yaml")):
        outcome = verdict.verify(load_trace(path), model, machine)
        row.exhibits += outcome.word == "exact"
        row.skipped += outcome.word == "skipped"
        if outcome.differs:
            row.wrong.append(f"traces/{path.name}: {outcome.word} after {outcome.events} events")


def recordings(row: Row, model: Kernel) -> None:
    """What was recorded of this release."""
    for path in recorded(row.release):
        for trace, played in Recording(str(path)).traces():
            outcome = verdict.replay(trace, model, played)
            row.recorded += outcome.events
            if outcome.differs:
                row.wrong.append(f"{path.name}: {trace.name} differs at event {outcome.events + 1}")


def recorded(release: str) -> Iterator[Path]:
    """The recordings of *release* in format 2."""
    for path in sorted((ROOT / "tests" / "recorded").glob("*.jsonl.xz")):
        if path.name.startswith((f"{release}-", f"{release}.jsonl")):
            if path.name == f"{release}.jsonl.xz":
                continue  # format 1: no layouts outside a window, so nothing to play
            yield path


def random_programs(
    row: Row, model: Kernel, machine: BootedKernel, events: int, jobs: int, seed: str
) -> None:
    """At least *events* of random programs."""
    programs = -(-events // _EVENTS_OF_PROGRAM)
    task = Campaign(seed, programs, _EVENTS_OF_PROGRAM, model, None, machine.image, machine.release)
    total = campaign.Total(task)
    for tally in campaign.run(task, machine, jobs):
        total.add(tally)
    row.random, row.rate = total.events, total.events / total.seconds if total.seconds else 0.0
    if total.failed is not None:
        row.wrong.append(f"random program {total.failed} is not exact: {task.command()}")


if __name__ == "__main__":
    sys.exit(main())
