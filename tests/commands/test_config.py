"""The settings of a project: what they change, what comes before them, what is wrong in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from program import RunProgram

from vmatrace.commands import config
from vmatrace.commands.check.question import ALLOWABLE
from vmatrace.commands.diff.absent import KINDS

TRACE = """\
vmatrace: 1
process: {ksm: true}
events:
  - mmap(0x10000000, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - mmap(0x10001000, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - expect: {on: post-patch, vmas: 1}
  - expect: {on: pre-patch, vmas: 2, blocked_only_by_mergeable: 1}
"""


@pytest.fixture(autouse=True)
def project(run: RunProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project with a trace."""
    monkeypatch.chdir(tmp_path)
    Path("t/deep").mkdir(parents=True)
    Path("t/a.yaml").write_text(TRACE)


def write(text: str, shared: bool = False) -> str:
    if shared:
        Path("pyproject.toml").write_text('[project]\nname = "vmatrace"\n[tool.vmatrace]\n' + text)
        return "pyproject.toml"
    Path("vmatrace.toml").write_text(text)
    return "vmatrace.toml"


shared = pytest.mark.parametrize("shared", [False, True])


@shared
def test_check_without_arguments_uses_them(
    run: RunProgram, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run("check")
    assert (done.status, "vmatrace.toml" in done.err) == (2, True)
    write('traces = ["t"]\nkernels = ["pre-patch"]\n', shared)
    done = run("check")
    assert done.status == 0
    assert "1 trace, 1 model: 1 of 1 check held" in done.out
    assert "post-patch" in run("check", "--kernel", "post-patch").out
    monkeypatch.chdir("t/deep")
    assert "../a.yaml" in run("check").out


@shared
def test_a_budget_is_checked_in_every_form(run: RunProgram, shared: bool) -> None:
    table = "[tool.vmatrace.budgets]" if shared else "[budgets]"
    write(f'traces = "t"\n{table}\npeak_vmas = 1\n', shared)
    for form in ("table", "json", "junit", "github", "gitlab", "sarif", "ktap", "csv"):
        done = run("check", "--format", form)
        assert done.status == 1, form
        assert "peak_vmas" in done.out, form
    write(f'traces = "t"\n{table}\npeak_vmas = 2\n', shared)
    assert run("check").status == 0


def test_a_budget_may_be_of_some_traces(run: RunProgram) -> None:
    write('traces = "t"\n[budgets."t/b*"]\nvmas = 0\n')
    assert run("check").status == 0
    Path("t/b.yaml").write_text(TRACE)
    done = run("check")
    assert (done.status, "t/b.yaml:1: vmas" in done.out) == (1, True)
    assert "t/a.yaml:1" not in done.out


def test_diff_and_baseline_use_them_and_the_command_line_wins(run: RunProgram) -> None:
    write('traces = "t"\nfrom = "b.json"\nallow = ["new"]\n')
    assert run("diff").status == 2
    assert run("baseline", "-o", "b.json").status == 0
    assert run("diff").status == 0
    assert run("diff", "--from", "pre-patch", "--to", "post-patch").status == 1
    Path("t/b.yaml").write_text(TRACE)
    assert run("diff").status == 0
    assert run("diff", "--allow", "removed").status == 1


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("kernel = '6.12'", 1, "no setting 'kernel' (did you mean 'kernels'?)"),
        ("\nnonsense = 1", 2, "no setting 'nonsense' (expected traces, kernels,"),
        ("kernels = ['6.12',\n '6.99x']", 2, "unknown kernel '6.99x'"),
        ("traces = 1", 1, "traces is a number (expected a text, or a list of texts)"),
        ("allow = ['nwe']", 1, "no kind to allow 'nwe' (did you mean 'new'?)"),
        ("[budgets]\npeak_vma = 1", 2, "no budget 'peak_vma' (did you mean 'peak_vmas'?)"),
        ("[budgets]\nvmas = '1'", 2, "vmas is a text (expected a number)"),
        ("budgets = 3", 1, "budgets is a number"),
        ("traces = [", 1, "not TOML: "),
        ("from = 6.12", 1, "from is a number (expected a model, or a file)"),
    ],
)
@shared
def test_what_is_wrong_is_an_error_with_its_place(
    run: RunProgram, text: str, line: int, message: str, shared: bool
) -> None:
    path = write(text.replace("[budgets]", "[tool.vmatrace.budgets]") if shared else text, shared)
    done = run("check", "t")
    assert (done.status, done.out) == (2, "")
    assert f": error: {message}" in done.err
    assert done.err.startswith(f"{path}:{line + 3 * shared}:")
    assert "Traceback" not in done.err


def test_all_that_is_wrong_is_said_at_once(run: RunProgram) -> None:
    write("kernel = 1\ntraces = 2\nallow = 3\n")
    assert run("check").err.count(": error: ") == 3


def test_somebody_elses_broken_pyproject_is_not_ours(run: RunProgram) -> None:
    Path("pyproject.toml").write_text("[project\nvmatrace = 1")
    assert run("check", "t").status == 0


def test_what_can_be_allowed_is_written_once() -> None:
    assert sorted(config.ALLOWABLE) == sorted((*ALLOWABLE, *KINDS))
