"""The examples of the README and of docs/: every command is run, and prints what the page says.

Of every page, from top to bottom, in a folder of its own:

* a ```yaml, ```toml or ```ini block starts with a comment that is a file's name, and is that file;
  a block that is no file is marked otherwise (```yml, ```text, ```sh);
* in a ```console block a line that starts with "$ " is a command, and the lines below it are what
  it prints, on a pipe, 80 columns wide; a line "[...]" stands for any number of lines. `pytest
  --update-golden` rewrites what is printed, but where lines are left out.

A page is run once, whichever of its examples is asked for first.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from program import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w./-]+\.\w+)\n")
_FILES = ("yaml", "toml", "ini")


class Example(NamedTuple):
    """A command and the text that it is said to print, or a file (*command* is empty)."""

    command: str
    text: str
    file: str = ""


def commands(block: str) -> list[Example]:
    """The commands of a ```console block."""
    found: list[Example] = []
    for line in block.splitlines(keepends=True):
        if line.startswith("$ "):
            found.append(Example(line[2:].rstrip("\n"), ""))
        else:
            command, text, _ = found.pop()
            found.append(Example(command, text + line))
    return found


def examples(page: Path) -> list[Example]:
    """Files and commands in the order of the page."""
    found: list[Example] = []
    for kind, block in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == "console":
            found += commands(block)
        elif kind in _FILES:
            name = _FILE.match(block)
            assert name is not None, f"{page}: a {kind} block names its file: {block[:40]}"
            found.append(Example("", block, name[1]))
    return found


CASES = [
    pytest.param(page, place, id=f"{page.relative_to(ROOT)}: {example.command}")
    for page in PAGES
    for place, example in enumerate(examples(page))
    if example.command
]


def shows(expected: str, printed: str) -> bool:
    """Whether *expected*, in which "[...]" stands for any lines, is what was printed."""
    parts = [re.escape(part) for part in re.split(r"^\[\.\.\.\]\n", expected, flags=re.MULTILINE)]
    return re.fullmatch(r"(?:.*\n)*?".join(parts), printed) is not None


def run_page(page: Path, folder: Path) -> list[str]:
    """What each of the page's examples prints ("" for a file), in *folder*."""
    found = examples(page)
    if not any(example.file.startswith("traces/") for example in found):
        (folder / "traces").symlink_to(ROOT / "traces")
    path = os.environ["PATH"]
    programs = folder / ".bin"
    programs.mkdir()
    make = f"make -s --no-print-directory -C {ROOT} -o .venv/.installed BIN={programs}"
    runs = {"python": sys.executable, "vmatrace": f"{sys.executable} -m vmatrace", "make": make,
            "pytest": f"{sys.executable} -m pytest -p no:cacheprovider -p no:randomly"}  # fmt: skip
    for name, program in runs.items():
        (programs / name).write_text(f'#!/bin/sh\nPATH=$OLD_PATH exec {program} "$@"\n')
        (programs / name).chmod(0o755)
    environment = {
        "PATH": f"{programs}:{path}",
        "OLD_PATH": path,
        "PYTHONPATH": str(ROOT),
        "PYTHONIOENCODING": "utf-8",
        "COLUMNS": "80",
    }
    printed = []
    for example in found:
        if example.file:
            (folder / example.file).parent.mkdir(parents=True, exist_ok=True)
            (folder / example.file).write_text(example.text, encoding="utf-8")
            printed.append("")
            continue
        done = subprocess.run(
            ["sh", "-c", example.command], cwd=folder, env=environment, check=False, text=True,
            encoding="utf-8", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        printed.append(done.stdout)
    return printed


def updated(page: Path, printed: list[str]) -> str:
    """The page's text with what its commands printed, but where lines are left out."""
    text, place = page.read_text(encoding="utf-8"), 0
    for example, now in zip(examples(page), printed, strict=True):
        if example.command:
            line = f"$ {example.command}\n"
            place = text.index(line + example.text, place) + len(line)
            said = example.text if "[...]" in example.text else now
            text = text[:place] + said + text[place + len(example.text) :]
            place += len(said)
    return text


@pytest.fixture(scope="session")
def outcome(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Path], list[str]]:
    """What the examples of a page print; with --update-golden, written into the page."""
    done: dict[Path, list[str]] = {}

    def outcome(page: Path) -> list[str]:
        if page not in done:
            done[page] = run_page(page, tmp_path_factory.mktemp("page"))
            if request.config.getoption("--update-golden"):
                page.write_text(updated(page, done[page]), encoding="utf-8")
        return done[page]

    return outcome


@pytest.mark.parametrize(("page", "place"), CASES)
def test_an_example_prints_what_the_page_says(
    outcome: Callable[[Path], list[str]], page: Path, place: int
) -> None:
    printed = outcome(page)[place]
    assert shows(examples(page)[place].text, printed), printed
