"""Several processes: by number, name, control group and --all; and those without an answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from program import RunProgram

from vmatrace.commands.audit import snapshot
from vmatrace.commands.audit.snapshot import ForbiddenError, GoneError, TornError
from vmatrace.diagnostic import Diagnostic

_NAME = "vt-audit-child"
_CHILD = f"""
import ctypes, sys
ctypes.CDLL(None).prctl(15, b"{_NAME}", 0, 0, 0)
print("ready", flush=True)
sys.stdin.read()
"""
_NONE = 4194305  # above any pid_max


@pytest.fixture
def children() -> Iterator[list[int]]:
    """The numbers of two processes called _NAME."""
    started = [
        subprocess.Popen([sys.executable, "-c", _CHILD], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]  # fmt: skip
    try:
        for child in started:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        yield [child.pid for child in started]
    finally:
        for child in started:
            child.communicate()


def pids(out: str) -> list[int]:
    return [json.loads(line)["pid"] for line in out.splitlines()]


def test_processes_by_name_number_and_group_are_each_told_of_once(
    children: list[int], tmp_path: Path, run: RunProgram
) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "cgroup.procs").write_text(f"{children[0]}\n0\n")
    (tmp_path / "below" / "cgroup.procs").write_text(f"{children[1]}\n")
    for sources in (
        [_NAME], [str(pid) for pid in children], [str(tmp_path)], [f"/proc/{p}" for p in children],
        [_NAME, str(tmp_path), str(children[0])],
    ):  # fmt: skip
        done = run("audit", *sources, "--fail-below", "0", "--format", "json")
        assert (done.status, done.err) == (0, "")
        assert sorted(pids(done.out)) == sorted(children)
        assert {json.loads(line)["process"] for line in done.out.splitlines()} == {_NAME}


def test_the_table_of_several_is_sorted_by_use(
    children: list[int], tmp_path: Path, run: RunProgram
) -> None:
    few = tmp_path / "few"
    few.write_text("1000-2000 rw-p 00000000 00:00 0\n")
    done = run("audit", str(few), _NAME, "--fail-below", "0", columns=80)
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert max(map(len, lines[:-1])) <= 80
    assert lines[0].startswith("3 address spaces, ")
    rows = [line.split() for line in lines[3:6]]
    assert [int(row[0]) for row in rows] == sorted((int(row[0]) for row in rows), reverse=True)
    assert {int(row[5]) for row in rows[:2]} == set(children)
    assert rows[2][0] == "1"


def test_all_has_every_process_that_may_be_read(children: list[int], run: RunProgram) -> None:
    done = run("audit", "--all", "--fail-below", "0", "--format", "json")
    assert done.status == 0
    assert "error" not in done.err
    found = pids(done.out)
    assert set(children) < set(found)
    assert len(set(found)) == len(found)
    assert os.getpid() not in found


def test_who_vanishes_meanwhile_is_no_error(
    children: list[int], tmp_path: Path, run: RunProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cgroup.procs").write_text(f"{children[0]}\n{_NONE}\n")
    done = run("audit", str(tmp_path), "--fail-below", "0", "--format", "json")
    assert (done.status, pids(done.out)) == (0, children[:1])
    assert done.err == "vmatrace: note: 1 process exited meanwhile\n"
    read = snapshot._opened

    def vanishing(source: snapshot.SnapshotLike) -> snapshot.Snapshot:
        if source == str(children[1]):
            raise GoneError([Diagnostic(str(source), 0, 0, "there is no such process")])
        return read(source)

    monkeypatch.setattr(snapshot, "_opened", vanishing)
    done = run("audit", *map(str, children), "--fail-below", "0", "--format", "json")
    assert (done.status, pids(done.out)) == (0, children[:1])
    done = run("audit", str(children[1]))
    assert (done.status, done.out) == (2, "")


def test_who_was_never_there_is_one(children: list[int], run: RunProgram) -> None:
    done = run("audit", str(_NONE), str(children[0]), "--format", "json")
    assert (done.status, pids(done.out)) == (2, children[:1])
    assert "there is no such process" in done.err


def test_what_may_not_be_read_is_counted(
    children: list[int], run: RunProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = snapshot._opened
    hidden = {str(children[0])}

    def guarded(source: snapshot.SnapshotLike) -> snapshot.Snapshot:
        if source in hidden:
            raise ForbiddenError([Diagnostic(str(source), 0, 0, "cannot be read")])
        return read(source)

    monkeypatch.setattr(snapshot, "_opened", guarded)
    done = run("audit", _NAME, "--fail-below", "0", "--format", "json")
    assert (done.status, pids(done.out)) == (0, [children[1]])
    assert done.err == (
        "vmatrace: note: 1 process may not be read (expected processes of your own, or root)\n"
    )
    hidden.add(str(children[1]))
    done = run("audit", _NAME)
    assert (done.status, done.out) == (2, "")
    assert "2 processes may not be read" in done.err


def test_a_map_that_changes_while_it_is_read_is_read_again(
    children: list[int], run: RunProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = snapshot._opened
    tries = []

    def torn(source: snapshot.SnapshotLike) -> snapshot.Snapshot:
        tries.append(source)
        if len(tries) < 3:
            raise TornError([Diagnostic(str(source), 3, 1, "mappings overlap")])
        return read(source)

    monkeypatch.setattr(snapshot, "_opened", torn)
    assert run("audit", str(children[0]), "--fail-below", "0").status == 0
    assert len(tries) == 3


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        (["no-such-name-\x1b[31m"], "no file, process or control group has that name"),
        (["no/such/file"], "No such file"),
        ([], "Missing argument 'SMAPS|PID|NAME...' (or --all)"),
        (["-", "-"], "can be read only once"),
    ],
)
def test_what_names_nothing_is_refused(sources: list[str], said: str, run: RunProgram) -> None:
    done = run("audit", *sources)
    assert (done.status, done.out) == (2, "")
    assert said in " ".join(done.err.split())
    assert "\x1b" not in done.err


@pytest.mark.parametrize("form", ["table", "csv", "html", "json", "markdown", "prometheus"])
def test_without_an_answer_nothing_is_printed(form: str, run: RunProgram) -> None:
    done = run("audit", str(_NONE), "--format", form)
    assert (done.status, done.out) == (2, "")


def test_a_group_without_processes_is_refused(tmp_path: Path, run: RunProgram) -> None:
    (tmp_path / "cgroup.procs").write_text("")
    done = run("audit", str(tmp_path))
    assert (done.status, done.out) == (2, "")
    assert "there is no process in this control group" in done.err
