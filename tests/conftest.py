"""What tests of the whole program share: running it in this process, and the golden flag."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from vmatrace.cli import main

ROOT = Path(__file__).parent.parent
EXHIBITS = sorted(path.stem for path in (ROOT / "traces").glob("*.yaml"))


class Run(NamedTuple):
    """What a run of the program did."""

    status: int
    out: str
    err: str


RunProgram = Callable[..., Run]


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


def exhibit(name: str) -> str:
    """The path of an exhibit, relative to the project."""
    return f"traces/{name}.yaml"
