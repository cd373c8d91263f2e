"""audit: what KSM has saved and what it costs, of a process and of a file."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
from pathlib import Path

import pytest
from program import RunProgram

from vmatrace.commands.audit import bill as bills
from vmatrace.commands.audit import billtable
from vmatrace.commands.audit.bill import Bill, KsmCounters
from vmatrace.commands.audit.question import Audit, audit
from vmatrace.commands.audit.snapshot import read
from vmatrace.kernels import get_kernel
from vmatrace.render import words
from vmatrace.render.paper import Paper


def record(page: int, codes: str, ksm: int = 0) -> str:
    start = 0x10000000 + 4096 * page
    return (
        f"{start:08x}-{start + 4096:08x} rw-p 00000000 00:00 0 \nRss: 4 kB\nAnonymous: 4 kB\n"
        f"KSM:        {ksm} kB\nVmFlags: rd wr mr mw me ac {codes} \n"
    )


def look(*records: str, kernel: str = "6.12") -> Audit:
    return audit(read("".join(records)), get_kernel(kernel))


@pytest.mark.parametrize(
    ("records", "kernel", "apart"),
    [
        ([record(0, "mg"), record(1, "mg"), record(2, "mg")], "6.12", 2),
        ([record(0, "mg"), record(1, "mg")], "6.17", 0),
        ([record(0, "mg"), record(1, "")], "6.17", 1),
        ([record(0, ""), record(1, "")], "6.12", 0),
    ],
)
def test_vmas_that_are_there_for_its_sake_are_counted(
    records: list[str], kernel: str, apart: int
) -> None:
    assert look(*records, kernel=kernel).bill == Bill(None, 0, apart)


def test_of_a_file_smaps_says_what_is_merged() -> None:
    found = look(record(0, "mg", 8), record(1, "mg", 4))
    assert found.bill.resident == 12 << 10
    assert "saves     12K merged" in written(found)
    assert read("1000-2000 rw-p 00000000 00:00 0 \n").ksm is None


def written(found: Audit) -> str:
    out = io.StringIO()
    billtable.write(Paper(out), found)
    return out.getvalue()


def test_nothing_is_said_where_ksm_is_not() -> None:
    assert look(record(0, ""), record(2, "")).bill.none
    assert written(look(record(0, ""), record(2, ""))) == ""


STAT = """ksm_rmap_items 7286
ksm_zero_pages 1004
ksm_merging_pages 4013
ksm_process_profit -64
"""


@pytest.mark.parametrize(
    ("more", "by_default"),
    [
        ("", None),
        ("ksm_merge_any: yes\nksm_mergeable: yes\n", True),
        ("ksm_merge_any: no\n", False),
    ],
)
def test_counters_of_older_and_newer_kernels(
    more: str, by_default: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.open", lambda *_, **__: io.StringIO(STAT + more))
    assert bills.read_counters(1) == KsmCounters(4013, 1004, 7286, -64, by_default)


def test_a_process_and_what_may_not_be_read(run: RunProgram) -> None:
    assert bills.read_counters(1 << 30) is None
    told = json.loads(run("audit", str(os.getpid()), "--format", "json").out)["ksm"]
    stat = Path("/proc/self/ksm_stat")
    assert (told["merged"] is not None) is stat.exists()
    if stat.exists() and "ksm_merge_any: no" in stat.read_text():
        said = " ".join(run("audit", str(os.getpid())).out.split())
        assert f"vmatrace audit --pages {os.getpid()}" in said


def test_every_row_of_csv_has_the_bill(tmp_path: Path, run: RunProgram) -> None:
    path = tmp_path / "x.smaps"
    path.write_text(record(0, "mg", 8) + record(1, "mg", 4) + record(5, ""))
    done = run("audit", str(path), "--kernel", "6.12", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert len(rows) > 1
    names = ("resident", "merged", "zeros", "tracked", "records", "profit", "apart")
    bill = ["12288", "", "", "", "", "", "1"]
    assert [[row[f"ksm_{name}"] for name in names] for row in rows] == [bill] * len(rows)


def test_markdown_has_the_bill(tmp_path: Path, run: RunProgram) -> None:
    path = tmp_path / "x.smaps"
    path.write_text(record(0, "mg", 8) + record(1, "mg", 4))
    said = run("audit", str(path), "--kernel", "6.12", "--format", "markdown").out
    assert "saves     12K merged" in said


@pytest.mark.parametrize(
    ("counters", "said"),
    [
        (
            KsmCounters(1, 0, 1, 4096, True),
            "1 page merged (4K); profit 4K, as the kernel reckons it",
        ),
        (
            KsmCounters(3, 1, 5, -8192, None),
            "3 pages merged (12K), 1 page of zeros (4K); profit -8K, as the kernel reckons it",
        ),
        (
            KsmCounters(0, 2, 5, 0, False),
            "0 pages merged (0B), 2 pages of zeros (8K); profit 0B, as the kernel reckons it",
        ),
    ],
)
def test_what_the_kernel_reckons_is_said(counters: KsmCounters, said: str) -> None:
    found = look(record(0, "mg"), record(1, "mg"))
    for ksmd in (True, False):
        text = written(dataclasses.replace(found, bill=Bill(counters, None, 1, ksmd)))
        state = {True: " (by default)", False: " (madvise alone)", None: ""}[counters.by_default]
        lines = text.splitlines()
        assert lines[:3] == ["", f"KSM{state}", f"  saves     {said}"]
        stopped = "            ksmd is not running (/sys/kernel/mm/ksm/run): nothing more is merged"
        assert (lines[3] == stopped) == (not ksmd)
        pages = "1 page" if counters.tracked == 1 else "5 pages"
        size = words.size(counters.records)
        costs = f"1 VMA of 2, headroom {found.headroom}; {size} for ksmd's records of {pages}"
        assert lines[-1] == f"  costs     {costs}"
