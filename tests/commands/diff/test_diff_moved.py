"""Two recordings of one program: equal up to where the kernel placed things, and no further."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from program import RunProgram

from vmatrace import abi
from vmatrace.commands.diff.moved import brought_along, chosen_by_kernel, is_recording, only_moved
from vmatrace.layout import Layout, Mapping
from vmatrace.trace.file import Trace

PLAIN = abi.VM_READ | abi.VM_MAYREAD


def trace(base: int, *, fixed: int = 0x20000000, size: int = 2) -> str:
    """A program that asks for memory, places more beside it, and some where it wants to."""
    private = "MAP_PRIVATE|MAP_ANONYMOUS"
    return f"""\
vmatrace: 1
maps: |
  {base - 0x100000:x}-{base - 0xFF000:x} r-xp 00000000 fe:00 12  /usr/bin/app
events:
  - mmap(NULL, {size * 4096}, PROT_READ, {private}, -1, 0) = {base:#x}
  - mmap({base + size * 4096:#x}, 4096, PROT_NONE, {private}, -1, 0) = {base + size * 4096:#x}
  - mmap({base + 0x40000:#x}, 4096, PROT_READ, {private}|MAP_FIXED, -1, 0)
  - mmap({fixed:#x}, 4096, PROT_READ, {private}|MAP_FIXED, -1, 0)
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: RunProgram) -> None:
    """A baseline of the first recording."""
    monkeypatch.chdir(tmp_path)
    Path("t.yaml").write_text(trace(0x7FC04336E000))
    assert run("baseline", "t.yaml", "-o", "b.json").status == 0
    assert run("baseline", "t.yaml", "-o", "steps.json", "--steps").status == 0


@pytest.mark.parametrize("baseline", ["b.json", "steps.json"])
def test_a_recording_made_again_does_not_differ(run: RunProgram, baseline: str) -> None:
    Path("t.yaml").write_text(trace(0x7F29CFAB3000))
    done = run("diff", "t.yaml", "--from", baseline)
    assert done.status == 0
    assert "only addresses differ" in done.out
    assert run("diff", "t.yaml", "--from", baseline, "--format", "github").out == ""
    assert run("diff", "t.yaml", "--from", baseline, "--absolute").status == 1


@pytest.mark.parametrize(
    "text",
    [
        trace(0x7F29CFAB3000, fixed=0x20001000),
        trace(0x7F29CFAB3000, size=3),
        trace(0x7F29CFAB3000).replace("PROT_NONE", "PROT_WRITE"),
        trace(0x7F29CFAB3000) + "  - munmap(0x20000000, 4096)\n",
        trace(0x7F29CFAB3000).replace("/usr/bin/app", "/usr/bin/other"),
    ],
    ids=["the program's own place", "a size", "flags", "one fewer", "a file"],
)
def test_what_the_program_did_otherwise_is_a_difference(run: RunProgram, text: str) -> None:
    Path("t.yaml").write_text(text)
    for form in ("github", "gitlab", "sarif", "markdown", "table"):
        done = run("diff", "t.yaml", "--from", "b.json", "--format", form)
        assert done.status == 1, form
    said = run("diff", "t.yaml", "--from", "b.json", "--format", "github").out
    message = said.partition("::warning ")[2].partition("::")[2].strip()
    assert message, "an annotation says something"
    if "20001000" in text:  # the others are brought along, so that nothing else is shown
        assert (
            message == "- 20000000-20001000 r--p 00000000 00:00 0 (rd mr mw me)%0A"
            "+ 20001000-20002000 r--p 00000000 00:00 0 (rd mr mw me)"
        )


def test_addresses_in_a_trace_that_records_none_are_compared(run: RunProgram) -> None:
    call = "mmap({}, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)"
    Path("t.yaml").write_text(f"vmatrace: 1\nevents:\n  - {call.format('0x10000')}\n")
    run("baseline", "t.yaml", "-o", "c.json")
    Path("t.yaml").write_text(f"vmatrace: 1\nevents:\n  - {call.format('0x20000')}\n")
    assert run("diff", "t.yaml", "--from", "c.json").status == 1
    assert run("diff", "t.yaml", "--from", "c.json", "--relative").status == 1


def test_another_recording_is_a_side(run: RunProgram) -> None:
    Path("u.yaml").write_text(trace(0x7F29CFAB3000))
    done = run("diff", "u.yaml", "--from", "t.yaml")
    assert (done.status, "t.yaml is another trace" in done.out) == (0, True)
    Path("u.yaml").write_text(trace(0x7F29CFAB3000, size=4))
    assert run("diff", "u.yaml", "--from", "t.yaml").status == 1


def laid(sizes: list[tuple[int, int]], base: int) -> Layout:
    """Mappings of so many pages, each so many pages behind the one before."""
    found = []
    for gap, size in sizes:
        start = base + gap * 4096
        base = start + size * 4096
        found.append(Mapping(start, base, PLAIN, 0, ""))
    return found


shapes = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=1, max_size=8)


@given(shapes, st.data())
def test_moving_is_found_whatever_moved_and_losing_one_is_not_moving(
    sizes: list[tuple[int, int]], data: st.DataObject
) -> None:
    old = laid(sizes, 0x10000)
    new = laid([(data.draw(st.integers(0, 9)), size) for _, size in sizes], 0x900000)
    assert only_moved(old, new, None)
    assert only_moved(old, new, [(m.start, m.end) for m in new])
    assert brought_along(old, new, None) == new
    assert not only_moved(old, new[:-1], None)
    assert not only_moved(old, new, [])
    assert brought_along(old, new, []) == old


PRIVATE = "PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS"


@pytest.mark.parametrize(
    ("call", "chosen"),
    [
        (f"mmap(NULL, 8192, {PRIVATE}, -1, 0) = 0x7000", [(0x7000, 0x9000)]),
        (f"mmap(0x7000, 8192, {PRIVATE}, -1, 0) = 0x7000", []),
        (f"mmap(0x7000, 8192, {PRIVATE}, -1, 0) = 0x9000", [(0x9000, 0xB000)]),
        (f"mmap(0x7000, 8192, {PRIVATE}|MAP_FIXED, -1, 0) = 0x7000", []),
        (f"mmap(NULL, 8192, {PRIVATE}|MAP_FIXED_NOREPLACE, -1, 0) = 0x7000", []),
        (f"mmap(NULL, 0, {PRIVATE}, -1, 0) = 0x7000", [(0x7000, 0x7001)]),
        (f"mmap(NULL, 8192, {PRIVATE}, -1, 0) = -1 ENOMEM", []),
        (f"mmap(NULL, 8192, {PRIVATE}, -1, 0)", []),
        ("mremap(0x1000, 4096, 8192, MREMAP_MAYMOVE) = 0x7000", [(0x7000, 0x9000)]),
        ("mremap(0x1000, 4096, 8192, MREMAP_MAYMOVE) = 0x1000", []),
        ("mremap(0x1000, 4096, 8192, MREMAP_MAYMOVE|MREMAP_FIXED, 0x7000) = 0x7000", []),
        ("mremap(0x1000, 4096, 0, MREMAP_MAYMOVE) = 0x7000", [(0x7000, 0x7001)]),
        ("shmat(1, NULL, 0) = 0x7000", [(0x7000, 0x7001)]),
        ("shmat(1, 0x7000, 0) = 0x7000", []),
        ("brk(0) = 0x7000", []),
        ("munmap(0x7000, 4096) = 0", []),
    ],
)
def test_what_the_kernel_chose_is_told_by_calls_and_their_results(
    call: str, chosen: list[tuple[int, int]]
) -> None:
    made = Trace.of([call])
    assert chosen_by_kernel(made) == chosen
    assert is_recording(made) is bool(chosen)


def test_what_touches_was_chosen_as_one_and_so_was_what_there_was_at_the_start() -> None:
    calls = [
        f"mmap(NULL, 8192, {PRIVATE}, -1, 0) = 0x9000",
        f"mmap(NULL, 8192, {PRIVATE}, -1, 0) = 0x7000",
        f"mmap(NULL, 4096, {PRIVATE}, -1, 0) = 0xd000",
        {"call": 'execve("/a", [], NULL) = 0', "maps": "20000-21000 r--p 00000000 00:00 0\n"},
    ]
    made = Trace.of(calls, maps="1000-2000 r--p 00000000 00:00 0\n")  # type: ignore[arg-type]
    assert chosen_by_kernel(made) == [
        (0x1000, 0x2000), (0x7000, 0xB000), (0xD000, 0xE000), (0x20000, 0x21000),
    ]  # fmt: skip
