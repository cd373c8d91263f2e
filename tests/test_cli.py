"""The command line: exit status, streams, and what bad input looks like."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from program import LIMIT, ROOT, RunProgram, exhibit

from vmatrace import cli
from vmatrace._version import __version__, is_compiled

GOOD = exhibit("ksm-adjacent-anon")
FAILING = "tests/golden/failing.yaml"
BAD = """\
vmatrace: 1
events:
  - munmap(0, 4096)
  - mmmap(NULL, 4096, PROT_READ, MAP_PRIVATE, -1, 0)
  - munmap(0, PAGE_SIZ)
"""


@pytest.fixture
def bad(tmp_path: Path) -> str:
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    return str(path)


def _standard_input(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))


def _program(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "vmatrace", *arguments], cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip


# --- exit status --------------------------------------------------------------------------------


def test_done_is_0(run: RunProgram) -> None:
    assert run("replay", GOOD).status == 0


def test_a_failed_expectation_is_1(run: RunProgram) -> None:
    assert run("replay", FAILING).status == 1


def test_a_divergence_is_1_only_under_strict(run: RunProgram, tmp_path: Path) -> None:
    path = tmp_path / "diverges.yaml"
    path.write_text("vmatrace: 1\nevents:\n  - munmap(0, 0) = 0\n")
    assert run("replay", str(path)).status == 0
    assert run("replay", str(path), "--strict").status == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["replay"], "Missing argument"),
        (["replay", GOOD, "--frmat", "json"], "--format"),
        (["replay", GOOD, "--format", "jsn"], "'json'"),
        (["replay", GOOD, "--kernel", "post-pach"], "did you mean 'post-patch'?"),
        (["replay", GOOD, "--with", "ksm-befor-merge"], "did you mean 'ksm-before-merge'?"),
        (["replay", GOOD, "--with", "mseal", "--without", "mseal"], "both on and off"),
        (["replay", GOOD, "--steps", "--format", "maps"], "--steps"),
        (["replay", "-", "-"], "only once"),
        (["replai", GOOD], "replay"),
    ],
)
def test_bad_usage_is_2_and_prints_nothing(
    arguments: list[str], said: str, run: RunProgram
) -> None:
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert said in err


def test_ctrl_c_is_130(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    program = _program("replay", str(fifo))
    with open(fifo, "wb"):  # opens when the program waits for its input
        program.send_signal(signal.SIGINT)
        _, err = program.communicate(timeout=LIMIT)
    assert (program.returncode, err) == (130, b"")


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "vmatrace", "replay", GOOD], cwd=ROOT, stdout=write,
        stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_pipe_closed_in_mid_output_keeps_the_status_so_far(bad: str) -> None:
    program = _program("replay", bad, *[exhibit("ksm-many-maps")] * 5, "--steps")
    assert program.stdout is not None
    program.stdout.readline()
    program.stdout.close()
    assert program.stderr is not None
    err = program.stderr.read()
    program.stderr.close()
    assert program.wait(timeout=LIMIT) == 2
    assert b"Traceback" not in err
    assert b"Exception ignored" not in err


def test_output_that_cannot_be_written_is_2() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "vmatrace", "replay", GOOD], cwd=ROOT, stdout=full,
            stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == b"vmatrace: error: cannot write the output: No space left on device\n"


def test_closed_standard_streams_are_no_crash() -> None:
    command = f"{sys.executable} -m vmatrace replay {GOOD} - <&- >&-"
    done = subprocess.run(command, shell=True, cwd=ROOT, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


def test_a_broken_invariant_is_not_caught(run: RunProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise AssertionError("VMAs overlap")

    monkeypatch.setattr("vmatrace.replayer.run.Replay.run", broken)
    with pytest.raises(AssertionError, match="VMAs overlap"):
        run("replay", GOOD)


# --- input --------------------------------------------------------------------------------------


def test_bad_input_names_every_error_in_one_run_and_prints_nothing(
    bad: str, run: RunProgram
) -> None:
    status, out, err = run("replay", bad)
    assert (status, out) == (2, "")
    assert f"{bad}:4:5: error: unknown call 'mmmap' (did you mean 'mmap'?)\n" in err
    assert f"{bad}:5:15: error: " in err
    assert "\n      - munmap(0, PAGE_SIZ)\n" in err


@pytest.mark.parametrize("form", ["table", "json", "maps", "smaps"])
def test_good_traces_beside_a_bad_one_are_still_shown(bad: str, form: str, run: RunProgram) -> None:
    alone = run("replay", GOOD, GOOD, "--format", form).out
    status, out, err = run("replay", GOOD, bad, GOOD, "--format", form)
    assert status == 2
    assert err.startswith(f"{bad}:4:5: error: ")
    assert out == alone


@pytest.mark.parametrize("form", ["table", "json"])
def test_an_error_on_the_last_line_leaves_nothing_of_the_steps_before_it(
    form: str, tmp_path: Path, run: RunProgram
) -> None:
    path = tmp_path / "late.yaml"
    path.write_text("vmatrace: 1\nevents:\n  - munmap(0, 4096)\n  - munmap(0)\n")
    status, out, err = run("replay", str(path), "--steps", "--format", form)
    assert (status, out) == (2, "")
    assert err.startswith(f"{path}:4:")


def test_a_file_that_is_not_there_is_2(run: RunProgram) -> None:
    status, out, err = run("replay", "nowhere.yaml")
    assert (status, out) == (2, "")
    assert err == "nowhere.yaml: error: cannot be read: No such file or directory\n"


def test_a_directory_is_all_traces_below_it_sorted(tmp_path: Path, run: RunProgram) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/z", "b/a", "a", "c"):
        (tmp_path / f"{name}.yaml").write_text(f"vmatrace: 1\nname: trace {name}\nevents: []\n")
    (tmp_path / "notes.txt").write_text("not a trace")
    out = run("replay", str(tmp_path)).out
    names = [line.split("  ")[0] for line in out.splitlines() if line.startswith("trace ")]
    assert names == ["trace a", "trace b/a", "trace b/z", "trace c"]


def test_a_directory_without_traces_is_2(tmp_path: Path, run: RunProgram) -> None:
    status, out, err = run("replay", str(tmp_path))
    assert (status, out) == (2, "")
    assert err == f"{tmp_path}: error: no trace in this directory (expected *.yaml files)\n"


def test_a_dash_is_standard_input(run: RunProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    data = (ROOT / GOOD).read_bytes()
    _standard_input(monkeypatch, data)
    assert run("replay", "-", "--steps").out == run("replay", GOOD, "--steps").out


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(data=st.one_of(
    st.binary(max_size=200),
    st.lists(st.sampled_from(BAD.splitlines(keepends=True)), max_size=8).map(
        lambda lines: "".join(lines).encode()
    ),
))  # fmt: skip
def test_any_bytes_are_a_trace_or_an_error(
    data: bytes, run: RunProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    _standard_input(monkeypatch, data)
    status, out, err = run("replay", "-")
    assert status in (0, 2)
    assert (status == 0) == (err == "")
    assert (status == 2) == (out == "")


# --- options ------------------------------------------------------------------------------------


def test_kernel_overrides_the_trace_whose_default_is_post_patch(
    tmp_path: Path, run: RunProgram
) -> None:
    path = tmp_path / "old.yaml"
    path.write_text("vmatrace: 1\nname: old\nkernel: '6.9'\nevents: []\n")
    assert "old  kernel 6.9\n" in run("replay", str(path)).out
    assert "old  kernel 6.12\n" in run("replay", str(path), "--kernel", "v6.12").out
    assert "  kernel post-patch\n" in run("replay", GOOD).out


def test_post_patch_without_its_feature_is_pre_patch_by_another_name(run: RunProgram) -> None:
    switched = run("replay", GOOD, "--without", "ksm-before-merge").out
    assert "kernel post-patch-ksm-before-merge" in switched
    assert "blocked by VM_MERGEABLE alone: 7" in switched


def test_ksm_starts_the_process_under_ksm_by_default(tmp_path: Path, run: RunProgram) -> None:
    path = tmp_path / "plain.yaml"
    path.write_text(
        "vmatrace: 1\nevents:\n"
        "  - mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)\n"
    )
    assert ", 1 mergeable" in run("replay", str(path), "--ksm").out
    assert ", 0 mergeable" in run("replay", str(path), "--no-ksm").out
    assert ", 0 mergeable" in run("replay", str(path)).out


@pytest.mark.parametrize("arguments", [["-h"], ["--help"], ["replay", "-h"], ["kernels", "--help"]])
def test_help_fits_80_columns(arguments: list[str]) -> None:
    result = CliRunner().invoke(cli.command, arguments, prog_name="vmatrace", terminal_width=80)
    assert result.exit_code == 0
    assert result.output.startswith("Usage: vmatrace")
    assert all(len(line) <= 80 for line in result.output.splitlines())


def test_the_examples_of_the_help_are_commands_that_exist(run: RunProgram) -> None:
    for arguments in (["-h"], ["replay", "-h"]):
        lines = [line.split() for line in run(*arguments).out.splitlines()]
        examples = [words for words in lines if words[:1] == ["vmatrace"]]
        assert len(examples) >= 3
        for words in examples:
            command = cli.command.get_command(click.Context(cli.command), words[1])
            assert command is not None
            options = {o for p in command.params for o in p.opts}
            assert {word for word in words if word.startswith("--")} <= options


def test_bash_can_complete(run: RunProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_VMATRACE_COMPLETE", "bash_source")
    status, out, _ = run()
    assert status == 0
    assert "complete" in out


# --- start-up -----------------------------------------------------------------------------------


def _imported(*arguments: str) -> set[str]:
    script = (
        "import sys; from vmatrace.cli import main; main(sys.argv[1:]); "
        "print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True,
        check=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return set(done.stderr.split())


def test_the_version_loads_no_more_than_it_needs(run: RunProgram) -> None:
    built = " (compiled)" if is_compiled() else ""
    assert run("--version").out == f"vmatrace {__version__}{built}\n"
    loaded = _imported("--version")
    assert {name for name in loaded if name.startswith("vmatrace")} == {
        "vmatrace", "vmatrace.cli", "vmatrace._version", "vmatrace.commands",
        "vmatrace.commands.inputs",
    }  # fmt: skip
    assert not {"rich", "yaml", "json"} & loaded


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_replay_into_a_pipe_loads_no_rich(form: str) -> None:
    assert not {"rich"} & _imported("replay", GOOD, "--format", form)
