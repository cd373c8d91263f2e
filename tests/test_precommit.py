"""The pre-commit hook: which files it is given, and what it says of them.

The manifest was run with pre-commit itself (`pre-commit try-repo`); here its parts are used as
pre-commit uses them: the pattern by re.search(), the entry split and called with the files.
"""

from __future__ import annotations

import re
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


def test_the_hook_is_given_traces_and_no_other_files() -> None:
    pattern = re.compile(hook()["files"])
    for name in ("traces/a.yaml", "traces/deep/b.yaml", "sub/traces/c.yaml", exhibit(EXHIBITS[0])):
        assert pattern.search(name), name
    for name in ("a.yaml", "mytraces/a.yaml", "traces/a.json", "traces/a.yaml.orig", "traces.yaml"):
        assert not pattern.search(name), name


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
