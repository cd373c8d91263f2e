"""What `vmatrace audit` prints, kept in files. ``pytest --update-golden`` rewrites them."""

from __future__ import annotations

from pathlib import Path

import pytest
from program import RunProgram, check_golden

HERE = Path(__file__).parent
SMAPS = "tests/golden/audit/mixed.smaps"
PATTERNS = ("tests/golden/audit/patterns.smaps", "-k", "6.12", "--max-map-count", "100")
CASES: dict[str, tuple[str, ...]] = {
    "mixed.6.12.txt": (SMAPS, "-k", "6.12"),
    "mixed.6.18.txt": (SMAPS, "-k", "6.18", "--max-map-count", "1048576"),
    "mixed.txt": (SMAPS,),
    "mixed.6.12.json": (SMAPS, "-k", "6.12", "--format", "json"),
    "mixed.maps.txt": ("tests/golden/audit/mixed.maps", "-k", "6.12"),
    "patterns.txt": PATTERNS,
    "patterns.json": (*PATTERNS, "--format", "json"),
    "patterns.md": (*PATTERNS, "--format", "markdown"),
    "patterns.prom": (*PATTERNS, "--format", "prometheus"),
}


@pytest.mark.parametrize("name", CASES)
def test_audit_is_what_is_kept(name: str, run: RunProgram, request: pytest.FixtureRequest) -> None:
    done = run("audit", *CASES[name], columns=80)
    assert (done.status, done.err) == (1, "")
    check_golden(HERE / name, done.out, request.config.getoption("--update-golden"))


def test_the_page_is_what_is_kept(run: RunProgram, request: pytest.FixtureRequest) -> None:
    """Without its style, its script and its version."""
    page = run("audit", *PATTERNS, "--format", "html").out
    body = page[page.index('<section class="head">') : page.index("Made by vmatrace")]
    lines = body.replace("><", ">\n<")
    check_golden(HERE / "patterns.html", lines, request.config.getoption("--update-golden"))


def test_every_kept_audit_has_a_case() -> None:
    assert {p.name for p in HERE.iterdir() if p.suffix in (".txt", ".json")} <= set(CASES)
