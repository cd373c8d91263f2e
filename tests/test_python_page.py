"""docs/python.md: every example runs, prints what the page says, and passes mypy --strict.

The ```python blocks are one program, each run where the one before it left off; a ```text block is
what the one before it prints. A block with a test in it is run by pytest. --update-golden rewrites
the ```text blocks.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

import vmatrace

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "python.md"
_BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str | None]]:
    """Each example with what it is said to print, None where nothing is said."""
    return [(m[1], m[2]) for m in _BLOCK.finditer(PAGE.read_text(encoding="utf-8"))]


def programs() -> list[str]:
    """The three programs that the page is for."""
    section = PAGE.read_text(encoding="utf-8").split("## Three programs")[1].split("\n## ")[0]
    return [m[1] for m in _BLOCK.finditer(section)]


def test_every_example_prints_what_the_page_says(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("COLUMNS", raising=False)
    names: dict[str, object] = {}
    for code, expected in blocks():
        if "def test_" in code:
            continue
        out = io.StringIO()
        with redirect_stdout(out):
            exec(compile(code, str(PAGE), "exec"), names)
        assert out.getvalue(), code
        if request.config.getoption("--update-golden") and expected is not None:
            page = PAGE.read_text(encoding="utf-8")
            shown = f"{code}```\n\n```text\n"
            page = page.replace(f"{shown}{expected}", f"{shown}{out.getvalue()}")
            PAGE.write_text(page, encoding="utf-8")
        elif expected is not None:
            assert out.getvalue() == expected, code


def test_the_tests_on_the_page_pass(tmp_path: Path) -> None:
    tests = [code for code, _ in blocks() if "def test_" in code]
    assert tests
    (tmp_path / "test_page.py").write_text("\n".join(tests), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_the_examples_are_typed(tmp_path: Path) -> None:
    files = []
    for number, program in enumerate([*programs(), "\n".join(code for code, _ in blocks()[:-3])]):
        files.append(tmp_path / f"example{number}.py")
        files[-1].write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), *map(str, files)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_there_are_three_programs_of_less_than_15_lines() -> None:
    sizes = [len([line for line in code.splitlines() if line.strip()]) for code in programs()]
    assert len(sizes) == 3
    assert max(sizes) < 15


def test_every_public_name_is_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    missing = [name for name in vmatrace.__all__ if not re.search(rf"\b{name}\b", page)]
    assert missing == []
