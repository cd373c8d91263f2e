"""The laws of the kernel table: one feature a patch, a changelog that adds up, helpful errors."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vmatrace import kernels
from vmatrace.kernels import KERNELS, Kernel, features, get_kernel, matches
from vmatrace.kernels.features import FEATURES, Feature

MAINLINE = [f"6.{minor}" for minor in range(4, 19)]
SYNTHETIC = ["pre-patch", "post-patch", "series-v2"]

rows = st.sampled_from(list(KERNELS.values()))
names = st.sampled_from(sorted(FEATURES))


def predecessor(name: str) -> Kernel | None:
    before = {"6.4": None, "6.12.117": "6.12", "6.18.44": "6.18", "series-v2": "post-patch"}
    before |= {"pre-patch": "6.17", "post-patch": "6.17"}
    before |= {newer: older for older, newer in pairwise(MAINLINE)}
    older = before[name]
    return KERNELS[older] if older else None


def test_the_table_lists_mainline_then_the_recorded_kernels_then_the_patch() -> None:
    assert list(KERNELS) == [*MAINLINE, "6.12.117", "6.18.44", *SYNTHETIC]
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


def test_a_recorded_kernel_gains_only_what_its_notes_call_a_backport() -> None:
    for name, series in {"6.12.117": "6.12", "6.18.44": "6.18"}.items():
        kernel = KERNELS[name]
        gained = [feature for feature, added in kernel.changes if added]
        assert gained
        for feature in gained:
            assert f"{series}." in feature.note, feature.name
            assert "backported" in feature.note, feature.name
        lacking = [x.name for x, added in kernel.changes if not added]
        assert lacking == (["anon-vma-name", "pkeys"] if name == "6.18.44" else ["anon-vma-name"])


@pytest.mark.parametrize("name", MAINLINE[1:])
def test_a_release_gains_exactly_the_features_that_name_it(name: str) -> None:
    gained = {feature.name for feature, added in KERNELS[name].changes if added}
    assert gained == {feature.name for feature in FEATURES.values() if feature.release == name}


def test_every_feature_is_in_a_model_or_says_why_not() -> None:
    modelled = frozenset().union(*(kernel.features for kernel in KERNELS.values()))
    assert modelled <= FEATURES.keys()
    for feature in FEATURES.values():
        assert (feature.name in modelled) != ("in no model" in feature.note), feature.name


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
    if feature.release is None:
        known = "older than 6.4|newer than 6.18|configuration|hardware|as posted"
        assert re.search(known, feature.note)
    else:
        assert re.fullmatch(r"6\.\d+", feature.release)


def test_every_feature_is_a_constant_of_both_modules() -> None:
    constants = {name: x for name, x in vars(features).items() if isinstance(x, Feature)}
    assert {name.lower().replace("_", "-") for name in constants} == set(FEATURES)
    for name, feature in constants.items():
        assert feature.name == name.lower().replace("_", "-")
        assert getattr(kernels, name) is feature


def test_no_commit_is_cited_for_two_features() -> None:
    commits = [feature.commit for feature in FEATURES.values() if feature.commit]
    assert len(set(commits)) == len(commits)


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
    [("post-pach", "post-patch"), ("6.12.118", "6.12.117"), ("serie-v2", "series-v2")],
)
def test_a_misspelt_kernel_suggests_the_nearest(wrong: str, suggestion: str) -> None:
    with pytest.raises(kernels.UnknownKernel, match=re.escape(f"did you mean {suggestion!r}")):
        get_kernel(wrong)
    with pytest.raises(ValueError, match=re.escape(f"did you mean {suggestion!r}")):
        kernels.check_spec(wrong)


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
    assert matches("==6.12", KERNELS["6.12.117"])
    assert matches(">=6.12.100", KERNELS["6.12.117"])
    assert not matches(">=6.12.100", KERNELS["6.12"])
    assert matches("6.18.44..6.19", KERNELS["6.18.44"])
    assert not matches("6.18.44..6.19", KERNELS["6.18"])


@pytest.mark.parametrize(
    "spec", [">=", "=>6.17", ">=6", "6.4..", "..6.4", "~6.12", ">=post-patch", "6.16..6.4", ""]
)
def test_a_malformed_spec_is_an_error(spec: str) -> None:
    with pytest.raises(ValueError, match=r"range|unknown kernel"):
        kernels.check_spec(spec)


@given(st.text(max_size=12))
def test_a_text_that_is_no_range_and_no_model_is_a_value_error(text: str) -> None:
    assume(not re.search(r"\d", text))
    assume(text.strip() not in KERNELS)
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
    assert kernels.mmap_hook(fs, KERNELS["6.12.117"]) == before
    assert kernels.mmap_hook(fs, KERNELS["6.17"]) == after
    assert kernels.mmap_hook(fs, KERNELS["pre-patch"]) == after


def test_a_driver_can_prepare_its_mmap_since_6_16() -> None:
    assert kernels.mmap_hook("mmap_prepare", KERNELS["6.15"]) == "legacy"
    assert kernels.mmap_hook("mmap_prepare", KERNELS["6.16"]) == "mmap_prepare"


def test_shmem_and_dev_zero_are_converted_only_by_their_feature() -> None:
    later = KERNELS["6.18"].with_features(["shmem-mmap-prepare"])
    assert {kernels.mmap_hook(fs, later) for fs in ("tmpfs", "devzero", "hugetlbfs")} == {
        "mmap_prepare"
    }
    assert kernels.mmap_hook("overlay", later) == "legacy"


@given(rows, st.sampled_from(kernels.FILE_SYSTEMS))
def test_every_known_file_system_has_a_hook(kernel: Kernel, fs: str) -> None:
    assert kernels.mmap_hook(fs, kernel) in {"mmap_prepare", "shmem", "legacy"}


def test_an_unknown_file_system_is_not_guessed() -> None:
    with pytest.raises(kernels.UnknownFileSystem, match="did you mean 'btrfs'"):
        kernels.mmap_hook("btrf", KERNELS["6.17"])
