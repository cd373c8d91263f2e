"""The exhibits, and recordings of random programs, on the running kernel."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest
from program import EXHIBITS, ROOT, RunProgram

from vmatrace.oracle import RunningKernel
from vmatrace.trace.file import load_trace
from vmatrace.verify import campaign, findings
from vmatrace.verify.campaign import Campaign
from vmatrace.verify.findings import Findings
from vmatrace.verify.recording import Recording
from vmatrace.verify.verdict import replay, verify


@pytest.fixture(scope="module")
def found(oracle: None) -> Findings:
    return findings.look()


@pytest.mark.parametrize("name", EXHIBITS)
def test_the_running_kernel_does_with_an_exhibit_what_the_model_does(
    name: str, found: Findings
) -> None:
    outcome = verify(load_trace(ROOT / "traces" / f"{name}.yaml"), found.kernel, RunningKernel())
    assert outcome.mismatch is None
    if outcome.skipped:
        pytest.skip(outcome.skipped)


def test_probing_is_told_in_words_and_in_json(run: RunProgram, found: Findings) -> None:
    assert f"nearest to the model {found.nearest.name}." in run("verify", "--probe").out
    assert f'"nearest":"{found.nearest.name}"' in run("verify", "--probe", "--format", "json").out


def test_a_recording_is_exact_and_the_same_again(tmp_path: Path, found: Findings) -> None:
    paths = [tmp_path / "one.jsonl.xz", tmp_path / "two.jsonl"]
    small = Campaign("recorded", 26, 30, found.kernel)
    for path in paths:
        assert campaign.record(small, RunningKernel(), str(path)) > 26 * 20
    one, two = (Recording(str(path)) for path in paths)
    assert one.header == two.header
    assert one.kernel() == found.kernel
    assert [replay(trace, found.kernel, played).word for trace, played in one.traces()] == [
        "exact"
    ] * 26
    assert lzma.decompress(paths[0].read_bytes()) == paths[1].read_bytes()
