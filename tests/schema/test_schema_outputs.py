"""Every JSON output of every command, on every exhibit, is what its schema says."""

from __future__ import annotations

import copy
import csv
import io
import json
import os
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from program import EXHIBITS, ROOT, Run, RunProgram, exhibit

from vmatrace import schema
from vmatrace.commands.verify import as_json
from vmatrace.commands.verify.question import Outcome
from vmatrace.event import Event
from vmatrace.kernels import KERNELS
from vmatrace.layout import parse_layout, smaps_text
from vmatrace.replayer.run import replay
from vmatrace.schema.outputs import OUTPUTS
from vmatrace.schema.reports import REPORTS
from vmatrace.trace.file import Trace, load_trace
from vmatrace.verify.campaign import Campaign, Reduced, Total
from vmatrace.verify.findings import conclude
from vmatrace.verify.verdict import Verdict
from vmatrace.verify.witness import Mismatch

FAILING = "tests/golden/failing.yaml"
#: The exhibits that are small enough to print every event of, with the layout after it.
SMALL = " ".join(map(exhibit, EXHIBITS))
#: Command lines that print an output; with traces/ an object for each exhibit.
COMMANDS = {
    "replay": [
        "replay traces/",
        "replay traces/logs/sort.log --steps",
        f"replay {SMALL} --steps",
        f"replay {FAILING} --steps",
    ],
    "diff": [
        f"diff {SMALL} --steps",
        f"diff {FAILING} --steps",
        f"diff {FAILING} --from 6.12 --to 6.18",
    ],
    "across": [f"diff {SMALL} --across 6.12,6.18", f"diff {FAILING} --across 6.4..6.18"],
    "explain": [
        *(f"explain {exhibit(name)} all --kernel pre-patch --no-models" for name in EXHIBITS),
        "explain traces/fork-hole-refill.yaml all",
        "explain traces/ksm-fill-the-hole.yaml all --kernel pre-patch",
        "explain traces/logs/sort.log all",
        f"explain {FAILING} 0x10000000",
        f"explain {FAILING} all",
    ],
    "check": ["check traces/ --kernel 6.12 --kernel 6.18", f"check {FAILING}"],
    "audit": [
        "audit tests/golden/starting-layout-smaps.maps",
        "audit tests/golden/starting-layout-smaps.smaps --kernel 6.12",
    ],
    "pages": [
        "audit --pages self --sample 5 --rate 0",
        "audit --pages self --kernel 6.12 --rate 0 --sample 5%",
    ],
    "watch": [f"audit self --every 300ms --count {count}" for count in (1, 3)],
    "compare": [
        "audit tests/golden/audit/mixed.smaps tests/golden/audit/mixed.maps --compare",
        "audit self tests/golden/audit/mixed.smaps --compare",
    ],
    "report": ["report traces/", "report traces/logs/sort.log --ksm", f"report {FAILING}"],
    "whatif": ["whatif traces/uffd-register.yaml", "whatif traces/anon-name.yaml"],
    "kernels": ["kernels"],
    "hunt": ["hunt --worse --programs 60 --seed 1"],
    "shrink": [f"shrink {exhibit('ksm-adjacent-anon')} --keep differs"],
}


def closed(part: Any) -> Any:
    """A schema that allows no field which it does not describe."""
    if isinstance(part, list):
        return [closed(each) for each in part]
    if not isinstance(part, dict):
        return part
    shut = {"additionalProperties": False} if "properties" in part else {}
    return {**shut, **{key: closed(value) for key, value in part.items()}}


@cache
def validator(name: str, strict: bool = False) -> Draft202012Validator:
    document = schema.schema(name)
    return Draft202012Validator(closed(document) if strict else document)


def complaints(document: Any, name: str, strict: bool = False) -> list[str]:
    errors = validator(name, strict).iter_errors(document)
    return [f"{e.json_path}: {e.message[:200]}" for e in errors]


def printed_for(command: str) -> int:
    """How many objects *command* is to print."""
    if " traces/ " in f"{command} ":
        return len(list((ROOT / "traces").rglob("*.yaml")))
    return max(command.count(".yaml"), 1)


def words(command: str) -> list[str]:
    """The words of *command*; ``self`` is the process that runs it."""
    return [str(os.getpid()) if word == "self" else word for word in command.split()]


def answer(run: RunProgram, command: str) -> Run:
    """What *command* prints as JSON."""
    return run(*words(command), "--format", "json")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        pytest.param(name, command, id=command[:60])
        for name, commands in COMMANDS.items()
        for command in commands
    ],
)
def test_an_output_is_what_its_schema_says(run: RunProgram, name: str, command: str) -> None:
    _, out, err = answer(run, command)
    assert err == ""
    lines = out.splitlines()
    assert len(lines) == printed_for(command)
    for line in lines:
        document = json.loads(line)
        assert complaints(document, name, strict=True) == [], document.get("trace")


