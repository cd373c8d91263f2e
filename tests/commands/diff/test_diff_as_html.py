"""The page of a diff as a file: complete, inert, small, and its data leads back to the diff."""

from __future__ import annotations

import base64
import importlib
import io
import json
import re
import zlib
from pathlib import Path
from typing import Any

import pytest
from program import EXHIBITS, ROOT, RunProgram, exhibit

from vmatrace.commands.diff import as_html
from vmatrace.commands.diff.answer import Diff
from vmatrace.commands.diff.as_html.packing import DiffPacker
from vmatrace.commands.diff.opening import open_side
from vmatrace.commands.diff.question import Comparison, Source
from vmatrace.event import Event, File
from vmatrace.importers import open_trace
from vmatrace.kernels import get_kernel
from vmatrace.trace.file import Trace, load_trace

HOSTILE = "</script><img src=x onerror=alert(1)> \"'& <!-- {{data}} \u2028"
PAGE = 4096


def compared(trace: Trace, from_: Source | str = "6.4", to: Source | str = "6.18") -> Diff:
    older, newer = (get_kernel(side) if isinstance(side, str) else side for side in (from_, to))
    return Comparison(trace, older, newer).diff(1000, True)


def page(*diffs: Diff) -> str:
    out = io.StringIO()
    form = as_html.form(out, len(diffs))
    for diff in diffs:
        form.write(diff)
    form.finish()
    return out.getvalue()


def data_of(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="([^"]*)" id="data">([^<]*)</script>', text)
    assert found is not None
    kind, data = found.groups()
    if kind != "application/json":
        data = zlib.decompress(base64.b64decode(data, validate=True)).decode()
    whole: dict[str, Any] = json.loads(data)
    return whole


def sides_of(packed: list[int]) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """The VMAs of both sides as the script unpacks them: start, end, attributes, offset."""
    found: tuple[list[tuple[int, ...]], list[tuple[int, ...]]] = ([], [])
    start = 0
    for i in range(0, len(packed), 5):
        distance, pages, attributes, offset, side = packed[i : i + 5]
        start += distance
        vma = (start * PAGE, (start + pages) * PAGE, attributes, offset * PAGE)
        for which in (0, 1):
            if side in (which, 2):
                found[which].append(vma)
    return found


@pytest.mark.parametrize("name", EXHIBITS)
def test_the_data_leads_to_both_layouts_and_every_difference_has_a_cause(name: str) -> None:
    diff = compared(load_trace(ROOT / exhibit(name)))
    packer = DiffPacker()
    packed = json.loads(json.dumps(packer.trace(diff)))
    attributes = packer.tables()["attributes"]
    assert len(packed["processes"]) == (0 if diff.equal else len(diff.processes))
    for process, told in zip(diff.processes, packed["processes"], strict=False):
        for layout, vmas in zip(
            (process.from_, process.to), sides_of(told["mappings"]), strict=True
        ):
            assert [
                (m.start, m.end, m.perms, " ".join(m.codes), m.name, m.offset) for m in layout or ()
            ] == [(s, e, *attributes[at][:3], offset) for s, e, at, offset in vmas]
        differing = [block for block in process.blocks if not block.equal]
        assert len(told["touched"]) == len(differing)
        for block, at in zip(differing, told["touched"], strict=True):
            if at >= 0:
                event = diff.early[at]
                changed = [*event.from_.went, *event.from_.came, *event.to.went, *event.to.came]
                assert any(m.start < block.end and block.start < m.end for m in changed)
    if not diff.equal:
        assert packed["causes"]
        assert all(causes for *_, causes in packed["shown"])
        assert len(packed["shown"]) == min(packed["differing"], 1000)


def test_each_difference_has_its_own_cause() -> None:
    """Two features make two differences in one trace: each is said of the one that it made."""
    trace = load_trace(
        b"""
vmatrace: 1
process: {ksm: true}
events:
  - mmap(0x10000000, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - mmap(0x10001000, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_ANONYMOUS|MAP_DROPPABLE, -1, 0)
""",
        "x.yaml",
    )
    packer = DiffPacker()
    packed = packer.trace(compared(trace))
    names = [row[0] for row in packer.tables()["features"]]
    by_line = {line: [names[i] for i in causes] for line, _, _, causes in packed["shown"]}
    assert by_line == {6: ["ksm-before-merge"], 7: ["droppable"]}
    (process,) = packed["processes"]
    assert [[names[i] for i in causes] for causes in process["causes"]] == [
        ["ksm-before-merge"],
        ["droppable"],
    ]


