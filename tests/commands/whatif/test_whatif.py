"""What a program could change: the saving, the rewritten trace, and what does not apply."""

from __future__ import annotations

import json
from pathlib import Path

from program import RunProgram

from vmatrace.kernels import get_kernel
from vmatrace.replayer.run import replay
from vmatrace.trace.file import load_trace

TRACE = """vmatrace: 1
events:
  - a = mmap(NULL, 9*PAGE_SIZE, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)
  - fault(a, 9*PAGE_SIZE, PROT_WRITE)
  - mprotect(a + 4*PAGE_SIZE, PAGE_SIZE, PROT_NONE)
  - prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, a, PAGE_SIZE, "x")
"""


def test_each_change_alone_and_together(run: RunProgram, tmp_path: Path) -> None:
    path, out = tmp_path / "t.yaml", tmp_path / "o.yaml"
    path.write_text(TRACE, encoding="utf-8")
    done = run("whatif", str(path), "-k", "6.18", "--format", "json", "-o", str(out))
    assert (done.status, done.err) == (0, "")
    found = json.loads(done.out)
    assert found["now"]["vmas"] == 4
    saved = {change["name"]: change["cost"]["vmas"] for change in found["changes"]}
    assert saved == {"guards": 2, "names": 3}
    assert found["together"] == {"vmas": 1, "peak": 1, "headroom": 65529}
    assert found["combined"] == ["guards", "names"]
    assert replay(load_trace(out), get_kernel("6.18")).vmas == 1
    shown = run("whatif", str(path), "-k", "6.18").out
    assert "\ntogether: guards, then names\n" in shown


def test_what_saves_nothing_is_not_among_those_together(run: RunProgram, tmp_path: Path) -> None:
    path, out = tmp_path / "t.yaml", tmp_path / "o.yaml"
    uniform = TRACE.replace("MAP_PRIVATE", "MAP_NORESERVE|MAP_PRIVATE")
    path.write_text(uniform, encoding="utf-8")
    found = json.loads(run("whatif", str(path), "-k", "6.18", "--format", "json",
                           "-o", str(out)).out)  # fmt: skip
    assert {change["name"] for change in found["changes"]} == {"guards", "names", "noreserve"}
    assert found["combined"] == ["guards", "names"]
    assert "MAP_NORESERVE" in out.read_text(encoding="utf-8")


def test_where_one_says_it_all_and_where_none_saves(run: RunProgram) -> None:
    one = run("whatif", "traces/ksm-many-maps.yaml", "-k", "6.12").out
    assert "\ntogether" not in one
    assert "mergeable alone saves most" in one
    none = run("whatif", "traces/ksm-brk-growth.yaml", "-k", "6.18")
    assert "none of these saves a VMA" in none.out


def test_guards_are_not_there_before_6_13(run: RunProgram, tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(TRACE, encoding="utf-8")
    found = json.loads(run("whatif", str(path), "-k", "6.12", "--format", "json").out)
    assert [change["name"] for change in found["changes"]] == ["names"]


def test_a_guard_that_is_undone_is_removed(run: RunProgram, tmp_path: Path) -> None:
    path, out = tmp_path / "t.yaml", tmp_path / "o.yaml"
    undone = "  - mprotect(a, 9*PAGE_SIZE, PROT_READ|PROT_WRITE)\n"
    path.write_text(TRACE + undone, encoding="utf-8")
    assert run("whatif", str(path), "-k", "6.18", "-o", str(out)).status == 0
    assert "MADV_GUARD_REMOVE" in out.read_text(encoding="utf-8")


def test_nothing_applies_and_bad_input(run: RunProgram, tmp_path: Path) -> None:
    done = run("whatif", "traces/brk-refused.yaml")
    assert (done.status, "no rewriting applies" in done.out) == (0, True)
    assert run("whatif", str(tmp_path / "none.yaml")).status == 2
    assert run("whatif", "traces/brk-refused.yaml", "-o", str(tmp_path / "n" / "o")).status == 2


def test_the_input_is_not_written_over(run: RunProgram, tmp_path: Path) -> None:
    path, link = tmp_path / "t.yaml", tmp_path / "link.yaml"
    path.write_text(TRACE, encoding="utf-8")
    link.symlink_to(path)
    for output in (path, link):
        done = run("whatif", str(path), "-o", str(output))
        assert (done.status, "is the input" in done.err) == (2, True)
    assert path.read_text(encoding="utf-8") == TRACE
