"""What `vmatrace diff` prints, kept in files. ``pytest --update-golden`` rewrites them."""

from __future__ import annotations

from pathlib import Path

import pytest
from program import RunProgram, check_golden, exhibit

HERE = Path(__file__).parent
_ADJACENT = exhibit("ksm-adjacent-anon")
_SEVERAL = (exhibit("droppable"), exhibit("ksm-forked-heap"), exhibit("ksm-fill-the-hole"))

CASES: dict[str, tuple[str, ...]] = {
    "ksm-adjacent-anon.txt": (_ADJACENT,),
    "ksm-adjacent-anon.steps.txt": (_ADJACENT, "--steps"),
    "ksm-adjacent-anon.json": (_ADJACENT, "--format", "json"),
    "ksm-adjacent-anon.across.txt": (_ADJACENT, "--across", "6.4..6.18"),
    "ksm-brk-unmergeable-tail.txt": (exhibit("ksm-brk-unmergeable-tail"),),
    "ksm-many-maps.txt": (exhibit("ksm-many-maps"),),
    "ksm-private-ext4.txt": (exhibit("ksm-private-ext4"), "--from", "6.4", "--to", "6.18"),
    "placement.txt": (
        exhibit("placement-huge-page-alignment"), "--from", "6.6", "--to", "6.7"
    ),
    "accounting.steps.txt": (
        exhibit("accounting-round-trip"), "--from", "6.6", "--to", "6.7", "--steps"
    ),
    "snapshot.txt": (_ADJACENT, "--to", "tests/golden/diff/snapshot.maps"),
    "several.txt": _SEVERAL,
    "several.md": (*_SEVERAL, "--format", "markdown"),
    "several.csv": (*_SEVERAL, "--format", "csv"),
    "several.gitlab.json": (*_SEVERAL, "--format", "gitlab"),
    "several.sarif": (*_SEVERAL, "--format", "sarif"),
    "several.github": (*_SEVERAL, "--format", "github", "--steps"),
    "across.txt": (exhibit("exec-keeps-ksm"), "--across", "6.4..6.18"),
    "across.json": (exhibit("exec-keeps-ksm"), "--across", "6.4..6.18", "--format", "json"),
    "across.csv": (*_SEVERAL, "--across", "6.4..6.18", "--format", "csv"),
    "across.md": (*_SEVERAL, "--across", "6.4..6.18", "--format", "markdown"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_output_is_what_is_kept(name: str, run: RunProgram, request: pytest.FixtureRequest) -> None:
    out = run("diff", *CASES[name], columns=80).out
    check_golden(HERE / name, out, request.config.getoption("--update-golden"))


@pytest.mark.parametrize("name", [name for name in CASES if name.endswith(".txt")])
def test_a_table_fits_80_columns(name: str) -> None:
    assert max(map(len, (HERE / name).read_text(encoding="utf-8").splitlines())) <= 80


def test_every_kept_file_has_a_case() -> None:
    kept = {path.name for path in HERE.iterdir() if path.is_file()}
    assert kept - {Path(__file__).name} == {*CASES, "snapshot.maps"}
