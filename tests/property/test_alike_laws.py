"""Laws of sharing replays: models that run as one give the answers that they give one by one."""

from __future__ import annotations

import io
from itertools import count
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmatrace.commands.diff import as_json
from vmatrace.commands.diff.across import as_json as across_json
from vmatrace.commands.diff.across.question import across
from vmatrace.commands.diff.question import Comparison
from vmatrace.commands.explain import as_json as explain_json
from vmatrace.commands.explain.question import overview
from vmatrace.commands.report import as_json as report_json
from vmatrace.commands.report.as_html import pack
from vmatrace.commands.report.question import report
from vmatrace.engine.world import World
from vmatrace.kernels import FEATURES, KERNELS, Kernel, get_kernel
from vmatrace.render import jsonform
from vmatrace.replayer import alike
from vmatrace.replayer.lockstep import Lockstep
from vmatrace.replayer.result import Result, Step
from vmatrace.replayer.run import Replay
from vmatrace.search import generate
from vmatrace.trace.file import Trace, load_trace

MODELS = st.sampled_from(sorted(KERNELS)).map(get_kernel)
#: Every program in a process with KSM by default, in one without it.
KSM = st.sampled_from([True, False])


def program(index: int, length: int = 40) -> Trace:
    calls = generate.generate("alike", index, length)
    return Trace("random", "", lambda: iter(calls), files=generate.files())


def told(trace: Trace, models: list[Kernel], ksm: bool) -> list[str]:
    """Everything that diff, diff --across, report and explain say."""
    comparison = Comparison(trace, models[0], models[-1], ksm)
    out = io.StringIO()
    as_json.write(out, comparison.diff())
    across_json.write(out, across(trace, models, ksm))
    found = report(trace, (models[0], models[-1]), ksm)
    report_json.write(out, found)
    explain_json.write(out, overview(trace, models[0], ksm=ksm))
    events = [str(as_json.event_json(event)) for event in comparison.events()]
    return [out.getvalue(), str(pack(found)), *events]


def said(result: Result | None) -> object:
    """All of a result but the name of its model."""
    assert result is not None
    document = io.StringIO()
    jsonform.write(document, result)
    return document.getvalue().replace(f'"kernel":"{result.kernel}"', "")


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.lists(MODELS, min_size=2, max_size=5), KSM)
def test_what_is_shared_says_what_is_not_shared_says(
    index: int, models: list[Kernel], ksm: bool
) -> None:
    trace = program(index)
    shared = told(trace, models, ksm)
    with mock.patch.object(alike, "_CAN_SEE", False):
        assert told(trace, models, ksm) == shared


@settings(max_examples=60)
@given(st.integers(0, 10_000), MODELS, KSM)
def test_a_feature_that_is_not_asked_for_changes_nothing(
    index: int, kernel: Kernel, ksm: bool
) -> None:
    trace = program(index)
    others = [kernel.switched([feature]) for feature in FEATURES.values()]
    result, same = alike.alike(trace, kernel, others, ksm)
    assert same, "a program that asks for everything proves nothing"
    for i in same:
        alone = Replay(trace, others[i], ksm).run()
        assert said(alone) == said(result)


def did(step: Step) -> object:
    """What an event did, in values that two replays have in common."""
    attempts = [(d.op, d.start, d.end, d.left, d.right) for d in step.decisions]
    return step.result, attempts, step.splits, step.layout


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.lists(MODELS, min_size=2, max_size=8), KSM)
def test_a_model_does_beside_others_what_it_does_alone(
    index: int, models: list[Kernel], ksm: bool
) -> None:
    trace = program(index)
    together = Lockstep.shared(trace, models, ksm)
    rows = [[did(steps[i]) for i in together.of] for steps in together.steps()]
    for i, model in enumerate(models):
        alone = Replay(trace, model, ksm)
        assert [row[i] for row in rows] == [did(step) for step in alone.steps()]
        assert said(together.results()[i]) == said(alone.result)


def test_models_begin_runs_of_their_own_only_where_they_part() -> None:
    trace = load_trace(b"""\
vmatrace: 1
name: parts
process: {ksm: true}
events:
  - munmap(0x10000, 4096)
  - mmap(0x100000, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - munmap(0x100000, 4096)
""")
    models = [get_kernel(name) for name in ("pre-patch", "post-patch", "post-patch")]
    together = Lockstep.shared(trace, models)
    born: list[tuple[int, int]] = []
    together.begin = lambda place, old: born.append((place, old))
    assert [len(steps) for steps in together.steps()] == [1, 2, 2]
    assert together.of == [0, 1, 1]
    assert born == [(1, 0)]


def test_a_short_program_shares_most_models() -> None:
    trace = load_trace(
        b"vmatrace: 1\nname: short\nevents:\n  - munmap(0x10000, 4096) = 0\n", "short.yaml"
    )
    models = [kernel for name, kernel in KERNELS.items() if name[0].isdigit()]
    together = Lockstep.shared(trace, models, False)
    assert [len(steps) for steps in together.steps()] == [1]
    assert together.of == [0] * len(models)


@pytest.mark.parametrize("feature", FEATURES.values(), ids=lambda feature: feature.name)
def test_each_feature_is_asked_for_by_name_or_read_from_the_world(feature: object) -> None:
    """World keeps answers in attributes; each of them is one that watch() can see."""
    kernel = get_kernel("post-patch")
    assert isinstance(World.__slots__, tuple)
    ours, theirs = World(kernel), World(kernel.switched([feature]))  # type: ignore[list-item]
    unlike = [n for n in World.__slots__ if getattr(ours, n) != getattr(theirs, n)]
    assert all(type(getattr(ours, name)) is bool for name in unlike if name != "kernel")


@settings(max_examples=60)
@given(st.integers(0, 10_000), MODELS, MODELS, KSM, st.integers(1, 9))
def test_steps_that_nobody_asks_for_change_no_other(
    index: int, one: Kernel, other: Kernel, ksm: bool, every: int
) -> None:
    trace = program(index)

    def seen(nth: int | None) -> tuple[list[str], list[object]]:
        numbers = count(1)
        runs = Lockstep.shared(trace, [one, other], ksm)
        steps = runs.steps() if nth is None else runs.steps(lambda _: next(numbers) % nth == 0)
        told = [
            str([(s.index, s.result, s.args, s.decisions, s.layout) for s in here])
            for here in steps
        ]
        return told, [said(result) for result in runs.results()]

    told_all, results = seen(None)
    assert seen(every) == (told_all[every - 1 :: every], results)
