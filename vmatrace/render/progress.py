"""A progress bar on standard error: only on a terminal, and only when a run takes long."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

from vmatrace.escape import visible
from vmatrace.trace.file import Item, Trace

if TYPE_CHECKING:
    from rich.progress import Progress

_Result = TypeVar("_Result")
#: Items between two looks at the clock: some 20 ms of replay.
_BLOCK: Final = 2048
#: Seconds without a bar, and then between two looks of it.
_PATIENCE: Final = 1.0
_PERIOD: Final = 0.1
#: How files of gzip, xz and zstd start.
_PACKED: Final = (b"\x1f\x8b", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")


@contextmanager
def watching(trace: Trace) -> Iterator[None]:
    """Show how far the reading of *trace* has come, when it is read in this context."""
    read = trace.read
    if sys.stderr.isatty():
        trace.read = _watched(trace.path, read)
    try:
        yield
    finally:
        trace.read = read


def _watched(path: str, read: Callable[[], Iterator[Item]]) -> Callable[[], Iterator[Item]]:
    def items() -> Iterator[Item]:
        inner = read()
        bar = _Bar(path)
        try:
            while block := list(islice(inner, _BLOCK)):
                yield from block
                bar.reached(block[-1])
        finally:
            bar.close()

    return items


def counted(results: Iterable[_Result], total: int) -> Iterator[_Result]:
    """*results* as they come, with how many of *total* traces they are; nothing may be printed."""
    progress: Progress | None = None
    due = time.monotonic() + _PATIENCE
    try:
        for number, result in enumerate(results, 1):
            if sys.stderr.isatty() and (now := time.monotonic()) >= due:
                due = now + _PERIOD
                progress = progress or _open(
                    "traces", total, "{task.completed:,} of {task.total:,}"
                )
                progress.update(progress.task_ids[0], completed=number, refresh=True)
            yield result
    finally:
        if progress is not None:
            progress.stop()


@contextmanager
def telling(what: str) -> Iterator[Callable[[str], None]]:
    """A function that shows how far *what* has come, on a terminal, once it takes long."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    due = time.monotonic() + _PATIENCE
    progress: Progress | None = None

    def tell(text: str) -> None:
        nonlocal due, progress
        if (now := time.monotonic()) >= due:
            due = now + _PERIOD
            progress = progress or _open_text()
            progress.update(progress.task_ids[0], description=f"{what}: {text}", refresh=True)

    try:
        yield tell
    finally:
        if progress is not None:
            progress.stop()


def _open_text() -> Progress:
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    progress = Progress(
        TextColumn("{task.description}", markup=False), TimeElapsedColumn(),
        console=Console(stderr=True), transient=True, auto_refresh=False,
    )  # fmt: skip
    progress.add_task("")
    progress.start()
    return progress


def _open(what: str, total: int | None, reached: str) -> Progress:
    """A bar that is shown; *reached* is the format of how far it has come."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    progress = Progress(
        TextColumn("{task.description}", markup=False), BarColumn(),
        TextColumn(reached), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True, auto_refresh=False,
    )  # fmt: skip
    progress.add_task(what, total=total)
    progress.start()
    return progress


class _Bar:
    """Appears after _PATIENCE; measures in lines of the file where that can be counted."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._next = time.monotonic() + _PATIENCE
        self._progress: Progress | None = None

    def reached(self, item: Item) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _PERIOD
        if self._progress is None:
            self._progress = _open(
                visible(self._path), _lines(self._path), "line {task.completed:,}"
            )
        self._progress.update(self._progress.task_ids[0], completed=item.line, refresh=True)

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()


def _lines(path: str) -> int | None:
    """How many lines the file has, None where that cannot be counted: a pipe, a compressed log."""
    try:
        with open(path, "rb") as file:
            if not file.seekable():
                return None
            if file.read(8).startswith(_PACKED):
                return None
            file.seek(0)
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    except OSError:
        return None
