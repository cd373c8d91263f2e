"""`vmatrace check` as a user and a CI server meet it: many traces, bad input, signals, updates."""

from __future__ import annotations

import gzip
import io
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from program import EXHIBITS, LIMIT, ROOT, RunProgram, await_that, exhibit

from vmatrace import workers
from vmatrace.render import progress

GOOD = "vmatrace: 1\nevents:\n  - brk(0)\n  - expect: {vmas: 0}\n"
WRONG = GOOD.replace("vmas: 0", "vmas: 1")
BROKEN = GOOD.replace("brk", "brik")
SILENT = "vmatrace: 1\nevents: []\n"


@pytest.fixture
def folder(tmp_path: Path, run: RunProgram, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory, in which the program runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(file: Path) -> tuple[int, int, bytes]:
    """What tells whether *file* was written or replaced; reading it changes nothing of this."""
    found = file.stat()
    return found.st_ino, found.st_mtime_ns, file.read_bytes()


def write(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def test_a_failed_expectation_is_shown_by_its_name(run: RunProgram, folder: Path) -> None:
    named = GOOD.replace(
        "{vmas: 0}", '{name: "no\\e heap", vmas: 1, maps: [{start: 0, end: 1, perms: r--p}]}'
    )
    write(folder, a=named.replace("end: 1", "end: 4096"))
    out = run("check", "a.yaml").out
    assert "a.yaml:4: no\\x1b heap: vmas under post-patch" in " ".join(out.split())
    assert "a.yaml:4: no\\x1b heap: maps under post-patch" in " ".join(out.split())
    assert "no\\x1b heap: vmas: expected 1, actual 0" in run("replay", "a.yaml").out


# --- many traces ----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["table", "json", "github", "ktap"])
def test_any_number_of_processes_prints_the_same(run: RunProgram, form: str) -> None:
    one, *others = (
        run("check", "traces/", "tests/golden/", "nowhere", "--format", form, "--jobs", jobs)
        for jobs in ("1", "2", "5")
    )
    assert one.status == 2
    assert "nowhere: error: cannot be read" in one.err
    assert all(other == one for other in others)


def test_results_come_in_the_order_of_the_inputs(run: RunProgram) -> None:
    paths = [exhibit(name) for name in EXHIBITS[::-1]]
    out = run("check", *paths, "--format", "json", "--jobs", "3").out
    assert [json.loads(line)["path"] for line in out.splitlines()] == paths


def test_many_traces_fold_into_folders_and_those_that_did_not_hold(
    run: RunProgram, folder: Path
) -> None:
    for name in ("a", "b"):
        (folder / name).mkdir()
        write(folder / name, **{f"t{i}": GOOD for i in range(25)})
    write(folder / "b", t7=WRONG, t8=SILENT, t9=BROKEN)
    done = run("check", ".", columns=80)
    assert done.out.splitlines()[:6] == [
        "                  post-patch",
        "./a/ (25 traces)          25",
        "./b/ (25 traces)          22",
        "  t7.yaml             1 FAIL",
        "  t8.yaml                  -",
        "  t9.yaml              error",
    ]
    assert done.out.splitlines()[-4:] == [
        "50 traces, 1 model: 47 of 48 checks held",
        "nothing to check (-): 1 time",
        "nothing checked in 1 trace (allowed with --allow no-expectations): ./b/t8.yaml",
        "in error: 1 trace",
    ]


def test_a_trace_that_is_named_twice_is_checked_once(run: RunProgram, folder: Path) -> None:
    write(folder, a=GOOD)
    (folder / "sub").mkdir()
    write(folder / "sub", b=GOOD)
    out = run("check", "a.yaml", "a.yaml", "sub", "sub/b.yaml", "--format", "ktap").out
    assert out.splitlines()[1] == "1..2"


def test_standard_input_is_a_trace_among_others(
    run: RunProgram, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, a=GOOD, b=GOOD)
    monkeypatch.setattr(workers, "worthwhile", lambda _: True)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(WRONG.encode())))
    done = run("check", "a.yaml", "-", "b.yaml", "--format", "json", "--jobs", "2")
    assert done.status == 1
    summaries = [json.loads(line)["summary"]["failed"] for line in done.out.splitlines()]
    assert summaries == [0, 1, 0]


