"""The pre-commit hook: which files it is given, and what it says of them.

The manifest was run with pre-commit itself (`pre-commit try-repo`, and as a `repo:` of a scratch
repository with good, failing and broken traces and other YAML), which takes a minute and PyPI. Here
its parts are used as pre-commit uses them: the entry split and called with the files.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml12
from program import EXHIBITS, ROOT, RunProgram, exhibit

#: What pre-commit's manifest format requires of a hook.
REQUIRED = {"id", "name", "entry", "language"}


def hook() -> dict[str, Any]:
    (only,) = yaml12.read((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert set(only) >= REQUIRED
    return dict(only)


def test_the_hook_is_given_yaml_wherever_it_is_and_leaves_other_yaml_alone(
    run: RunProgram, tmp_path: Path
) -> None:
    assert hook()["types"] == ["yaml"]
    assert "files" not in hook()
    _, *arguments = shlex.split(hook()["entry"])
    others = [".mkdocs.yml", ".github/ISSUE_TEMPLATE/bug.yml", ".pre-commit-hooks.yaml"]
    done = run(*arguments, *others)
    assert (done.status, done.out.partition(",")[0]) == (0, "0 traces")
    (tmp_path / "chart.yaml").write_text("{{ template }}\nx: [\n")  # broken, and not ours
    others.append(str(tmp_path / "chart.yaml"))
    done = run(*arguments, *others, exhibit(EXHIBITS[0]))
    assert (done.status, done.err) == (0, "")
    (tmp_path / "x.yaml").write_text("vmatrac: 1\nevents: []\n")
    assert run(*arguments, *others, str(tmp_path / "x.yaml")).status == 2


@pytest.mark.parametrize(("expected", "status"), [("1", 0), ("2", 1), ("x", 2)])
def test_the_hook_fails_when_a_trace_does(
    run: RunProgram, tmp_path: Path, expected: str, status: int
) -> None:
    (tmp_path / "a.yaml").write_text(
        "vmatrace: 1\nevents:\n  - mmap(0x10000, 4096, 0, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)\n"
        f"  - expect: {{vmas: {expected}}}\n"
    )
    program, *arguments = shlex.split(hook()["entry"])
    assert program == "vmatrace"
    assert run(*arguments, exhibit(EXHIBITS[0]), str(tmp_path / "a.yaml")).status == status
