"""A real kernel as a side of `vmatrace diff`: here the running one; images in tests/boot."""

from __future__ import annotations

import json
from pathlib import Path

from program import ROOT, RunProgram

from vmatrace.commands.diff.question import compare
from vmatrace.commands.diff.realkernel import RealKernel
from vmatrace.kernels import KERNELS
from vmatrace.trace.file import load_trace

ADJACENT = str(ROOT / "traces" / "ksm-adjacent-anon.yaml")
FORKS = str(ROOT / "traces" / "ksm-prctl-fork.yaml")


def test_a_kernel_equals_itself(run: RunProgram) -> None:
    done = run("diff", ADJACENT, FORKS, "--from", "running", "--to", "running")
    assert (done.status, done.err) == (0, "")
    assert "2 traces: 2 equal, 0 different" in done.out


def test_a_kernel_equals_the_model_that_experiments_find(run: RunProgram) -> None:
    with RealKernel("running") as real:
        for path in (ADJACENT, FORKS):
            found = compare(load_trace(Path(path)), real, real.model)
            assert found.equal
            assert found.from_.kind == "kernel"
            assert found.causes is None


def test_where_models_know_why_a_kernel_differs_the_feature_is_named() -> None:
    trace = load_trace(Path(ADJACENT))
    with RealKernel("running") as real:
        name = "ksm-before-merge"
        has = name in real.model.features
        other = real.model.with_features([] if has else [name], [name] if has else [])
        found = compare(trace, real, other)
    assert not found.equal
    assert found.causes is not None
    assert [cause.feature.name for cause in found.causes] == [name]


def test_what_no_feature_explains_is_said(run: RunProgram, tmp_path: Path) -> None:
    """A model of another kernel whose difference is not the one that is seen."""
    assert "6.12" in KERNELS
    done = run("diff", ADJACENT, "--from", "6.12", "--to", "running", "--format", "json")
    document = json.loads(done.out)
    assert document["to"]["kind"] == "kernel"
    assert document["features"] is None or isinstance(document["features"], list)


def test_a_trace_that_cannot_be_run_is_skipped_and_said_to_be(
    run: RunProgram, tmp_path: Path
) -> None:
    path = tmp_path / "zone.yaml"
    path.write_text(
        "vmatrace: 1\nmaps: |\n  10000000-10001000 rw-p 00000000 00:00 0\n"
        "events:\n  - munmap(0x10000000, PAGE_SIZE)\n"
    )
    done = run("diff", str(path), "--from", "running", "--to", "running")
    assert done.status == 2
    assert f"{path}: skipped: it starts with a layout of its own (maps:)" in done.err
    assert run("diff", str(path), ADJACENT, "--from", "running", "--to", "running").status == 0
