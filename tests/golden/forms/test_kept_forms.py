"""What commands print of one rich trace and of snapshots, in the forms that are kept nowhere else.

``pytest --update-golden`` rewrites the files; each is to be read before it is kept.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from program import RunProgram, check_golden, exhibit

HERE: Final = Path(__file__).parent
RICH: Final = "tests/golden/forms/rich.yaml"
SMAPS: Final = "tests/golden/audit/mixed.smaps"
MAPS: Final = "tests/golden/audit/mixed.maps"
SETUP: Final = "tests/golden/forms/setup.yaml"
ALIKE: Final = "tests/golden/forms/alike.yaml"
CROWD: Final = "tests/golden/forms/crowd.yaml"
LIVES: Final = "tests/golden/forms/lives.yaml"
MANY: Final = exhibit("ksm-many-maps")
#: The status, and the arguments.
CASES: Final[dict[str, tuple[int, str]]] = {
    "audit.csv": (1, f"audit {SMAPS} {MAPS} -k 6.12 --format csv"),
    "audit.md": (1, f"audit {SMAPS} {MAPS} -k 6.12 --format markdown"),
    "audit.prom": (1, f"audit {SMAPS} {MAPS} -k 6.12 --format prometheus"),
    "audit.several.txt": (1, f"audit {SMAPS} {MAPS} -k 6.12"),
    "audit.compare.txt": (1, f"audit --compare {MAPS} {SMAPS}"),
    "audit.compare.csv": (1, f"audit --compare {MAPS} {SMAPS} --format csv"),
    "audit.compare.json": (1, f"audit --compare {MAPS} {SMAPS} --format json"),
    "check.txt": (1, f"check {RICH} -k 6.12 -k pre-patch"),
    "check.json": (1, f"check {RICH} -k 6.12 -k pre-patch --format json"),
    "diff.txt": (1, f"diff {RICH} --from 6.12 --to post-patch"),
    "diff.steps.txt": (1, f"diff {RICH} --from 6.12 --to post-patch --steps"),
    "diff.steps.json": (1, f"diff {RICH} --from 6.12 --to post-patch --steps --format json"),
    "diff.absolute.txt": (0, f"diff {RICH} --from 6.12 --to post-patch --absolute --no-ksm"),
    "crowd.diff.txt": (1, f"diff {CROWD} --from 6.12 --to post-patch"),
    "crowd.explain.txt": (0, f"explain {CROWD} all --no-models"),
    "crowd.replay.txt": (0, f"replay {CROWD} --summary"),
    "crowd.report.csv": (0, f"report {CROWD} --from 6.12 --to post-patch --format csv"),
    "crowd.report.json": (0, f"report {CROWD} --from 6.12 --to post-patch --format json"),
    "crowd.report.txt": (0, f"report {CROWD} --from 6.12 --to post-patch"),
    "crowd.whatif.txt": (0, f"whatif {CROWD}"),
    "diff.across.txt": (1, f"diff {RICH} {MANY} --across 6.4..6.18"),
    "diff.across.csv": (1, f"diff {RICH} {MANY} --across 6.16..6.18 --format csv"),
    "diff.across.json": (1, f"diff {RICH} {LIVES} --across 6.16..6.18 --format json"),
    "diff.across.md": (1, f"diff {RICH} {MANY} --across 6.16..6.18 --format markdown"),
    "diff.csv": (1, f"diff {RICH} {MANY} --from 6.12 --to post-patch --format csv"),
    "diff.md": (1, f"diff {RICH} {MANY} --from 6.12 --to post-patch --format markdown"),
    "explain.all.txt": (0, f"explain {RICH} all -k 6.12 --no-models"),
    "explain.all.json": (0, f"explain {RICH} all -k 6.12 --no-models --format json"),
    "explain.pool.txt": (0, f"explain {RICH} 0x10004000 -k 6.12 --no-models"),
    "explain.pool.json": (0, f"explain {RICH} 0x10004000 -k 6.12 --no-models --format json"),
    "explain.file.txt": (0, f"explain {RICH} 0x20001000 -k 6.12 --no-models"),
    "explain.label.txt": (0, f"explain {RICH} a -k 6.12 --no-models"),
    "explain.locked.txt": (0, f"explain {RICH} 0x30002000 -k 6.12 --no-models"),
    "explain.hole.txt": (1, f"explain {RICH} 0x50000000 -k 6.12 --no-models"),
    "export.c": (0, f"export c {exhibit('file-opened-twice')} -k 6.12 --layouts"),
    "export.setup.c": (0, f"export c {SETUP} -k 6.12"),
    "export.ktap.c": (0, f"export ktap {MANY} -k 6.12"),
    "export.jsonl": (0, f"export jsonl {RICH} -k 6.12"),
    "lives.grown.txt": (0, f"explain {LIVES} 0x10000000 -k 6.12 --no-models"),
    "lives.grown.json": (0, f"explain {LIVES} 0x10000000 -k 6.12 --no-models --format json"),
    "lives.childless.txt": (1, f"explain {LIVES} 0x10003000 -p c -k 6.12 --no-models"),
    "lives.never.txt": (1, f"explain {LIVES} 0x10003000 -p d -k 6.12 --no-models"),
    "lives.unmapped.txt": (1, f"explain {LIVES} 0x10001000 -k 6.12 --no-models"),
    "lives.moved.txt": (0, f"explain {LIVES} 0x40000000 -k 6.12 --no-models"),
    "lives.away.txt": (1, f"explain {LIVES} 0x20000000 -k 6.12 --no-models"),
    "lives.bound.txt": (0, f"explain {LIVES} 0x10002000 -k 6.12 --no-models"),
    "lives.all.txt": (0, f"explain {LIVES} all -k 6.12 --no-models"),
    "lives.child.txt": (0, f"explain {LIVES} 0x10000000 -p c -k 6.12 --no-models"),
    "lives.child.all.txt": (0, f"explain {LIVES} all -p c -k 6.12 --no-models"),
    "lives.child.json": (0, f"explain {LIVES} 0x10001000 -p c -k 6.12 --no-models --format json"),
    "lives.executed.txt": (0, f"explain {LIVES} 0x10000000 -p d -k 6.12 --no-models"),
    "lives.report.txt": (0, f"report {LIVES} --from 6.12 --to 6.18 --ksm"),
    "lives.diff.json": (1, f"diff {LIVES} --from 6.12 --to 6.18 --ksm --format json"),
    "replay.txt": (1, f"replay {RICH} --why all"),
    "replay.alike.txt": (0, f"replay {ALIKE} --why all"),
    "replay.steps.txt": (1, f"replay {RICH} --steps"),
    "replay.steps.json": (1, f"replay {RICH} --steps --format json"),
    "replay.summary.txt": (1, f"replay {RICH} --summary"),
    "replay.smaps": (1, f"replay {RICH} --format smaps"),
    "report.csv": (0, f"report {RICH} {MANY} --from 6.12 --to post-patch --format csv"),
    "report.json": (0, f"report {RICH} --from 6.12 --to post-patch --format json"),
    "report.txt": (0, f"report {RICH} --from 6.12 --to post-patch"),
    "shrink.txt": (0, f"shrink {RICH} --keep differs --from 6.12 --to post-patch -o /dev/null"),
    "shrink.json": (
        0,
        f"shrink {RICH} --keep differs --from 6.12 --to 6.18 -o /dev/null --format json",
    ),
    "shrink.many.txt": (
        0,
        f"shrink {CROWD} --keep blocked>=2 -k 6.12 -o /dev/null",
    ),
    "shrink.out": (0, f"shrink {LIVES} --keep vmas>=4 -k 6.12"),
    "start.crowd.txt": (0, f"{CROWD}"),
    "start.txt": (0, f"{RICH}"),
    "start.smaps.txt": (0, f"{SMAPS}"),
    "whatif.txt": (0, f"whatif {RICH} -k 6.12"),
    "whatif.json": (0, f"whatif {RICH} -k 6.12 --format json"),
    "whatif.many.txt": (0, f"whatif {MANY} -k pre-patch"),
}


def test_of_saved_results_the_steps_are_told_too(
    run: RunProgram, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """In as many words as they have: what a merge left, and what a refused neighbour differs in."""
    sides = []
    for side, kernel in (("--from", "6.12"), ("--to", "post-patch")):
        file = tmp_path / f"{kernel}.json"
        file.write_text(run(*f"replay {RICH} -k {kernel} --steps --format json".split()).out)
        sides += [side, str(file)]
    done = run("diff", RICH, "--steps", *sides, columns=80)
    text = done.out.replace(f"{tmp_path}/", "")
    check_golden(HERE / "diff.saved.txt", text, request.config.getoption("--update-golden"))
    assert (done.status, done.err) == (1, "")


def test_words_that_only_a_saved_result_knows_are_told_as_they_are(
    run: RunProgram, tmp_path: Path
) -> None:
    sides = []
    for side, kernel in (("--from", "6.12"), ("--to", "post-patch")):
        saved = run(*f"replay {RICH} -k {kernel} --steps --format json".split()).out
        for ours, other in (
            ('"side": ?"prev"', '"side":"elsewhere"'), ('"kind": ?"prev"', '"kind":"afar"'),
            ('"anon-vma"', '"odd"'), ('"flags": ?\\["mg"\\]', '"flags":["zz"]'),
        ):  # fmt: skip
            saved = re.sub(ours, other, saved)
        file = tmp_path / f"{kernel}.json"
        file.write_text(saved)
        sides += [side, str(file)]
    done = run("diff", RICH, "--steps", *sides, columns=200)
    assert (done.status, done.err) == (1, "")
    assert "merged with afar: now 10000000-10006000" in done.out
    assert "not merged with elsewhere, at 10004000: flags differ\n" in done.out
    assert "not merged with the VMA after it, at 10004000: flags differ; odd\n" in done.out


PAGES: Final[dict[str, str]] = {
    "diff.html": f"diff {RICH} {LIVES} --from 6.12 --to post-patch --ksm --format html",
    "report.html": f"report {RICH} --from 6.12 --to post-patch --format html",
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_is_kept(
    name: str, run: RunProgram, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Its tables, and what its scripts are given."""
    file = tmp_path / "x.html"
    done = run(*f"{PAGES[name]}={file}".split(), columns=80)
    assert done.err == ""
    page = file.read_text(encoding="utf-8")
    parts = "<(noscript|h1|table|script)[^>]*>(?!'use strict').*?</\\1>"
    found = [part[0] for part in re.finditer(parts, page, re.DOTALL)]
    text = re.sub(r'"version":"[^"]*"', "", "\n".join(found)) + "\n"
    check_golden(HERE / name, text, request.config.getoption("--update-golden"))


