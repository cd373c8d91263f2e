"""What tests of the whole program share: a run of it, and where the exhibits are."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parent.parent
EXHIBITS: Final = sorted(path.stem for path in (ROOT / "traces").glob("*.yaml"))
MEASURED: Final = sorted((ROOT / "tests" / "measured").glob("*.yaml"))
#: Seconds after which a test gives up what hangs. No test asks how long something takes: on a busy
#: machine anything may take a minute.
LIMIT: Final = 300


class Run(NamedTuple):
    """What a run of the program did."""

    status: int
    out: str
    err: str


#: The fixture ``run``: arguments, and ``columns`` for COLUMNS.
RunProgram = Callable[..., Run]


def exhibit(name: str) -> str:
    """The path of an exhibit, relative to the project."""
    return f"traces/{name}.yaml"


def await_that(condition: Callable[[], bool]) -> None:
    """Return as soon as *condition* holds; an AssertionError where it does not come to that."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"not so after {LIMIT} s"
        time.sleep(0.01)


def check_golden(kept: Path, out: str, update: bool) -> None:
    """*out* is what the file *kept* holds; with *update* it is written there."""
    if update:
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(out, encoding="utf-8")
    assert out == kept.read_text(encoding="utf-8"), "rewrite with: pytest --update-golden"
