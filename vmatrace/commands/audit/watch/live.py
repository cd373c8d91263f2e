"""Sampling a process: read, kept, shown, until it exits, enough are taken, or Ctrl-C."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from vmatrace.commands.audit import snapshot as snapshots
from vmatrace.commands.audit.question import DEFAULT_MAX_MAP_COUNT
from vmatrace.commands.audit.snapshot import (
    EmptyError,
    ForbiddenError,
    GoneError,
    TornError,
    open_snapshot,
)
from vmatrace.commands.audit.watch import words
from vmatrace.commands.audit.watch.question import forecast_of
from vmatrace.commands.audit.watch.samples import About, Sample, Samples
from vmatrace.diagnostic import Diagnostic
from vmatrace.printable import Printable
from vmatrace.render.streams import on

if TYPE_CHECKING:
    from rich.live import Live

    from vmatrace.render.paper import Paper

#: Reading takes no more of the time than this part: the process waits for its map meanwhile.
_MOST: Final = 0.1
#: Samples that are so many seconds further apart than was asked for are worth a word.
_LATE: Final = 1.0


def about(pid: int) -> About:
    """Who is sampled. Raises TraceError."""
    return About(pid, snapshots.process_name(pid), started(pid), os.uname().release)


def started(pid: int) -> int:
    """When a process started, in ticks since the boot: field 22 of /proc/PID/stat."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        path = f"/proc/{pid}/smaps"
        raise GoneError([Diagnostic(path, 0, 0, "there is no such process")]) from None


def watch(
    samples: Samples, every: float, count: int | None, limit: int | None, quiet: bool
) -> bool:
    """Take samples each *every* seconds, *count* of them; whether Ctrl-C ended it.

    *quiet*: nothing is shown. The process exiting is an end like any other; before the first
    sample it is a TraceError.
    """
    begun = time.monotonic()
    taken = 0
    stretched = False
    with _interruptible() as stopped, _shown(quiet) as show:
        while True:
            try:
                sample = _sample(samples, limit)
            except (GoneError, EmptyError, ForbiddenError) as error:
                if not samples.taken:
                    raise
                left = isinstance(error, ForbiddenError)
                show.say(f"{samples.about.pid} {'may not be read any more' if left else 'exited'}")
                return False
            taken += 1
            if sample is not None:
                show.sample(samples)
            if taken == count:
                return False
            pause = max(every, samples.taken[-1].took / _MOST)
            if pause > every + _LATE and not stretched:
                stretched = True
                _say_stretched(samples.taken[-1].took, pause)
            begun += pause * max(-(-(time.monotonic() - begun) // pause), 1)
            if stopped(max(begun - time.monotonic(), 0)):
                return True


def _sample(samples: Samples, limit: int | None) -> Sample | None:
    """One sample; None where the map changed each time that it was read. Raises TraceError."""
    pid = samples.about.pid
    at, begun = time.time(), _in_kernel()
    try:
        snapshot = open_snapshot(pid)
    except TornError:
        if not samples.taken:
            raise
        return None
    if started(pid) != samples.about.started:
        raise GoneError([Diagnostic(f"/proc/{pid}/smaps", 0, 0, "there is no such process")])
    took = _in_kernel() - begun
    limit = limit or snapshots.max_map_count() or DEFAULT_MAX_MAP_COUNT
    return samples.add(snapshot, at, took, limit)


def _in_kernel() -> float:
    """Seconds that this process has been in the kernel: what the one that is read may wait for."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_stime


def _say_stretched(took: float, pause: float) -> None:
    """Say that samples are further apart than was asked for."""
    click.echo(
        f"vmatrace: note: reading takes {took:.2g} s of the kernel, so a sample is taken each "
        f"{pause:.2g} s",
        err=True,
    )


@contextmanager
def _interruptible() -> Iterator[Callable[[float], bool]]:
    """What waits so many seconds and says whether Ctrl-C ended that, which ends nothing else.

    So no sample is written by half. The signal is blocked and asked for: a handler runs anywhere,
    also within a lock that it needs.
    """
    if threading.current_thread() is not threading.main_thread():
        yield _slept
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield _waited
    finally:
        _waited(0)  # pressed since, which changes nothing any more
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _slept(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _waited(seconds: float) -> bool:
    return signal.sigtimedwait({signal.SIGINT}, seconds) is not None


class _Nothing:
    """Samples are not shown: standard output is for the answer."""

    def sample(self, samples: Samples) -> None:
        """See _Lines."""

    def say(self, text: str) -> None:
        """See _Lines."""


class _Lines:
    """A line for each sample: for a pipe, and a file."""

    def sample(self, samples: Samples) -> None:
        """The last sample, and what changed since the one before."""
        last = samples.taken[-1]
        before = samples.taken[-2] if len(samples.taken) > 1 else last
        percent = 100 * last.vmas / last.max_map_count
        grown = [
            f"{name} {now - then:+d}"
            for name, now, then in _changes(before.patterns, last.patterns)
        ]
        said = words.limit(forecast_of(samples.taken))
        text = f"{words.time(last.at)}  {last.vmas} VMAs  {percent:.1f}%  "
        self.say(text + f"{last.vmas - before.vmas:+d}  " + "  ".join([said, *grown]))

    def say(self, text: str) -> None:
        """Write a line at once."""
        on(sys.stdout).line(text)
        sys.stdout.flush()


def _changes(before: dict[str, int], now: dict[str, int]) -> list[tuple[str, int, int]]:
    """Patterns whose count changed, the most first."""
    pairs = [(name, now.get(name, 0), before.get(name, 0)) for name in {**before, **now}]
    changed = [pair for pair in pairs if pair[1] != pair[2]]
    return sorted(changed, key=lambda pair: (-abs(pair[1] - pair[2]), pair[0]))


class _State(Printable):
    """What a terminal shows after a sample."""

    shown_by = "vmatrace.commands.audit.watch.live:write_live"

    def __init__(self, samples: Samples) -> None:
        self.samples = samples


def write_live(paper: Paper, state: _State) -> None:
    """The state so far, and how it ends."""
    from vmatrace.commands.audit.watch.as_table import write_state

    samples = state.samples
    write_state(paper, samples.about, samples.taken, samples.cuts.ratchets())
    paper.line(("Ctrl-C ends with a summary", "quiet"))


class _Screen:
    """The state in place of the one before it."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def sample(self, samples: Samples) -> None:
        """Draw the state."""
        self._live.update(_State(samples), refresh=True)

    def say(self, text: str) -> None:
        """The summary comes, and says more."""


@contextmanager
def _shown(quiet: bool) -> Iterator[Any]:
    """Where samples are shown: a terminal, or lines, or nowhere."""
    if quiet:
        yield _Nothing()
        return
    if not sys.stdout.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(), auto_refresh=False, transient=True) as live:
        yield _Screen(live)