@pytest.mark.parametrize("name", CASES)
def test_what_is_printed_is_what_is_kept(
    name: str, run: RunProgram, request: pytest.FixtureRequest
) -> None:
    status, arguments = CASES[name]
    done = run(*arguments.split(), columns=80)
    check_golden(HERE / name, done.out, request.config.getoption("--update-golden"))
    assert (done.status, done.err) == (status, "")


@pytest.mark.parametrize("name", [name for name in CASES if name.endswith(".txt")])
def test_on_a_terminal_it_has_colours(
    name: str, run: RunProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every style is one of the theme, and all that is said is said there too."""
    status, arguments = CASES[name]
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    done = run(*arguments.split(), columns=80)
    assert (done.status, done.err) == (status, "")
    shown = re.sub(r"\x1b\[[0-9;]*m", "", done.out)
    assert len(shown) < len(done.out) or name.startswith("start")
    words = re.findall(r"[A-Za-z]{3,}", (HERE / name).read_text(encoding="utf-8"))
    assert set(words) - set(re.findall(r"[A-Za-z]{3,}", shown)) == set()


def test_every_kept_file_has_a_case() -> None:
    kept = {path.name for path in HERE.iterdir() if path.suffix not in (".py", ".yaml")}
    assert kept - {"__pycache__"} == {*CASES, *PAGES, "diff.saved.txt"}
