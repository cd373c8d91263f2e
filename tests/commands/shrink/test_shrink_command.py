"""`vmatrace shrink`, as it is typed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from program import RunProgram, exhibit

NEIGHBOUR = exhibit("ksm-unmergeable-neighbour")


def test_what_is_written_holds_under_check(run: RunProgram, tmp_path: Path) -> None:
    small = tmp_path / "small.yaml"
    done = run("shrink", exhibit("ksm-adjacent-anon"), "--keep", "differs", "-o", str(small))
    assert (done.status, done.err) == (0, "")
    assert "1-minimal" in done.out
    for side in ("pre-patch", "post-patch"):
        assert run("check", str(small), "--kernel", side).status == 0
    assert run("diff", str(small)).status == 1


def test_without_o_the_trace_is_all_that_is_printed(run: RunProgram) -> None:
    done = run("shrink", NEIGHBOUR, "--keep", "vmas >= 2")
    assert done.out.splitlines()[0].startswith("# The smallest trace")
    assert "\nevents:\n" in done.out


def test_the_answer_as_json(run: RunProgram, tmp_path: Path) -> None:
    small = str(tmp_path / "small.yaml")
    done = run("shrink", NEIGHBOUR, "--keep", "vmas >= 2", "-o", small, "--format", "json")
    answer = json.loads(done.out)
    alone = json.loads(run("shrink", NEIGHBOUR, "--keep", "vmas >= 2", "--format", "json").out)
    assert (alone["output"], alone["text"]) == (None, answer["text"])
    assert answer["events"]["after"] <= answer["events"]["before"]
    assert answer["output"] == small
    assert Path(small).read_text(encoding="utf-8") == answer["text"]


def test_nothing_of_the_input_is_left(run: RunProgram) -> None:
    done = run("shrink", exhibit("programs/python3"), "--keep", "vmas >= 6", "--anonymize")
    assert done.status == 0
    assert not re.search(r"python|/usr|/lib|0x7f|0x55|lib\w+_so", done.out)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--keep", "vmaz > 2"], "--keep: column 1: unexpected 'vmaz' (did you mean 'vmas'?)"),
        (["--keep", "vmas > 99"], "vmas is 2 at its end"),
        (["--keep", "line 1 fails"], "no call stands in line 1"),
        (["--keep", "expectation"], "every expectation holds"),
        (["--keep", "differs", "--kernel", "6.12"], "--kernel does not go with"),
        (["--keep", "vmas > 1", "--from", "6.12"], "expected --kernel"),
        (["--keep", "differs", "--boot", "x"], "--boot goes with --keep mismatch"),
        (["--keep", "mismatch and differs"], "mismatch stands alone"),
        (["--keep", "differs", "-o", NEIGHBOUR], "is the input"),
        ([], "Missing option '--keep'"),
    ],
)
def test_bad_usage_is_said_and_nothing_is_printed(
    run: RunProgram, options: list[str], says: str
) -> None:
    done = run("shrink", NEIGHBOUR, *options)
    assert (done.status, done.out) == (2, "")
    assert says in done.err


HEAP = "".join(f"100 brk({at}) = {at}\n" for at in ("0x1e26c000", "0x1e28c000", "0x1e2ac000"))


def test_a_log_whose_results_say_where_things_are_keeps_them(
    run: RunProgram, tmp_path: Path
) -> None:
    log, small = tmp_path / "heap.log", tmp_path / "small.yaml"
    log.write_text(f"100 brk(NULL) = 0x1e24a000\n{HEAP}", encoding="utf-8")
    asked = ("shrink", str(log), "--ksm", "--kernel", "6.12", "--keep")
    done = run(*asked, "blocked_only_by_mergeable >= 2", "-o", str(small))
    assert (done.status, done.err) == (0, "")
    assert "brk(NULL) = 0x1e24a000" in small.read_text(encoding="utf-8")
    assert run("check", str(small), "--kernel", "6.12").status == 0
    hidden = run(*asked, "blocked_only_by_mergeable >= 2", "--anonymize")
    assert hidden.status == 2
    assert "it cannot be anonymised" in hidden.err
