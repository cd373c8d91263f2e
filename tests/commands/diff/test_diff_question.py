"""What a diff finds: against naive comparison of everything, of saved results and of snapshots."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from program import EXHIBITS, ROOT, RunProgram, exhibit

import vmatrace
from vmatrace.commands.diff.baseline import Baseline
from vmatrace.commands.diff.question import Comparison, compare
from vmatrace.engine import view
from vmatrace.kernels import get_kernel
from vmatrace.layout import maps_text, smaps_text
from vmatrace.render import jsonform
from vmatrace.replayer.lockstep import Lockstep
from vmatrace.replayer.run import Replay, replay
from vmatrace.trace.file import Trace, TraceError, load_trace

PRE, POST = get_kernel("pre-patch"), get_kernel("post-patch")
every_exhibit = pytest.mark.parametrize("name", EXHIBITS)
ADJACENT = "ksm-adjacent-anon"


def load(name: str) -> Trace:
    return load_trace(ROOT / exhibit(name), exhibit(name))


def trace(text: str) -> Trace:
    return load_trace(b"vmatrace: 1\n" + text.encode())


def saved(name: str, kernel: str, steps: bool = False) -> str:
    """What `vmatrace replay --format json` prints."""
    out = io.StringIO()
    run = Replay(load(name), get_kernel(kernel))
    if steps:
        jsonform.write(out, run.result, run.steps())
    else:
        jsonform.write(out, run.run())
    return out.getvalue()


def apart(runs: list[Replay]) -> set[tuple[int, str, object]]:
    """The VMAs that only one of two replays has now, of all live processes."""
    vmas = [{(pid, m.key()) for pid, mm in run._processes for m in view.layout(mm)} for run in runs]
    return {(i, *vma) for i in (0, 1) for vma in vmas[i] - vmas[1 - i]}


@every_exhibit
def test_the_events_that_differ_are_those_that_whole_layouts_show(name: str) -> None:
    runs = [Replay(load(name), kernel) for kernel in (PRE, POST)]
    before = apart(runs)
    expected = []
    for a, b in Lockstep(runs[0].trace, runs).steps():
        after = apart(runs)
        # An exit ends a process, and with it what differed in it; that is no event of the diff.
        if not a.event.name.startswith("exit") and (a.result != b.result or before != after):
            expected.append((a.index, not after))
        before = after
    found = [(event.index, event.healed) for event in Comparison(load(name), PRE, POST).events()]
    assert found == expected


@every_exhibit
def test_the_difference_is_that_of_the_saved_layouts(name: str) -> None:
    found = compare(load(name), PRE, POST)
    documents = [json.loads(saved(name, kernel)) for kernel in ("pre-patch", "post-patch")]
    ours, theirs = (document["processes"] for document in documents)
    assert [p.pid for p in found.processes] == [p["pid"] for p in ours]
    for process, a, b in zip(found.processes, ours, theirs, strict=True):
        assert process.equal == (a["layout"] == b["layout"])
        only = [m for block in process.blocks if not block.equal for m in block.left]
        assert [m["start"] for m in a["layout"] if m not in b["layout"]] == [
            m.start for m in only if m not in (process.to or [])
        ]
    totals = {name: (a, b) for name, a, b in found.totals}
    for count in ("vmas", "peak_vmas", "mergeable", "splits", "blocked_only_by_mergeable"):
        assert totals[count] == tuple(document["summary"][count] for document in documents)


@pytest.mark.parametrize("kernel", ["6.4", "pre-patch", "post-patch", "6.12.117"])
def test_a_model_does_not_differ_from_itself(kernel: str) -> None:
    for name in EXHIBITS:
        found = vmatrace.diff(load(name), kernel, kernel)
        assert found.equal
        assert found.differing == 0
        assert found.first is None


def test_the_first_event_is_found_where_the_difference_heals() -> None:
    found = vmatrace.diff(
        trace("""
