"""A progress bar on standard error: only on a terminal, and only when a run takes long."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

from vmatrace.trace import Item, Trace

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

#: Items between two looks at the clock: some 20 ms of replay.
_BLOCK: Final = 2048
#: Seconds without a bar.
_PATIENCE: Final = 1.0


def watch(trace: Trace) -> None:
    """Show how far the reading of *trace* is, each time that it is read."""
    if sys.stderr.isatty():
        trace.read = _watched(trace.path, trace.read)


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
        self._show_from = time.monotonic() + _PATIENCE
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def reached(self, item: Item) -> None:
        if self._progress is None:
            if time.monotonic() < self._show_from:
                return
            self._open()
        assert self._progress is not None
        assert self._task is not None
        line = item.line
        self._progress.update(self._task, completed=line, refresh=True)

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(),
            TextColumn("line {task.completed:,}"), TimeRemainingColumn(),
            console=Console(stderr=True), transient=True, auto_refresh=False,
        )  # fmt: skip
        self._task = self._progress.add_task(self._path, total=_lines(self._path))
        self._progress.start()

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
