"""What ``vmatrace check`` prints, kept in files. ``pytest --update-golden`` rewrites them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from program import RunProgram, check_golden, exhibit

HERE = Path(__file__).parent
MIXED = "tests/golden/check/mixed.yaml"
FAILING = "tests/golden/failing.yaml"
NONE = "tests/golden/check/none.yaml"
GOOD = exhibit("ksm-adjacent-anon")

CASES: dict[str, tuple[int, tuple[str, ...]]] = {
    "mixed.txt": (1, (MIXED, GOOD, exhibit("mremap-unfaulted-between-faulted-unfaulted"))),
    "mixed.models.txt": (1, (MIXED, GOOD, "-k", "6.4", "-k", "pre-patch")),
    "mixed.json": (1, (MIXED, GOOD, "--format", "json")),
    "mixed.github": (1, (MIXED, GOOD, "--format", "github")),
    "mixed.ktap": (1, (MIXED, GOOD, "--format", "ktap")),
    "mixed.csv": (1, (MIXED, GOOD, "--format", "csv")),
    "mixed.gitlab.json": (1, (MIXED, GOOD, "--format", "gitlab")),
    "mixed.sarif": (1, (MIXED, GOOD, "--format", "sarif")),
    "mixed.xml": (1, (MIXED, GOOD, "--junit", "-")),
    "error.txt": (2, (GOOD, NONE, MIXED)),
    "error.github": (2, (GOOD, NONE, "--format", "github")),
    "error.ktap": (2, (GOOD, NONE, "--format", "ktap")),
    "error.csv": (2, (GOOD, NONE, "--format", "csv")),
    "error.gitlab.json": (2, (GOOD, NONE, "--format", "gitlab")),
    "error.sarif": (2, (GOOD, NONE, "--format", "sarif")),
    "error.xml": (2, (GOOD, NONE, "--junit", "-")),
}


@pytest.mark.parametrize("name", CASES)
def test_output_is_what_is_kept(name: str, run: RunProgram, request: pytest.FixtureRequest) -> None:
    status, arguments = CASES[name]
    done = run("check", *arguments, columns=80)
    assert done.status == status
    assert done.err == (
        f"{NONE}: error: cannot be read: No such file or directory\n" * (status == 2)
    )
    out = done.out
    if name.endswith(".xml"):
        out = re.sub(r'(time|timestamp|hostname)="[^"]*"', r'\1="..."', out)
    if name.endswith(".txt"):
        assert max(len(line) for line in out.splitlines()) <= 80
    check_golden(HERE / name, out, request.config.getoption("--update-golden"))


def test_every_kept_file_has_a_case() -> None:
    kept = {path.name for path in HERE.iterdir() if path.suffix not in (".py", ".yaml")}
    assert kept - {"__pycache__"} == set(CASES)
