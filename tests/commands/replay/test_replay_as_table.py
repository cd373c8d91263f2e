"""What the table and the steps say of every exhibit agrees with the layout itself."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from program import EXHIBITS, ROOT, RunProgram, exhibit

from vmatrace import kernels
from vmatrace.layout import parse_layout
from vmatrace.replayer.result import Result
from vmatrace.replayer.run import replay
from vmatrace.trace.file import load_trace

_ROW = re.compile(r"^  ([0-9a-f]{8,16})-([0-9a-f]{8,16}) ", re.MULTILINE)
_CHANGE = re.compile(r" {9}([+-]) ([0-9a-f]{8,16}-[0-9a-f]{8,16}) ")
_SINGLE = [
    name
    for name in EXHIBITS
    if "fork" not in (ROOT / exhibit(name)).read_text() and "maps: |" not in (
        ROOT / exhibit(name)
    ).read_text()
]  # fmt: skip
both_models = pytest.mark.parametrize("kernel", ["pre-patch", "post-patch"])
every_exhibit = pytest.mark.parametrize("name", EXHIBITS)


def _result(name: str, kernel: str) -> Result:
    return replay(load_trace(ROOT / exhibit(name)), kernels.get_kernel(kernel))


@both_models
@every_exhibit
def test_the_table_has_every_vma_once_in_order(name: str, kernel: str, run: RunProgram) -> None:
    out = run("replay", exhibit(name), "--kernel", kernel).out
    rows = [(int(a, 16), int(b, 16)) for a, b in _ROW.findall(out)]
    layouts = [process.layout for process in _result(name, kernel).processes]
    assert rows == [(m.start, m.end) for layout in layouts for m in layout]


@both_models
@every_exhibit
def test_between_two_rows_stands_a_reason_or_a_gap(name: str, kernel: str, run: RunProgram) -> None:
    lines = run("replay", exhibit(name), "--kernel", kernel, "--why", "all").out.splitlines()
    for above, between, below in zip(lines, lines[1:], lines[2:], strict=False):
        first, last = _ROW.match(above), _ROW.match(below)
        assert not (first and _ROW.match(between)), "two rows with nothing between them"
        if first and last:
            touch = first[2] == last[1]
            assert between.split()[0] == ("gap" if not touch else between.strip()[0])
            assert not touch or between.strip()[0] in "=≠"


@both_models
@every_exhibit
def test_two_rows_without_a_reason_between_them_are_not_alike(
    name: str, kernel: str, run: RunProgram
) -> None:
    lines = run("replay", exhibit(name), "--kernel", kernel).out.splitlines()
    cells = [line.split()[2:] if _ROW.match(line) else None for line in lines]
    for above, below in pairwise(cells):
        assert above is None or above != below


@both_models
@every_exhibit
def test_no_line_is_wider_than_80_columns(name: str, kernel: str, run: RunProgram) -> None:
    out = run("replay", exhibit(name), "--kernel", kernel, "--steps", columns=80).out
    assert [line for line in out.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("name", _SINGLE)
def test_the_changes_of_the_steps_add_up_to_the_final_layout(name: str, run: RunProgram) -> None:
    out = run("replay", exhibit(name), "--steps").out
    mapped: set[str] = set()
    for sign, place in _CHANGE.findall(out):
        if sign == "-":
            mapped.remove(place)
        else:
            assert place not in mapped
            mapped.add(place)
    rows = [f"{a}-{b}" for a, b in _ROW.findall(out)]
    assert sorted(mapped, key=lambda place: int(place.split("-")[0], 16)) == rows


@every_exhibit
def test_smaps_output_reads_back_as_the_layout(name: str, run: RunProgram) -> None:
    out = run("replay", exhibit(name), "--format", "smaps").out
    result = _result(name, load_trace(ROOT / exhibit(name)).kernel or "post-patch")
    texts = re.split(r"^==> .* <==\n", out, flags=re.MULTILINE)
    texts = texts[1:] if len(texts) > 1 else texts
    assert [parse_layout(text) for text in texts] == [p.layout for p in result.processes]


def test_the_headline_is_red_only_when_something_was_lost(
    run: RunProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    before = run("replay", exhibit("ksm-adjacent-anon"), "--kernel", "pre-patch").out
    after = run("replay", exhibit("ksm-adjacent-anon"), "--kernel", "post-patch").out
    assert "\x1b[1;31mblocked by VM_MERGEABLE alone: 7" in before
    assert "\x1b[1;32mblocked by VM_MERGEABLE alone: 0" in after
