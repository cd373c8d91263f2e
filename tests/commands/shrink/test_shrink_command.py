"""`vmatrace shrink`, as it is typed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from random import Random

import pytest
from program import EXHIBITS, RunProgram, exhibit

from vmatrace.commands.shrink.question import ShrinkWish, shrink
from vmatrace.kernels import get_kernel
from vmatrace.search import conditions
from vmatrace.trace.file import TraceError, load_trace

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
        (["--keep", "line 1 fails and vmas > 99"], "vmas is 2 at its end; no call stands in line"),
        (["--keep", "expectation"], "every expectation holds"),
        (["--keep", "differs", "--kernel", "6.12"], "--kernel does not go with"),
        (["--keep", "vmas > 1", "--from", "6.12"], "expected --kernel"),
        (["--keep", "differs", "--boot", "x"], "--boot goes with --keep mismatch"),
        (["--keep", "mismatch and differs"], "mismatch stands alone"),
        (["--keep", "differs", "-o", NEIGHBOUR], "is the input"),
        (["--keep", "(" * 3000 + "vmas > 1" + ")" * 3000], "at most 50 parentheses and nots"),
        (["--keep", "not " * 3000 + "vmas > 1"], "at most 50 parentheses and nots"),
        (["--keep", "differs", "--seconds", "nan"], "'nan' is no time"),
        (["--keep", "differs", "--seconds", "inf"], "'inf' is no time"),
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


LOG = """\
mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7ffff7fb0000
munmap(0x7ffff7fb0000, 4096)            = 0
mprotect(0x7ffff7fb0000, 8192, PROT_READ) = -1 ENOMEM (Cannot allocate memory)
"""


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("line 3 fails EINVAL", "mprotect in line 3 fails with ENOMEM"),
        ("line 3 succeeds", "mprotect in line 3 fails with ENOMEM"),
        ("line 2 fails", "munmap in line 2 succeeds"),
        ("line 2 fails and line 9 fails", "munmap in line 2 succeeds; no call stands in line 9"),
        ("vmas > 3 and vmas < 2", "vmas is 1 at its end"),
    ],
)
def test_what_stands_against_a_condition_is_said(
    run: RunProgram, tmp_path: Path, condition: str, says: str
) -> None:
    (tmp_path / "a.log").write_text(LOG, encoding="utf-8")
    done = run("shrink", str(tmp_path / "a.log"), "--keep", condition)
    assert (done.status, done.out) == (2, "")
    assert says in " ".join(done.err.split())


CONDITIONS = (
    "differs", "not differs", "errors >= 1", "blocked >= 2", "mergeable >= 1", "expectation",
    "splits >= 1 or merges >= 1", "to.vmas > from.vmas or from.vmas > to.vmas", "events >= 3",
    "divergences >= 1", "not vmas == 0", "vmas >= 1 and not merges >= 3",
)  # fmt: skip


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("anonymize", [False, True])
def test_whatever_is_kept_is_there_when_it_is_read_again(condition: str, anonymize: bool) -> None:
    """shrink() replays its own file, and raises AssertionError where that does not hold."""
    keep = conditions.parse(condition)
    names = ("pre-patch", "post-patch") if conditions.two_sided(keep) else ("6.18",)
    wish = ShrinkWish(condition, keep, tuple(map(get_kernel, names)), None, anonymize, None)
    met = 0
    for name in Random(f"{condition}/{anonymize}").sample(EXHIBITS, 14):
        try:
            shrink(load_trace(exhibit(name)), wish, lambda left, tries: None)
        except TraceError:
            continue
        met += 1
    assert met or condition in ("expectation", "divergences >= 1", "errors >= 1")
