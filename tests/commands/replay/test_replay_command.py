"""The options of `vmatrace replay` that say how much is shown."""

from __future__ import annotations

import re

import pytest
from program import RunProgram, exhibit

PERL = "traces/programs/perl.yaml"
SEVERAL = exhibit("several-processes")


def test_the_totals_come_first(run: RunProgram) -> None:
    out = run("replay", PERL).out
    assert out.index("blocked by VM_MERGEABLE alone") < out.index("address range")


def test_a_summary_has_the_counts_of_the_table_and_no_layout(run: RunProgram) -> None:
    table = run("replay", PERL).out
    summary = run("replay", PERL, "--summary").out
    assert "address range" not in summary
    assert set(summary.splitlines()) < set(table.splitlines())
    assert len(summary.splitlines()) < 12


def test_a_summary_names_every_process_below_the_one_that_made_it(
    run: RunProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run("replay", SEVERAL, "--summary").out.splitlines()[-2:]
    assert [re.match(r" *\w+:", line)[0] for line in plain] == ["main:", "  child:"]  # type: ignore[index]
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    drawn = run("replay", SEVERAL, "--summary").out.splitlines()[-2:]
    assert drawn == ["main" + plain[0][4:], "└── child" + plain[1][7:]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--summary", "--why", "all"], "--why is about layouts, of which --summary shows none"),
        (["--summary", "--format", "json"], "--summary does not go with --format json"),
        (["--why", "all", "--format", "maps"], "--why does not go with --format maps"),
        (["--why", "most"], "all"),
    ],
)
def test_options_that_contradict_each_other(
    arguments: list[str], said: str, run: RunProgram
) -> None:
    done = run("replay", PERL, *arguments)
    assert (done.status, done.out) == (2, "")
    assert said in done.err


def test_the_table_may_stand_beside_json(run: RunProgram) -> None:
    done = run("replay", PERL, "--summary", "--format", "table", "--format", "json=/dev/null")
    assert done.status == 0
    assert "address range" not in done.out
