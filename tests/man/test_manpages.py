"""A man page for each command, with all that its --help says, and installed with the package."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest
from program import ROOT, RunProgram

sys.path.insert(0, str(ROOT / "tests" / "man"))
from manpages import pages

PAGES = pages()


def words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z0-9_]{2,}", text)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_what_help_says(run: RunProgram, name: str) -> None:
    command = name.removesuffix(".1").split("-", 1)[1:]
    said = run(*command, "--help", columns=400).out
    printed = PAGES[name].replace("\\-", "-").replace("\\e", "\\")
    headings = {"usage", "options", "commands"}
    missing = set(words(said.lower())) - set(words(printed.lower()))
    assert missing <= headings


@pytest.mark.parametrize("name", PAGES)
def test_troff_has_no_complaint(name: str) -> None:
    if shutil.which("groff") is None:
        return
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z"], input=PAGES[name], text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_every_command_has_a_page_that_is_installed() -> None:
    there = {path.name for path in (ROOT / "docs" / "man").glob("*.1")}
    assert there == set(PAGES), "make man writes them"
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert '"share/man/man1" = ["docs/man/*.1"]' in project
