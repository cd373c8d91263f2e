"""`vmatrace import`, and what other commands say of a log, printed as a user sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from program import ROOT, RunProgram, check_golden

GOLDEN = ROOT / "tests" / "golden" / "import"
LOG = "tests/importers/strace/f.log"
HIDDEN = "tests/importers/strace/f-eraw.log"
FIRST = 'execve("./a", ["a"], 0x7ffc /* 2 vars */) = 0\n'


@pytest.mark.parametrize("name", ["f", "f-memory", "ff-ttt"])
def test_the_trace_made_of_a_log(run: RunProgram, name: str, pytestconfig: pytest.Config) -> None:
    done = run("import", "strace", f"tests/importers/strace/{name}.log")
    assert (done.status, done.err) == (0, "")
    check_golden(GOLDEN / f"{name}.yaml", done.out, pytestconfig.getoption("--update-golden"))


def test_a_summary_says_what_became_of_the_log(
    run: RunProgram, pytestconfig: pytest.Config
) -> None:
    done = run("replay", HIDDEN, columns=80)
    assert (done.status, done.err) == (0, "")
    update = pytestconfig.getoption("--update-golden")
    check_golden(GOLDEN / "f-eraw.txt", done.out, update)


def test_json_has_the_notes_of_a_log_and_only_of_a_log(run: RunProgram) -> None:
    log = json.loads(run("replay", HIDDEN, "--format", "json").out)["log"]
    passed = sum(log["passed"].values())
    assert log["lines"] == log["events"] + log["joined"] + passed + log["misread"]
    assert log["misread"] == len(log["misread_lines"]) == 4
    assert log["assume_faulted"] == "writable"
    assert "log" not in json.loads(
        run("replay", "traces/fork.yaml", "--format", "json").out or "{}"
    )


def test_strict_takes_a_line_that_was_not_understood_for_bad_input(run: RunProgram) -> None:
    assert run("replay", LOG, "--strict").status == 0
    assert run("replay", HIDDEN, "--strict").status == 2
    assert run("import", "strace", HIDDEN, "--strict").status == 2
    assert run("import", "strace", LOG, "--strict").status == 0


def test_a_trace_written_to_a_file_is_counted_on_standard_error(
    run: RunProgram, tmp_path: Path
) -> None:
    target = tmp_path / "a.yaml"
    done = run("import", "strace", HIDDEN, "-o", str(target))
    assert (done.status, done.out) == (0, "")
    assert "not understood" in done.err
    assert run("replay", str(target)).status == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["traces/ksm-adjacent-anon.yaml"], "is a trace file already"),
        (["nowhere.log"], "nowhere.log: error: cannot be read: No such file"),
        (["tests"], "tests: error: cannot be read: Is a directory"),
        ([LOG, "-o", "/nowhere/x.yaml"], "/nowhere/x.yaml: cannot be written"),
        ([LOG, "-o", LOG], "is the log (expected another file to write)"),
    ],
)
def test_what_cannot_be_imported_is_an_error_and_leaves_everything_as_it_was(
    run: RunProgram, arguments: list[str], message: str
) -> None:
    before = (ROOT / LOG).read_bytes()
    done = run("import", "strace", *arguments)
    assert done.status == 2
    assert done.out == ""
    assert message in done.err
    assert (ROOT / LOG).read_bytes() == before


def test_an_empty_log_after_its_first_line_is_a_trace_without_memory(
    run: RunProgram, tmp_path: Path
) -> None:
    log = tmp_path / "a.log"
    log.write_text("read(3, 0x7ffc, 1) = 0\n")
    done = run("import", "strace", str(log))
    assert done.out.endswith("events: []\n")
    (tmp_path / "a.yaml").write_text(done.out)
    assert run("replay", str(tmp_path / "a.yaml")).status == 0


def test_an_interrupted_import_leaves_the_file_as_it_was(
    run: RunProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    kept = tmp_path / "kept.yaml"
    kept.write_text("what was there")
    monkeypatch.setattr("vmatrace.importers.tracefile.write", interrupted)
    assert run("import", "strace", "traces/logs/sort.log", "-o", str(kept)).status == 130
    assert kept.read_text() == "what was there"
