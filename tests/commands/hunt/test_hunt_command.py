"""`vmatrace hunt`, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from program import RunProgram, exhibit


def test_finds_are_written_as_traces_that_hold(run: RunProgram, tmp_path: Path) -> None:
    folder = tmp_path / "finds"
    done = run("hunt", "--seed", "1", "--programs", "240", "-o", str(folder))
    assert (done.status, done.err) == (1, "")
    assert "ksm-before-merge" in done.out
    assert "cf7e7a3503df" in done.out
    files = sorted(folder.iterdir())
    assert files
    for side in ("pre-patch", "post-patch"):
        assert run("check", str(folder), "--kernel", side).status == 0
    assert run("diff", str(folder)).status == 1


def test_the_number_of_processes_changes_nothing(run: RunProgram) -> None:
    asked = ("hunt", "--from", "6.12", "--to", "6.18", "--seed", "1", "--programs", "240")
    one, two = (run(*asked, "--jobs", jobs, "--format", "json") for jobs in ("1", "2"))
    assert json.loads(one.out) == json.loads(two.out)


def test_nothing_found_is_said(run: RunProgram) -> None:
    done = run("hunt", "--from", "6.10", "--to", "7.3", "--calls", "munmap", "--seed", "1",
               "--programs", "60")  # fmt: skip
    assert done.status == 0
    assert "no difference in 60 programs" in done.out


def test_it_ends_when_so_many_kinds_are_found(run: RunProgram) -> None:
    done = run("hunt", "--from", "6.4", "--to", "7.3", "--seed", "1", "--finds", "3",
               "--format", "json")  # fmt: skip
    assert len(json.loads(done.out)["finds"]) == 3


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--from", "6.12", "--to", "6.12"], "are the same model"),
        (["--from", "6.99"], "--from: unknown kernel '6.99'"),
        (["--from", "running", "--to", "running"], "one side of a hunt has to be a model"),
        (["--to", "running", "--jobs", "2"], "a hunt on a real kernel has one process"),
        (["--with", "mseals"], "did you mean"),
        (["--calls", "mmpa"], "--calls: unknown call 'mmpa' (did you mean 'mmap'?)"),
        (["--corpus", "no/such"], "no/such"),
        (["--programs", "0"], "--programs"),
        (["--seconds", "nan"], "'nan' is no time (expected a number of seconds)"),
        (["--corpus", exhibit("nothing-like-that")], "cannot be read"),
    ],
)
def test_bad_usage_is_said_and_nothing_is_printed(
    run: RunProgram, options: list[str], says: str
) -> None:
    done = run("hunt", *options)
    assert (done.status, done.out) == (2, "")
    assert says in done.err


def test_a_folder_that_cannot_be_made_is_named(run: RunProgram, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("hunt", "--seed", "1", "--programs", "1", "-o", str(tmp_path / "file" / "x"))
    assert done.status == 2
    assert f"{tmp_path}/file/x: error: cannot be written" in done.err
