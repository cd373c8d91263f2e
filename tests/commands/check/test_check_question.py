"""Under which models a trace is checked, and that a check finds what a replay finds."""

from __future__ import annotations

import pytest
from program import EXHIBITS, ROOT, exhibit

from vmatrace.commands.check import question
from vmatrace.commands.check.question import check, models, rewrites
from vmatrace.event import Expectation
from vmatrace.kernels import KERNELS, KSM_BEFORE_MERGE, get_kernel
from vmatrace.replayer.run import replay
from vmatrace.trace.file import Trace, TraceError, load_trace

_MAP = "mmap({:#x}, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)"


def trace(*expected: str, kernel: str = "post-patch") -> Trace:
    """Two adjacent mappings under KSM by default, then expectations."""
    lines = [_MAP.format(0x10000), _MAP.format(0x11000), *(f"expect: {{{x}}}" for x in expected)]
    head = f"vmatrace: 1\nkernel: {kernel}\nprocess: {{ksm: true}}\nevents:\n"
    return load_trace((head + "".join(f"  - {line}\n" for line in lines)).encode(), "t.yaml")


def chosen(*expected: str, kernel: str = "post-patch") -> list[str]:
    made = trace(*expected, kernel=kernel)
    stated = [item for item in made.items() if isinstance(item, Expectation)]
    return [kernel.name for kernel in models(made, stated)]


@pytest.mark.parametrize(
    ("on", "expected"),
    [
        ("pre-patch", ["pre-patch"]),
        ("[post-patch, '6.4', v6.12]", ["6.4", "6.12", "post-patch"]),
        ("'>=6.4'", ["post-patch"]),
        ("'<6.17'", ["6.4", "6.16"]),
        ("6.5..6.7", ["6.5", "6.7"]),
        ("'==6.12'", ["6.12"]),
        ("'>99.0'", []),
        ("[pre-patch, '>99.0']", ["pre-patch"]),
    ],
)
def test_an_expectation_is_checked_under_the_models_that_its_on_stands_for(
    on: str, expected: list[str]
) -> None:
    assert chosen(f"on: {on}, vmas: 1") == expected


@pytest.mark.parametrize("kernel", ["6.12", "post-patch"])
def test_without_on_the_traces_own_model_counts(kernel: str) -> None:
    assert chosen(kernel=kernel) == [kernel]
    assert chosen("vmas: 1", kernel=kernel) == [kernel]
    assert set(chosen("vmas: 1", "on: pre-patch, vmas: 2", kernel=kernel)) == {kernel, "pre-patch"}


def test_a_range_prefers_the_traces_own_model() -> None:
    assert chosen("on: '>=6.5', vmas: 1", kernel="6.12") == ["6.12"]
    assert chosen("on: '<6.5', vmas: 1", kernel="6.12") == ["6.4"]


def test_an_expectation_is_checked_under_every_model_of_the_trace_that_it_is_about() -> None:
    checked = check(trace("vmas: 1", "on: pre-patch, vmas: 1", "on: '>=6.17', mergeable: 1"))
    lines = {model.kernel: [one.line for one in model.checks] for model in checked.models}
    assert lines == {"pre-patch": [7, 8, 9], "post-patch": [7, 9]}
    assert {m.kernel: (m.held, m.failed) for m in checked.models} == {
        "pre-patch": (0, 3), "post-patch": (2, 0),
    }  # fmt: skip


@pytest.mark.parametrize("name", EXHIBITS)
def test_a_check_holds_what_a_replay_holds_under_every_model(name: str) -> None:
    path = ROOT / exhibit(name)
    kernels = [*KERNELS.values()][::9]
    for kernel, model in zip(kernels, check(load_trace(path), kernels).models, strict=True):
        result = replay(load_trace(path), kernel)
        assert (model.kernel, model.held) == (kernel.name, result.passed)
        assert [f for one in model.checks for f in one.failures] == result.failures


def test_a_long_trace_that_is_read_anew_for_each_model_gives_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = ("vmas: 1", "on: pre-patch, merges: 3")
    kept = check(trace(*expected))
    monkeypatch.setattr(question, "_KEPT", 1)
    anew = check(trace(*expected))
    for model in (*kept.models, *anew.models):
        model.seconds = 0
    assert kept == anew


def test_a_failure_is_told_once_with_all_its_models() -> None:
    checked = check(trace("vmas: 3", "vmas: 2"), [*KERNELS.values()])
    told = [(f.line, f.actual, len(under)) for f, under in checked.failures()]
    new = sum(kernel.has(KSM_BEFORE_MERGE) for kernel in KERNELS.values())
    old = len(KERNELS) - new
    assert told == [(7, 2, old), (7, 1, new), (8, 1, new)]


def test_what_no_model_is_about_is_told_and_what_was_not_asked_is_not() -> None:
    made = trace("on: '>99.0', vmas: 1", "vmas: 1")
    checked = check(made)
    assert [(lost.line, lost.on) for lost in checked.uncovered] == [(7, ">99.0")]
    assert check(made, [get_kernel("6.4")]).uncovered == []


def test_a_model_of_which_nothing_is_expected_is_no_success() -> None:
    assert check(trace()).empty == ["post-patch"]
    checked = check(trace("on: pre-patch, vmas: 2"), [get_kernel("6.4"), get_kernel("pre-patch")])
    assert (checked.empty, checked.held, checked.failed) == (["6.4"], 1, 0)


def test_a_call_that_is_not_modelled_is_an_error_and_no_failure() -> None:
    data = b"vmatrace: 1\nevents:\n  - prctl(38, 1, 0, 0, 0)\n  - expect: {vmas: 7}\n"
    with pytest.raises(TraceError, match="not modelled"):
        check(load_trace(data, "t.yaml"))


def test_rewrites_say_under_which_models_a_value_failed_and_held() -> None:
    kernels = [get_kernel("pre-patch"), get_kernel("post-patch")]
    one, other = rewrites(check(trace("vmas: 1, mergeable: 9", "vmas: 2"), kernels))[::2]
    assert (one.line, one.what, one.holds) == (7, "mergeable", [])
    assert [(seen.kernel, seen.actual) for seen in one.seen] == [
        ("pre-patch", 2),
        ("post-patch", 1),
    ]
    assert (other.line, other.what, other.holds) == (8, "vmas", ["pre-patch"])
