"""The README's examples: every command in it is run, and prints what the README says it prints.

A ```yaml block whose first line is a comment with a file's name is that file. In a ```console block
a line that starts with "$ " is a command unless the command before it printed it too; the lines
behind it are what it prints, and a line "[...]" stands for any number of lines. --update-golden
rewrites what is printed, but where lines are left out, which is done by hand.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vmatrace.commands.replay.forms import Printer
from vmatrace.kernels import get_kernel
from vmatrace.replayer.run import Replay, replay
from vmatrace.trace.file import load_trace

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def examples() -> list[tuple[str, str]]:
    """Each command with the text that it is said to print."""
    found: list[tuple[str, str]] = []
    for block in blocks("console"):
        for line in block.splitlines(keepends=True):
            made = bool(found) and found[-1][0] == "make run" and block.startswith("$ make run")
            if line.startswith("$ ") and not made:
                found.append((line[2:].rstrip("\n"), ""))
            else:
                command, output = found.pop()
                found.append((command, output + line))
    return found


def shows(expected: str, printed: str) -> bool:
    parts = [re.escape(part) for part in re.split(r"^\[\.\.\.\]\n", expected, flags=re.MULTILINE)]
    return re.fullmatch(r"(?:.*\n)*?".join(parts), printed) is not None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the README's files, traces/, and commands that run this tree."""
    folder = tmp_path_factory.mktemp("readme")
    for block in blocks("yaml"):
        name = re.match(r"# ([\w.-]+\.yaml)\n", block)
        assert name is not None, "a yaml block names its file"
        (folder / name[1]).write_text(block, encoding="utf-8")
    (folder / "traces").symlink_to(ROOT / "traces")
    commands = folder / "bin"
    commands.mkdir()
    make = f"make -s --no-print-directory -C {ROOT} -o .venv/.installed BIN={commands}"
    for command, runs in (("vmatrace", f"{sys.executable} -m vmatrace"), ("make", make)):
        (commands / command).write_text(f'#!/bin/sh\nPATH=$OLD_PATH exec {runs} "$@"\n')
        (commands / command).chmod(0o755)
    return folder


@pytest.mark.parametrize(("command", "expected"), examples(), ids=[c for c, _ in examples()])
def test_an_example_prints_what_the_readme_says(
    request: pytest.FixtureRequest, folder: Path, command: str, expected: str
) -> None:
    path = os.environ["PATH"]
    environment = {
        "PATH": f"{folder / 'bin'}:{path}",
        "OLD_PATH": path,
        "PYTHONPATH": str(ROOT),
        "PYTHONIOENCODING": "utf-8",
    }
    done = subprocess.run(
        ["sh", "-c", command], cwd=folder, env=environment, check=False, text=True,
        encoding="utf-8", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if request.config.getoption("--update-golden") and "[...]" not in expected:
        said = README.read_text(encoding="utf-8")
        block = f"$ {command}\n"
        README.write_text(said.replace(block + expected, block + done.stdout), encoding="utf-8")
    else:
        assert shows(expected, done.stdout), done.stdout


def test_each_yaml_example_is_a_trace_that_holds_under_the_kernels_it_names(folder: Path) -> None:
    for model in ("pre-patch", "post-patch", "6.12", "6.18"):
        for name in ("first.yaml", "everything.yaml"):
            result = replay(load_trace(folder / name), get_kernel(model))
            assert (result.failures, result.divergences) == ([], []), (model, name)


def test_every_field_in_the_json_table_is_in_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    mapping = "mmap(0x10000, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)"
    wrong = f"['{mapping}', 'munmap(0x10000, 0) = 0', {{expect: {{vmas: 2}}}}]"
    trace = load_trace(f"vmatrace: 1\nevents: {wrong}\n".encode())
    section = TEXT.split("## Output for programs")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.*`.*?) \| (.*) \|$", section, re.MULTILINE)
    kernel = get_kernel("post-patch")
    Printer("json", sys.stdout).write(trace, Replay(trace, kernel).run(), Replay(trace, kernel))
    printed = capsys.readouterr().out
    fields = re.findall(r"`([a-z_]+)`", " ".join(f"{row} {what}" for row, what in rows))
    assert len(fields) > 30
    assert [field for field in fields if f'"{field}":' not in printed] == []


def test_every_module_in_the_map_of_the_house_exists() -> None:
    house = TEXT.split("## The house")[1].split("## ")[0]
    names = re.findall(r"^ +(\w+(?:\.py|/)) ", house, re.MULTILINE)
    assert len(names) > 10
    for name in names:
        places = [ROOT / "vmatrace" / name, ROOT / "vmatrace" / "engine" / name]
        assert any(place.exists() for place in places), name
