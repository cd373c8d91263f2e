"""A trace that another process reads is the same trace: items, errors, notes; and nothing stays."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

import vmatrace
from vmatrace import workers
from vmatrace.diagnostic import TraceError
from vmatrace.event import Event
from vmatrace.trace import ahead
from vmatrace.trace.ahead import ahead as reading_ahead
from vmatrace.trace.file import Item, Trace

ROOT = Path(__file__).parent.parent.parent
#: Traces, and logs of each tracer.
INPUTS = [
    *sorted((ROOT / "traces").rglob("*.yaml"))[::6],
    *sorted((ROOT / "tests/importers").rglob("*.log*")),
]
EVENTS = "vmatrace: 1\nevents:\n" + "  - brk(0)\n" * 3000


@pytest.fixture(autouse=True)
def _at_any_size(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(ahead, "WORTH", 0)
    monkeypatch.setattr(workers, "cores", lambda: 2)
    yield
    assert not multiprocessing.active_children()


def told(item: Item) -> object:
    """Everything that an item holds."""
    return item.__reduce__() if isinstance(item, Event) else item


def read(trace: Trace) -> tuple[list[object], object, str]:
    """The items, what is left to say, and the error."""
    items: list[object] = []
    error = ""
    try:
        items.extend(map(told, trace.items()))
    except TraceError as raised:
        error = str(raised)
    return items, trace.notes, error


def test_what_another_process_reads_is_the_same() -> None:
    assert len(INPUTS) > 70
    for path in INPUTS:
        here = read(vmatrace.open_trace(path))
        trace = vmatrace.open_trace(path)
        with reading_ahead(trace):
            assert read(trace) == here, path


def test_errors_come_after_what_is_before_them(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(EVENTS + "  - munmap(1)\n  - mmap()\n")
    here = read(vmatrace.open_trace(path))
    assert len(here[0]) == 3000
    assert here[2].count(": error: ") == 2
    trace = vmatrace.open_trace(path)
    with reading_ahead(trace):
        assert read(trace) == here


def test_who_stops_early_leaves_no_process(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(EVENTS)
    trace = vmatrace.open_trace(path)
    with reading_ahead(trace):
        items = trace.items()
        next(items)
        assert len(multiprocessing.active_children()) == 1
        del items
        assert not multiprocessing.active_children()


@pytest.mark.parametrize("before", [0, 1, 2500])
def test_a_reader_that_is_killed_loses_nothing(tmp_path: Path, before: int) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(EVENTS)
    trace = vmatrace.open_trace(path)
    with reading_ahead(trace):
        items = trace.items()
        seen = [told(item) for item in islice(items, before)]
        for process in multiprocessing.active_children():
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
        seen += map(told, items)
    assert seen == read(vmatrace.open_trace(path))[0]


def test_without_a_second_core_or_process_it_is_read_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(EVENTS)
    trace = vmatrace.open_trace(path)

    def refused() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refused)
    here = read(vmatrace.open_trace(path))
    with reading_ahead(trace):
        assert read(trace) == here
    monkeypatch.setattr(workers, "cores", lambda: 1)
    with reading_ahead(trace):
        assert read(trace) == here


def test_pipes_and_small_files_are_read_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "WORTH", 4 << 20)
    path = tmp_path / "a.yaml"
    path.write_text(EVENTS)
    trace = vmatrace.open_trace(path)
    unread = trace.read
    with reading_ahead(trace):
        assert trace.read is unread
    monkeypatch.setattr(ahead, "WORTH", 1)
    trace.path = "-"
    with reading_ahead(trace):
        assert trace.read is unread
