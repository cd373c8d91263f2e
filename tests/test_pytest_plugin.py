"""The pytest plugin, as pytest runs it beside an installed vmatrace."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from program import ROOT

from vmatrace import pytest_items
from vmatrace.kernels import KERNELS

#: Loaded once: pytester forgets after each run what the run imported, and libyaml's types are not
#: to be had twice.
LOADED = (yaml, pytest_items)
pytest_plugins = ["pytester"]

GOOD = """\
vmatrace: 1
process: {ksm: true}
events:
  - mmap(0x10000, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - mmap(0x11000, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - expect: {on: post-patch, vmas: 1}
  - expect: {name: split in two, on: pre-patch, vmas: 2}
  - expect: {on: [pre-patch, post-patch], mergeable: "> 0"}
"""
CALL = "mmap(0x11000, 4096, …)"
BAD = (
    GOOD.replace("vmas: 1", "vmas: 2, mergeable: 5")
    + """\
  - expect:
      on: pre-patch
      maps: [{start: 0x10000, end: 0x12000, perms: r--p}]
"""
)


@pytest.fixture(autouse=True)
def installed(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry point of pyproject.toml, as an installation of the project would have it."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    point = re.search(r'\[project\.entry-points\.(pytest11)\]\n(\w+) = "(.*)"\n', project)
    assert point is not None
    site = pytester.mkdir("site") / "vmatrace-0.dist-info"
    site.mkdir()
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: vmatrace\nVersion: 0\n")
    (site / "entry_points.txt").write_text("[{}]\n{} = {}\n".format(*point.groups()))
    pytester.syspathinsert(site.parent)
    monkeypatch.setenv("PYTHONPATH", f"{site.parent}:{ROOT}")
    for name in ("PYTEST_PLUGINS", "PYTEST_DISABLE_PLUGIN_AUTOLOAD"):
        monkeypatch.delenv(name, raising=False)
    # The one takes two seconds to load, in every run; the other shuffles.
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest -p no:randomly")


def write(pytester: pytest.Pytester, **files: str) -> None:
    for name, text in files.items():
        (pytester.path / f"{name}.yaml").write_text(text, encoding="utf-8")


def names(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if "::" in line]


@pytest.mark.parametrize("how", ["flag", "ini"])
def test_traces_are_collected_where_it_is_asked_for(pytester: pytest.Pytester, how: str) -> None:
    write(pytester, good=GOOD)
    if how == "ini":
        pytester.makeini("[pytest]\nvmatrace = true\n")
    flags = ["--vmatrace"] if how == "flag" else []
    result = pytester.runpytest_inprocess(*flags, "--collect-only", "-q")
    assert sorted(names(result)) == [
        f"good.yaml::mergeable after {CALL}[post-patch]",
        f"good.yaml::mergeable after {CALL}[pre-patch]",
        "good.yaml::split in two[pre-patch]",
        f"good.yaml::vmas after {CALL}[post-patch]",
    ]
    pytester.runpytest_inprocess(*flags).assert_outcomes(passed=4)


def test_without_the_flag_nothing_is_collected_and_nothing_is_loaded(
    pytester: pytest.Pytester,
) -> None:
    write(pytester, good=GOOD)
    pytester.makepyfile(
        "import sys\n"
        "def test_modules():\n"
        "    loaded = {name for name in sys.modules if name.startswith('vmatrace')}\n"
        "    assert loaded == {'vmatrace', 'vmatrace._version', 'vmatrace.pytest_plugin'}\n"
        "    assert 'yaml' not in sys.modules\n"
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_a_blocked_plugin_knows_no_flag(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("-p", "no:vmatrace", "--vmatrace")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*unrecognized arguments: --vmatrace*"])


def test_other_files_are_left_alone(pytester: pytest.Pytester) -> None:
    write(
        pytester,
        compose="services:\n  vmatrace: 1\n",
        text="about vmatrace: 1\n",
        mangled="{{ not: [yaml",
        asjson='{"vmatrace": 1, "events": ["munlockall()", {"expect": {"vmas": 0}}]}',
    )
    pytester.makepyfile("def test_python():\n    pass\n")
    result = pytester.runpytest_inprocess("--vmatrace", "--collect-only", "-q")
    assert names(result) == [
        "asjson.yaml::vmas after munlockall()[post-patch]",
        "test_other_files_are_left_alone.py::test_python",
    ]


def test_a_failure_shows_what_was_expected_and_no_traceback(pytester: pytest.Pytester) -> None:
    write(pytester, bad=BAD)
    result = pytester.runpytest_inprocess("--vmatrace", "bad.yaml")
    result.assert_outcomes(passed=3, failed=2)
    for lines in (
        [
            f"*_ bad: maps after {CALL}[[]pre-patch[]] _*",
            "bad.yaml:9: maps differ (- expected, + actual)",
            "  - 00010000-00012000 r--p [*] [*] [*]",
            "  + 00010000-00011000 r--p 0 rd mr mw me mg",
            "  + 00011000-00012000 r--p 0 rd mr mw me mg",
            "to see why: vmatrace replay bad.yaml --kernel pre-patch --steps",
        ],
        [
            f"*_ bad: vmas, mergeable after {CALL}[[]post-patch[]] _*",
            "bad.yaml:6: vmas: expected 2, actual 1",
            "    since line 4: mmap(0x10000, 4096, *)",
            "bad.yaml:6: mergeable: expected 5, actual 1",
            f"FAILED bad.yaml::vmas, mergeable after {CALL}[[]post-patch[]]*",
        ],
    ):
        result.stdout.fnmatch_lines(lines)
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*.py:*")


def test_one_test_can_be_chosen_and_points_at_its_line(pytester: pytest.Pytester) -> None:
    write(pytester, bad=BAD)
    chosen = f"bad.yaml::vmas, mergeable after {CALL}[post-patch]"
    items, _ = pytester.inline_genitems("--vmatrace", chosen)
    assert [item.location[:2] for item in items] == [("bad.yaml", 5)]
    pytester.runpytest_inprocess("--vmatrace", chosen).assert_outcomes(failed=1)
    pytester.runpytest_inprocess("--vmatrace", "-k", "pre-patch").assert_outcomes(
        passed=2, failed=1, deselected=2
    )


def test_expectations_in_one_line_have_names_of_their_own(pytester: pytest.Pytester) -> None:
    write(pytester, flow="vmatrace: 1\nevents: [expect: {vmas: 0}, expect: {merges: 0}]\n")
    result = pytester.runpytest_inprocess("--vmatrace", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["flow.yaml::vmas at the start*", "flow.yaml::merges at the start*"]
    )


def test_the_models_can_be_named(pytester: pytest.Pytester) -> None:
    write(pytester, good=GOOD, free="vmatrace: 1\nevents:\n  - expect: {vmas: 0}\n")
    result = pytester.runpytest_inprocess(
        "--vmatrace", "--vmatrace-kernel", "pre-patch", "--vmatrace-kernel=6.12", "-v"
    )
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(
        ["free.yaml::vmas at the start[[]pre-patch[]]*", "free.yaml::vmas at the start[[]6.12[]]*"]
    )
    result = pytester.runpytest_inprocess("--vmatrace", "--vmatrace-kernel=all", "free.yaml")
    result.assert_outcomes(passed=len(KERNELS))
    result = pytester.runpytest_inprocess("--vmatrace", "--vmatrace-kernel", "pre-path")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(
        ["--vmatrace-kernel: unknown kernel 'pre-path' (did you mean 'pre-patch'[?])"]
    )


def test_an_expectation_about_no_model_is_an_error_unless_allowed(
    pytester: pytest.Pytester,
) -> None:
    write(pytester, never="vmatrace: 1\nevents:\n  - expect: {on: '<6.0', vmas: 0}\n")
    result = pytester.runpytest_subprocess("--vmatrace")
    result.assert_outcomes(errors=1)
    said = ["*never.yaml:3: no kernel model is in <6.0, so nothing was*"]
    result.stdout.fnmatch_lines([said[0] + "--vmatrace-allow uncovered*"])
    result = pytester.runpytest_subprocess("--vmatrace", "--vmatrace-allow", "uncovered")
    result.assert_outcomes(warnings=1)
    result.stdout.fnmatch_lines(said)


def test_a_trace_that_expects_nothing_is_an_error_unless_allowed(
    pytester: pytest.Pytester,
) -> None:
    write(pytester, good=GOOD, silent=GOOD.partition("  - expect")[0])
    result = pytester.runpytest_subprocess("--vmatrace", "--continue-on-collection-errors")
    result.assert_outcomes(errors=1, passed=4)
    result.stdout.fnmatch_lines(["*silent.yaml: it expects nothing*"])
    pytester.makeini("[pytest]\nvmatrace_allow = no-expectations\n")
    pytester.runpytest_subprocess("--vmatrace").assert_outcomes(passed=4)


@pytest.mark.parametrize(
    "broken",
    [
        GOOD.replace("vmatrace:", "vmatrac:"),
        GOOD.replace("vmatrace:", "Vmatrace:"),
        GOOD.replace("vmatrace: 1\n", ""),
        GOOD.replace("vmatrace: 1\nprocess: {ksm: true}\n", "").replace("events", "\n'events'"),
        GOOD.replace("vmatrace: 1", "vmatrace 1"),
        "{vmatrace: 1",
    ],
)
def test_a_broken_trace_beside_good_ones_is_an_error(
    pytester: pytest.Pytester, broken: str
) -> None:
    write(pytester, good=GOOD, broken=broken, other="on: [push]\nevents:\n  - push\nname: x\n")
    result = pytester.runpytest_subprocess("--vmatrace", "--continue-on-collection-errors")
    result.assert_outcomes(errors=1, passed=4)
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*broken.yaml*error: *"])


def test_a_mistake_in_a_trace_is_a_collection_error_with_its_place(
    pytester: pytest.Pytester,
) -> None:
    write(pytester, broken="vmatrace: 1\nevents:\n  - munmpa(0, 1)\n  - munmap(0)\n", good=GOOD)
    result = pytester.runpytest_inprocess("--vmatrace", "--continue-on-collection-errors")
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*_ ERROR collecting broken.yaml _*",
            "broken.yaml:3:5: error: unknown call 'munmpa' (did you mean 'munmap'[?])",
            "      - munmpa(0, 1)",
            "broken.yaml:4:5: error: munmap takes 2 arguments (addr, length), got 1",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_call_that_is_not_modelled_fails_with_its_place(pytester: pytest.Pytester) -> None:
    write(
        pytester,
        unknown="vmatrace: 1\nevents:\n  - prctl(99, 1)\n  - expect: {vmas: 0}\n",
    )
    result = pytester.runpytest_inprocess("--vmatrace")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["unknown.yaml:3:5: error: prctl option 99 is not modelled yet"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_the_projects_own_tests_are_not_affected(pytester: pytest.Pytester) -> None:
    traces = list((ROOT / "tests" / "golden").glob("*.yaml"))
    assert traces
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/golden"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    collected = {line.split("::")[0] for line in done.stdout.splitlines() if "::" in line}
    assert collected
    assert {Path(name).suffix for name in collected} == {".py"}
