"""What `vmatrace audit` prints, kept in files. ``pytest --update-golden`` rewrites them."""

from __future__ import annotations

from pathlib import Path

import pytest
from program import RunProgram, check_golden

HERE = Path(__file__).parent
SMAPS = "tests/golden/audit/mixed.smaps"
CASES: dict[str, tuple[str, ...]] = {
    "mixed.6.12.txt": (SMAPS, "-k", "6.12"),
    "mixed.6.18.txt": (SMAPS, "-k", "6.18", "--max-map-count", "1048576"),
    "mixed.txt": (SMAPS,),
    "mixed.6.12.json": (SMAPS, "-k", "6.12", "--format", "json"),
    "mixed.maps.txt": ("tests/golden/audit/mixed.maps", "-k", "6.12"),
}


@pytest.mark.parametrize("name", CASES)
def test_audit_is_what_is_kept(name: str, run: RunProgram, request: pytest.FixtureRequest) -> None:
    done = run("audit", *CASES[name], columns=80)
    assert (done.status, done.err) == (1, "")
    check_golden(HERE / name, done.out, request.config.getoption("--update-golden"))


def test_every_kept_audit_has_a_case() -> None:
    assert {p.name for p in HERE.iterdir() if p.suffix in (".txt", ".json")} == set(CASES)
