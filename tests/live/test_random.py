"""Random programs on the running kernel: a fresh seed each time, which a failure shows."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from program import RunProgram

from vmatrace.oracle import RunningKernel
from vmatrace.trace.file import load_trace
from vmatrace.verify import campaign, findings
from vmatrace.verify.campaign import Campaign
from vmatrace.verify.findings import Findings
from vmatrace.verify.verdict import verify


@pytest.fixture(scope="module")
def found(oracle: None) -> Findings:
    return findings.look()


def test_random_programs_are_exact(found: Findings) -> None:
    fresh = Campaign(secrets.token_hex(4), 1350, 40, found.kernel)
    print(fresh.command())  # noqa: T201 -- pytest shows it when the test fails
    total = campaign.Total(fresh)
    for tally in campaign.run(fresh, RunningKernel()):
        total.add(tally)
    assert total.failed is None, f"program {total.failed} differs: {fresh.command()}"
    assert total.programs == 1350, fresh.command()
    assert total.events > 1350 * 35, fresh.command()


def wrong_model(found: Findings) -> Campaign:
    """A campaign against a model that this kernel is not."""
    name = "merge-unfaulted-target"
    has = name in found.kernel.features
    kernel = found.kernel.with_features([] if has else [name], [name] if has else [])
    return Campaign("wrong", 400, 40, kernel)


def test_the_first_program_that_differs_is_the_same_with_any_number_of_jobs(
    found: Findings,
) -> None:
    wrong = wrong_model(found)
    outcomes = [list(campaign.run(wrong, RunningKernel(), jobs)) for jobs in (1, 2)]
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][-1].failed is not None


def test_a_mismatch_becomes_a_minimal_exhibit_that_shows_it_again(
    run: RunProgram, tmp_path: Path, found: Findings
) -> None:
    wrong, path = wrong_model(found), tmp_path / "exhibit.yaml"
    kernel = wrong.kernel
    failed = list(campaign.run(wrong, RunningKernel(), 1))[-1].failed
    assert failed is not None
    reduced = campaign.reduce(wrong, RunningKernel(), failed)
    assert reduced is not None
    assert len(reduced.events) <= 6  # two mappings, one written to, made alike
    path.write_text(campaign.exhibit_text(wrong, failed, reduced), encoding="utf-8")
    again = verify(load_trace(path), kernel, RunningKernel())
    assert again.mismatch is not None
    assert again.events == len(reduced.events) - 1
    assert verify(load_trace(path), found.kernel, RunningKernel()).word == "exact"


def test_the_command_writes_the_exhibit(run: RunProgram, tmp_path: Path) -> None:
    path = tmp_path / "found.yaml"
    done = run("verify", "--random", "3", "--seed", "s", "--jobs", "1", "--exhibit", str(path))
    assert done.status == 0
    assert "seed s." in done.out
    assert not path.exists()
    done = run(
        "verify", "--random", "80", "--seed", "s", "--kernel", "6.4", "--exhibit", str(path)
    )  # no kernel of today
    assert done.status == 1
    assert f"{path}" in done.out
    assert load_trace(path).name.startswith("mismatch-s-")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_nothing_outlives_the_command(number: int, status: int) -> None:
    """Interrupted or killed: its jobs end with it, and so do their children."""
    code = "import sys; from vmatrace.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "verify", "--random", "1000000", "--jobs", "2"]
    group = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert group.stdout is not None
    assert "Verifying 1000000" in group.stdout.readline()
    while len(children(group.pid)) < 3:  # two jobs and multiprocessing's resource tracker
        assert group.poll() is None
    os.killpg(group.pid, number) if number == signal.SIGINT else group.send_signal(number)
    _, errors = group.communicate()  # ends when the last of them has closed the pipe
    assert group.returncode == status
    assert number == signal.SIGKILL or errors == ""


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
