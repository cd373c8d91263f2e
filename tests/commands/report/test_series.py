"""Forms with every event of a report: CSV, and the trace that Perfetto's own definitions read."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent
from program import EXHIBITS, ROOT, RunProgram, exhibit

from vmatrace.commands.report import protowire
from vmatrace.replayer.run import replay
from vmatrace.trace.file import load_trace

TRACES: Final = [exhibit(name) for name in EXHIBITS]
MODELS: Final = {"from": "pre-patch", "to": "post-patch"}
LIMITED: Final = "traces/max-map-count-hole.yaml"


def as_json(run: RunProgram, *arguments: str) -> dict[str, Any]:
    done = run("report", *arguments, "--format", "json")
    assert (done.status, done.err) == (0, "")
    found: dict[str, Any] = json.loads(done.out)
    return found


def rows(run: RunProgram, *arguments: str) -> list[dict[str, str]]:
    done = run("report", *arguments, "--format", "csv")
    assert (done.status, done.err) == (0, "")
    return list(csv.DictReader(io.StringIO(done.out)))


# --- CSV ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trace", [*TRACES, "traces/logs/sort.log"])
@pytest.mark.parametrize("ksm", [(), ("--ksm",)], ids=["as-it-is", "ksm"])
def test_the_last_row_of_a_process_has_the_numbers_of_the_report(
    trace: str, ksm: tuple[str, ...], run: RunProgram
) -> None:
    told = as_json(run, trace, *ksm)
    table = rows(run, trace, *ksm)
    last = {(row["process"], row["model"]): row for row in table}
    assert len({process for process, _ in last}) == len(told["processes"])
    for process in told["processes"]:
        for side, model in MODELS.items():
            row, count = last[process["pid"], model], process[side]
            assert [int(row[name]) for name in ("vmas", "peak", "blocked")] == [
                count["vmas"], count["peak_vmas"], count["blocked_sides"],
            ]  # fmt: skip
    assert {int(row["event"]) for row in table} == set(range(told["summary"]["events"] + 1))


@pytest.mark.parametrize("model", MODELS.values())
def test_mergeable_vmas_are_those_of_the_layout(model: str, run: RunProgram) -> None:
    for trace in TRACES:
        last = {(row["process"]): row for row in rows(run, trace, "--ksm") if row["model"] == model}
        found = replay(load_trace(ROOT / trace), _kernel(model), True)
        for process in found.processes:
            if not process.exited and found.peak_vmas < found.max_map_count:
                assert int(last[process.pid]["mergeable"]) == process.mergeable, trace


def _kernel(name: str) -> Any:
    from vmatrace.kernels import get_kernel

    return get_kernel(name)


def test_several_traces_make_one_table(run: RunProgram) -> None:
    table = rows(run, TRACES[0], TRACES[1])
    assert {row["path"] for row in table} == set(TRACES[:2])


# --- Perfetto -------------------------------------------------------------------------------------


class Read:
    """A file as Perfetto's published definitions read it."""

    def __init__(self, data: bytes) -> None:
        trace = Trace()
        assert trace.ParseFromString(data) == len(data)
        self.packets = list(trace.packet)
        self.tracks = {
            packet.track_descriptor.uuid: packet.track_descriptor
            for packet in self.packets
            if packet.HasField("track_descriptor")
        }
        self.processes = {
            uuid: track.process.process_name
            for uuid, track in self.tracks.items()
            if track.HasField("process")
        }
        self.events = [packet for packet in self.packets if packet.HasField("track_event")]

    def counters(self) -> dict[tuple[str, str], list[tuple[int, int]]]:
        """By process and name: when, in events, and the value."""
        found: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for packet in self.events:
            event = packet.track_event
            if event.type == TrackEvent.TYPE_COUNTER:
                track = self.tracks[event.track_uuid]
                assert track.HasField("counter")
                key = (self.processes[track.parent_uuid], track.name)
                found.setdefault(key, []).append((packet.timestamp // 1000, event.counter_value))
        return found

    def slices(self) -> list[tuple[str, int, int, str, dict[str, int | str]]]:
        """Of each its process, begin and end, name and annotations."""
        found, opened = [], {}
        for packet in self.events:
            event = packet.track_event
            if event.type == TrackEvent.TYPE_SLICE_BEGIN:
                assert event.track_uuid not in opened
                opened[event.track_uuid] = packet
            elif event.type == TrackEvent.TYPE_SLICE_END:
                begun = opened.pop(event.track_uuid)
                notes = {
                    note.name: note.int_value if note.HasField("int_value") else note.string_value
                    for note in begun.track_event.debug_annotations
                }
                process = self.processes[self.tracks[event.track_uuid].parent_uuid]
                found.append((process, begun.timestamp // 1000, packet.timestamp // 1000,
                              begun.track_event.name, notes))  # fmt: skip
        assert opened == {}
        return found


def perfetto(run: RunProgram, path: Path, *arguments: str) -> Read:
    assert run("report", *arguments, "-o", str(path)) == (0, "", "")
    return Read(path.read_bytes())


@pytest.mark.parametrize("trace", [*TRACES, "traces/logs/sort.log"])
def test_counters_are_those_of_the_report(trace: str, run: RunProgram, tmp_path: Path) -> None:
    told = as_json(run, trace, "--ksm")
    read = perfetto(run, tmp_path / "x.pftrace", trace, "--ksm")
    counters = read.counters()
    assert len(read.processes) == len(told["processes"])
    for process, name in zip(told["processes"], read.processes.values(), strict=True):
        assert name.split(" ")[0] == process["pid"]
        assert counters[name, "max_map_count"][0][1] == told["max_map_count"]
        for side, model in MODELS.items():
            vmas = counters[name, f"VMAs, {model}"]
            assert vmas[-1][1] == process[side]["vmas"]
            peak = max(value for _, value in vmas)
            assert peak == process[side]["peak_vmas"]
            first = next(at for at, value in vmas if value == peak)
            assert first == process[side]["peak_at"]["event"]
            blocked = counters[name, f"blocked sides, {model}"]
            assert blocked[-1][1] == process[side]["blocked_sides"]


def test_counters_are_the_rows_of_the_csv(run: RunProgram, tmp_path: Path) -> None:
    trace = "traces/logs/sort.log"
    counters = perfetto(run, tmp_path / "x.pftrace", trace, "--ksm").counters()
    for model in MODELS.values():
        for column, called in (("vmas", "VMAs"), ("mergeable", "mergeable VMAs")):
            steps: dict[str, list[tuple[int, int]]] = {}
            for row in rows(run, trace, "--ksm"):
                if row["model"] == model:
                    values = steps.setdefault(row["process"], [])
                    if not values or values[-1][1] != int(row[column]):
                        values.append((int(row["event"]), int(row[column])))
            for process, values in steps.items():
                (name,) = {p for p, _ in counters if p.split(" ")[0] == process}
                assert counters[name, f"{called}, {model}"] == values


@pytest.mark.parametrize("trace", TRACES[:6])
def test_every_call_is_a_slice(trace: str, run: RunProgram, tmp_path: Path) -> None:
    steps = json.loads(run("replay", trace, "--steps", "--format", "json").out)["events"]
    slices = perfetto(run, tmp_path / "x.pftrace", trace).slices()
    assert [
        (begin, end, name, notes["line"], notes["call"]) for _, begin, end, name, notes in slices
    ] == [
        (s["index"] + 1, s["index"] + 2, s["call"].split("(")[0], s["line"], s["call"])
        for s in steps
    ]


def test_where_the_limit_would_have_been_hit_is_marked(run: RunProgram, tmp_path: Path) -> None:
    told = as_json(run, LIMITED, "--ksm")
    read = perfetto(run, tmp_path / "x.pftrace", LIMITED, "--ksm")
    stops = {
        (count["limit_at"]["event"], f"max_map_count refuses this under {MODELS[side]}")
        for process in told["processes"]
        for side in MODELS
        if (count := process[side])["limit_at"] is not None
    }
    marks = {
        (packet.timestamp // 1000, packet.track_event.name)
        for packet in read.events
        if packet.track_event.type == TrackEvent.TYPE_INSTANT
    }
    assert stops
    assert marks == stops


def test_times_never_go_back_and_all_is_one_sequence(run: RunProgram, tmp_path: Path) -> None:
    read = perfetto(run, tmp_path / "x.pftrace", "traces/several-processes.yaml")
    opened = [p for p in read.events if p.track_event.type != TrackEvent.TYPE_SLICE_END]
    assert [p.timestamp for p in opened] == sorted(p.timestamp for p in opened)
    assert {p.trusted_packet_sequence_id for p in read.packets} == {1}
    assert read.packets[0].sequence_flags == 1


def test_the_limit_is_drawn_to_scale_where_it_is_near(run: RunProgram, tmp_path: Path) -> None:
    for trace, shared in ((LIMITED, True), (TRACES[0], False)):
        read = perfetto(run, tmp_path / f"{shared}.pftrace", trace, "--ksm")
        axes = {t.name: t.counter.y_axis_share_key for t in read.tracks.values()}
        assert (axes["max_map_count"] == axes["VMAs, pre-patch"]) is shared
        assert axes["VMAs, pre-patch"] == axes["VMAs, post-patch"] != axes["calls"]


def test_perfetto_goes_to_a_file_or_a_pipe_and_takes_one_trace(
    run: RunProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run("report", *TRACES[:2], "--format", "perfetto")
    assert done.status == 2
    assert "--format perfetto takes one trace" in done.err
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    done = run("report", TRACES[0], "--format", "perfetto")
    assert (done.status, done.out) == (2, "")
    assert "--format perfetto is binary (expected -o FILE, or a pipe)" in done.err


@given(st.integers(0, (1 << 64) - 1), st.integers(-(1 << 63), (1 << 63) - 1), st.text())
def test_numbers_and_text_are_read_back(large: int, signed: int, said: str) -> None:
    text = said.encode("utf-8", "backslashreplace").decode()
    packet = protowire.message(
        1,
        protowire.number(8, large),
        protowire.message(11, protowire.number(30, signed), protowire.text(23, said)),
    )
    trace = Trace()
    trace.ParseFromString(packet)
    (read,) = trace.packet
    assert read.timestamp == large
    assert (read.track_event.counter_value, read.track_event.name) == (signed, text)
