"""Every recorded step of ten real kernels equals the model's: result, ranges, VmFlags, names."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from vmatrace.engine import view
from vmatrace.engine.mm import Mm
from vmatrace.event import Event
from vmatrace.kernels import CONFIGURATION, FEATURES, get_kernel
from vmatrace.replayer.run import Replay
from vmatrace.trace.file import Trace, load_trace
from vmatrace.verify.recording import Recording
from vmatrace.verify.verdict import replay

HERE = Path(__file__).parent


def recordings() -> list[Any]:
    """Every trace of the files in format 1: the header and the line."""
    params = []
    for path in sorted(HERE.glob("*.jsonl.xz")):
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            header = json.loads(next(lines))
            if header["format"] != "vmatrace-recording/1":
                continue
            for line in lines:
                name = json.loads(line)["name"]
                params.append(pytest.param(header, line, id=f"{header['kernel']}-{name}"))
    return params


def shown(mm: Mm, window: list[int]) -> list[list[object]]:
    return [
        [m.start, m.end, m.perms, m.offset, m.name, list(m.codes)]
        for m in view.layout(mm)
        if window[0] <= m.start < window[1]
    ]


@pytest.mark.parametrize(("header", "line"), recordings())
def test_the_model_does_what_the_kernel_did(header: dict[str, Any], line: str) -> None:
    recording = json.loads(line)
    trace = load_trace(recording["trace"].encode(), path=recording["name"])
    pids = [item.pid for item in trace.items() if isinstance(item, Event)]
    model = Replay(trace, get_kernel(header["kernel"]))
    for i, (step, (result, layout)) in enumerate(
        zip(model.steps(), recording["steps"], strict=True)
    ):
        going_on = pids[i + 1] if i + 1 < len(pids) else pids[i]
        mm = model.process(going_on)
        mm.vmas.check()
        if step.event.name != "fork":
            assert step.result == result, step.event
        assert shown(mm, header["window"]) == layout, step.event


def whole_recordings() -> list[Any]:
    """The files in format 2."""
    found = []
    for path in sorted(HERE.glob("*.jsonl.xz")):
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            if json.loads(next(lines))["format"] == "vmatrace-recording/2":
                found.append(pytest.param(path, id=path.name))
    return found


@pytest.mark.parametrize("path", whole_recordings())
def test_the_model_does_what_the_kernel_did_with_random_programs(path: Path) -> None:
    recording = Recording(str(path))
    kernel = recording.kernel()
    differing = {}
    for trace, played in recording.traces():
        outcome = replay(trace, kernel, played)
        if outcome.word != "exact":
            found = outcome.mismatch
            differing[trace.name] = outcome.skipped or (found and (found.event, found.field))
    assert differing == {}


@pytest.mark.parametrize("path", [p for p in whole_recordings() if "-wide" in p.id])
def test_the_release_by_its_name_is_the_model_that_was_found(path: Path) -> None:
    """But for what is configuration or hardware, and not the release, and for what nobody can see
    (witnesses.md says why), so that a recording has it as the table had it then.
    """
    found, named = Recording(str(path)).kernel(), get_kernel(path.name.partition("-")[0])
    differing = found.features ^ named.features
    seen = differing - {"hugetlbfs-mmap-prepare"}
    assert {name for name in seen if FEATURES[name].kind != CONFIGURATION} == set()


#: Exhibits that no booted kernel performs, and why.
NOT_PERFORMED = {
    "ksm-driver-hooks": "it needs a driver with only .mmap, and one with .mmap_prepare",
    "ksm-overlay": "a guest has no overlay",
    "secretmem-locked": "secretmem has no directory to put a file in",
    "starting-layout-smaps": "a new process does not start with another's layout",
}
EXHIBITS = {path.stem: path for path in sorted((HERE.parent.parent / "traces").glob("*.yaml"))}


def calls(trace: Trace) -> list[tuple[str, str]]:
    """Who calls what; a recording spells arguments in its own way."""
    return [(str(item.pid), item.name) for item in trace.items() if isinstance(item, Event)]


@pytest.mark.parametrize(
    "path", [p for p in whole_recordings() if "-traces" in p.id and "6.18.44" not in p.id]
)
def test_every_exhibit_was_performed_by_every_booted_kernel(path: Path) -> None:
    recorded = {trace.name: calls(trace) for trace, _ in Recording(str(path)).traces()}
    expected = {
        name: calls(load_trace(exhibit))
        for name, exhibit in EXHIBITS.items()
        if name not in NOT_PERFORMED
    }
    assert recorded == expected
