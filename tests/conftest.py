"""The fixture that runs the program, and the flag that rewrites the golden files."""

from __future__ import annotations

import signal

import pytest
from program import ROOT, Run, RunProgram

from vmatrace.cli import main


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


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> RunProgram:
    """Run the program in the project's directory, on a pipe; *columns* sets COLUMNS."""
    monkeypatch.chdir(ROOT)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)

    def run_program(*arguments: str, columns: int | None = None) -> Run:
        if columns is not None:
            monkeypatch.setenv("COLUMNS", str(columns))
        status = main(arguments)
        return Run(status, *capsys.readouterr())

    return run_program
