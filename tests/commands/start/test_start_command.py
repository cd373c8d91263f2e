"""vmatrace alone, and vmatrace FILE: what to do next, as commands that can be pasted."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from program import RunProgram, exhibit

from vmatrace.commands.audit.snapshot import Snapshot
from vmatrace.commands.audit.watch.samples import About, Samples
from vmatrace.layout import Mapping

CALL = "mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)"


def commands(out: str) -> list[list[str]]:
    return [shlex.split(line) for line in re.findall(r"^    (\S.*)$", out, re.MULTILINE)]


def test_vmatrace_alone_says_where_to_begin(run: RunProgram) -> None:
    done = run()
    assert (done.status, done.err) == (0, "")
    assert max(map(len, done.out.splitlines())) <= 80
    for word in ("vmatrace FILE", "vmatrace record", "vmatrace audit PID", "vmatrace --help"):
        assert word in done.out
    assert len(done.out.splitlines()) < 24


@pytest.mark.parametrize(
    ("name", "text", "what", "first"),
    [
        ("a.yaml", f"vmatrace: 1\nevents:\n  - {CALL}\n", "a trace", "replay"),
        (
            "b.yaml", f"vmatrace: 1\nkernel: 6.12\nevents:\n  - {CALL}\n  - expect: {{vmas: 1}}\n",
            "a trace, of kernel 6.12", "check",
        ),
        ("a b.log", f"{CALL} = 0x7f0000000000\n", "a log of strace", "report"),
        ("maps", "1000-2000 rw-p 00000000 00:00 0 \n", "a snapshot", "audit"),
    ],
)  # fmt: skip
def test_a_file_says_what_it_is_and_every_command_works(
    name: str, text: str, what: str, first: str, tmp_path: Path, run: RunProgram,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = tmp_path / name
    path.write_text(text)
    done = run(str(path))
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(f"{path} is {what}")
    asked = commands(done.out)
    assert asked[0][:2] == ["vmatrace", first]
    monkeypatch.chdir(tmp_path)
    for _, *arguments in asked:
        if "TRACE" not in arguments:
            assert run(*arguments).status in (0, 1), arguments


def test_what_only_starts_as_a_saved_result_is_said_to_be_one(
    tmp_path: Path, run: RunProgram
) -> None:
    """It is looked at, not read: neither its depth nor its path is anybody's trace."""
    saved = tmp_path / "saved.json"
    for path in ("[" * 30_000, "[" * 900 + "]" * 900 + "}", "5}", '"nowhere"}', '"\\u0000"}'):
        saved.write_text(f'{{"format":"vmatrace-replay/1","path":{path}\n')
        done = run(str(saved))
        assert (done.status, done.err) == (0, "")
        assert f"vmatrace diff TRACE --from {saved}" in done.out


def test_a_saved_result_is_compared_with_its_trace(tmp_path: Path, run: RunProgram) -> None:
    trace, saved = tmp_path / "t.yaml", tmp_path / "saved.json"
    trace.write_text(f"vmatrace: 1\nevents:\n  - {CALL}\n")
    saved.write_text(run("replay", str(trace), "--format", "json").out)
    done = run(str(saved))
    assert "a saved answer of `vmatrace replay`" in done.out
    assert commands(done.out) == [["vmatrace", "diff", str(trace), "--from", str(saved)]]
    trace.unlink()
    assert commands(run(str(saved)).out) == [["vmatrace", "diff", "TRACE", "--from", str(saved)]]
    saved.write_text('{"format": "vmatrace-check/1", "trace": "a"}\n')
    assert "no command reads it" in run(str(saved)).out


