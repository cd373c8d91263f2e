"""Samples in a file: what is read back is what was put in, for every sample; cuts add up."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace
from program import ROOT, RunProgram
from test_groups import layouts

from vmatrace.commands.audit.patterns import assigned
from vmatrace.commands.audit.patternwords import PATTERNS
from vmatrace.commands.audit.snapshot import Snapshot
from vmatrace.commands.audit.watch.choosing import chosen
from vmatrace.commands.audit.watch.ratchet import Cuts, Ratchet
from vmatrace.commands.audit.watch.samples import IN_MEMORY, About, Sample, Samples, open_samples
from vmatrace.diagnostic import TraceError
from vmatrace.layout import Layout, Mapping

ABOUT = About(1234, "na\x1bme", 99, "6.18.44")
series = st.lists(layouts(), min_size=1, max_size=5)


def fill(samples: Samples, found: list[Layout], first: int = 0) -> None:
    for i, layout in enumerate(found, first):
        samples.add(Snapshot(layout, True, True), 1000.0 + i, 0.25, 65530)


def exact(layout: Layout) -> list[tuple[object, ...]]:
    return [(*m.key(), m.device, m.inode, m.faulted, m.foreign, m.flags_known) for m in layout]


@settings(max_examples=50)
@given(series)
def test_every_sample_is_read_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, found: list[Layout]
) -> None:
    path = str(tmp_path_factory.mktemp("samples") / "x.sqlite")
    for layout in found:
        for mapping in layout[::3]:
            mapping.faulted, mapping.foreign = True, ("zz",)
    with Samples(path, ABOUT) as samples:
        fill(samples, found[:2])
    with Samples(path, ABOUT) as samples:  # as after a restart
        fill(samples, found[2:], 2)
        taken, ratchets = samples.taken, samples.cuts.ratchets()
    with open_samples(path) as read:
        assert (read.about, read.taken) == (ABOUT, taken)
        assert read.cuts.ratchets() == ratchets
        for number, layout in enumerate(found, 1):
            assert exact(read.snapshot(number).layout) == exact(layout)
            assert read.taken[number - 1].patterns == Counter(assigned(layout))
        assert exact(read.snapshot().layout) == exact(found[-1])


def test_what_is_as_large_as_it_can_be_fits() -> None:
    top = (1 << 64) - 4096
    layout = [Mapping(top - 4096, top, 1 << 63, top, "x", "ff:ff", (1 << 64) - 1)]
    with Samples(IN_MEMORY, ABOUT) as samples:
        fill(samples, [layout])
        assert exact(samples.snapshot().layout) == exact(layout)


@given(series)
def test_cuts_that_came_are_there_healed_or_unmapped(found: list[Layout]) -> None:
    cuts = Cuts()
    first = {m.start for m in found[0]}
    lasting = set(first)
    for number, layout in enumerate(found, 1):
        cuts.add(number, layout, assigned(layout))
        lasting &= {m.start for m in layout}
        assert set(cuts.there) == {m.start for m in layout}
    ratchets = cuts.ratchets()
    assert sum(r.there for r in ratchets) == len(found[-1]) - len(lasting)
    assert all(min(r) >= 0 for r in ([r.came, r.healed, r.unmapped, r.there] for r in ratchets))


def test_a_cut_heals_where_two_become_one_and_goes_with_what_is_unmapped() -> None:
    def pages(*ranges: tuple[int, int]) -> Layout:
        return [Mapping(a << 12, b << 12, 3) for a, b in ranges]

    cuts = Cuts()
    for number, layout in enumerate(
        [
            pages((0, 9)),
            pages((0, 3), (3, 6), (6, 9)),  # split twice
            pages((0, 6), (6, 9)),  # one heals
            pages((0, 6)),  # the other is unmapped
            pages((0, 6), (7, 8)),  # and a third comes and stays
        ],
        1,
    ):
        cuts.add(number, layout, ["single"] * len(layout))
    assert cuts.ratchets() == [Ratchet("single", 3, 1, 1)]


# --- what is no file of samples -------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    path = tmp_path / "x.sqlite"
    with Samples(str(path), ABOUT) as samples:
        fill(samples, [[Mapping(4096, 8192, 3)], [Mapping(4096, 8192, 3), Mapping(8192, 12288, 1)]])
    return path


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE about SET value = 'other/1' WHERE key = 'format'",
        "UPDATE about SET value = 'x' WHERE key = 'pid'",
        "DELETE FROM about WHERE key = 'started'",
        "DROP TABLE about",
        "DROP TABLE vmas",
        "DROP TABLE cuts",
        "UPDATE samples SET vmas = 'many'",
        "UPDATE samples SET vmas = NULL",
        "UPDATE samples SET at = 1e300",
        "UPDATE samples SET max_map_count = 0",
        "UPDATE vmas SET end = start",
        "UPDATE vmas SET end = 1 << 40",
        "UPDATE vmas SET start = 'x'",
        "UPDATE kinds SET flags = x'00'",
        "UPDATE cuts SET address = NULL WHERE 0; UPDATE patterns SET vmas = 'x'",
        "DELETE FROM samples",
        "UPDATE cuts SET pattern = 'x'",
        "UPDATE patterns SET pattern = x'1b'",
        "DELETE FROM about WHERE key = 'kernel'",
        "UPDATE about SET value = NULL WHERE key = 'kernel'",
        "UPDATE about SET value = x'00' WHERE key = 'process'",
        "UPDATE about SET value = '-1' WHERE key = 'pid'",
        "UPDATE samples SET number = -number",
        "UPDATE samples SET vmas = 1 << 62",
        "UPDATE samples SET mergeable = -1",
        "UPDATE samples SET max_map_count = 1 << 62",
        "UPDATE samples SET took = -1",
        "UPDATE vmas SET came = 'x'",
        "UPDATE vmas SET came = NULL",
        "UPDATE vmas SET kind = 999",
        "UPDATE kinds SET codes = NULL",
        "UPDATE kinds SET name = x'ff'",
        "UPDATE kinds SET flags = 1.5",
        "UPDATE cuts SET gone = 0",
        "UPDATE patterns SET sample = 'w'",
        "UPDATE patterns SET vmas = -3",
        "DELETE FROM patterns",
        "DELETE FROM vmas",
    ],
)
def test_a_damaged_file_is_refused_and_says_so(kept: Path, damage: str, run: RunProgram) -> None:
    with sqlite3.connect(kept) as db:
        db.executescript(damage)
    db.close()
    for command in ("audit", "report"):
        for form in ("table", "json", "csv"):
            done = run(command, str(kept), "--format", form)
            assert (done.status, done.out) == (2, ""), done
            assert done.err.startswith(f"{kept}: error: ")
    done = run("diff", str(kept))
    assert (done.status, done.out) == (2, ""), done
    assert done.err.startswith(f"{kept}: error: ")


# --- other commands -------------------------------------------------------------------------------


def test_report_shows_samples_as_audit_does(kept: Path, tmp_path: Path, run: RunProgram) -> None:
    for form in ("table", "json", "csv"):
        shown = run("report", str(kept), "--format", form)
        assert shown == run("audit", str(kept), "--format", form)
        assert (shown.status, shown.err) == (0, "")
    out = tmp_path / "series.csv"
    assert run("report", str(kept), "-o", str(out)).status == 0
    assert out.read_text() == shown.out


def test_samples_are_drawn_over_their_time_to_scale(tmp_path: Path) -> None:
    path = str(tmp_path / "x")
    found = [[Mapping(8192 * i, 8192 * i + 4096, 3) for i in range(1, 41 + n)] for n in range(41)]
    with Samples(path, ABOUT) as samples:
        for n, layout in enumerate(found):
            samples.add(Snapshot(layout, True, True), 1000.0 + 3 * n, 0.25, 65530)
    shown = subprocess.run(
        [sys.executable, "-m", "vmatrace", "report", "x"], cwd=tmp_path, capture_output=True,
        text=True, check=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "80", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    lines = shown.stdout.splitlines()
    top = next(i for i, line in enumerate(lines) if line.lstrip().startswith("80 +"))
    rows = [line.partition("|")[2] or line.partition("+")[2] for line in lines[top : top + 12]]
    rows = [row.ljust(max(map(len, rows))) for row in rows]
    # Half of it at the start, all of it at the end, and nowhere less than before.
    assert [row[0] for row in rows] == [" "] * 6 + ["#"] * 6
    assert {row[-1] for row in rows} == {"#"}
    assert all(row == row.lstrip().rjust(len(row)) and "# " not in row for row in rows)
    assert lines[top + 13].split() == ["0", "30", "s", "1", "min", "1.5", "min", "2", "min"]
    assert max(map(len, lines)) <= 80


def test_diff_compares_the_first_sample_with_the_last_and_two_files_by_their_last(
    kept: Path, tmp_path: Path, run: RunProgram
) -> None:
    done = run("diff", str(kept), "--format", "json")
    assert (done.status, done.err) == (1, "")
    assert done == run("audit", str(kept), "--compare", "--format", "json")
    said = json.loads(done.out)
    assert (said["before"]["vmas"], said["after"]["vmas"]) == (1, 2)
    other = tmp_path / "other"
    with Samples(str(other), ABOUT) as samples:
        fill(samples, [[], [Mapping(8192, 12288, 1)]])
    said = json.loads(run("diff", str(kept), str(other), "--format", "json").out)
    assert [change["kind"] for change in said["changes"]] == ["went"]
    same = run("diff", str(kept), str(kept))
    assert (same.status, same.err) == (0, "")


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("1", 1), ("4", 4), ("-1", 5), ("-5", 1),
        ("+0.01s", 1), ("+20s", 2), ("+39s", 2), ("+1m", 4), ("+1h", 5),
        ("23:59:30", 1), ("23:59:50Z", 2), ("00:00", 2), ("00:00:10", 3),
        ("1970-01-01T23:59:45", 1), ("1970-01-02 00:00:30Z", 4), ("1970-01-02T01:00:10+01:00", 3),
        ("1970-01-02T00:00:10.200", 2), ("1970-01-02T00:00:10.250", 3), ("1971-01-01", 5),
    ],
)  # fmt: skip
def test_a_sample_is_chosen_by_number_by_time_and_by_how_long_after_the_first(
    said: str, number: int
) -> None:
    taken = [
        Sample(86400.0 - 29.75 + 20 * i, 0.0, 1, 0, 65530, {}) for i in range(5)
    ]  # from 23:59:30.25 on, past midnight
    assert chosen(taken, said, "--from") == number


def test_diff_compares_the_samples_that_were_chosen(kept: Path, run: RunProgram) -> None:
    back = run("diff", str(kept), "--from", "-1", "--to", "1", "--format", "json")
    said = json.loads(back.out)
    assert (said["before"]["vmas"], said["after"]["vmas"]) == (2, 1)
    assert run("diff", str(kept), "--to", "00:16:40").status == 0
    both = run("diff", str(kept), str(kept), "--from", "1", "--format", "json")
    assert both.out == run("diff", str(kept), "--format", "json").out


def test_perfetto_gets_what_the_samples_have(kept: Path, tmp_path: Path, run: RunProgram) -> None:
    out = tmp_path / "x.pftrace"
    assert run("report", str(kept), "-o", str(out)) == (0, "", "")
    trace = Trace()
    trace.ParseFromString(out.read_bytes())
    packets = list(trace.packet)
    described = [p.track_descriptor for p in packets if p.HasField("track_descriptor")]
    tracks = {track.uuid: track for track in described}
    assert tracks[1].process.pid == ABOUT.pid
    counts = [
        (tracks[p.track_event.track_uuid].name, p.timestamp, p.track_event.counter_value)
        for p in packets
        if p.HasField("track_event")
    ]
    second = 1_000_000_000
    assert [c for c in counts if c[0] == "VMAs"] == [("VMAs", 0, 1), ("VMAs", second, 2)]
    assert [c for c in counts if c[0] == "max_map_count"] == [("max_map_count", 0, 65530)]
    titles = {pattern.title for pattern in PATTERNS.values()}
    assert sum({name: value for name, _, value in counts if name in titles}.values()) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["diff", "x.sqlite", "--from", "6.12"], "--from: '6.12' is no sample (expected its num"),
        (["diff", "x.sqlite", "--from", "3"], "--from: no sample 3 (there are samples 1 to 2)"),
        (["diff", "x.sqlite", "--to", "0"], "--to: no sample 0"),
        (["diff", "x.sqlite", "--to", "-3"], "--to: no sample -3"),
        (["diff", "x.sqlite", "--to", "+x"], "--to: 'x' is no interval"),
        (["diff", "x.sqlite", "--to", "00:16"], "--to: no sample by '00:16' (the first is of 1970"),
        (["diff", "x.sqlite", "--to", "9999-99-99"], "--to: '9999-99-99' is no sample"),
        (["diff", "x.sqlite", "diff", "--to", "1"], "--to chooses a sample, and diff has none"),
        (["report", "x.sqlite", "x.sqlite", "--format", "perfetto"], "takes one file of samples"),
        (["diff", "x.sqlite", "--ksm"], "--ksm does not go with samples"),
        (["diff", "x.sqlite", "--format", "sarif"], "has no --format sarif"),
        (["report", "x.sqlite", "--to", "6.12"], "--to does not go with samples"),
        (["report", "x.sqlite", "--format", "html"], "samples have no --format html"),
        (["report", "x.sqlite", "trace.yaml"], "samples (audit --every -o FILE) do not go with"),
        (["diff", "x.sqlite"] * 2, "two snapshots are compared, before and after, not"),
    ],
)
def test_what_makes_no_sense_of_samples_is_refused(
    kept: Path, arguments: list[str], said: str, run: RunProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(kept.parent)
    Path("trace.yaml").write_text("vmatrace: 1\nevents: []\n")
    Path("diff").write_text("10000-11000 r--p 00000000 00:00 0\n")
    done = run(*arguments)
    assert (done.status, done.out) == (2, "")
    assert said in " ".join(done.err.split())


def test_vmatrace_alone_says_who_reads_samples(kept: Path, run: RunProgram) -> None:
    said = run(str(kept)).out
    assert f"vmatrace report {kept}" in said
    assert f"vmatrace diff {kept}" in said
    assert f"vmatrace report {kept}" in run("replay", str(kept)).err


@pytest.mark.parametrize("command", ["audit", "report", "diff"])
def test_a_pipe_is_not_looked_into_for_samples(
    command: str, tmp_path: Path, run: RunProgram
) -> None:
    """What was read of it to see what it is would be missing afterwards."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    text = "vmatrace: 1\nevents: []\n"
    if command == "audit":
        text = "10000000-10001000 r--p 00000000 00:00 0\n"
    writer = Thread(target=fifo.write_text, args=(text,))
    writer.start()
    done = run(command, str(fifo))
    writer.join()
    assert (done.status, done.err) == (0, "")


@pytest.mark.parametrize("size", [16, 100, 5000])
def test_a_file_that_is_cut_off_is_refused(kept: Path, size: int, run: RunProgram) -> None:
    kept.write_bytes(kept.read_bytes()[:size])
    done = run("audit", str(kept))
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"{kept}: error: ")


def test_a_file_that_holds_something_else_is_not_written_to(kept: Path, tmp_path: Path) -> None:
    before = kept.read_bytes()
    with pytest.raises(TraceError, match=r"samples of another process, 1234 na\\x1bme"):
        Samples(str(kept), ABOUT._replace(started=100))
    assert kept.read_bytes() == before
    text = tmp_path / "notes"
    text.write_text("a note that somebody needs\n" * 100)
    with pytest.raises(TraceError, match="file is not a database"):
        Samples(str(text), ABOUT)
    assert text.read_text() == "a note that somebody needs\n" * 100
    with pytest.raises(TraceError, match="unable to open"):
        Samples(str(tmp_path / "no" / "such"), ABOUT)
