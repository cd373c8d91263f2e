"""audit --pages: pages of equal contents, sampled or not, and what memory in VMAs would cost.

That ksmd of a real kernel comes to the same is in tests/live/test_ksm_estimate.py.
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from program import ROOT, RunProgram

import vmatrace
from vmatrace.commands.audit.pages import as_csv
from vmatrace.commands.audit.pages.classes import KsmSettings, Sharing, sharing, zeros
from vmatrace.commands.audit.pages.contents import PAGE_SIZE, AnonymousPages, Digester, Pace
from vmatrace.commands.audit.pages.cost import STEP, Added, added
from vmatrace.commands.audit.pages.question import Contents, Estimate, estimate
from vmatrace.commands.audit.snapshot import open_snapshot
from vmatrace.kernels import get_kernel
from vmatrace.layout import parse_layout
from vmatrace.replayer.run import replay
from vmatrace.trace.file import load_trace

ALL = KsmSettings()
#: 300 pages of its own, 200 alike, 100 of zeros, 50 of which nothing was written, 30 of a secret.
_CHILD = """
import mmap, os
P = os.sysconf("SC_PAGE_SIZE")
m = mmap.mmap(-1, 1000 * P, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for i in range(300): m[i * P:(i + 1) * P] = os.urandom(P)
for i in range(300, 500): m[i * P:(i + 1) * P] = b"%08d" % (i % 50) * (P // 8)
for i in range(500, 600): m[i * P:(i + 1) * P] = bytes(P)
for i in range(600, 650): m[i * P]
for i in range(700, 730): m[i * P:(i + 1) * P] = b"Sw0rdf1sh" * (P // 9) + bytes(P % 9)
while os.read(0, 1): os.write(1, b"\\n")
"""


@pytest.fixture
def child() -> Iterator[int]:
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        for _ in range(3):  # until it does nothing that it has not done before
            process.stdin.write(b"x")
            process.stdin.flush()
            process.stdout.readline()
        yield process.pid
        process.communicate()


# --- equal contents -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "merged", "saved"),
    [
        ([], 0, 0),
        ([1, 1, 1], 0, 0),
        ([2, 3, 1], 5, 3),
        ([256], 256, 255),
        ([257, 512, 513], 1282, 1275),
    ],
)
def test_of_each_content_one_is_left_and_one_more_for_each_256(
    sizes: list[int], merged: int, saved: int
) -> None:
    found = sharing(sizes, 1.0, ALL)
    assert (found.merged, found.saved, found.error) == (merged, saved, 0)


def test_zeros_become_a_page_that_is_there_already_if_ksmd_is_told_so() -> None:
    assert zeros(300, 1.0, ALL) == Sharing(300, 2)
    assert zeros(300, 1.0, KsmSettings(zero_pages=True)) == Sharing(300, 0)
    assert zeros(1, 1.0, ALL).saved == 0
    assert zeros(1, 1.0, KsmSettings(zero_pages=True)).saved == 1


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
@pytest.mark.parametrize(
    "classes",
    [
        {1: 40_000},
        {1: 40_000, 2: 15_000},
        {2: 30_000},
        {1: 30_000, 3: 5_000, 7: 1_000, 300: 5},
        {1: 1_000, 5_000: 3, 40: 100},
    ],
    ids=str,
)
def test_a_sample_foretells_the_whole_within_its_uncertainty(
    classes: dict[int, int], share: float
) -> None:
    pages = [size for size, count in classes.items() for _ in range(count)]
    truth = sharing(pages, 1.0, ALL).saved
    choice = random.Random(1)
    seen = [sum(choice.random() < share for _ in range(size)) for size in pages]
    found = sharing([n for n in seen if n], share, ALL)
    assert found.saved == pytest.approx(truth, abs=4 * found.error + 0.02 * truth + 20)
    assert found.error < 0.1 * truth + 20


# --- a process ------------------------------------------------------------------------------------


def test_what_a_process_holds_is_counted(child: int) -> None:
    found = estimate([child])
    (process,) = found.processes
    assert process.pages == process.read > 630
    assert process.zeros == pytest.approx(100, abs=20)
    assert process.sharing.merged == pytest.approx(330, abs=40)
    assert process.sharing.saved == pytest.approx(330 - 50 - 1 - 1, abs=40)
    assert (process.unread, process.swapped, found.forked) == (0, 0, 0)
    assert found.profit == found.sharing.saved * PAGE_SIZE - 64 * found.pages
    assert process.name.startswith("python")


def test_contents_of_two_processes_are_compared(child: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdin.write(b"x")
        other.stdin.flush()
        other.stdout.readline()
        both = estimate([child, other.pid, child])
        other.communicate()
    assert {process.pid for process in both.processes} == {child, other.pid}
    assert len(both.processes) == 2
    # Each content that is in both, once more: 50, the zeros and the secret; and what Python holds.
    assert both.sharing.saved - both.within >= 52


def test_no_page_is_made_and_none_is_changed(child: int) -> None:
    def pages() -> list[str]:
        text = Path(f"/proc/{child}/smaps").read_text(encoding="utf-8")
        return re.findall(r"^[0-9a-f]+-.*|^(?:Rss|Anonymous|Swap): .*", text, re.M)

    before = pages()
    with AnonymousPages(child, 1.0, Pace(0)) as memory:
        assert sum(1 for _ in memory.pages(open_snapshot(child).layout, Digester())) > 600
    assert pages() == before


def test_contents_are_never_printed(child: int, run: RunProgram) -> None:
    for form in ("table", "json"):
        done = run("audit", "--pages", str(child), "--format", form)
        assert (done.status, done.err) == (0, "")
        assert "Sw0rd" not in done.out
        assert not re.search(r"[0-9a-f]{20}", done.out)
    key, other = Digester(), Digester()
    page = bytes(range(256)) * (PAGE_SIZE // 256)
    assert key.of(page) == key.of(memoryview(page)) != other.of(page)
    assert key.of(bytes(PAGE_SIZE)) == key.zero


def test_the_reading_keeps_to_its_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("time.sleep", lambda s: now.__setitem__(0, now[0] + s))
    pace = Pace(1 << 20)
    for _ in range(100):
        pace.keep(1 << 16)
    assert now[0] == pytest.approx(100 / 16, abs=0.1)
    Pace(0).keep(1 << 40)
    assert now[0] < 7


# --- its cost in VMAs -----------------------------------------------------------------------------


PRE, POST = (get_kernel(name) for name in ("pre-patch", "post-patch"))


@pytest.mark.parametrize(("name", "likely"), [("", 0), (" [heap]", 9), (" [anon:arena]", 0)])
def test_memory_that_grows_stays_apart_before_the_series_alone(name: str, likely: int) -> None:
    there = parse_layout(f"10000000-{0x10000000 + 10 * STEP:08x} rw-p 00000000 00:00 0{name}\n")
    assert added(there, [PRE, POST, get_kernel("6.12")]) == [
        ("pre-patch", likely, 9), ("post-patch", 0, 0), ("6.12", likely, 9),
    ]  # fmt: skip


def test_what_ksm_leaves_alone_costs_nothing() -> None:
    end = 0x10000000 + 10 * STEP
    for line in (f"10000000-{end:08x} rw-s 00000000 00:01 5 /memfd:x", "1000-2000 rw-p 0 00:00 0"):
        assert added(parse_layout(line + "\n"), [PRE]) == [("pre-patch", 0, 0)]


PROGRAMS = sorted((ROOT / "traces" / "programs").glob("*.yaml"))


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_of_recorded_programs_the_cost_is_foretold(path: Path) -> None:
    """From the layout that they have without KSM, beside a replay of their calls with it."""
    trace = load_trace(path)
    for kernel in (PRE, POST):
        plain, merging = (replay(trace, kernel, ksm).processes for ksm in (False, True))
        for without, with_ in zip(plain, merging, strict=True):
            cost = len(with_.layout) - len(without.layout)
            (foretold,) = added(without.layout, [kernel])
            assert foretold.likely == pytest.approx(cost, abs=7)
            assert foretold.most >= cost


# --- the command ----------------------------------------------------------------------------------


def test_a_table_of_eighty_columns(child: int, run: RunProgram) -> None:
    done = run("audit", "--pages", str(child), str(os.getpid()), "--sample=20%", "--rate=0",
               columns=80)  # fmt: skip
    assert done.status == 0
    assert max(map(len, done.out.splitlines())) <= 80
    assert "20% of the pages were read" in done.out
    assert re.search(r"^together ", done.out, re.M)


def test_csv_and_markdown_and_python_have_what_json_has(child: int, run: RunProgram) -> None:
    pids = (str(child), str(os.getpid()))
    told = json.loads(run("audit", "--pages", *pids, "--format", "json").out)
    done = run("audit", "--pages", *pids, "--format", "csv")
    assert (done.status, done.err) == (0, "")
    rows = [row for row in csv.DictReader(io.StringIO(done.out)) if row["pid"] in ("", pids[0])]
    (process,) = [each for each in told["processes"] if each["pid"] == child]
    models = [row["kernel"] for row in process["added"]]
    assert [(row["pid"], row["model"]) for row in rows] == [
        (pid, model) for pid in (pids[0], "") for model in models
    ]
    for row, cost in zip(rows, process["added"], strict=False):
        same = ("pages", "read", "unread", "zeros", "swapped", "merged", "saved", "vmas")
        assert {name: int(row[name]) for name in same} == {name: process[name] for name in same}
        assert (int(row["added_likely"]), int(row["added_most"])) == (cost["likely"], cost["most"])
    together = rows[len(models)]
    vmas = [each["vmas"] for each in told["processes"]]
    assert min(vmas) < int(together["vmas"])
    assert int(together["saved"]) >= int(rows[0]["saved"])
    note = run("audit", "--pages", str(child), "--format", "markdown").out
    assert f"| {process['pages']:,} | {process['saved']:,} | {process['vmas']:,} |" in note
    assert "Sw0rd" not in note + done.out
    found = vmatrace.audit_pages(child)
    assert (found.pages, found.sharing.saved) == (process["pages"], process["saved"])
    assert str(found) == run("audit", "--pages", str(child)).out.rstrip("\n")


def test_together_costs_what_each_costs(child: int) -> None:
    found = vmatrace.audit_pages([child, os.getpid()], "6.12")
    assert [row.kernel for row in found.added] == ["pre-patch", "post-patch", "6.12"]
    for i, row in enumerate(found.added):
        assert row.likely == sum(process.added[i].likely for process in found.processes)
        assert row.most == sum(process.added[i].most for process in found.processes)


@pytest.mark.parametrize("sample", [0, -0.5, 1.5, float("nan")])
def test_a_share_that_is_none_is_a_value_error(sample: float) -> None:
    with pytest.raises(ValueError, match="sample above 0"):
        vmatrace.audit_pages(os.getpid(), sample=sample)


def test_no_process_and_one_that_is_gone() -> None:
    with pytest.raises(ValueError, match="expected a process"):
        vmatrace.audit_pages([])
    with pytest.raises(vmatrace.TraceError, match="no such process"):
        vmatrace.audit_pages(1 << 30)


def test_processes_that_cannot_be_read_are_said_and_the_others_answered(
    child: int, run: RunProgram
) -> None:
    done = run("audit", "--pages", "4194304", str(child), "--format", "json")
    assert (done.status, done.err) == (
        2, "/proc/4194304/smaps: error: there is no such process\n",
    )  # fmt: skip
    assert [p["pid"] for p in json.loads(done.out)["processes"]] == [child]
    alone = run("audit", "--pages", "4194304")
    assert (alone.status, alone.out) == (2, "")


def test_processes_are_named_as_for_any_audit(child: int, run: RunProgram) -> None:
    name = Path(f"/proc/{child}/comm").read_text(encoding="utf-8").strip()
    told = json.loads(run("audit", "--pages", name, "--sample=1", "--format=json").out)
    assert child in [process["pid"] for process in told["processes"]]
    saved = [process["saved"] for process in told["processes"]]
    assert saved == sorted(saved, reverse=True)
    unknown = run("audit", "--pages", "no-such-name")
    assert (unknown.status, unknown.out) == (2, "")
    assert "no file, process or control group has that name" in unknown.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pages", "README.md"], "--pages looks into running processes (expected such as a PID"),
        (["--pages"], "Missing argument 'SMAPS|PID|NAME...' (or --all)."),
        (["--sample", "10", "1"], "--sample goes with --pages alone"),
        (["--rate", "10", "1"], "--rate goes with --pages alone"),
        (["--pages", "1", "--sample", "0"], "0 is no share of the pages (expected such as 10%)"),
        (["--pages", "1", "--sample", "101%"], "101% is no share of the pages"),
        (["--pages", "1", "--sample", "nan"], "nan is no share of the pages"),
        (["--pages", "1", "--fail-below", "9"], "--pages does not go with --fail-below"),
        (["--pages", "1", "--format", "prometheus"], "--pages does not go with --format prom"),
        (["--pages", "1", "--max-map-count", "9"], "--pages does not go with --max-map-count"),
    ],
)
def test_what_does_not_go_together_is_refused(
    arguments: list[str], message: str, run: RunProgram
) -> None:
    done = run("audit", *arguments)
    assert (done.status, done.out) == (2, "")
    assert message in " ".join(done.err.split())


@pytest.mark.parametrize("processes", [1, 2])
def test_only_several_processes_have_a_row_for_all_together(processes: int) -> None:
    one = sharing([2, 3], 1.0, ALL)
    made = [
        Contents(
            pid=7 + n, name="db", pages=10, read=8, unread=1, zeros=2, swapped=1, sharing=one,
            vmas=5, max_map_count=65530, added=[Added("6.12", 3, 4)],
        )
        for n in range(processes)
    ]  # fmt: skip
    out = io.StringIO()
    form = as_csv.form(out, 1)
    form.write(Estimate(made, one, one, 0, 1.0, ALL))
    form.finish()
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert [row["pid"] for row in rows] == (["7"] if processes == 1 else ["7", "8", ""])
    first, last = rows[0], rows[-1]
    assert (first["process"], first["page_size"], first["max_map_count"]) == ("db", "4096", "65530")
    assert (last["model"], last["merged"], last["saved"], last["saved_error"]) == (
        "6.12", "5", "3", "0"
    )  # fmt: skip
    columns = {"pages": 10, "read": 8, "unread": 1, "zeros": 2, "swapped": 1, "vmas": 5}
    columns |= {"added_likely": 3, "added_most": 4}
    assert {name: int(first[name]) for name in columns} == columns
    together = {name: value * processes for name, value in columns.items()}
    assert {name: int(last[name]) for name in columns} == together