def test_an_audit_of_every_exhibit_is_what_its_schema_says(run: RunProgram, tmp_path: Path) -> None:
    snapshot = tmp_path / "smaps"
    for name in EXHIBITS:
        result = replay(load_trace(ROOT / exhibit(name)), KERNELS["pre-patch"])
        snapshot.write_text(smaps_text(result.processes[0].layout, result.page_size))
        _, out, err = run("audit", str(snapshot), "--kernel", "6.12", "--format", "json")
        assert err == "" or not result.processes[0].layout, name
        assert err or complaints(json.loads(out), "audit", strict=True) == [], name


def verified() -> Iterable[tuple[str, str]]:
    """What verify prints, which on this machine may have no kernel to ask: its outcomes, made."""
    layout = parse_layout("1000-2000 rw-p 00000000 00:00 0 \nVmFlags: rd wr\n")
    event = Event("munmap", (0, 1), "munmap(0, 1)", 3)
    mismatch = Mismatch(0, event, "main", "result", 0, -22, layout, [])
    verdicts = [Verdict("t", "t.yaml", "6.18", 5), Verdict("t", "t.yaml", "6.18", 0, None, "why"),
                Verdict("t", "t.yaml", "6.18", 0, mismatch)]  # fmt: skip
    total = Total(Campaign("seed", 5, 40, KERNELS["6.18"]))
    reduced = Reduced(Trace("t", "t", lambda: iter(())), [event], mismatch, 1)
    out = io.StringIO()
    for verdict in verdicts:
        as_json.write(out, verdict)
    as_json.write(out, Outcome(total))
    total.failed = 4
    as_json.write(out, Outcome(total, reduced, "mismatch.yaml"))
    yield from (("verify", line) for line in out.getvalue().splitlines())
    out = io.StringIO()
    as_json.write(out, conclude({"ksm": True, "pkeys": False}))
    yield "probe", out.getvalue()


def test_what_verify_prints_is_what_its_schemas_say() -> None:
    for name, line in verified():
        assert complaints(json.loads(line), name, strict=True) == [], line


def formats_printed() -> set[str]:
    """Every format that the package's source names."""
    package = ROOT / "vmatrace"
    sources = (path for path in package.rglob("*.py") if path.parent.name != "schema")
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    return set(re.findall(r"\bvmatrace-([a-z]+)/1\b", text))


def test_every_format_has_a_schema_and_an_example_here() -> None:
    assert formats_printed() == set(OUTPUTS)
    assert {*COMMANDS, *(name for name, _ in verified())} == set(OUTPUTS)


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_output_may_have_more_fields_but_lack_none(run: RunProgram, name: str) -> None:
    printed = dict(verified())
    if name in COMMANDS:
        command = COMMANDS[name][-1]
        printed[name] = answer(run, command).out
    document = json.loads(printed[name])
    assert complaints({**document, "more": 1}, name) == []
    for field in OUTPUTS[name]["required"]:
        less = copy.copy(document)
        del less[field]
        assert complaints(less, name), field
        assert complaints({**document, field: 0.5}, name), field


#: Command lines that print what is no JSON of our own.
REPORTS_OF = {
    "check-csv": f"check {SMALL} {FAILING} --format csv",
    "diff-csv": f"diff {SMALL} {FAILING} --format csv",
    "across-csv": f"diff {SMALL} --across 6.4..6.18 --format csv",
    "audit-csv": "audit self --format csv",
    "pages-csv": "audit --pages --sample 10% self --format csv",
    "watch-csv": f"audit self --every 10ms --count {len(EXHIBITS) + 1} --format csv",
    "compare-csv": "audit self tests/golden/audit/mixed.smaps --compare --format csv",
    "report-csv": f"report {SMALL} --format csv",
    "gitlab": f"check {SMALL} {FAILING} --format gitlab",
    "sarif": f"diff {SMALL} {FAILING} --format sarif",
}


def test_every_report_has_an_example_here() -> None:
    assert set(REPORTS_OF) == set(REPORTS)


@pytest.mark.parametrize("name", REPORTS_OF)
def test_a_report_is_what_its_schema_says(run: RunProgram, name: str) -> None:
    out = run(*words(REPORTS_OF[name])).out
    if not name.endswith("-csv"):
        assert complaints(json.loads(out), name) == []
        return
    reader = csv.DictReader(io.StringIO(out, newline=""))
    assert reader.fieldnames == list(REPORTS[name]["properties"])
    rows = list(reader)
    assert len(rows) > (1 if name == "pages-csv" else len(EXHIBITS))  # of one process
    assert [said for row in rows for said in complaints(row, name)] == []
