"""The laws of the kernel table: one feature a patch, a changelog that adds up, helpful errors."""

from __future__ import annotations

import os
import re
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vmatrace import kernels
from vmatrace.kernels import KERNELS, Kernel, features, get_kernel, matches
from vmatrace.kernels.features import FEATURES, Feature

MAINLINE = [name for name, kernel in KERNELS.items() if kernels.is_release(kernel)]
SYNTHETIC = ["pre-patch", "post-patch", "series-v2"]
FUTURE = ["next", "converted"]
BASES = {
    "pre-patch": "6.17", "post-patch": "6.17", "series-v2": "post-patch", "next": MAINLINE[-1],
    "converted": "next",
}  # fmt: skip

rows = st.sampled_from(list(KERNELS.values()))
names = st.sampled_from(sorted(FEATURES))
points = st.sampled_from([point for name in MAINLINE for point in kernels.point_releases(name)])


def predecessor(name: str) -> Kernel | None:
    before = {**BASES, **{newer: older for older, newer in pairwise(MAINLINE)}}
    return KERNELS[before[name]] if name in before else None


def test_the_table_lists_mainline_then_the_patch_then_what_is_to_come() -> None:
    assert list(KERNELS) == [*MAINLINE, *SYNTHETIC, *FUTURE]
    assert sorted(MAINLINE, key=lambda name: KERNELS[name].release) == MAINLINE
    assert MAINLINE[0] == "6.4"
    assert kernels.DEFAULT == "post-patch"


def test_pre_and_post_patch_differ_in_exactly_one_feature() -> None:
    assert KERNELS["pre-patch"].features ^ KERNELS["post-patch"].features == {
        kernels.KSM_BEFORE_MERGE.name
    }


def test_post_patch_is_6_17_and_series_v2_adds_only_the_misplaced_check() -> None:
    assert KERNELS["post-patch"].features == KERNELS["6.17"].features
    assert KERNELS["series-v2"].features - KERNELS["post-patch"].features == {
        kernels.KSM_LATE_CHECK_BEFORE_HOOK.name
    }


@pytest.mark.parametrize("name", KERNELS)
def test_a_row_is_its_predecessor_plus_its_changes(name: str) -> None:
    kernel, before = KERNELS[name], predecessor(name)
    have = set(before.features if before else ())
    for feature, added in kernel.changes:
        assert (feature.name in have) != added
        have ^= {feature.name}
    assert kernel.features == have


@pytest.mark.parametrize("name", MAINLINE)
def test_a_release_has_what_says_so_and_the_usual_configuration(name: str) -> None:
    kernel = KERNELS[name]
    for feature in FEATURES.values():
        usual = feature.kind == kernels.CONFIGURATION
        assert kernel.has(feature) == (usual or feature.is_in(kernel.release)), feature.name


@given(points)
def test_a_point_release_differs_from_its_mainline_by_what_names_its_series(
    kernel: Kernel,
) -> None:
    mainline = ".".join(map(str, kernel.release[:2]))
    assert kernel.features != KERNELS[mainline].features
    for feature, added in kernel.changes:
        arrivals = feature.since if added else feature.until
        here = [point for point in arrivals[1:] if point.startswith(f"{mainline}.")]
        assert len(here) == 1, feature.name
        assert kernels.numbers(here[0]) <= kernel.release


@given(points)
def test_what_a_stable_series_got_it_keeps(kernel: Kernel) -> None:
    later = get_kernel(".".join(map(str, (*kernel.release[:2], kernel.release[2] + 1))))
    for feature, added in kernel.changes:
        assert later.has(feature) == added


def test_a_backport_is_older_than_the_release_it_comes_from() -> None:
    for feature in FEATURES.values():
        for mainline, *backports in filter(None, (feature.since, feature.until)):
            for point in backports:
                assert kernels.numbers(point)[:2] < kernels.numbers(mainline), feature.name
                assert len(kernels.numbers(point)) == 3


def test_every_feature_is_in_some_model_and_missing_in_another() -> None:
    for feature in FEATURES.values():
        having = [kernel for kernel in KERNELS.values() if kernel.has(feature)]
        assert having, feature.name
        always = feature.kind == kernels.CONFIGURATION or feature is kernels.KSM_PRCTL
        assert (len(having) == len(KERNELS)) == always, feature.name


