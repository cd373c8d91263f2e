"""A trace as C, KTAP and JSON Lines: what is written, and what cannot be."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

import pytest
from program import EXHIBITS, ROOT, RunProgram

from vmatrace.commands.export import jsonl, ktap, source
from vmatrace.commands.export.program import UnperformableError, program
from vmatrace.commands.export.spelling import quoted
from vmatrace.importers import open_trace
from vmatrace.kernels import get_kernel
from vmatrace.replayer.run import replay
from vmatrace.trace.file import Trace, load_trace

ADJACENT = "traces/ksm-adjacent-anon.yaml"


def test_the_program_has_the_calls_as_they_are_written(run: RunProgram) -> None:
    done = run("export", "c", "traces/mlock-one-byte.yaml")
    assert (done.status, done.err) == (0, "")
    assert "a = CALL(mmap, 0x10000000, 4*PAGE_SIZE, PROT_READ|PROT_WRITE, " in done.out
    assert "r = CALL(mlock, a, 1);" in done.out
    assert 'count_is(mapped, mapped == 2, "line 10: vmas 2");' in done.out
    assert '{ a, a + PAGE_SIZE, "rw-p", -1, NULL, "rd wr mr mw me lo ac" },' in done.out


def test_the_expectations_are_those_of_the_kernel(run: RunProgram) -> None:
    before = run("export", "c", ADJACENT, "--kernel", "pre-patch").out
    after = run("export", "c", ADJACENT, "--kernel", "post-patch").out
    assert re.findall(r"mapped == (\d+)", before) != re.findall(r"mapped == (\d+)", after)


def test_ktap_is_what_the_program_prints_where_all_holds(run: RunProgram) -> None:
    lines = run("export", "ktap", "traces/mlock-one-byte.yaml", "--layouts").out.splitlines()
    assert lines[:2] == ["KTAP version 1", "1..10"]
    assert [line.split()[:2] for line in lines[2:12]] == [["ok", str(n)] for n in range(1, 11)]
    assert lines[4] == "ok 3 line 9: mlock(a, 1)"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("events: [brk(0)]", "the heap is the C library's (brk)"),
        ("events: ['execve(\"/bin/true\", [], [])']", "it replaces its program (execve)"),
        ("events: [vfork()]", "its processes share memory (vfork, CLONE_VM)"),
        ("sysctl: {max_map_count: 9}\nevents: [munlockall()]", "another vm.max_map_count"),
        ("partial: true\nevents: [munlockall()]", "a part of a program's life"),
        ("process: {rlimits: {as: 4096}}\nevents: [munlockall()]", "count the memory of this"),
        ("files: {3: {path: /x, fs: proc}}\nevents: [munlockall()]", "no way to open /x on proc"),
    ],
)
def test_what_no_program_can_do_is_a_program_that_says_so(
    run: RunProgram, tmp_path: Path, text: str, why: str
) -> None:
    trace = tmp_path / "t.yaml"
    trace.write_text(f"vmatrace: 1\n{text}\n", encoding="utf-8")
    done = run("export", "c", str(trace))
    assert done.status == 1
    assert why in done.err
    assert "1..0 # SKIP" in done.out
    assert "return 4;" in done.out
    assert "1..0 # SKIP" in run("export", "ktap", str(trace)).out


def test_names_of_the_trace_cannot_break_the_program() -> None:
    assert quoted('a"b\\c\n??/') == '"a\\042b\\134c\\012?\\077/"'
    trace = load_trace(
        b'vmatrace: 1\nname: "x */ int main(void) {}"\nevents:\n'
        b"  - int = mmap(NULL, PAGE_SIZE, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)\n"
        b"  - munmap(int, PAGE_SIZE)\n",
        "t.yaml",
    )
    made = program(trace, get_kernel("post-patch"))
    assert made.variables == ["int_"]
    assert "munmap, int_, PAGE_SIZE" in made.lines[1].code[1]


def test_what_a_trace_says_stays_a_comment_or_a_string() -> None:
    trace = load_trace(
        b"vmatrace: 1\nevents:\n"
        b"  - mmap(0x10000000, 8192, PROT_READ|PROT_WRITE, "
        b"MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)\n"
        b'  - expect: {name: "/* */ abort(); \\e[31m", vmas: 1, merges: 0, '
        b"blocked_only_by_mergeable: 0}\n",
        "t.yaml",
    )
    made, out, expected = program(trace, get_kernel("post-patch")), StringIO(), StringIO()
    source.write(made, out)
    ktap.write(made, expected)
    seen = re.sub(r"/\*(?:(?!/\*).)*?\*/|\"(?:[^\"\\]|\\.)*\"", "", out.getvalue(), flags=re.S)
    assert "abort" in out.getvalue()
    assert "abort" not in seen
    assert "/* blocked_only_by_mergeable 0: no program can see them */" in out.getvalue()
    assert "\x1b" not in out.getvalue() + expected.getvalue()
    assert expected.getvalue().splitlines()[1:4:2] == [
        "1..2", "ok 2 line 4: /* */ abort(); \\x1b[31m: vmas 1",
    ]  # fmt: skip


def test_ranges_of_userfaultfd_are_numbers() -> None:
    trace = load_trace(
        b"vmatrace: 1\nevents:\n  - mmap(0x10000000, 8192, PROT_READ, "
        b"MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)\n"
        b"  - call: ioctl(3, UFFDIO_UNREGISTER, {start=0x10000000;abort(), len=0x2000+abort()})\n",
        "t.yaml",
    )
    made = program(trace, get_kernel("post-patch"))
    assert "{ 0x10000000, 0x2000 }" in made.lines[1].code[1]
    assert "abort" not in made.lines[1].code[1]


@pytest.mark.parametrize("name", EXHIBITS)
def test_ktap_has_a_line_for_each_verdict(name: str) -> None:
    out, expected = StringIO(), StringIO()
    try:
        made = program(load_trace(ROOT / "traces" / f"{name}.yaml"), get_kernel("6.18"), True)
        source.write(made, out)
    except UnperformableError:
        return
    ktap.write(made, expected)
    verdicts = re.findall(r"^\t+(?:result_is|address_is|count_is|maps_are)\(", out.getvalue(), re.M)
    assert len(expected.getvalue().splitlines()) == 3 + len(verdicts) == 3 + made.tests


def test_bad_input_and_a_file_that_cannot_be_written(run: RunProgram, tmp_path: Path) -> None:
    assert run("export", "c", str(tmp_path / "none.yaml")).status == 2
    assert run("export", "jsonl", ADJACENT, "--layouts").status == 2
    assert run("export", "cc", ADJACENT).status == 2
    done = run("export", "c", ADJACENT, "-o", str(tmp_path / "no" / "t.c"))
    assert done.status == 2
    assert "cannot be written" in done.err


TRACES = [
    str(path.relative_to(ROOT).with_suffix(""))
    for path in sorted((ROOT / "traces").rglob("*.yaml"))
]


@pytest.mark.parametrize("name", TRACES)
def test_json_lines_of_a_trace_lead_to_the_same(name: str, tmp_path: Path) -> None:
    """Its start, its files and what an exec maps go with it, so that nothing has to be assumed."""
    trace = load_trace(ROOT / f"{name}.yaml")
    for model in ("pre-patch", "post-patch"):
        kernel, path = get_kernel(model), tmp_path / "t.jsonl"
        with path.open("w", encoding="utf-8") as out:
            jsonl.write(trace, kernel, out)
        ours, its = replay(trace, kernel), replay(open_trace(str(path)), kernel)
        assert [p.layout for p in its.processes] == [p.layout for p in ours.processes]
        assert (its.tally.merges, its.tally.blocked) == (ours.tally.merges, ours.tally.blocked)
        assert its.errors == ours.errors
        assert (its.diverged, its.assumed, its.cleared, its.believed) == (0, 0, 0, 0)


def test_a_start_may_be_longer_than_what_is_looked_at_first(tmp_path: Path) -> None:
    rows = "\n".join(f"{i:x}000-{i + 1:x}000 r--p 00000000 00:00 0" for i in range(0x10, 0x1800, 2))
    trace, kernel = Trace.of(["munmap(0x10000, 0x3000)"], maps=rows), get_kernel("6.18")
    path = tmp_path / "t.jsonl"
    with path.open("w", encoding="utf-8") as out:
        jsonl.write(trace, kernel, out)
    assert replay(open_trace(str(path)), kernel).vmas == 0x17F0 // 2 - 2


def test_a_log_stays_partial(tmp_path: Path) -> None:
    path, kernel = tmp_path / "t.jsonl", get_kernel("6.18")
    trace = open_trace(str(ROOT / "traces" / "logs" / "sort.log"))
    with path.open("w", encoding="utf-8") as out:
        jsonl.write(trace, kernel, out)
    again = open_trace(str(path))
    assert again.partial
    assert replay(again, kernel).vmas == replay(trace, kernel).vmas


@pytest.mark.parametrize(
    ("start", "says"),
    [
        ("5", "not a start (expected an object)"),
        ('{"map": ""}', "unknown key 'map' (did you mean 'maps'?)"),
        ('{"maps": 5}', "not a layout (expected the text of maps or smaps)"),
        ('{"process": {"ksm": 7}}', "true or false"),
        ('{"files": {"x": {"path": "/x"}}}', "'x' is no descriptor (expected a number)"),
        ('{"partial": 1}', "expected true or false"),
        ('{"kernel": "6.99"}', "unknown kernel '6.99'"),
    ],
)
def test_a_start_in_error_is_said(run: RunProgram, tmp_path: Path, start: str, says: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(
        f'{{"vmatrace-events": 1, "start": {start}}}\n'
        '{"call": "munlockall", "args": [], "result": 0}\n',
        encoding="utf-8",
    )
    done = run("replay", str(path))
    assert "t.jsonl:1" in done.out + done.err
    assert says in done.out + done.err


def test_every_exhibit_is_written_or_refused(tmp_path: Path) -> None:
    kernel = get_kernel("6.18")
    refused = []
    for name in EXHIBITS:
        try:
            made = program(load_trace(ROOT / "traces" / f"{name}.yaml"), kernel, layouts=True)
            with (tmp_path / f"{name}.c").open("w", encoding="utf-8") as out:
                source.write(made, out)
        except UnperformableError:
            refused.append(name)
    assert len(refused) < len(EXHIBITS) / 8
