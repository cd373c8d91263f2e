"""`vmatrace kernels` lists all that vmatrace.kernels knows."""

from __future__ import annotations

import json

from program import RunProgram

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


def test_pre_patch_and_post_patch_differ_in_one_feature(run: RunProgram) -> None:
    document = json.loads(run("kernels", "--format", "json").out)
    features = {k["name"]: set(k["features"]) for k in document["kernels"]}
    assert features["post-patch"] ^ features["pre-patch"] == {"ksm-before-merge"}
