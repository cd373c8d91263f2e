"""The JSON is the contract's, for every exhibit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from program import EXHIBITS, RunProgram, exhibit

from vmatrace import abi
from vmatrace.engine.merge import NOTHING_THERE, Blocker

_CODES = {reason.code for reason in Blocker if not reason & NOTHING_THERE}
_FLAGS = set(abi.VM_FLAG_CODES.values()) - {"sd"}
_KEYS = ["format", "trace", "kernel", "events", "processes", "divergences", "expectations",
         "summary"]  # fmt: skip
_SUMMARY = {"events", "errors", "divergences", "vmas", "peak_vmas", "mergeable", "merges", "splits",
            "blocked", "blocked_only_by_mergeable"}  # fmt: skip
every_exhibit = pytest.mark.parametrize("name", EXHIBITS)


def _replay(run: RunProgram, name: str, *more: str) -> dict[str, Any]:
    out = run("replay", exhibit(name), "--format", "json", *more).out
    assert out.endswith("}\n")
    assert out.count("\n") == 1
    document: dict[str, Any] = json.loads(out)
    return document


def _check_layout(layout: list[dict[str, Any]]) -> None:
    end = 0
    for mapping in layout:
        assert list(mapping) == ["start", "end", "perms", "offset", "name", "vmflags"]
        assert end <= mapping["start"] < mapping["end"]
        assert mapping["start"] % 4096 == mapping["end"] % 4096 == mapping["offset"] % 4096 == 0
        assert len(mapping["perms"]) == 4
        assert ("rd" in mapping["vmflags"]) == (mapping["perms"][0] == "r")
        assert ("wr" in mapping["vmflags"]) == (mapping["perms"][1] == "w")
        assert set(mapping["vmflags"]) <= _FLAGS
        end = mapping["end"]


def _check_event(event: dict[str, Any]) -> None:
    assert event["line"] > 0
    assert (event["errno"] is None) == (event["result"] >= 0)
    assert event["errno"] is None or event["errno"] in abi.ERRNO
    for merge in event["merges"]:
        assert merge["kind"] in ("prev", "next", "both")
        assert merge["start"] < merge["end"]
    for blocked in event["blocked"]:
        assert blocked["side"] in ("prev", "next")
        assert blocked["reasons"]
        assert set(blocked["reasons"]) <= _CODES
        assert bool(blocked["flags"]) == ("flags" in blocked["reasons"])
        edge = "end" if blocked["side"] == "prev" else "start"
        assert blocked["address"] == blocked["neighbour"][edge]
    _check_layout(event["layout"])


@pytest.mark.parametrize("kernel", ["pre-patch", "post-patch"])
@every_exhibit
def test_every_exhibit_with_steps_has_the_shape_of_the_contract(
    name: str, kernel: str, run: RunProgram
) -> None:
    document = _replay(run, name, "--steps", "--kernel", kernel)
    assert [key for key in document if key in _KEYS] == _KEYS
    assert document["format"] == "vmatrace-replay/1"
    assert (document["trace"], document["kernel"]) == (name, kernel)
    assert [event["index"] for event in document["events"]] == list(range(len(document["events"])))
    for event in document["events"]:
        _check_event(event)
    for process in document["processes"]:
        _check_layout(process["layout"])
    assert document["divergences"] == []
    assert document["expectations"]["failed"] == []
    assert set(document["summary"]) >= _SUMMARY


@every_exhibit
def test_the_summary_is_the_sum_of_the_events(name: str, run: RunProgram) -> None:
    document = _replay(run, name, "--steps", "--kernel", "pre-patch")
    events, summary = document["events"], document["summary"]
    merges = [merge["kind"] for event in events for merge in event["merges"]]
    blocked = [side for event in events for side in event["blocked"]]
    assert summary["events"] == len(events)
    assert summary["errors"] == sum(event["errno"] is not None for event in events)
    assert summary["merges"] == {kind: merges.count(kind) for kind in ("prev", "next", "both")}
    assert summary["splits"] == sum(event["splits"] for event in events)
    reasons = [reason for side in blocked for reason in side["reasons"]]
    assert summary["blocked"] == {code: reasons.count(code) for code in sorted(set(reasons))}
    alone = [side for side in blocked if (side["reasons"], side["flags"]) == (["flags"], ["mg"])]
    assert summary["blocked_only_by_mergeable"] == len(alone)


@every_exhibit
def test_the_last_event_of_a_process_has_its_final_layout(name: str, run: RunProgram) -> None:
    document = _replay(run, name, "--steps")
    last = {event["pid"]: event["layout"] for event in document["events"]}
    final = {process["pid"]: process["layout"] for process in document["processes"]}
    assert all(final[pid] == layout for pid, layout in last.items() if pid in final)


@every_exhibit
def test_steps_add_the_events_and_nothing_else(name: str, run: RunProgram) -> None:
    with_steps = _replay(run, name, "--steps")
    without = _replay(run, name)
    assert "events" not in without
    assert {**without, "events": with_steps["events"]} == with_steps


def test_several_traces_are_a_line_each(run: RunProgram) -> None:
    names = EXHIBITS[:3]
    out = run("replay", *map(exhibit, names), "--format", "json").out
    assert [json.loads(line)["trace"] for line in out.splitlines()] == names


def test_a_failed_call_has_its_errno_by_name(run: RunProgram) -> None:
    events = _replay(run, "recorded-results", "--steps")["events"]
    failed = [(event["result"], event["errno"]) for event in events if event["errno"]]
    assert failed[:2] == [(-12, "ENOMEM"), (-22, "EINVAL")]


def test_a_divergence_shows_both_results_as_strace_would(run: RunProgram) -> None:
    run_ = run("replay", "tests/golden/failing.yaml", "--format", "json")
    divergences = json.loads(run_.out)["divergences"]
    assert [(d["recorded"], d["modelled"]) for d in divergences] == [
        ("0x10002000", "0x10001000"),
        ("0", "-1 EINVAL"),
    ]


def test_a_failed_layout_has_what_was_stated_and_what_was_there(run: RunProgram) -> None:
    run_ = run("replay", "tests/golden/failing.yaml", "--format", "json")
    counts, maps = json.loads(run_.out)["expectations"]["failed"]
    assert (counts["what"], counts["expected"], counts["actual"]) == ("vmas", "<= 2", 4)
    assert maps["expected"][0] == {"start": 0x10000000, "end": 0x10002000, "perms": "r--p"}
    _check_layout(maps["actual"])
