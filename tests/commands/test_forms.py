"""The registry of output forms: what a form needs, what --format says, and files whole or not."""

from __future__ import annotations

import csv
import html
import importlib
import inspect
import io
import json
import os
import re
import stat
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from program import ROOT, RunProgram

import vmatrace.commands.diff
from vmatrace.commands import forms
from vmatrace.commands.form import PICTURES

ADJACENT = "traces/ksm-adjacent-anon.yaml"
ROOMS = sorted(
    {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "vmatrace" / "commands").rglob("as_*")
        if path.suffix == ".py" or path.is_dir()
    }
)
EVERY = [(room, name) for room in ROOMS for name in forms.names(room)]

#: A form that nobody knows of but its own file.
TALLY = '''"""How many traces are equal."""
from vmatrace.commands.form import Form

SUFFIXES = (".tally",)

def form(out, count):
    """One number."""
    return Tally(out, count)

class Tally(Form):
    def __init__(self, out, count):
        super().__init__(out, count)
        self.equal = self.refused = 0

    def write(self, answer):
        self.equal += answer.equal

    def refuse(self, error):
        self.refused += 1

    def finish(self):
        self.out.write(f"{self.equal} of {self.count} equal, {self.refused} refused\\n")
'''


def test_there_are_rooms_with_forms() -> None:
    verbs = {"audit", "audit.compare", "audit.pages", "audit.watch", "check", "diff",
             "diff.across", "explain", "hunt", "kernels", "replay", "report", "shrink",
             "whatif"}  # fmt: skip
    assert {room.removeprefix("vmatrace.commands.") for room in ROOMS} == {*verbs, "verify"}


@pytest.mark.parametrize(("room", "name"), EVERY)
def test_a_module_of_a_form_is_one(room: str, name: str) -> None:
    module = forms.module(room, name)
    assert list(inspect.signature(module.form).parameters) == ["out", "count"]
    assert module.form.__doc__
    assert all(suffix.startswith(".") for suffix in getattr(module, "SUFFIXES", ()))


@pytest.mark.parametrize("room", ROOMS)
def test_every_command_has_a_table_and_json(room: str) -> None:
    assert forms.names(room)[0] == "table"
    assert "json" in forms.names(room)
    assert forms.named_by(room, "x.json")[0] == "json"
    assert forms.named_by(room, "X.TXT") == ["table"]
    assert forms.named_by(room, "x") == forms.named_by(room, "x.out") == []