@pytest.mark.parametrize("feature", FEATURES.values(), ids=lambda feature: feature.name)
def test_a_feature_cites_its_commit_or_says_why_it_cannot(feature: Feature) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", feature.name)
    assert re.fullmatch(r"[^\n]+[^.]\.", feature.summary)
    assert feature.where
    if feature.commit is None:
        assert not feature.subject
        assert re.search("not established|configuration CONFIG_|hardware|as posted", feature.note)
    else:
        assert re.fullmatch("[0-9a-f]{12,40}", feature.commit)
        assert feature.subject
    assert feature.kind in ("", kernels.CONFIGURATION, kernels.PROPOSAL)
    assert bool(feature.since) == (not feature.kind)
    for point in (*feature.since, *feature.until):
        assert re.fullmatch(r"[5-9]\.\d+(\.\d+)?", point)


def test_every_feature_is_a_constant_of_both_modules() -> None:
    constants = {name: x for name, x in vars(features).items() if isinstance(x, Feature)}
    assert {name.lower().replace("_", "-") for name in constants} == set(FEATURES)
    for name, feature in constants.items():
        assert feature.name == name.lower().replace("_", "-")
        assert getattr(kernels, name) is feature


def test_only_mseals_commit_is_cited_twice_for_the_bug_that_came_with_it() -> None:
    cited = Counter(feature.commit for feature in FEATURES.values() if feature.commit)
    assert [commit for commit, times in cited.items() if times > 1] == [kernels.MSEAL.commit]
    assert kernels.MSEAL_REFUSES_ADVICE.since == kernels.MSEAL.since


def test_point_releases_are_those_of_the_stable_reviews() -> None:
    """What came to 6.6.y and 6.7.y, and series where only kernels far apart had been run."""
    assert kernels.get_kernel("6.6.114").has(kernels.KSM_UNMERGE_KEEPS_FLAGS)
    assert not kernels.get_kernel("6.6.113").has(kernels.KSM_UNMERGE_KEEPS_FLAGS)
    assert kernels.get_kernel("6.12.55").has(kernels.KSM_UNMERGE_KEEPS_FLAGS)
    assert kernels.get_kernel("6.17.3").has(kernels.KSM_UNMERGE_KEEPS_FLAGS)
    assert kernels.get_kernel("6.6.103").has(kernels.REMOVE_ASKS_MAYWRITE)
    assert kernels.get_kernel("6.6.140").has(kernels.UFFD_BELOW_MIN_ADDR)
    assert kernels.get_kernel("6.7.6").has(kernels.MAP_STACK_NOHUGEPAGE)
    assert not kernels.get_kernel("6.7.5").has(kernels.MAP_STACK_NOHUGEPAGE)
    assert not kernels.get_kernel("6.17.6").has(kernels.DONTUNMAP_UNACCOUNTS_SOURCE)
    assert kernels.get_kernel("6.17.5").has(kernels.DONTUNMAP_UNACCOUNTS_SOURCE)
    assert not kernels.get_kernel("6.18.21").has(kernels.MSEAL_STALE_START)
    assert not kernels.get_kernel("6.19.11").has(kernels.MSEAL_STALE_START)
    assert kernels.get_kernel("6.18.27").has(kernels.DROPPABLE_NEVER_LOCKED)
    assert kernels.get_kernel("6.18.37").has(kernels.GUARD_ANON_ONLY)
    assert not kernels.get_kernel("6.18.36").has(kernels.MAYBE_GUARD_FLAG)
    assert not kernels.get_kernel("7.0.12").has(kernels.HUGETLBFS_MMAP_PREPARE)


@given(rows, st.sets(names, max_size=4), st.sets(names, max_size=4))
def test_switching_features_gives_what_was_asked_for(
    kernel: Kernel, on: set[str], off: set[str]
) -> None:
    off -= on
    derived = kernel.with_features(on, off)
    assert derived.features == (kernel.features | on) - off
    assert (derived is kernel) == (derived.features == kernel.features)
    assert derived.release == kernel.release


