"""The progress bar changes nothing, and is only there on a terminal."""

from __future__ import annotations

import io
import re
import sys
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace

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


# --- what is shown, and when ----------------------------------------------------------------------


def screen(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """What a terminal of 60 columns has shown, without escapes; a clock that ticks 1/16 s a look.

    What is shown is all there is: no thread draws anything beside.
    """
    ticks = count()
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(ticks) / 16))
    for name, value in {"COLUMNS": "60", "TERM": "xterm", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    threads = threading.active_count()

    def read() -> list[str]:
        assert threading.active_count() == threads
        text = re.sub(r"\d:\d\d:\d\d|-:--:--", "TIME", terminal.getvalue())
        return [re.sub(r" +", " ", part) for part in re.split(r"\r?\x1b\[[0-9?]*[A-Zlh]|\n", text)]

    return read


def test_traces_are_counted_from_a_second_on_ten_times_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = screen(monkeypatch)
    drawn = [shown() for _ in progress.counted(range(23), 4000)]
    assert drawn[:15] == [[""]] * 15
    assert drawn[15] == drawn[16] == [
        "", "traces 0 of 4,000 TIME", "traces 16 of 4,000 TIME",
    ]  # fmt: skip
    assert drawn[22][-4:] == [f"traces {n} of 4,000 TIME" for n in (16, 18, 20, 22)]
    assert shown()[-5:] == ["traces 22 of 4,000 TIME", "", "", "", ""]


def test_what_is_told_stands_behind_what_it_is_of(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = screen(monkeypatch)
    with progress.telling("[b]work") as tell:
        for number in range(1, 21):
            tell(f"{number} of [i]20")
            if number == 15:
                assert shown() == [""]
    assert shown()[1] == " TIME"
    assert [part for part in shown() if part.startswith("[")] == [
        f"[b]work: {n} of [i]20 TIME" for n in (16, 18, 20, 20)
    ]
    assert shown()[-1] == ""


def test_a_trace_says_its_lines_and_how_many_there_are_to_come(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shown = screen(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(progress, "_BLOCK", 10)
    Path("[b]\x1b.yaml").write_text("vmatrace: 1\nevents:\n" + "- brk(0)\n" * 198)
    trace = load_trace("[b]\x1b.yaml")
    with progress.watching(trace):
        assert len(list(trace.items())) == 198
    lines = [part for part in shown() if part]
    assert [re.sub("[━╸╺ ]+", " ", line) for line in lines] == [
        f"[b]\\x1b.yaml line {n} TIME" for n in (0, 162, 182, 200, 200)
    ]
    # Of a bar of 26 columns as much as of the lines.
    bars = [line.count("━") for line in lines]
    assert bars[0] == 0
    assert bars[-1] == max(bars)
    assert round(max(bars) * 162 / 200) == pytest.approx(bars[1], abs=1)


def test_an_error_passes_through_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    _long_run(monkeypatch, Terminal())
    trace = load_trace(b"vmatrace: 1\nevents:\n  - munmap(0, 4096)\n  - nonsense\n", "-")
    with progress.watching(trace), pytest.raises(TraceError, match="-:4:"):
        trace.validate()
