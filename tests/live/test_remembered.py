"""What was found out about this kernel is remembered until anything it hangs on changes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from live.test_record import ENVIRONMENT
from vmatrace.verify import findings, remembered


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """An empty cache; grows with each time the kernel itself is asked."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    times: list[str] = []
    look = findings.look

    def counted() -> findings.Findings:
        times.append("asked")
        return look()

    monkeypatch.setattr(findings, "look", counted)
    return times


def kept(tmp_path: Path) -> Path:
    return tmp_path / "vmatrace" / "findings.json"


def test_the_kernel_is_asked_once_and_the_answer_is_the_same(
    asked: list[str], tmp_path: Path
) -> None:
    first = remembered.look()
    again = remembered.look()
    assert asked == ["asked"]
    assert (first.found, first.kernel.name) == (again.found, again.kernel.name)
    assert kept(tmp_path).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("spoiled", ["", "[]", "{}", "{", '{"key": [], "found": {"x": true}}'])
def test_what_is_no_answer_is_not_taken_for_one(
    asked: list[str], tmp_path: Path, spoiled: str
) -> None:
    remembered.look()
    kept(tmp_path).write_text(spoiled, encoding="ascii")
    remembered.look()
    remembered.look()
    assert asked == ["asked"] * 2


def test_unknown_features_and_other_writers_are_not_believed(
    asked: list[str], tmp_path: Path
) -> None:
    remembered.look()
    saved = json.loads(kept(tmp_path).read_text(encoding="ascii"))
    saved["found"]["no-such-feature"] = True
    kept(tmp_path).write_text(json.dumps(saved), encoding="ascii")
    remembered.look()
    kept(tmp_path).chmod(0o666)
    remembered.look()
    assert asked == ["asked"] * 3


def test_another_boot_is_another_kernel(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    remembered.look()
    other = tmp_path / "boot_id"
    other.write_text("another", encoding="ascii")
    monkeypatch.setattr(remembered, "_STATE", (str(other), *remembered._STATE[1:]))
    remembered.look()
    assert asked == ["asked"] * 2


def test_without_a_cache_the_kernel_is_asked_each_time(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("", encoding="ascii")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    remembered.look()
    remembered.look()
    assert asked == ["asked"] * 2


def test_a_recording_loads_no_sandbox_no_yaml_and_no_colours(tmp_path: Path) -> None:
    code = (
        "import sys; from vmatrace.cli import main\n"
        "main(['record', '-o', 't.yaml', '--', '/bin/true'])\n"
        "print(sorted({'yaml', 'rich', 'vmatrace.oracle.sandbox', 'vmatrace.replayer.run'}\n"
        "             & set(sys.modules)))"
    )
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True,
            env={**ENVIRONMENT, "XDG_CACHE_HOME": str(tmp_path)},
        )  # fmt: skip
    assert done.stdout == "[]\n"