def test_the_bar_counts_and_lets_every_result_through(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_PATIENCE", 0)
    monkeypatch.setattr(progress, "_PERIOD", 0)
    assert list(progress.counted("abc", 3)) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert list(progress.counted("abc", 3)) == ["a", "b", "c"]
    assert "1 of 3" in capsys.readouterr().err  # rich before 15 shows the last two late


# --- processes ------------------------------------------------------------------------------------


def _work(path: str) -> str:
    if path.startswith("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    return path.upper()


def test_a_process_that_dies_costs_one_result() -> None:
    paths = [f"{'kill' if i in (3, 40) else 'p'}{i}" for i in range(60)]
    found = list(workers.each_of(_work, paths, 3, lambda path: f"{path} died"))
    assert found == [f"{p} died" if p.startswith("kill") else p.upper() for p in paths]


def test_without_processes_every_result_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    fork, forks = os.fork, []

    def fork_once() -> int:
        forks.append(1)
        if len(forks) > 1:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return fork()

    monkeypatch.setattr(os, "fork", fork_once)
    assert list(workers.each_of(_work, ["a", "b"], 2, str.title)) == ["A", "B"]
    assert multiprocessing.active_children() == []


def test_a_process_that_dies_is_an_error_of_its_trace(
    run: RunProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vmatrace.commands.check import question

    check = question.check

    def die(trace: Any, *more: Any) -> Any:
        if trace.name == EXHIBITS[5]:
            os.kill(os.getpid(), signal.SIGKILL)
        return check(trace, *more)

    monkeypatch.setattr(question, "check", die)
    done = run("check", "traces/", "--jobs", "2", "--format", "json")
    assert done.status == 2
    assert done.err == (
        f"{exhibit(EXHIBITS[5])}: error: the process that read it died (out of memory?)\n"
    )
    names = [json.loads(line)["trace"] for line in done.out.splitlines()]
    assert set(EXHIBITS) - set(names) == {EXHIBITS[5]}


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The program with processes of its own, one of which waits for its input forever."""
    os.mkfifo(tmp_path / "fifo.yaml")
    program = subprocess.Popen(
        [sys.executable, "-m", "vmatrace", "check", "--jobs", "2", "traces", str(tmp_path)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    children = Path(f"/proc/{program.pid}/task/{program.pid}/children")
    await_that(lambda: len(children.read_text().split()) == 2)
    yield program
    program.communicate()


def await_end(group: int) -> None:
    """Wait until every process of *group* has ended."""

    def gone() -> bool:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        return False

    await_that(gone)


@pytest.mark.parametrize("everybody", [True, False])
def test_ctrl_c_ends_all_processes_without_a_word(
    waiting: subprocess.Popen[bytes], everybody: bool
) -> None:
    (os.killpg if everybody else os.kill)(waiting.pid, signal.SIGINT)
    assert waiting.communicate(timeout=LIMIT) == (b"", b"")
    assert waiting.returncode == 130
    await_end(waiting.pid)


def test_processes_end_with_the_one_that_started_them(waiting: subprocess.Popen[bytes]) -> None:
    waiting.kill()
    waiting.wait()
    await_end(waiting.pid)


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_closed_pipe_is_no_error_and_the_report_is_whole(tmp_path: Path, form: str) -> None:
    read, write_end = os.pipe()
    os.close(read)
    for more in ([], ["--junit", str(tmp_path / "r.xml")]):
        done = subprocess.run(
            [sys.executable, "-m", "vmatrace", "check", "traces", "--format", form, *more],
            cwd=ROOT, stdout=write_end, stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, b"")
    os.close(write_end)
    assert (tmp_path / "r.xml").read_text().count("<testsuite ") >= len(EXHIBITS)


# --- bad input ------------------------------------------------------------------------------------


def test_the_good_traces_are_checked_beside_one_in_error(run: RunProgram, folder: Path) -> None:
    write(folder, a=WRONG, b=BROKEN, c=GOOD)
    (folder / "empty").mkdir()
    (folder / "odd.yaml").mkdir()
    done = run("check", "a.yaml", "empty", "b.yaml", "c.yaml", "nowhere.yaml", "odd.yaml")
    assert done.status == 2
    assert done.err.splitlines() == [
        "empty: error: no trace in this directory (expected *.yaml files)",
        "b.yaml:3:5: error: unknown call 'brik' (did you mean 'brk'?)",
        "      - brik(0)",
        "        ^",
        "nowhere.yaml: error: cannot be read: No such file or directory",
        "odd.yaml: error: no trace in this directory (expected *.yaml files)",
    ]
    assert "6 traces, 1 model: 1 of 2 checks held" in done.out
    assert "in error: 4 traces" in done.out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("-k", "post-pach"), "unknown kernel 'post-pach' (did you mean 'post-patch'?)"),
        (("-k", "6.20"), "unknown kernel '6.20'"),
        (("--jobs", "0"), "0 is not in the range"),
        (("--junit", "-", "--format", "json"), "both write to standard output"),
        (("--update", "--format", "json"), "--update goes neither with"),
        (("--update", "--junit", "x.xml"), "--update goes neither with"),
        (("-", "--update"), "--update cannot rewrite standard input"),
        (("--junit", "."), "is a directory"),
    ],
)
def test_bad_usage(run: RunProgram, folder: Path, arguments: list[str], complaint: str) -> None:
    write(folder, a=WRONG)
    done = run("check", "a.yaml", *arguments)
    assert (done.status, done.out) == (2, "")
    assert complaint in done.err.replace("\n", " ")
    assert (folder / "a.yaml").read_text() == WRONG


def test_one_trace_in_error_has_no_table(run: RunProgram, folder: Path) -> None:
    write(folder, a=BROKEN)
    out = run("check", "a.yaml").out
    assert out == "1 trace, 0 models: 0 of 0 checks held\nin error: 1 trace\n"


def test_where_nothing_is_expected_a_check_fails_unless_that_is_allowed(
    run: RunProgram, folder: Path
) -> None:
    write(folder, a=SILENT)
    done = run("check", "a.yaml")
    assert (done.status, done.err) == (1, "")
    assert "0 of 0 checks held" in done.out
    assert "nothing checked in 1 trace (allowed with --allow no-expectations): a.yaml" in done.out
    assert "::error file=a.yaml" in run("check", "a.yaml", "--format", "github").out
    done = run("check", "a.yaml", "--allow", "no-expectations")
    assert done.status == 0
    assert "nothing to check (-): 1 time" in done.out
    allowed = run("check", "a.yaml", "--allow", "no-expectations", "--format", "github")
    assert "::notice file=a.yaml" in allowed.out


def test_an_expectation_about_no_model_fails_unless_that_is_allowed(
    run: RunProgram, folder: Path
) -> None:
    write(folder, a=GOOD + "  - expect: {on: '>99.0', vmas: 1}\n")
    done = run("check", "a.yaml")
    assert (done.status, "(allowed with --allow uncovered)" in done.out) == (1, True)
    assert run("check", "a.yaml", "--allow", "uncovered").status == 0


def test_other_yaml_is_passed_over_where_that_is_asked_for(run: RunProgram, folder: Path) -> None:
    write(folder, a=GOOD)
    (folder / "b.yaml").write_text("on: [push]\njobs: {}\nevents:\n  - push\n")
    assert run("check", ".").status == 2
    assert run("check", ".", "--only-traces").status == 0
    for broken in (
        GOOD.replace("vmatrace:", "vmatrac:"),
        GOOD.replace("vmatrace: 1\n", ""),
        GOOD.replace("vmatrace: 1", "vmatrace : [1"),
        "vmatrace",
    ):
        (folder / "c.yaml").write_text(broken)
        assert run("check", ".", "--only-traces").status == 2, broken


# --- the report -----------------------------------------------------------------------------------


def test_the_report_comes_beside_the_table(run: RunProgram, folder: Path) -> None:
    write(folder, a=WRONG, b=BROKEN)
    alone = run("check", "a.yaml", "b.yaml")
    both = run("check", "a.yaml", "b.yaml", "--junit", "r.xml")
    assert both == alone
    report = (folder / "r.xml").read_text(encoding="utf-8")
    assert '<failure message="a.yaml:4: vmas: expected 1, actual 0"' in report
    assert "<error message=" in report


def test_a_report_that_cannot_be_written_is_an_error(run: RunProgram, folder: Path) -> None:
    write(folder, a=GOOD)
    done = run("check", "a.yaml", "--junit", "no/such/folder.xml")
    assert done.status == 2
    assert done.err == "no/such/folder.xml: error: cannot be written: No such file or directory\n"
    assert "1 of 1 check held" in done.out


# --- update ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_update_rewrites_what_failed_and_says_so(
    run: RunProgram, folder: Path, monkeypatch: pytest.MonkeyPatch, jobs: str
) -> None:
    monkeypatch.setattr(workers, "worthwhile", lambda _: True)
    write(folder, a=WRONG, b=GOOD, c=WRONG.replace("1}", "1, mergeable: 7}"))
    before = written(folder / "b.yaml")
    done = run("check", ".", "--update", "--jobs", jobs)
    assert (done.status, done.out) == (0, "")
    assert done.err.splitlines() == [
        "./a.yaml: 1 expected value rewritten",
        "./c.yaml: 2 expected values rewritten",
        "3 expected values rewritten in 2 files",
    ]
    assert (folder / "a.yaml").read_text() == GOOD
    assert written(folder / "b.yaml") == before
    assert run("check", ".").status == 0
    again = run("check", ".", "--update")
    assert (again.status, again.err) == (0, "nothing rewritten\n")


def test_update_leaves_a_file_in_error_and_one_that_cannot_hold(
    run: RunProgram, folder: Path
) -> None:
    impossible = WRONG.replace("vmas: 1", "vmas: '!= 0', mergeable: 3")
    texts = {"a": WRONG, "b": BROKEN + WRONG[-22:], "c": impossible}
    write(folder, **texts)
    done = run("check", ".", "--update", "--jobs", "1")
    assert done.status == 2
    assert "./b.yaml:3:5: error: unknown call 'brik'" in done.err
    assert "./c.yaml:4:20: error: vmas cannot be updated" in done.err
    after = {path.stem: path.read_text() for path in folder.glob("*.yaml")}
    assert after == {**texts, "a": GOOD}
    assert run("check", "c.yaml", "--update").status == 1


def test_update_rewrites_trace_files_only(run: RunProgram, folder: Path) -> None:
    (folder / "packed.yaml").write_bytes(gzip.compress(WRONG.encode()))
    (folder / "log").write_text("munmap(0x1000, 4096) = 0\n")
    os.mkfifo(folder / "fifo")
    for name in ("packed.yaml", "log", "fifo"):
        done = run("check", name, "--update")
        assert done.status == 2
        assert done.err.startswith(f"{name}: error: --update rewrites trace files only")
    assert gzip.decompress((folder / "packed.yaml").read_bytes()) == WRONG.encode()


def test_update_says_when_a_file_cannot_be_written(
    run: RunProgram, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    write(folder, a=WRONG)
    monkeypatch.setattr(os, "replace", full)
    done = run("check", "a.yaml", "--update")
    assert done.status == 2
    assert done.err.startswith("a.yaml: error: cannot be written: No space left on device")
    assert (folder / "a.yaml").read_text() == WRONG


def test_an_update_keeps_links_modes_and_attributes(run: RunProgram, folder: Path) -> None:
    write(folder, a=WRONG)
    (folder / "hard.yaml").hardlink_to(folder / "a.yaml")
    (folder / "soft.yaml").symlink_to("a.yaml")
    (folder / "a.yaml").chmod(0o640)
    assert run("check", "soft.yaml", "--update").status == 0
    assert run("check", "hard.yaml").status == 0
    assert (folder / "hard.yaml").samefile(folder / "a.yaml")
    assert (folder / "soft.yaml").is_symlink()
    assert (folder / "a.yaml").stat().st_mode & 0o777 == 0o640


def test_an_update_keeps_attributes(run: RunProgram, folder: Path) -> None:
    write(folder, a=WRONG)
    try:
        os.setxattr("a.yaml", "user.origin", b"here")
    except OSError:
        return  # this file system has none
    assert run("check", "a.yaml", "--update").status == 0
    assert os.getxattr("a.yaml", "user.origin") == b"here"
    assert run("check", "a.yaml").status == 0


def test_an_update_refuses_what_is_read_only(run: RunProgram, folder: Path) -> None:
    write(folder, a=WRONG)
    (folder / "a.yaml").chmod(0o444)
    done = run("check", "a.yaml", "--update")
    assert done.status == 2
    assert "a.yaml: error: cannot be written: it is read-only" in done.err
    assert (folder / "a.yaml").read_text() == WRONG