def test_a_saved_result_is_explained_where_its_model_did_the_same(
    run: RunProgram, tmp_path: Path
) -> None:
    trace = exhibit("ksm-adjacent-anon")
    saved = tmp_path / "saved.json"
    for steps in ([], ["--steps"]):
        done = run("replay", trace, "--kernel", "6.16", "--format", "json", *steps)
        saved.write_text(done.out, encoding="utf-8")
        diff = compared(load_trace(ROOT / trace), open_side(str(saved)), "6.18")
        assert [cause.feature.name for cause in diff.why or ()] == ["ksm-before-merge"]
        # Of another model's result nothing is said that the models do not bear out.
        other = done.out.replace('"kernel":"6.16"', '"kernel":"6.18"')
        assert other != done.out
        saved.write_text(other, encoding="utf-8")
        assert compared(load_trace(ROOT / trace), open_side(str(saved)), "6.18").why == []


def test_a_snapshot_has_a_page_without_causes(run: RunProgram, tmp_path: Path) -> None:
    trace = exhibit("ksm-adjacent-anon")
    smaps = tmp_path / "smaps"
    smaps.write_text(run("replay", trace, "-k", "6.16", "--format", "smaps").out, encoding="utf-8")
    done = run("diff", trace, "--from", str(smaps), "--format", "html")
    assert (done.status, done.err) == (1, "")
    (told,) = data_of(done.out)["traces"]
    assert told["causes"] is None
    assert told["events"] is None
    assert [told["processes"][0]["vmas"], told["totals"][0]] == [[8, 1], ["VMAs", 8, 1]]


def test_without_scripts_there_are_the_numbers_and_the_commits() -> None:
    text = page(compared(load_trace(ROOT / exhibit("ksm-adjacent-anon"))))
    table = text.split('id="traces"')[1].split("</table>")[0]
    assert "8 → 1" in table
    assert 'href="https://git.kernel.org/linus/cf7e7a3503df"' in table
    assert "ksm-before-merge" in table


def test_several_traces_are_one_page_and_what_is_wrong_is_said(
    run: RunProgram, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("vmatrace: 1\nevents: [munmap(1)]\n", encoding="utf-8")
    file = tmp_path / "diff.html"
    asked = [exhibit("ksm-adjacent-anon"), exhibit("max-map-count-hole"), str(bad)]
    done = run("diff", *asked, f"--format=html={file}")
    assert done.status == 2
    text = file.read_text(encoding="utf-8")
    assert "<h1>1 of 2 traces differ</h1>" in text
    assert "Not compared" in text
    assert f"{bad}:2:" in text
    traces = data_of(text)["traces"]
    assert [trace["equal"] for trace in traces] == [False, True]
    assert traces[1]["processes"] == []


def test_all_events_are_there_when_asked_for() -> None:
    comparison = Comparison(load_trace(ROOT / exhibit("ksm-adjacent-anon")))
    found = comparison.diff(2, True)
    few = DiffPacker().trace(found)
    found.again = comparison.events
    every = DiffPacker().trace(found)
    assert [len(few["shown"]), few["differing"]] == [2, 7]
    assert len(every["shown"]) == 7
    assert every["shown"][:2] == few["shown"]


def test_what_the_page_asks_for_changes_no_other_form(run: RunProgram, tmp_path: Path) -> None:
    trace = exhibit("ksm-adjacent-anon")
    alone = run("diff", trace, "--format", "json").out
    beside = run("diff", trace, "--format", "json", f"--format=html={tmp_path / 'x.html'}").out
    assert beside == alone


def hostile(name: str) -> Trace:
    """A trace that says *name* wherever a name can stand, and differs."""
    calls = [
        Event("mmap", (0x10000000 + 4096 * i, 4096, 3, 0x12, 3 if i == 2 else -1, 0), name, line=i)
        for i in range(3)
    ]
    trace = load_trace(b"vmatrace: 1\nprocess: {ksm: true}\nevents: []\n", name)
    return Trace(
        name, name, lambda: iter(calls), name, files={3: File("/" + name)}, process=trace.process
    )


def test_hostile_names_change_no_element() -> None:
    tags = re.compile(r"<[a-z/!][^\s>]*")
    texts = [page(compared(hostile(name), "pre-patch", "post-patch")) for name in ("name", HOSTILE)]
    assert tags.findall(texts[0]) == tags.findall(texts[1])
    assert "{{" not in texts[0]
    assert all("<" not in re.findall(r'id="data">(.*?)</script>', text)[0] for text in texts)
    assert data_of(texts[1])["traces"][0]["name"] == HOSTILE


def test_a_page_of_a_hundred_thousand_events_is_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "bench"))
    log = tmp_path / "calls.log"
    calls = importlib.import_module("logs").memory_calls(100_000)
    log.write_text("\n".join(calls) + "\n", encoding="utf-8")
    pair = (get_kernel("pre-patch"), get_kernel("post-patch"))
    diff = Comparison(open_trace(str(log)), *pair, True).diff(1000, True)
    assert diff.differing is not None
    assert diff.differing > 1000
    assert len(page(diff).encode()) < 500_000