def test_a_program_and_a_core_file(tmp_path: Path, run: RunProgram) -> None:
    done = run(sys.executable)
    assert f"-- {sys.executable}" in done.out
    core = tmp_path / "core"
    core.write_bytes(b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\x04\0" + b"\0" * 40)
    assert "a core file" in run(str(core)).out


def test_a_folder_names_what_is_in_it(tmp_path: Path, run: RunProgram) -> None:
    done = run("traces")
    assert re.search(r"a folder with \d+ traces", done.out)
    assert ["vmatrace", "check", "traces"] in commands(done.out)
    (tmp_path / "a.log").write_text(f"{CALL} = 0x7f0000000000\n")
    shutil.copy(exhibit("ksm-adjacent-anon"), tmp_path / "b.yml")
    found = commands(run(str(tmp_path)).out)
    assert found == [["vmatrace", str(tmp_path / name)] for name in ("a.log", "b.yml")]


def test_several_files_and_one_that_nothing_can_be_done_with(
    tmp_path: Path, run: RunProgram
) -> None:
    other = tmp_path / "words.txt"
    other.write_text("nothing of the kind\n")
    done = run(exhibit("ksm-adjacent-anon"), str(other))
    assert done.status == 2
    assert "is a trace" in done.out
    assert f"{other}" in done.err


def test_samples_of_a_process_are_recognised(tmp_path: Path, run: RunProgram) -> None:
    path = tmp_path / "x"
    with Samples(str(path), About(1, "x", 1, "6.18")) as samples:
        samples.add(Snapshot([Mapping(4096, 8192, 3)], True, True), 0.0, 0.0, 65530)
    done = run(str(path))
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(f"{path} is samples of a process")
    for _, *arguments in commands(done.out):
        assert run(*arguments).status == 0, arguments
    for command in ("replay", "whatif", "explain"):
        done = run(command, str(path), *(["all"] if command == "explain" else []))
        assert (done.status, done.out) == (2, "")
        assert f"{path}: error: it is samples of a process" in done.err
        assert f"vmatrace report {path}" in done.err


def test_what_is_neither_command_nor_file_is_an_error(run: RunProgram) -> None:
    done = run("repaly")
    assert (done.status, done.out) == (2, "")
    assert "(did you mean 'replay'?)" in done.err


@pytest.mark.parametrize("command", ["replay", "diff", "check", "report", "explain"])
@pytest.mark.parametrize(
    ("text", "what", "then"),
    [
        ("1000-2000 rw-p 00000000 00:00 0 \n", "a snapshot of a process", "vmatrace audit FILE"),
        ('{"format":"vmatrace-replay/1","trace":"a"}\n', "a saved answer", "--from FILE"),
        ("\x7fELF\x02\x01\x01" + "\0" * 9 + "\x04\0" + "\0" * 40, "a core file", "-c FILE"),
    ],
)
def test_the_wrong_kind_of_file_is_recognised_and_the_right_command_named(
    command: str, text: str, what: str, then: str, tmp_path: Path, run: RunProgram
) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    done = run(command, str(path), *(["all"] if command == "explain" else []))
    assert done.status == 2
    assert f"{path}: error: it is {what}" in done.err
    assert then.replace("FILE", str(path)) in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    "text", [f"vmatrace: 1\nevents:\n  - {CALL}\n", f"{CALL} = 0x7f0000000000\n"]
)
def test_audit_says_what_it_was_given(text: str, tmp_path: Path, run: RunProgram) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    done = run("audit", str(path))
    assert (done.status, done.out) == (2, "")
    assert "expected the text of /proc/PID/smaps or maps" in done.err
    assert re.search(rf": vmatrace (replay|report) {path}", done.err)


def test_a_folder_of_logs_names_them(tmp_path: Path, run: RunProgram) -> None:
    (tmp_path / "a.log").write_text(f"{CALL} = 0x7f0000000000\n")
    (tmp_path / "b.yml").write_text(f"vmatrace: 1\nevents:\n  - {CALL}\n")
    (tmp_path / "maps").write_text("1000-2000 rw-p 00000000 00:00 0 \n")
    done = run("diff", str(tmp_path))
    assert done.status == 2
    for name in ("a.log", "b.yml"):
        assert f"vmatrace diff {tmp_path / name}" in done.err
    assert "maps" not in done.err