@given(rows, st.sets(names, max_size=4))
def test_switching_back_gives_the_row_again(kernel: Kernel, switched: set[str]) -> None:
    on, off = switched - kernel.features, switched & kernel.features
    assert kernel.with_features(on, off).with_features(off, on) is kernel


@given(rows, st.sets(names, max_size=4), st.sets(names, max_size=4))
def test_a_derived_name_tells_its_features(kernel: Kernel, one: set[str], two: set[str]) -> None:
    first, second = kernel.with_features(one), kernel.with_features(two)
    assert (first.name == second.name) == (first.features == second.features)


def test_a_derived_kernel_is_named_after_its_row_and_switches() -> None:
    derived = get_kernel("v6.12").with_features(["ksm-before-merge"], ["thp-align-files"])
    assert derived.name == "6.12+ksm-before-merge-thp-align-files"
    assert derived.changes == ((kernels.KSM_BEFORE_MERGE, True), (kernels.THP_ALIGN_FILES, False))
    assert derived.has(kernels.KSM_BEFORE_MERGE)
    assert not derived.has(kernels.THP_ALIGN_FILES)
    assert get_kernel("pre-patch").with_features(["ksm-before-merge"]).base == "pre-patch"


def test_a_feature_cannot_be_switched_both_ways() -> None:
    with pytest.raises(ValueError, match="'mseal' is switched both on and off"):
        get_kernel("6.12").with_features(["mseal"], ["mseal"])


