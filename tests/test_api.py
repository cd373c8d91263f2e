"""The functions of the Python API: what they take, what they give, what they raise."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vmatrace
from vmatrace.cli import main

ROOT = Path(__file__).parent.parent
TRACES = sorted((ROOT / "traces").glob("*.yaml"))
KSM = ROOT / "traces" / "ksm-adjacent-anon.yaml"
MMAP = "mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)"


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    main(arguments)
    return capsys.readouterr().out.rstrip("\n")


# --- the package ----------------------------------------------------------------------------------


def test_dir_shows_the_api_and_every_name_of_it_is_there() -> None:
    assert set(dir(vmatrace)) == set(vmatrace.__all__)
    for name in vmatrace.__all__:
        assert getattr(vmatrace, name) is not None
    with pytest.raises(AttributeError, match="replya"):
        vmatrace.replya  # type: ignore[attr-defined]  # noqa: B018


def test_importing_the_package_loads_nothing_else() -> None:
    code = "import sys, vmatrace; print(sorted(m for m in sys.modules if m.startswith('vmatrace')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['vmatrace', 'vmatrace._version']\n"


@pytest.mark.parametrize("name", sorted(set(vmatrace.__all__) - {"__version__", "abi"}))
def test_a_name_of_the_api_can_be_the_first_that_is_used(name: str) -> None:
    assert name not in {path.stem for path in (ROOT / "vmatrace").iterdir()}


# --- what they take -------------------------------------------------------------------------------


def test_a_trace_is_a_path_a_file_or_a_trace() -> None:
    data = KSM.read_bytes()
    with KSM.open("rb") as binary, KSM.open(encoding="utf-8") as text:
        sources = (
            str(KSM), KSM, binary, text, io.BytesIO(data), io.StringIO(data.decode()),
            vmatrace.open_trace(KSM),
        )  # fmt: skip
        for source in sources:
            result = vmatrace.replay(source, "6.12")
            assert (result.kernel, result.vmas) == ("6.12", 8), source


def test_a_file_is_called_by_its_name_in_messages(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("vmatrace: 1\nevents:\n  - mnap()\n")
    with bad.open("rb") as binary, bad.open() as text:
        for source in (bad, binary, text):
            with pytest.raises(vmatrace.TraceError) as caught:
                vmatrace.replay(source)
            (error,) = caught.value.diagnostics
            assert (error.path, error.line, error.column) == (str(bad), 3, 5)


def test_a_log_is_a_trace_too(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text(f"{MMAP} = 0x7f0000000000\nexit_group(0) = ?\n")
    assert vmatrace.replay(log).events == 2
    assert vmatrace.replay(io.StringIO(log.read_text())).events == 2
    notes = vmatrace.open_trace(log, assume_faulted="none").notes
    assert notes is not None
    assert notes.faulted == "none"


def test_a_model_is_a_name_or_a_kernel() -> None:
    assert vmatrace.kernel("v6.12") is vmatrace.KERNELS["6.12"]
    assert vmatrace.kernel(vmatrace.KERNELS["6.12"]) is vmatrace.KERNELS["6.12"]
    mended = vmatrace.kernel("6.12").with_features(["ksm-before-merge"])
    assert vmatrace.replay(KSM, mended).vmas == 1
    assert vmatrace.diff(KSM, vmatrace.KERNELS["6.12"], mended).equal is False


def test_without_a_model_it_is_that_of_the_trace() -> None:
    assert vmatrace.replay(KSM).kernel == "post-patch"
    assert vmatrace.replay(vmatrace.Trace.of([MMAP], kernel="6.12")).kernel == "6.12"


def test_an_unknown_model_is_a_value_error_with_the_nearest() -> None:
    for question in (vmatrace.replay, vmatrace.diff, vmatrace.report, vmatrace.check):
        with pytest.raises(ValueError, match=r"'pre-pach'.*\(did you mean 'pre-patch'") as caught:
            question(KSM, "pre-pach")
        assert isinstance(caught.value, vmatrace.UnknownKernel)


def test_what_is_no_model_and_no_trace_is_a_type_error() -> None:
    wrong: Any = 6.12
    for question in (
        vmatrace.replay,
        vmatrace.diff,
        vmatrace.check,
        vmatrace.report,
        vmatrace.steps,
    ):
        with pytest.raises(TypeError, match=r"such as '6\.12' or a Kernel, not 6\.12"):
            question(KSM, wrong)
        with pytest.raises(TypeError, match="a path or an open file, not float"):
            question(wrong)
    with pytest.raises(TypeError, match="a list of events, not str"):
        vmatrace.Trace.of(MMAP)


def test_steps_are_asked_for_at_once_and_made_one_by_one() -> None:
    with pytest.raises(vmatrace.TraceError):
        vmatrace.steps("none.yaml")
    assert next(vmatrace.steps(KSM)).index == 0


def test_a_file_that_is_not_there_is_a_trace_error() -> None:
    with pytest.raises(vmatrace.TraceError, match=r"none\.yaml: error: cannot be read"):
        vmatrace.replay("none.yaml")


# --- what they give -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_steps_lead_where_a_replay_leads(path: Path) -> None:
    layouts: dict[str, Counter[vmatrace.Mapping]] = {}
    result = vmatrace.replay(path, "6.12")
    merges = refusals = only = 0
    everything: Counter[vmatrace.Mapping] = Counter(vmatrace.open_trace(path).maps)
    for step in vmatrace.steps(path, "6.12"):
        merges += len(step.merges)
        refusals += len(step.refusals)
        only += sum(refusal.only_mergeable for refusal in step.refusals)
        everything.subtract(step.went)
        everything.update(step.came)
        layouts[step.pid] = Counter(step.layout)
        assert len(step.layout) == step.vmas
        for refusal in step.refusals:
            assert refusal.reasons
            assert set(refusal.reasons) <= set(vmatrace.Blocker)
            assert bool(refusal.flags) == (vmatrace.Blocker.FLAGS in refusal.reasons)
    tally = result.tally
    assert (merges, refusals, only) == (tally.total, tally.blocked_sides, tally.only_mergeable)
    if len(result.processes) == 1 and not result.processes[0].exited:
        assert everything == Counter(result.processes[0].layout)


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_steps_can_be_kept(path: Path) -> None:
    during = []
    kept = []
    for step in vmatrace.steps(path, "6.12"):
        during.append((step.layout, str(step)))
        kept.append(step)
    for step, (layout, text) in zip(kept[-12:], during[-12:], strict=True):
        assert (step.layout, step.vmas, str(step)) == (layout, len(layout), text)


def test_a_step_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    step = list(vmatrace.steps(KSM, "6.12"))[2]
    (refusal,) = step.refusals
    assert refusal.side == "prev"
    assert refusal.address == step.result == 0x10001000
    assert refusal.reasons == (vmatrace.Blocker.FLAGS,)
    assert f"{refusal.blockers} {vmatrace.Blocker.ANON_VMA}" == "flags anon-vma"
    assert refusal.flags == ("mg",)
    assert (step.errno, step.merges, step.went, len(step.came)) == (None, [], [], 1)
    assert str(refusal) in str(step)
    assert str(step) in shown(capsys, "replay", str(KSM), "-k", "6.12", "--steps")


FAILING = ROOT / "tests" / "golden" / "failing.yaml"
SMAPS = ROOT / "tests" / "golden" / "audit" / "mixed.smaps"


@pytest.mark.parametrize(
    ("command", "ask"),
    [
        (f"replay {KSM} -k 6.12", lambda: vmatrace.replay(KSM, "6.12")),
        (f"replay {FAILING}", lambda: vmatrace.replay(FAILING)),
        (f"diff {KSM}", lambda: vmatrace.diff(KSM)),
        (f"diff {KSM} --steps", lambda: vmatrace.diff(KSM, steps=True)),
        (f"diff {KSM} --from 6.17 --to 6.18", lambda: vmatrace.diff(KSM, "6.17", "6.18")),
        (f"explain {KSM} 10001000", lambda: vmatrace.explain(KSM, "10001000")),
        (f"explain {KSM} all -k 6.12", lambda: vmatrace.explain(KSM, kernel="6.12")),
        (f"check {KSM}", lambda: vmatrace.check(KSM)),
        (f"check {FAILING}", lambda: vmatrace.check(FAILING)),
        (f"report {KSM} --ksm", lambda: vmatrace.report(KSM, ksm=True)),
        (f"audit {SMAPS} -k 6.12", lambda: vmatrace.audit(SMAPS, "6.12")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_answer_prints_as_the_command_prints_it(
    command: str, ask: Callable[[], object], capsys: pytest.CaptureFixture[str]
) -> None:
    answer = ask()
    assert str(answer) == shown(capsys, *command.split())
    assert len(repr(answer).replace(f"{ROOT}/", "")) < 80  # wherever this tree lies


def test_a_snapshot_is_a_process_a_path_or_a_file() -> None:
    for source in (
        str(SMAPS),
        SMAPS,
        io.BytesIO(SMAPS.read_bytes()),
        io.StringIO(SMAPS.read_text()),
    ):
        found = vmatrace.audit(source, "6.12", 1000)
        assert (found.vmas, found.max_map_count, found.assumed) == (25, 1000, False)
    assert vmatrace.audit(os.getpid()).vmas > 5
    with pytest.raises(vmatrace.TraceError, match="there is no such process"):
        vmatrace.audit(1 << 30)
    with pytest.raises(vmatrace.TraceError, match=r"<file>:1:1: error"):
        vmatrace.audit(io.StringIO("nonsense"))


def test_a_diff_takes_what_the_command_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert vmatrace.diff(KSM).first is not None
    saved = tmp_path / "saved.json"
    saved.write_text(shown(capsys, "replay", str(KSM), "--kernel", "6.12", "--format", "json"))
    assert vmatrace.diff(KSM, saved, "6.12").equal
    assert not vmatrace.diff(KSM, saved, "6.18").equal
    with pytest.raises(vmatrace.UnknownKernel, match=r"6\.z"):
        vmatrace.diff(KSM, "6.z")


def test_an_explanation_is_of_one_place_or_of_all() -> None:
    for address in (0x10001000, "0x10001000", "10001000", "10001000-10002000", "a + 0x1000"):
        account = vmatrace.explain(KSM, address, "6.12", models=False)
        assert account.address == 0x10001000
        assert account.lower is not None
    assert len(vmatrace.explain(KSM, kernel="6.12", models=False).borders) == 7
    with pytest.raises(ValueError, match="no label 'nolabel'"):
        vmatrace.explain(KSM, "nolabel")
    with pytest.raises(ValueError, match="no process 'nobody'"):
        vmatrace.explain(KSM, 0x10001000, process="nobody")


def test_a_check_is_under_the_models_asked_for() -> None:
    assert [model.kernel for model in vmatrace.check(KSM).models] == [
        "6.12.117", "6.18.44", "pre-patch", "post-patch",
    ]  # fmt: skip
    assert [model.kernel for model in vmatrace.check(KSM, "post-patch").models] == ["post-patch"]
    assert len(vmatrace.check(KSM, vmatrace.KERNELS).models) == len(vmatrace.KERNELS)
    assert len(vmatrace.check(KSM, vmatrace.KERNELS.values()).models) == len(vmatrace.KERNELS)


def test_a_report_counts_both_models() -> None:
    found = vmatrace.report(KSM, "6.12", "6.18")
    assert [count.peak for count in found.highest.counts] == [8, 1]


# --- traces of a program --------------------------------------------------------------------------


def test_events_are_what_a_file_has_in_their_place() -> None:
    events = [
        f"a = {MMAP}",
        {"call": "mmap", "addr": None, "length": 4096, "prot": "PROT_READ", "flags": "MAP_PRIVATE",
         "fd": 3, "offset": 0, "label": "b"},
        "child = fork()",
        {"pid": "child", "call": "munmap(a, PAGE_SIZE)"},
        {"expect": {"vmas": 2, "on": [">=6.4"]}},
        {"expect": {"pid": "child", "maps": [{"start": "b", "end": "b + 4096", "name": "/lib"}]}},
    ]  # fmt: skip
    keys = {"files": {3: {"path": "/lib", "fs": "xfs"}}, "process": {"ksm": True}}
    trace = vmatrace.Trace.of(events, **keys)  # type: ignore[arg-type]
    text = json.dumps({"vmatrace": 1, "events": events, "files": {}, "process": {"ksm": True}})
    text = text.replace('"files": {}', "files: {3: {path: /lib, fs: xfs}}").replace("null", "NULL")
    same = vmatrace.open_trace(io.StringIO(text))
    for kernel in ("6.12", "6.18"):
        result, other = vmatrace.replay(trace, kernel), vmatrace.replay(same, kernel)
        assert result.passed == other.passed == 2
        assert [p.layout for p in result.processes] == [p.layout for p in other.processes]


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_the_items_of_a_trace_make_the_same_trace(path: Path) -> None:
    trace = vmatrace.open_trace(path)
    files = dict(trace.files)
    state = {k: v for k, v in vars(trace.process).items() if v is not None}
    again = vmatrace.Trace.of(
        trace.items(), name=trace.name, page_size=trace.page_size, sysctl=vars(trace.sysctl),
        process=state, files=files, maps=trace.maps,
    )  # fmt: skip
    before, after = vmatrace.replay(trace, "6.18"), vmatrace.replay(again, "6.18")
    assert [p.layout for p in before.processes] == [p.layout for p in after.processes]
    assert (before.passed, before.failures) == (after.passed, after.failures)


def test_a_log_prints_with_the_files_that_its_descriptors_led_to() -> None:
    log = (
        b'memfd_create("x", 0) = 3\n'
        b"mmap(NULL, 4096, PROT_READ, MAP_SHARED, 3, 0) = 0x7f0000001000\n"
    )
    trace = vmatrace.open_trace(io.BytesIO(log))
    again = vmatrace.open_trace(io.StringIO(str(trace)))
    (before,), (after,) = (vmatrace.replay(t, "6.18").processes[0].layout for t in (trace, again))
    assert (before.name, after.name) == ("/memfd:x (deleted)",) * 2


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_a_trace_prints_as_a_file_that_leads_to_the_same(path: Path) -> None:
    trace = vmatrace.open_trace(path)
    again = vmatrace.open_trace(io.StringIO(str(trace)))
    assert str(again) == str(trace)
    for kernel in ("pre-patch", "6.18.44"):
        before, after = vmatrace.replay(trace, kernel), vmatrace.replay(again, kernel)
        first, second = (re.sub(r"line \d+", "line", str(result)) for result in (before, after))
        assert first == second
        assert (before.passed, before.failures) == (after.passed, after.failures)


def test_a_trace_made_by_a_program_can_be_kept() -> None:
    process = vmatrace.Process("6.12", ksm=True, rlimits={"stack": 1 << 20}, page_size=16384)
    fd = process.open("/lib/a.so", fs="xfs", mode="r")
    child = process.fork()
    child.mmap(None, 1, 1, 2, fd)
    again = vmatrace.open_trace(io.StringIO(str(process.trace)))
    assert (again.process, again.page_size) == (process.trace.process, 16384)
    assert [p.layout for p in vmatrace.replay(again, "6.12").processes][1] == child.vmas
    assert str(vmatrace.Trace.of([])).endswith("events: []")


def test_a_mistake_has_the_number_of_its_event_and_all_are_reported() -> None:
    with pytest.raises(vmatrace.TraceError) as caught:
        vmatrace.Trace.of(
            [MMAP, "munmap(b, 4096)", "mprotect(0x1000, 4096, PROT_REED)", {"call": "x"}],
            name="mine", kernel="pre-pach", sysctl={"max_map_coutn": 1}, files={3: {"fs": "ext4"}},
        )  # fmt: skip
    places = [(d.path, d.line, d.column) for d in caught.value.diagnostics]
    assert places == [
        ("<mine>", n, c) for n, c in ((0, 1), (0, 1), (0, 1), (2, 8), (3, 24), (4, 1))
    ]
    text = str(caught.value)
    for part in (
        "did you mean 'pre-patch'",
        "'max_map_count'",
        "'path'",
        "'b' is not",
        "'PROT_READ'",
    ):
        assert part in text
    assert "    munmap(b, 4096)\n           ^" in text


def test_a_mistake_in_any_kind_of_value_stands_in_the_first_column_of_its_event() -> None:
    with pytest.raises(vmatrace.TraceError) as caught:
        vmatrace.Trace.of([
            {"call": []}, {"call": {}}, {"call": None}, {"call": True}, {"call": 7},
            {"call": "brk"}, {"expect": 3}, {"expect": {"maps": 3}}, {"expect": {"maps": [["x"]]}},
            {"expect": {"vmas": "3"}}, {"expect": {"vmas": 3, 4: 5}}, {"foo": 1},
        ], files={"x y": {}})  # fmt: skip
    assert [str(d).splitlines()[0].removeprefix("<events>") for d in caught.value.diagnostics] == [
        ": error: expected a descriptor number or a name, got 'x y'",
        ":1:1: error: expected a call, got a list",
        ":2:1: error: expected a call, got a mapping",
        ":3:1: error: expected a call, got nothing",
        ":4:1: error: unknown call 'true'",
        ":5:1: error: unknown call '7'",
        ":6:1: error: brk lacks 'addr'",
        ":7:1: error: expected a mapping for expect, got '3'",
        ":8:1: error: expected a list of /proc/PID/maps lines or mappings, got '3'",
        ":9:1: error: expected a /proc/PID/maps line or a mapping, got a list",
        ":10:1: error: expected a count such as 3 or '<= 5', got '3'",
        ":11:1: error: unknown key '4' in expect",
        ":12:1: error: expected a key 'call' or 'expect'",
    ]


def test_what_no_trace_can_hold_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="float"):
        vmatrace.Trace.of([{"call": "munmap", "addr": 1.5, "length": 1}])
    with pytest.raises(TypeError, match="bytes"):
        vmatrace.Trace.of([b"munmap(1, 2)"])  # type: ignore[list-item]
