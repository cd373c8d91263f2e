"""`vmatrace baseline`, and `vmatrace diff --from` what it saved."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from program import RunProgram

from vmatrace._version import __version__

TRACE = """\
vmatrace: 1
kernel: "6.12"
process: {ksm: true}
events:
  - mmap(0x10000000, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - mmap(0x10001000, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - expect: {on: "6.12", vmas: 2}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, run: RunProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project with two traces: one names a kernel, one does not."""
    monkeypatch.chdir(tmp_path)
    Path("t").mkdir()
    Path("t/old.yaml").write_text(TRACE)
    Path("t/new.yaml").write_text(TRACE.replace('kernel: "6.12"\n', ""))


def saved(path: str = "b.json") -> dict[str, str]:
    """The models that a baseline has, by path."""
    lines = map(json.loads, Path(path).read_text().splitlines())
    return {line["path"]: line["kernel"] for line in lines}


@pytest.mark.parametrize(
    "how", [("baseline", "t", "-o", "b.json"), ("replay", "t", "--format", "json=b.json")]
)
def test_an_unchanged_trace_is_equal_under_the_model_that_it_names(
    run: RunProgram, how: tuple[str, ...]
) -> None:
    assert run(*how).status == 0
    assert saved() == {"t/old.yaml": "6.12", "t/new.yaml": "post-patch"}
    done = run("diff", "t", "--from", "b.json")
    assert (done.status, "2 equal" in done.out) == (0, True), done
    assert run("diff", "t", "--to", "b.json").status == 0
    assert run("diff", "t", "--from", "b.json", "--to", "pre-patch").status == 1


@pytest.mark.parametrize("model", [("--kernel", "6.4"), ("--with", "mseal"), ("--no-ksm",)])
def test_a_baseline_keeps_what_it_was_made_with(run: RunProgram, model: tuple[str, ...]) -> None:
    if model[0] == "--with":
        model = ("--without", "ksm-before-merge")
    run("baseline", "t", "-o", "b.json", *model)
    assert run("diff", "t", "--from", "b.json").status == 0
    before = Path("b.json").read_text()
    done = run("baseline", "--update", "-o", "b.json")
    assert (done.status, done.out) == (0, "b.json: 2 traces (2 unchanged)\n")
    assert Path("b.json").read_text() == before


def test_what_a_baseline_replaces_is_told_trace_by_trace(run: RunProgram) -> None:
    run("baseline", "t", "-o", "b.json")
    Path("t/new.yaml").write_text(TRACE.replace("0x10001000", "0x10002000").replace("  - exp", "#"))
    Path("t/old.yaml").rename("t/other.yaml")
    done = run("baseline", "t", "-o", "b.json", "--update")
    changed, new, removed, total = done.out.splitlines()
    assert changed.startswith("changed  t/new.yaml    post-patch: ") or "VMAs 1 → 2" in changed
    assert "expectations 0 → 1" not in changed
    assert new.split()[:2] == ["new", "t/other.yaml"]
    assert removed.split() == ["removed", "t/old.yaml"]
    assert total == "b.json: 2 traces (1 changed, 1 new, 1 removed)"
    assert list(saved()) == ["t/new.yaml", "t/other.yaml"]


def test_update_keeps_what_is_not_named_and_plain_writing_does_not(run: RunProgram) -> None:
    run("baseline", "t", "-o", "b.json")
    assert "1 kept" in run("baseline", "t/old.yaml", "-o", "b.json", "--update").out
    assert len(saved()) == 2
    assert "1 removed" in run("baseline", "t/old.yaml", "-o", "b.json").out
    assert list(saved()) == ["t/old.yaml"]


def test_it_knows_the_version_that_wrote_it(run: RunProgram) -> None:
    run("baseline", "t", "-o", "b.json")
    text = Path("b.json").read_text()
    assert f'"version":"{__version__}"' in text
    Path("b.json").write_text(text.replace(f'"version":"{__version__}"', '"version":"0.0.1"'))
    done = run("baseline", "t", "-o", "b.json", "--update")
    assert f"it was written by vmatrace 0.0.1, now by {__version__}" in done.out


def test_what_is_no_baseline_is_never_replaced(run: RunProgram) -> None:
    done = run("baseline", "t/new.yaml", "-o", "t/old.yaml")
    assert done.status == 2
    assert "stays as it is" in done.err
    assert Path("t/old.yaml").read_text() == TRACE


def test_a_trace_in_error_leaves_the_baseline_as_it_was(run: RunProgram) -> None:
    run("baseline", "t", "-o", "b.json")
    before = Path("b.json").read_text()
    Path("t/old.yaml").write_text("vmatrace: 1\nevents: [nonsense(1)]\n")
    assert run("baseline", "t", "-o", "b.json").status == 2
    assert Path("b.json").read_text() == before


def test_a_folder_of_results_is_a_baseline(run: RunProgram) -> None:
    os.mkdir("b")
    for name in ("old", "new"):
        run("replay", f"t/{name}.yaml", "--format", f"json=b/{name}.json")
    assert run("diff", "t", "--from", "b").status == 0
    os.mkdir("none")
    done = run("diff", "t", "--from", "none")
    assert (done.status, "no saved result in this directory" in done.err) == (2, True)


def test_a_model_that_is_not_known_any_more_is_an_error_that_says_what_to_do(
    run: RunProgram,
) -> None:
    run("baseline", "t/old.yaml", "-o", "b.json")
    Path("b.json").write_text(Path("b.json").read_text().replace('"6.12"', '"9.99"'))
    done = run("diff", "t/old.yaml", "--from", "b.json")
    assert done.status == 2
    assert "--to MODEL" in done.err
    assert run("diff", "t/old.yaml", "--from", "b.json", "--to", "6.12").status == 0
