"""`vmatrace kernels` lists all that vmatrace.kernels knows."""

from __future__ import annotations

import json

from program import RunProgram, exhibit

from vmatrace import kernels


def test_the_table_names_every_model_and_feature(run: RunProgram) -> None:
    status, out, _ = run("kernels", columns=80)
    listed = {
        line.split()[0] for line in out.splitlines() if line.startswith("  ") and line[2] != " "
    }
    assert status == 0
    assert listed == set(kernels.KERNELS) | set(kernels.FEATURES)
    assert all(len(line) <= 80 for line in out.splitlines())


def test_every_feature_shows_its_commit_or_says_why_not(run: RunProgram) -> None:
    out = " ".join(run("kernels").out.split())
    for feature in kernels.FEATURES.values():
        assert feature.commit or feature.note
        assert (feature.commit or " ".join(feature.note.split())) in out


def test_json_gives_each_model_its_features(run: RunProgram) -> None:
    document = json.loads(run("kernels", "--format", "json").out)
    assert document["default"] == kernels.DEFAULT
    assert {k["name"]: set(k["features"]) for k in document["kernels"]} == {
        kernel.name: set(kernel.features) for kernel in kernels.KERNELS.values()
    }
    assert [f["name"] for f in document["features"]] == list(kernels.FEATURES)


def test_json_says_which_stable_releases_got_what(run: RunProgram) -> None:
    document = json.loads(run("kernels", "--format", "json").out)
    features = {f["name"]: f for f in document["features"]}
    assert features["dontunmap-splits-locked"]["release"] == "7.3"
    assert features["dontunmap-splits-locked"]["backports"] == ["7.2.11", "6.12.114"]
    assert features["dontunmap-unaccounts-source"]["until"] == ["6.18", "6.17.6"]
    assert features["pkeys"]["kind"] == "configuration"
    stable = {k["name"]: k["stable"] for k in document["kernels"]}
    assert [point["name"] for point in stable["7.2"]][-1] == "7.2.11"
    assert stable["pre-patch"] == []


def test_a_table_of_file_systems_names_each_with_its_hooks(run: RunProgram) -> None:
    status, out, _ = run("kernels", "--file-systems", columns=80)
    assert status == 0
    assert all(len(line) <= 80 for line in out.splitlines())
    words = out.replace(",", " ").split()
    assert set(kernels.FILE_SYSTEMS) <= set(words)
    assert "legacy, mmap_prepare since 6.19, legacy since 7.1" in " ".join(out.split())
    listed = json.loads(run("kernels", "--format", "json").out)["file_systems"]
    assert {fs["name"] for fs in listed} == set(kernels.FILE_SYSTEMS)


def test_what_a_kernels_name_leaves_open_is_said(run: RunProgram) -> None:
    done = run("replay", exhibit("droppable"), "-k", "6.12.43+deb13-amd64")
    assert (done.status, done.out.splitlines()[0]) == (0, "droppable  kernel 6.12.43")
    assert "note: kernel 6.12.43+deb13-amd64 is 6.12.43 here: 'deb13-amd64' names a" in done.err
    assert run("replay", exhibit("droppable"), "-k", "6.12.43").err == ""


def test_pre_patch_and_post_patch_differ_in_one_feature(run: RunProgram) -> None:
    document = json.loads(run("kernels", "--format", "json").out)
    features = {k["name"]: set(k["features"]) for k in document["kernels"]}
    assert features["post-patch"] ^ features["pre-patch"] == {"ksm-before-merge"}