def test_a_new_form_is_one_module(
    run: RunProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else is touched: it is listed, chosen, completed, and known by its suffix."""
    (tmp_path / "as_tally.py").write_text(TALLY, encoding="utf-8")
    monkeypatch.setattr(
        vmatrace.commands.diff, "__path__", [*vmatrace.commands.diff.__path__, str(tmp_path)]
    )
    importlib.invalidate_caches()
    # Its help is made when it is imported, which some test before this one may have done.
    monkeypatch.delitem(sys.modules, "vmatrace.commands.diff.command", raising=False)
    bad = tmp_path / "bad.yaml"
    bad.write_text("vmatrace: 1\nevents: [munmap(1)]\n", encoding="utf-8")
    done = run("diff", ADJACENT, str(bad), "traces/max-map-count-hole.yaml", "--format", "tally")
    assert (done.status, done.out) == (2, "1 of 3 equal, 1 refused\n")
    assert "tally" in run("diff", "--help").out
    file = tmp_path / "x.tally"
    assert "x.tally is a name for tally" in run("diff", ADJACENT, "--format", f"json={file}").err
    assert "did you mean 'tally'" in run("diff", ADJACENT, "--format", "tallly").err


PICTURED = (
    ("replay", "traces/several-processes.yaml"),
    ("replay", "traces/logs/sort.log", "--why", "all"),
    ("diff", ADJACENT, "--steps"),
    ("diff", ADJACENT, "--across", "6.12..6.18"),
    ("explain", ADJACENT, "0x10001000"),
    ("check", ADJACENT),
    ("report", ADJACENT),
    ("kernels",),
    ("whatif", "traces/ksm-reserve-and-commit.yaml"),
)


def _missing(table: str, drawn: str) -> list[str]:
    """Words of *table*, less its lines and dots, that are not in *drawn*."""
    drawn = "".join(html.unescape(drawn).split())
    return [word for word in re.sub("[\u2500-\u257f\u2800-\u28ff]", " ", table).split()
            if word not in drawn]  # fmt: skip


@pytest.mark.parametrize("command", PICTURED)
def test_pictures_say_what_the_table_says(
    command: tuple[str, ...], run: RunProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    table = run(*command)
    assert table.out
    drawn, fragment = (run(*command, "--format", form) for form in PICTURES)
    assert drawn.status == fragment.status == table.status
    root = ElementTree.fromstring(drawn.out)
    texts = " ".join(
        element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")
    )
    assert _missing(table.out, texts) == []
    assert _missing(table.out, re.sub("<[^>]*>", "", fragment.out)) == []
    assert "url(" not in drawn.out.replace("url(#", "")
    assert "http" not in fragment.out


def test_a_picture_is_as_wide_as_columns_say(
    run: RunProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = []
    for columns in ("80", "120", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        file = tmp_path / f"{columns}.svg"
        assert run("replay", ADJACENT, f"--format=svg={file}").status == 0
        box = ElementTree.parse(file).getroot().attrib["viewBox"]
        wide.append(float(box.split()[2]))
    assert wide == sorted(set(wide))
    done = run("replay", ADJACENT, f"--format=json={tmp_path / '80.svg'}")
    assert "is a name for svg, not for json" in done.err


def test_one_run_writes_all_forms(run: RunProgram, tmp_path: Path) -> None:
    command = ["diff", ADJACENT, "traces/max-map-count-hole.yaml", "--steps"]
    names = forms.names("vmatrace.commands.diff")
    alone = {name: run(*command, "--format", name) for name in names}
    files = {name: tmp_path / name for name in names}
    several = run(*command, *(f"--format={name}={file}" for name, file in files.items()))
    assert several == alone["table"]
    assert {name: file.read_text(encoding="utf-8") for name, file in files.items()} == {
        name: done.out for name, done in alone.items()
    }


def test_standard_output_gets_one_form(run: RunProgram, tmp_path: Path) -> None:
    file = tmp_path / "x"
    done = run("replay", ADJACENT, "--format", "json", "--format", f"table={file}")
    assert json.loads(done.out)["format"] == "vmatrace-replay/1"
    assert file.read_text(encoding="utf-8") == run("replay", ADJACENT).out
    for twice in (["json", "maps"], ["json=-", "table"], [f"json={file}", f"maps={file}"]):
        done = run("replay", ADJACENT, *(f"--format={form}" for form in twice))
        assert (done.status, done.out) == (2, "")
        assert "both write to" in done.err
    assert run("replay", ADJACENT, "--format=json", "--format=json").status == 0


def test_what_format_says_is_checked(run: RunProgram) -> None:
    for form, message in (
        ("jsn", "no form 'jsn' (did you mean 'json'?)"),
        ("xyzzy", "no form 'xyzzy' (expected table, html-fragment, json, maps, smaps, svg)"),
        ("json=", "a file is missing after json="),
        ("json=x.maps", "x.maps is a name for maps, not for json"),
    ):
        done = run("replay", ADJACENT, "--format", form)
        assert (done.status, done.out) == (2, "")
        assert message in " ".join(done.err.split())


def test_the_name_of_the_file_says_the_form(run: RunProgram, tmp_path: Path) -> None:
    page, text, other = (str(tmp_path / name) for name in ("x.HTML", "x.txt", "x"))
    assert run("report", ADJACENT, "-o", page) == (0, "", "")
    assert Path(page).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    for path in (text, other):
        assert run("report", ADJACENT, "-o", path) == (0, "", "")
        assert Path(path).read_text(encoding="utf-8") == run("report", ADJACENT).out
    assert run("report", ADJACENT, "--format", "html", "-o", other) == (0, "", "")
    assert Path(other).read_bytes() == Path(page).read_bytes()
    done = run("report", ADJACENT, "--format", "json", "-o", page)
    assert (done.status, done.out) == (2, "")
    assert "is a name for html, not for json" in " ".join(done.err.split())


def test_a_run_that_fails_leaves_every_file_as_it_was(
    run: RunProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept"
    kept.write_text("kept", encoding="utf-8")
    before = set(os.listdir(tmp_path))

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vmatrace.commands.diff.as_json._diff", interrupted)
    done = run("diff", ADJACENT, f"--format=json={kept}", f"--format=markdown={tmp_path / 'new'}")
    assert done.status == 130
    assert kept.read_text(encoding="utf-8") == "kept"
    assert set(os.listdir(tmp_path)) == before


def test_where_one_file_cannot_be_written_the_others_are(run: RunProgram, tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "no" / "such"
    done = run("diff", ADJACENT, f"--format=json={bad}", f"--format=json={good}")
    assert done.status == 2
    assert done.err == f"{bad}: error: cannot be written: No such file or directory\n"
    assert done.out == run("diff", ADJACENT).out
    assert good.read_text(encoding="utf-8") == run("diff", ADJACENT, "--format", "json").out
    full = run("diff", ADJACENT, "--format=json=/dev/full")
    assert full.status == 2
    assert full.err == "/dev/full: error: cannot be written: No space left on device\n"
    assert run("diff", ADJACENT, "--format=json=/dev/null").status == 1


def test_a_file_keeps_its_mode_its_links_and_its_names(run: RunProgram, tmp_path: Path) -> None:
    file, link, name = (tmp_path / name for name in ("file", "link", "name"))
    file.write_text("old", encoding="utf-8")
    file.chmod(0o640)
    link.symlink_to("file")
    os.link(file, name)
    run("diff", ADJACENT, f"--format=json={link}")
    text = run("diff", ADJACENT, "--format", "json").out
    assert link.is_symlink()
    assert file.read_text(encoding="utf-8") == name.read_text(encoding="utf-8") == text
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    name.unlink()
    run("diff", ADJACENT, f"--format=markdown={link}")
    assert file.read_text(encoding="utf-8").startswith("### vmatrace diff")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    new = tmp_path / "new"
    run("diff", ADJACENT, f"--format=markdown={new}")
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(new.stat().st_mode) == 0o666 & ~mask
    assert sorted(os.listdir(tmp_path)) == ["file", "link", "new"]


@pytest.mark.parametrize("across", [(), ("--across", "6.4..6.6")])
def test_what_is_no_trace_has_a_row_of_its_own(
    run: RunProgram, tmp_path: Path, across: tuple[str, ...]
) -> None:
    bad, none = tmp_path / "bad.yaml", tmp_path / "none.yaml"
    bad.write_text("vmatrace: 1\nevents: [nosuch()]\n")
    done = run("diff", ADJACENT, str(bad), str(none), *across, "--format", "csv")
    assert done.status == 2
    rows = [row for row in csv.DictReader(io.StringIO(done.out)) if row["path"] != ADJACENT]
    told = [{key: value for key, value in row.items() if value} for row in rows]
    outcome = {} if across else {"outcome": "error"}
    assert told == [
        {"path": str(bad), "line": "2", "message": "unknown call 'nosuch'", **outcome},
        {"path": str(none), "message": "cannot be read: No such file or directory", **outcome},
    ]


@pytest.mark.parametrize("form", ["svg", "html-fragment", "sarif", "github", "gitlab"])
def test_what_is_no_trace_is_told_by_forms_of_problems_and_left_out_of_pictures(
    run: RunProgram, tmp_path: Path, form: str
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("vmatrace: 1\nevents: [nosuch()]\n")
    alone = run("diff", ADJACENT, "--format", form)
    both = run("diff", ADJACENT, str(bad), "--format", form)
    assert (alone.status, both.status) == (1, 2)
    assert "unknown call 'nosuch'" in both.err
    problems = form in ("sarif", "github", "gitlab")
    assert ("unknown call 'nosuch'" in both.out) == problems
    assert "unknown call" not in alone.out


def test_the_script_for_a_tracer_is_of_an_architecture(run: RunProgram) -> None:
    texts = {arch: run("import", "--script", "bpftrace", "--arch", arch).out for arch in
             ("x86_64", "aarch64")}  # fmt: skip
    assert texts["x86_64"] != texts["aarch64"]
    assert all(f"vmatrace bpftrace 1 {arch}" in text for arch, text in texts.items())
    assert run("import", "--script", "bpftrace").out == texts[os.uname().machine]
    wrong = run("schema", "replai")
    assert "no schema 'replai' (did you mean 'replay'?)" in wrong.err
    strange = run("schema", "qqqqqq")
    assert "no schema 'qqqqqq' (expected trace, " in strange.err
    assert strange.status == wrong.status == 2