process: {ksm: true}
events:
  - mmap(0x10000000, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - mmap(0x10001000, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - munmap(0x20000000, 4096)
  - munmap(0x10000000, 8192)
""")
    )
    assert not found.equal
    assert found.first is not None
    assert (found.first.index, found.first.line, found.first.healed) == (1, 6, False)
    assert found.differing == 2
    assert all(process.equal for process in found.processes)
    assert ("peak_vmas", 2, 1) in found.totals


def test_a_difference_inherited_by_a_child_is_shown_there() -> None:
    found = vmatrace.diff(
        trace("""
process: {ksm: true}
events:
  - mmap(0x10000000, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - mmap(0x10001000, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - child = fork()
""")
    )
    assert [(p.pid, len(p.from_ or ()), len(p.to or ())) for p in found.processes] == [
        ("main", 2, 1), ("child", 2, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("steps", [False, True])
def test_a_saved_result_is_equal_to_the_model_that_made_it(steps: bool) -> None:
    for name in EXHIBITS:
        found = compare(load(name), Baseline("saved", saved(name, "pre-patch", steps)), PRE)
        assert found.equal, name
        assert (found.events is not None) == steps


@every_exhibit
def test_a_saved_result_with_steps_parts_where_its_model_does(name: str) -> None:
    baseline = Baseline("saved", saved(name, "pre-patch", steps=True))
    model, kept = compare(load(name), PRE, POST), compare(load(name), baseline, POST)
    assert kept.equal == model.equal
    assert kept.differing == model.differing
    first = [None if found.first is None else found.first.index for found in (model, kept)]
    assert first[0] == first[1]


@pytest.mark.parametrize("text", [smaps_text, maps_text])
def test_a_snapshot_is_compared_in_what_it_shows(text: Callable[..., str]) -> None:
    for name in EXHIBITS:
        main = replay(load(name), PRE).processes[0]
        if main.layout:
            found = compare(load(name), PRE, Baseline("snapshot", text(main.layout)))
            assert found.equal
            assert found.events is None
            assert dict(found.to.totals.items())["peak_vmas"] is None


def test_a_flag_that_a_snapshot_lacks_differs() -> None:
    layout = replay(load(ADJACENT), POST).processes[0].layout
    text = smaps_text(layout).replace(" mg", "")
    found = compare(load(ADJACENT), POST, Baseline("snapshot", text))
    assert not found.equal
    (difference,) = found.processes[0].flags
    assert (difference.start, difference.end) == (0x10000000, 0x10008000)
    assert found.processes[0].blocks[0].left[0].codes[-1] == "mg"


def test_results_of_several_traces_are_found_by_path_then_by_name() -> None:
    other = json.loads(saved("droppable", "pre-patch"))
    text = saved(ADJACENT, "pre-patch") + json.dumps({**other, "trace": ADJACENT}) + "\n"
    assert compare(load(ADJACENT), Baseline("saved", text), PRE).equal
    moved = text.replace('"path": "traces/', '"path": "elsewhere/')
    assert compare(load(ADJACENT), Baseline("saved", moved), PRE).equal
    unclear = moved.replace('"path":"traces/', '"path":"elsewhere/')
    with pytest.raises(TraceError, match="several results of the trace"):
        compare(load(ADJACENT), Baseline("saved", unclear), PRE)
    with pytest.raises(TraceError, match="no result of the trace 'brk-refused'"):
        compare(load("brk-refused"), Baseline("saved", text), PRE)


@pytest.mark.parametrize("steps", [False, True])
def test_a_result_of_other_calls_is_compared_at_the_end_only(steps: bool) -> None:
    text = saved(ADJACENT, "pre-patch", steps)
    changed = load(ADJACENT)
    items = list(changed.items())
    changed.read = lambda: iter([*items, items[0]])
    found = compare(changed, Baseline("saved", text), PRE)
    assert found.changed
    assert found.events is None


_RESULT = {"format": "vmatrace-replay/1", "trace": "x", "kernel": "6.4"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f: error: is nothing to compare with"),
        ("vmatrace: 1\nevents: []\n", "f: error: is nothing to compare with"),
        ('{"format": 3,', "f:1:14: error: not JSON"),
        ('\n{"format": 3}', "f:2:1: error: the format is '3'"),
        ('{"a":' * 100_000, "f:1:1: error: not JSON of this kind: nested too deeply"),
        (json.dumps(_RESULT), "f:1:1: error: not a result of `vmatrace replay`: no 'summary'"),
        ("10000000-10001000 rw-p 0 0:0 x\n", "f:1:1: error: not a line of /proc/PID/maps"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(text: str, message: str) -> None:
    with pytest.raises(TraceError) as raised:
        Baseline("f", text)
    assert str(raised.value).startswith(message)


def mutated(value: Any, wrong: object) -> list[Any]:
    """*value* as often as it has parts, each time with another part that is *wrong* or missing."""
    found: list[Any] = []
    if isinstance(value, dict):
        for key, item in value.items():
            found.append({k: v for k, v in value.items() if k != key})
            found += [{**value, key: part} for part in [wrong, *mutated(item, wrong)]]
    elif isinstance(value, list) and value:
        found += [[part, *value[1:]] for part in [wrong, *mutated(value[0], wrong)]]
    return found


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ('"page_size":4096', '"page_size":3', "page_size 3 is none"),
        ('"peak_vmas":', '"peak_vmas":-', "is no count"),
        ('"errors":', '"errors":' + "9" * 5000, "not JSON of this kind"),
        ('"vmas":', '"vmas":' + "9" * 50, "is no number of 64 bits"),
    ],
)
def test_a_result_is_read_as_strictly_as_a_trace(right: str, wrong: str, message: str) -> None:
    text = saved(ADJACENT, "post-patch").replace(right, wrong)
    with pytest.raises(TraceError, match=message):
        Baseline("f", text)


@pytest.mark.parametrize("wrong", [None, "x", -1, 1 << 80, 0.5, True, {}, [[]]])
def test_a_damaged_result_is_an_error_or_is_read_and_never_a_crash(wrong: object) -> None:
    document = json.loads(saved("ksm-fill-the-hole", "pre-patch", steps=True))
    for damaged in mutated(document, wrong):
        with suppress(TraceError):
            compare(load("ksm-fill-the-hole"), Baseline("f", json.dumps(damaged)), POST)


def test_unequal_page_sizes_are_an_error() -> None:
    wide = trace("page_size: 16384\nevents: []\n")
    for text in (
        saved(ADJACENT, "pre-patch").replace(ADJACENT, wide.name),
        smaps_text(replay(load(ADJACENT), PRE).processes[0].layout),
        maps_text(replay(load(ADJACENT), PRE).processes[0].layout),
    ):
        with pytest.raises(TraceError, match="page size"):
            compare(wide, Baseline("f", text), PRE)


def test_the_public_function_takes_paths_models_and_files(tmp_path: Path) -> None:
    path = str(ROOT / exhibit(ADJACENT))
    kept = tmp_path / "kept.json"
    kept.write_text(saved(ADJACENT, "post-patch"))
    assert not vmatrace.diff(path).equal
    assert vmatrace.diff(path, "6.16", PRE).equal
    assert vmatrace.diff(path, "post-patch", str(kept), ksm=True).equal
    assert vmatrace.diff(Path(path), str(kept), "post-patch").equal
    with pytest.raises(ValueError, match="did you mean 'pre-patch'"):
        vmatrace.diff(path, "pre-pach")


def test_the_worst_status_wins_and_good_traces_still_run(run: RunProgram) -> None:
    equal, differs = exhibit("droppable"), exhibit(ADJACENT)
    assert run("diff", equal).status == 0
    assert run("diff", equal, differs).status == 1
    done = run("diff", "none.yaml", equal, differs)
    assert done.status == 2
    assert done.err == "none.yaml: error: cannot be read: No such file or directory\n"
    assert done.out.endswith("3 traces: 1 equal, 1 different, 1 in error\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--from", "pre-pach"), "unknown kernel 'pre-pach' (did you mean 'pre-patch'?), and no"),
        (
            ("--to", "/none"),
            "'/none' (`vmatrace kernels` lists the models), and no file of that name",
        ),
        (("--across", "6.4..6.5", "--to", "6.4"), "--across does not go with --from and --to"),
        (("--across", "6.4..6.5", "--steps"), "--across does not go with --steps"),
        (("--across", "6.4..6.5", "--format", "github"), "does not go with --format github"),
    ],
)
def test_bad_usage_is_said_and_nothing_printed(
    arguments: tuple[str, ...], message: str, run: RunProgram
) -> None:
    done = run("diff", exhibit(ADJACENT), *arguments)
    assert (done.status, done.out) == (2, "")
    assert message in done.err


def test_a_file_that_cannot_be_compared_with_ends_before_any_output(run: RunProgram) -> None:
    done = run("diff", exhibit(ADJACENT), "--from", "README.md")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("README.md:")