@pytest.mark.parametrize(
    ("wrong", "suggestion"),
    [
        ("post-pach", "post-patch"), ("serie-v2", "series-v2"), ("runing", "running"),
        ("nxt", "next"), ("6,12", "6.12"), ("6.12.x", "6.12"), ("linux-6.12.43", "6.12.43"),
        ("6.20", "6.19"), ("6.99.3", "6.19"), ("9.0", "next"), ("7.99", "next"), ("6.3", "6.4"),
        ("5.15.0-105-generic", "6.4"), ("8", "next"), ("3.x", "6.4"),
        ("NEXT", "next"), ("Running", "running"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_kernel_suggests_what_may_have_been_meant(
    wrong: str, suggestion: str
) -> None:
    with pytest.raises(kernels.UnknownKernel, match=re.escape(f"did you mean {suggestion!r}")):
        get_kernel(wrong)
    with pytest.raises(ValueError, match=re.escape(f"did you mean {suggestion!r}")):
        kernels.check_spec(wrong)


@pytest.mark.parametrize("wrong", ["latest", "", "v", "６.17"])
def test_what_is_like_no_name_is_told_where_the_names_are(wrong: str) -> None:
    with pytest.raises(kernels.UnknownKernel, match="`vmatrace kernels` lists the models"):
        get_kernel(wrong)


@pytest.mark.parametrize(
    ("name", "model", "assumed"),
    [
        ("6.12", "6.12", ""),
        ("v6.12", "6.12", ""),
        ("6.12.0", "6.12", ""),
        ("6.12.95", "6.12.95", ""),
        ("v7.2.12", "7.2.12", ""),
        ("6.12.43+deb13-amd64", "6.12.43", "'deb13-amd64' names a build"),
        ("6.8.0-45-generic", "6.8", "'45-generic' names a build"),
        ("6.6.87.2-microsoft-standard-WSL2", "6.6.87", "names a build"),
        ("6.6.87", "6.6.87", "nothing is known of what 6.6.y got beyond what"),
        ("6.12.999", "6.12.999", "nothing is known of what 6.12.y got after 6.12."),
        ("7.3.0-rc2", "7.3", "a release candidate is taken to have what 7.3 has"),
        ("7.3.0-rc2-00012-gabcdef", "7.3", "a release candidate is taken to have what 7.3 has"),
        ("7.3.0+", "7.3", "'+' marks a tree with changes of its own: it is taken as published"),
        ("7.3+", "7.3", "'+' marks a tree with changes of its own"),
        ("6.17.0-dirty", "6.17", "'dirty' names a build"),
        ("6.17-rc1", "6.17", "a release candidate"),
        ("6.12.0-55.9.1.el10_0.x86_64", "6.12", "names a build"),
    ],
)
def test_a_release_is_taken_however_it_is_written(name: str, model: str, assumed: str) -> None:
    kernel = get_kernel(name)
    assert kernel.name == model
    assert bool(kernel.assumed) == bool(assumed)
    assert assumed in " ".join(kernel.assumed)
    assert kernel.features == get_kernel(model).features


def test_the_running_kernel_is_that_of_uname(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_called(release: str) -> Kernel:
        uname = os.uname()
        monkeypatch.setattr(os, "uname", lambda: os.uname_result((*uname[:2], release, *uname[3:])))
        get_kernel.cache_clear()
        try:
            return get_kernel("running")
        finally:
            monkeypatch.undo()
            get_kernel.cache_clear()

    assert is_called("6.18.44-fc").name == "6.18.44"
    assert "6.18.44-fc" in is_called("6.18.44-fc").assumed[0]
    assert is_called("99.1.2").features == KERNELS[MAINLINE[-1]].features
    with pytest.raises(kernels.UnknownKernel, match=r"models begin with 6\.4"):
        is_called("6.1.0-42-amd64")


@given(rows | points, st.sets(names, max_size=4))
def test_a_derived_name_is_a_name(kernel: Kernel, switched: set[str]) -> None:
    derived = kernel.with_features(switched - kernel.features, switched & kernel.features)
    assert get_kernel(derived.name) == derived


@given(rows | points)
def test_a_configuration_does_not_change_which_release_it_is(kernel: Kernel) -> None:
    built = kernel.with_features([], ["anon-vma-name", "pkeys"])
    assert built.configured() == kernel
    assert matches(kernel.name, built)
    assert not matches(built.name, kernel)


def test_a_misspelt_feature_suggests_the_nearest() -> None:
    with pytest.raises(kernels.UnknownFeature, match="did you mean 'ksm-before-merge'"):
        get_kernel("6.12").with_features(["ksm-befor-merge"])
    with pytest.raises(kernels.UnknownFeature, match=r"unknown feature 'zzzz'$"):
        get_kernel("6.12").with_features([], ["zzzz"])


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=lambda kernel: kernel.name)
def test_a_model_name_covers_that_model_alone(kernel: Kernel) -> None:
    assert [name for name in KERNELS if matches(name, kernel)] == [kernel.name]
    switched = kernel.with_features([], ["ksm-prctl"])
    assert not any(matches(name, switched) for name in KERNELS)


@given(rows, st.sampled_from(MAINLINE), st.sets(names, max_size=3))
def test_the_comparisons_of_a_range_are_one_order(
    row: Kernel, release: str, switched: set[str]
) -> None:
    kernel = row.with_features([], switched)
    below, same, above = (matches(f"{op}{release}", kernel) for op in ("<", "==", ">"))
    assert [below, same, above].count(True) == 1
    assert matches(f"<={release}", kernel) == (below or same)
    assert matches(f">= v{release}", kernel) == (above or same)
    assert matches(f"!={release}", kernel) == (not same)
    assert same == (kernel.release[:2] == get_kernel(release).release)


@given(rows, st.sampled_from(MAINLINE), st.sampled_from(MAINLINE))
def test_a_span_includes_both_of_its_ends(kernel: Kernel, one: str, two: str) -> None:
    first, last = sorted((one, two), key=MAINLINE.index)
    expected = matches(f">={first}", kernel) and matches(f"<={last}", kernel)
    assert matches(f"{first}..{last}", kernel) == expected


def test_the_three_patch_models_count_as_6_17() -> None:
    for name in SYNTHETIC:
        assert matches("==6.17", KERNELS[name])
        assert matches(">=6.17", KERNELS[name])
        assert not matches("<6.17", KERNELS[name])


def test_a_stable_kernel_counts_to_its_series_and_can_be_told_from_it() -> None:
    assert matches("==6.12", get_kernel("6.12.117"))
    assert matches(">=6.12.100", get_kernel("6.12.117"))
    assert not matches(">=6.12.100", KERNELS["6.12"])
    assert matches("6.18.44..6.19", get_kernel("6.18.44"))
    assert not matches("6.18.44..6.19", KERNELS["6.18"])
    assert not matches("6.12", get_kernel("6.12.117"))


def test_what_is_to_come_is_newer_than_every_release() -> None:
    for name in FUTURE:
        assert matches(f">{MAINLINE[-1]}", KERNELS[name])
        assert not any(matches(f"=={release}", KERNELS[name]) for release in MAINLINE)


@pytest.mark.parametrize(
    "spec", [">=", "=>6.17", ">=6", "6.4..", "..6.4", "~6.12", ">=post-patch", "6.16..6.4", ""]
)
def test_a_malformed_spec_is_an_error(spec: str) -> None:
    with pytest.raises(ValueError, match=r"range|unknown kernel"):
        kernels.check_spec(spec)


@given(st.text(max_size=12))
def test_a_text_that_is_no_range_and_no_model_is_a_value_error(text: str) -> None:
    assume(not re.search(r"\d", text))
    assume(text.strip() not in {*KERNELS, "running"})
    with pytest.raises(ValueError, match=r"range|unknown kernel"):
        kernels.check_spec(text)


@pytest.mark.parametrize(
    ("fs", "before", "after"),
    [
        ("ext4", "legacy", "mmap_prepare"),
        ("btrfs", "legacy", "mmap_prepare"),
        ("tmpfs", "shmem", "shmem"),
        ("memfd", "shmem", "shmem"),
        ("overlay", "legacy", "legacy"),
        ("fuse", "legacy", "legacy"),
        ("proc", "legacy", "legacy"),
        ("hugetlbfs", "legacy", "legacy"),
        ("devzero", "legacy", "legacy"),
        ("legacy", "legacy", "legacy"),
    ],
)
def test_a_file_system_has_the_hook_of_its_release(fs: str, before: str, after: str) -> None:
    assert kernels.mmap_hook(fs, KERNELS["6.16"]) == before
    assert kernels.mmap_hook(fs, get_kernel("6.12.117")) == before
    assert kernels.mmap_hook(fs, KERNELS["6.17"]) == after
    assert kernels.mmap_hook(fs, KERNELS["pre-patch"]) == after


def test_a_driver_can_prepare_its_mmap_since_6_16() -> None:
    assert kernels.mmap_hook("mmap_prepare", KERNELS["6.15"]) == "legacy"
    assert kernels.mmap_hook("mmap_prepare", KERNELS["6.16"]) == "mmap_prepare"


@pytest.mark.parametrize(
    ("fs", "release"),
    [("tmpfs", "6.19"), ("devzero", "6.19"), ("memfd", "6.19"), ("ntfs", "7.1"), ("hpet", "7.1")],
)
def test_a_driver_is_converted_in_its_release(fs: str, release: str) -> None:
    before = predecessor(release)
    assert before is not None
    assert kernels.mmap_hook(fs, before) != "mmap_prepare"
    assert kernels.mmap_hook(fs, KERNELS[release]) == "mmap_prepare"


def test_hugetlbfs_was_converted_and_back() -> None:
    hooks = [kernels.mmap_hook("hugetlbfs", KERNELS[name]) for name in ("6.18", "6.19", "7.0")]
    assert hooks == ["legacy", "mmap_prepare", "mmap_prepare"]
    assert kernels.mmap_hook("hugetlbfs", KERNELS["7.1"]) == "legacy"


def test_where_the_conversion_ends_nothing_is_legacy() -> None:
    for fs in kernels.FILE_SYSTEMS:
        assert kernels.mmap_hook(fs, KERNELS["converted"]) == "mmap_prepare"
    assert kernels.mmap_hook("overlay", KERNELS["next"]) == "legacy"


@given(rows, st.sampled_from(kernels.FILE_SYSTEMS))
def test_every_known_file_system_has_a_hook(kernel: Kernel, fs: str) -> None:
    assert kernels.mmap_hook(fs, kernel) in {"mmap_prepare", "shmem", "legacy"}


def test_an_unknown_file_system_is_not_guessed() -> None:
    with pytest.raises(kernels.UnknownFileSystem, match="did you mean 'btrfs'"):
        kernels.mmap_hook("btrf", KERNELS["6.17"])
