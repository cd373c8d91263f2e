"""What came or went beside a baseline: reported, counted, and a failure unless it is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest
from program import RunProgram

TRACE = """\
vmatrace: 1
events:
  - a = mmap(0x10000000, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - expect: {vmas: 1}
  - expect: {mergeable: 0}
"""


@pytest.fixture(autouse=True)
def project(run: RunProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two traces and their baseline."""
    monkeypatch.chdir(tmp_path)
    Path("t").mkdir()
    for name in ("a", "b"):
        Path(f"t/{name}.yaml").write_text(TRACE)
    assert run("baseline", "t", "-o", "b.json").status == 0


def remove() -> None:
    Path("t/b.yaml").unlink()


def add() -> None:
    Path("t/c.yaml").write_text(TRACE)


def expect_less() -> None:
    Path("t/a.yaml").write_text(TRACE.partition("  - expect: {merg")[0])


FOUND = [
    (remove, "removed", "b.json:2:1: error: the trace t/b.yaml is gone"),
    (add, "new", "t/c.yaml: error: it is not in b.json"),
    (expect_less, "fewer-expectations", "t/a.yaml: error: it expects less than before: 1 of 2"),
]


@pytest.mark.parametrize(("change", "kind", "message"), FOUND)
@pytest.mark.parametrize("form", ["table", "github", "json"])
def test_it_is_said_and_fails(
    run: RunProgram, change: object, kind: str, message: str, form: str
) -> None:
    assert callable(change)
    change()
    done = run("diff", "t", "--from", "b.json", "--format", form)
    assert done.status == 1
    assert message in done.err
    assert f"allowed with --allow {kind})" in done.err
    assert f"beside what was compared: 1 {kind}" in done.err
    if form == "github":
        assert f"--allow {kind}" in done.out


@pytest.mark.parametrize(("change", "kind", "message"), FOUND)
def test_it_is_said_and_passes_where_it_is_allowed(
    run: RunProgram, change: object, kind: str, message: str
) -> None:
    assert callable(change)
    change()
    done = run("diff", "t", "--from", "b.json", "--allow", kind)
    assert done.status == 0
    assert message.replace("error", "note") in done.err
    assert "in error" not in done.out


@pytest.mark.parametrize(("change", "kind", "message"), FOUND)
def test_the_command_that_is_named_settles_it(
    run: RunProgram, change: object, kind: str, message: str
) -> None:
    assert callable(change)
    change()
    run("baseline", "t", "--update", "-o", "b.json")
    done = run("diff", "t", "--from", "b.json")
    assert (done.status, done.err) == (0, "")


def test_a_part_of_the_traces_can_be_compared_alone(run: RunProgram) -> None:
    done = run("diff", "t/a.yaml", "--from", "b.json")
    assert (done.status, done.err) == (0, "")
    remove()
    assert run("diff", "t/a.yaml", "--from", "b.json").status == 1


def test_all_kinds_together_are_counted(run: RunProgram) -> None:
    for change, _, _ in FOUND:
        change()
    done = run("diff", "t", "--from", "b.json")
    assert "1 fewer-expectations, 1 new, 1 removed" in done.err
