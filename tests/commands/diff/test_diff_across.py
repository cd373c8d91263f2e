"""Traces across releases: which are alike, and which features made the others differ."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from program import EXHIBITS, ROOT, RunProgram, exhibit

from vmatrace.commands.diff.across.question import Across, across, parse_models
from vmatrace.commands.diff.question import compare
from vmatrace.kernels import FEATURES, KERNELS, get_kernel
from vmatrace.replayer.attribution import causes
from vmatrace.trace.file import Trace, load_trace

RELEASES = "6.4..6.18"


def load(name: str) -> Trace:
    return load_trace(ROOT / exhibit(name), exhibit(name))


def found(name: str, models: str = RELEASES) -> Across:
    return across(load(name), parse_models(models))


def reasons(name: str, models: str = RELEASES) -> list[tuple[list[str], list[str]]]:
    """Each row: first and last model, and the features that made it differ."""
    return [
        ([row.models[0], row.models[-1]], [cause.feature.name for cause in row.causes])
        for row in found(name, models).rows
    ]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("6.4..6.6", ["6.4", "6.5", "6.6"]),
        ("v6.16..v6.17", ["6.16", "6.17"]),
        ("6.11..6.12.117", ["6.11", "6.12", "6.12.117"]),
        ("6.12.117..6.14", ["6.12.117", "6.13", "6.14"]),
        ("6.17..6.18.44", ["6.17", "6.18", "6.18.44"]),
        ("6.12, 6.12.117,pre-patch,post-patch", ["6.12", "6.12.117", "pre-patch", "post-patch"]),
        ("6.4..6.5,6.5..6.6,series-v2", ["6.4", "6.5", "6.6", "series-v2"]),
    ],
)
def test_a_range_holds_the_releases_between_and_its_ends(text: str, names: list[str]) -> None:
    assert [model.name for model in parse_models(text)] == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("6.4..6.99", "unknown kernel '6.99': 6.19 was the last of 6.x (did you mean '6.19'?)"),
        ("6.4...6.18", "malformed range '6.4...6.18' (expected such as 6.4..6.18)"),
        ("6.4..", "malformed range '6.4..'"),
        ("6.4..6.5..6.6", "malformed range"),
        ("6.4-6.18", "unknown kernel '6.4-6.18' (did you mean '6.4'?)"),
        ("6.18..6.4", "empty range '6.18..6.4' (expected the older release first)"),
        ("6.4..post-patch", "'post-patch' is no release, so it cannot end a range"),
        ("6.12", "'6.12' is one model (expected several"),
        ("6.12,6.12", "'6.12,6.12' is one model"),
        ("", "a name is missing"),
        ("6.4,,6.5", "a name is missing"),
    ],
)
def test_a_malformed_range_is_refused_with_what_was_expected(
    text: str, message: str, run: RunProgram
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_models(text)
    done = run("diff", exhibit("droppable"), "--across", text)
    assert (done.status, done.out) == (2, "")
    assert message in done.err


def test_the_series_makes_the_difference_of_adjacent_mappings() -> None:
    assert reasons("ksm-adjacent-anon") == [
        (["6.4", "6.16"], []),
        (["6.17", "6.18"], ["ksm-before-merge"]),
    ]
    before, after = found("ksm-adjacent-anon").rows
    assert (before.vmas, before.mergeable, before.peak_vmas, before.first) == (8, 8, 8, None)
    assert (after.vmas, after.mergeable, after.peak_vmas) == (1, 1, 1)
    assert after.first is not None
    assert after.first.event.line == 20
    assert after.causes[0].feature.commit == "cf7e7a3503df"
    assert after.causes[0].alone


def test_each_release_has_its_own_reason() -> None:
    assert reasons("exec-keeps-ksm") == [
        (["6.4", "6.6"], []),
        (["6.7", "6.16"], ["ksm-exec-inherit"]),
        (["6.17", "6.18"], ["ksm-before-merge"]),
    ]


def test_a_feature_that_went_is_a_reason_too() -> None:
    (_, after) = found("ksm-adjacent-anon", "post-patch,pre-patch").rows
    (cause,) = after.causes
    assert (cause.feature.name, cause.added, cause.alone) == ("ksm-before-merge", False, True)


@pytest.mark.parametrize("name", EXHIBITS)
def test_rows_are_apart_exactly_where_two_models_differ(name: str) -> None:
    models = parse_models("6.4..6.18,6.12.117,6.18.44,pre-patch")
    rows = across(load(name), models).rows
    starts = {row.models[0] for row in rows}
    assert [model for row in rows for model in row.models] == [model.name for model in models]
    firsts = iter(rows[1:])
    for before, model in pairwise(models):
        if before.features == model.features:
            assert model.name not in starts
            continue
        difference = compare(load(name), before, model)
        assert difference.equal == (model.name not in starts), model.name
        if not difference.equal:
            row = next(firsts)
            assert row.first is not None
            assert difference.first is not None
            assert row.first.index == difference.first.index


@pytest.mark.parametrize("name", EXHIBITS)
def test_switching_the_causes_makes_the_whole_difference(name: str) -> None:
    for before, after in (("6.4", "6.18"), ("6.18.44", "6.12.117")):
        older, newer = get_kernel(before), get_kernel(after)
        trace = load(name)
        if compare(trace, older, newer).equal:
            continue
        named = causes(trace, older, newer)
        assert named
        switched = older.with_features(
            [cause.feature.name for cause in named if cause.added],
            [cause.feature.name for cause in named if not cause.added],
        )
        assert compare(trace, switched, newer).equal
        for cause in named:
            alone = older.with_features(*(
                ([cause.feature.name], []) if cause.added else ([], [cause.feature.name])
            ))  # fmt: skip
            assert compare(trace, older, alone).equal != cause.alone


def test_features_that_matter_only_together_are_all_named() -> None:
    # The flag is set before the merge only where both the kernel and the file's hook allow it.
    trace = load_trace(b"""
vmatrace: 1
process: {ksm: true}
files: {shm: {path: /x, fs: ext4}}
events:
  - mmap(0x10000000, 4096, PROT_READ, MAP_PRIVATE|MAP_FIXED, shm, 0)
  - mmap(0x10001000, 4096, PROT_READ, MAP_PRIVATE|MAP_FIXED, shm, 4096)
""")
    both = ["ksm-before-merge", "fs-mmap-prepare"]
    newer = KERNELS["6.17"]
    older = newer.with_features([], both)
    named = causes(trace, older, newer)
    assert {cause.feature.name for cause in named} == set(both)
    assert [cause.alone for cause in named] == [False, False]


def test_exit_status_says_whether_all_models_agree(run: RunProgram) -> None:
    assert run("diff", exhibit("droppable"), "--across", "6.11..6.18").status == 0
    assert run("diff", exhibit("droppable"), "--across", RELEASES).status == 1
    assert run("diff", "none.yaml", exhibit("droppable"), "--across", "6.17,6.18").status == 2


def test_a_cause_without_a_commit_says_why(run: RunProgram) -> None:
    out = run("diff", exhibit("anon-name"), "--across", "6.12,6.12-anon-vma-name").out
    feature = FEATURES["anon-vma-name"]
    assert feature.commit is None
    assert f"      {feature.note}\n" in out
