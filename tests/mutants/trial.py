"""What pytest does with mutants: note which test calls what, or try mutants.

A plugin that ``run.py`` loads. Each mutant is tried by a process of its own, forked when everything
is imported and collected: it becomes the mutant and goes on as pytest does, with the tests that
call what is changed, up to the first failure.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Generator
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple

import hypothesis
import pytest
import switch

#: As the sources name it (make.py).
sys.modules["vmatrace.mutant_switch"] = switch
#: Seconds of processor time after which a test hangs, beside ten times what it took; seconds after
#: which all of a mutant's tests do, beside as much.
PATIENCE: Final = 5
PATIENCE_WITH_ALL: Final = 120


class Note(NamedTuple):
    """Of a test: seconds, and the functions that it calls."""

    took: float
    calls: list[str]


_took: Final[dict[str, float]] = {}
_notes: Final[dict[str, Note]] = {}
_failed: Final[set[str]] = set()
#: What a fixture calls is called for each test that has it, also where it was set up for another.
_fixtures: Final[dict[str, set[str]]] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    for option in ("--note", "--try", "--verdicts"):
        parser.addoption(f"{option}-mutants", metavar="FILE", type=Path)
    parser.addoption("--jobs-mutants", type=int, default=1)


def pytest_collection() -> None:
    """One failure is enough: no example is made smaller."""
    idle = (hypothesis.Phase.shrink, hypothesis.Phase.explain)
    phases = [phase for phase in hypothesis.Phase if phase not in idle]
    hypothesis.settings.register_profile(
        "mutants", hypothesis.settings(), phases=phases, database=None
    )
    hypothesis.settings.load_profile("mutants")


def _hangs(_number: int, _frame: FrameType | None) -> None:
    pytest.fail("it hangs")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """A loop without an end fails the test."""
    before = signal.signal(signal.SIGPROF, _hangs)
    signal.setitimer(signal.ITIMER_PROF, PATIENCE + 10 * _took.get(item.nodeid, 60.0))
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
    before = switch.called.copy()
    switch.called.clear()
    try:
        return (yield)
    finally:
        _fixtures.setdefault(fixturedef.argname, set()).update(switch.called)
        switch.called.update(before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    switch.called.clear()
    started = time.perf_counter()
    try:
        return (yield)
    finally:
        names = item.fixturenames if isinstance(item, pytest.Function) else []
        for name in names:
            switch.called.update(_fixtures.get(name, ()))
        took = time.perf_counter() - started
        _notes[item.nodeid] = Note(round(took, 3), sorted(switch.called))


def pytest_collection_finish(session: pytest.Session) -> None:
    """What runs while modules are imported is noted in the name of no test."""
    if switch.NOTING:
        _notes[""] = Note(0, sorted(switch.called))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """What fails without a mutant says nothing of one."""
    if report.failed:
        _failed.add(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    file: Path | None = session.config.getoption("--note-mutants")
    if file:
        passed = {test: note for test, note in _notes.items() if test not in _failed}
        file.write_text(json.dumps(passed), encoding="utf-8")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Try the mutants of the file that is given: JSON, name to seconds by test, in order."""
    file: Path | None = session.config.getoption("--try-mutants")
    if file is None:
        return None
    trials = Trials(session.config.getoption("--verdicts-mutants"))
    items = {item.nodeid: item for item in session.items}
    for name, took in json.loads(file.read_text(encoding="utf-8")).items():
        trials.wait(session.config.getoption("--jobs-mutants") - 1)
        took = {test: seconds for test, seconds in took.items() if test in items}
        if trials.start(name, PATIENCE_WITH_ALL + 10 * sum(took.values())):
            session.items[:] = [items[test] for test in took]
            _took.update(took)
            return None
    trials.wait(0)
    return True


class Trials:
    """The processes that try a mutant, and what they said: one line each, name and exit status."""

    def __init__(self, verdicts: Path) -> None:
        self.verdicts = verdicts
        self.running: dict[int, tuple[str, float]] = {}

    def start(self, name: str, patience: float) -> bool:
        """Whether this is the process that tries *name*, for at most *patience* seconds."""
        if pid := os.fork():
            self.running[pid] = (name, time.monotonic() + patience)
            return False
        os.setsid()
        switch.become(name)
        return True

    def wait(self, most: int) -> None:
        """Until at most *most* are running."""
        while len(self.running) > most:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid in self.running:
                name, _ = self.running.pop(pid)
                with self.verdicts.open("a", encoding="utf-8") as file:
                    print(json.dumps([name, os.waitstatus_to_exitcode(status)]), file=file)
                continue
            for late, (_, end) in self.running.items():
                if time.monotonic() > end:
                    os.killpg(late, signal.SIGKILL)
            time.sleep(0.01)
