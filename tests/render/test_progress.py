"""The progress bar changes nothing, and is only there on a terminal."""

from __future__ import annotations

import io
import sys

import pytest
from program import ROOT, exhibit

from vmatrace.render import progress
from vmatrace.trace.file import TraceError, load_trace


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _long_run(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> None:
    """Standard error is *stream*, and every run is a long one."""
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)


def test_the_items_are_the_same_under_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    _long_run(monkeypatch, terminal := Terminal())
    trace = load_trace(ROOT / exhibit("ksm-many-maps"))
    plain = [repr(item) for item in trace.items()]
    with progress.watching(trace):
        assert [repr(item) for item in trace.items()] == plain
    assert "ksm-many-maps" in terminal.getvalue()


def test_after_the_run_the_trace_is_read_without_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    _long_run(monkeypatch, Terminal())
    trace = load_trace(ROOT / exhibit("ksm-many-maps"))
    read = trace.read
    with progress.watching(trace):
        assert trace.read is not read
    assert trace.read is read


def test_no_bar_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    _long_run(monkeypatch, stream := io.StringIO())
    trace = load_trace(ROOT / exhibit("ksm-many-maps"))
    with progress.watching(trace):
        trace.validate()
    assert stream.getvalue() == ""


def test_no_bar_for_short_work(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    trace = load_trace(ROOT / exhibit("brk-refused"))
    with progress.watching(trace):
        trace.validate()
    assert stream.getvalue() == ""


def test_an_error_passes_through_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    _long_run(monkeypatch, Terminal())
    trace = load_trace(b"vmatrace: 1\nevents:\n  - munmap(0, 4096)\n  - nonsense\n", "-")
    with progress.watching(trace), pytest.raises(TraceError, match="-:4:"):
        trace.validate()
