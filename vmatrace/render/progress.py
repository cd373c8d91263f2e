"""A progress bar on standard error: only on a terminal, and only when a run takes long."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Final

from vmatrace.render.paper import visible
from vmatrace.trace import Item, Trace

if TYPE_CHECKING:
    from rich.progress import Progress

#: Items between two looks at the clock: some 20 ms of replay.
_BLOCK: Final = 2048
#: Seconds without a bar, and then between two looks of it.
_PATIENCE: Final = 1.0
_PERIOD: Final = 0.1


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
            self._progress = self._open()
        self._progress.update(self._progress.task_ids[0], completed=item.line, refresh=True)

    def _open(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        progress = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(),
            TextColumn("line {task.completed:,}"), TimeRemainingColumn(),
            console=Console(stderr=True), transient=True, auto_refresh=False,
        )  # fmt: skip
        progress.add_task(visible(self._path), total=_lines(self._path))
        progress.start()
        return progress

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()


def _lines(path: str) -> int | None:
    """How many lines the file has, None where it is no file that can be read again."""
    try:
        with open(path, "rb") as file:
            if not file.seekable():
                return None
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    except OSError:
        return None
