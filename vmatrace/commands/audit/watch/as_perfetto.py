"""A series as a trace of Perfetto (ui.perfetto.dev): counters of a process over its time.

Time 0 is that of the first sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TextIO

from vmatrace.commands.audit.patternwords import PATTERNS
from vmatrace.commands.audit.watch.question import VmaSeries
from vmatrace.commands.audit.watch.samples import Sample
from vmatrace.commands.form import Each, Form
from vmatrace.commands.report import perfettowire
from vmatrace.commands.report.plot import in_scale

SUFFIXES: Final = (".pftrace", ".perfetto-trace")
#: Nanoseconds of a second.
_SECOND: Final = 1_000_000_000
_PROCESS, _LIMIT = 1, 2


def form(out: TextIO, count: int) -> Form[VmaSeries]:
    """The trace of the one series. Raises ValueError for several, and on a terminal."""
    if count != 1:
        raise ValueError("--format perfetto takes one file of samples")
    if out.isatty():
        raise ValueError("--format perfetto is binary (expected -o FILE, or a pipe)")
    return Each(out, write)


def write(out: TextIO, found: VmaSeries) -> None:
    """Write the trace of *found*."""
    out.flush()
    out.buffer.writelines(_packets(found))


def _packets(found: VmaSeries) -> Iterator[bytes]:
    there = {name for sample in found.samples for name in sample.patterns}
    patterns = [name for name in PATTERNS if name in there]
    highest = max(sample.vmas for sample in found.samples)
    near = in_scale(max(sample.max_map_count for sample in found.samples), highest)
    names = ["VMAs", "mergeable VMAs", *(PATTERNS[name].title for name in patterns)]
    yield perfettowire.head()
    title = f"{found.about.pid} {found.about.process}".rstrip()
    yield perfettowire.process(_PROCESS, found.about.pid, title)
    for rank, name in enumerate(["max_map_count", *names], _LIMIT):
        shared = near or rank != _LIMIT
        yield perfettowire.counter(_PROCESS, rank, rank, name, "VMAs", shared)
    said = [-1] * (len(names) + 1)
    for sample in found.samples:
        at = max(round((sample.at - found.samples[0].at) * _SECOND), 0)
        values = _values(sample, patterns)
        for rank, (value, before) in enumerate(zip(values, said, strict=True), _LIMIT):
            if value != before:
                yield perfettowire.counted(at, rank, value)
        said = values


def _values(sample: Sample, patterns: list[str]) -> list[int]:
    counts = (sample.patterns.get(name, 0) for name in patterns)
    return [sample.max_map_count, sample.vmas, sample.mergeable, *counts]
