"""What ``vmatrace report`` prints, kept in files. ``pytest --update-golden`` rewrites them."""

from __future__ import annotations

from pathlib import Path

import pytest
from program import RunProgram, check_golden, exhibit

HERE = Path(__file__).parent

CASES: dict[str, tuple[str, ...]] = {
    "ksm-many-maps.txt": (exhibit("ksm-many-maps"),),
    "ksm-many-maps.no-ksm.txt": (exhibit("ksm-many-maps"), "--no-ksm"),
    "ksm-many-maps.json": (exhibit("ksm-many-maps"), "--format", "json"),
    "ksm-reserve-and-commit.txt": (
        exhibit("ksm-reserve-and-commit"), "--from", "6.12", "--to", "6.18.44",
    ),
    "several-processes.txt": (exhibit("several-processes"),),
    "several-processes.ksm.json": (exhibit("several-processes"), "--ksm", "--format", "json"),
    "max-map-count-hole.txt": (exhibit("max-map-count-hole"),),
    "two.txt": (exhibit("ksm-brk-growth"), exhibit("file-opened-twice")),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_output_is_what_is_kept(name: str, run: RunProgram, request: pytest.FixtureRequest) -> None:
    done = run("report", *CASES[name], columns=80)
    assert (done.status, done.err) == (0, "")
    if name.endswith(".txt"):
        assert max(len(line) for line in done.out.splitlines()) <= 80
    check_golden(HERE / name, done.out, request.config.getoption("--update-golden"))


def test_every_kept_file_has_a_case() -> None:
    kept = {path.name for path in HERE.iterdir() if path.suffix in (".txt", ".json")}
    assert kept == set(CASES)
