"""What tests/conftest.py sets for all tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from program import ROOT

SKIPS = """\
import pytest

@pytest.mark.skipif(True, reason="no chromium here")
def test_an_area(): ...

def test_a_machine():
    pytest.skip("it wants vm.max_map_count=3, this machine has 65530")
"""
AREA = 'import pytest\npytest.importorskip("no_such_package")\ndef test_all(): ...\n'


@pytest.mark.parametrize(("ci", "failures"), [("true", 2), ("", 0)])
def test_in_ci_a_skip_is_a_failure_if_the_machine_could_do_it(
    tmp_path: Path, ci: str, failures: int
) -> None:
    (tmp_path / "test_skips.py").write_text(SKIPS, encoding="utf-8")
    (tmp_path / "test_area.py").write_text(AREA, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "conftest", "-rs",
         "--continue-on-collection-errors"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "CI": ci, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"},
    )  # fmt: skip
    said = done.stdout
    assert said.count("skipped in CI: ") == failures, said
    assert "this machine has 65530" in said
    assert done.returncode == bool(failures)


def test_no_test_has_a_deadline() -> None:
    assert settings().deadline is None
