"""The fixture that runs the program, the flag that rewrites the golden files, what CI may skip."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Generator
from typing import Final, TypeVar

import pytest
from hypothesis import settings
from program import ROOT, Run, RunProgram
from sysctls import ALONE, beside_others

from vmatrace.cli import main

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

#: What a machine may truly lack, as the reason of a skip says it. In CI (a variable CI that is not
#: empty) any other skip is a failure: what else a test needs, ``.ci/run`` installs.
MAY_LACK: Final = (
    r"the whole suite runs without root",
    r"the switches of ksmd are for root",
    # A trace that this machine would have to be set up for.
    r"it wants vm\.\w+=\d+, this machine has \d+",
    r"it starts with a layout of its own \(maps:\), which no new process has",
    r"its process\.\w+ 0x[0-9a-f]+ cannot be set here \(PR_SET_MM: EPERM\)",
    r"\S+: no writable directory on \w+ here \(the temporary directory is on \w+\)",
    r"\S+: of drivers with only \.mmap, /dev/zero is at hand",
)

# A deadline asks how busy the machine is. Failures are kept where that can be written.
WRITABLE: Final = os.access(ROOT, os.W_OK)
settings.register_profile(
    "vmatrace", deadline=None, database=settings().database if WRITABLE else None
)
settings.load_profile("vmatrace")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return no_skip_in_ci((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return no_skip_in_ci((yield))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    with beside_others(alone=ALONE in item.keywords):
        return (yield)


def no_skip_in_ci(report: Report) -> Report:
    """*report*, in CI a failure if it is a skip for a reason that is no excuse."""
    if os.environ.get("CI") and report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not any(re.fullmatch(excuse, reason) for excuse in MAY_LACK):
            report.outcome = "failed"
            report.longrepr = f"skipped in CI: {reason}"
    return report


def pytest_configure() -> None:
    """A job in the background ignores signals, and so would what tests start and interrupt."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite tests/golden from what is printed now"
    )


@pytest.fixture(autouse=True)
def _no_wishes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed is what nobody wished otherwise, here and in what a test starts."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> RunProgram:
    """Run the program in the project's directory, on a pipe; *columns* sets COLUMNS."""
    monkeypatch.chdir(ROOT)

    def run_program(*arguments: str, columns: int | None = None) -> Run:
        if columns is not None:
            monkeypatch.setenv("COLUMNS", str(columns))
        status = main(arguments)
        return Run(status, *capsys.readouterr())

    return run_program
