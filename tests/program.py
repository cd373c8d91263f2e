"""What tests of the whole program share: a run of it, and where the exhibits are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parent.parent
EXHIBITS: Final = sorted(path.stem for path in (ROOT / "traces").glob("*.yaml"))
MEASURED: Final = sorted((ROOT / "tests" / "measured").glob("*.yaml"))


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


def check_golden(kept: Path, out: str, update: bool) -> None:
    """*out* is what the file *kept* holds; with *update* it is written there."""
    if update:
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(out, encoding="utf-8")
    assert out == kept.read_text(encoding="utf-8"), "rewrite with: pytest --update-golden"
