"""Line by line, what another tracer printed is what strace would have printed.

In ``told/``, behind each line of a tracer (by its source, as far as the recordings in ``tracers/``
do not have it) stands what it is told as: ``=> `` and the line of strace's; what kind of line it
is, in parentheses, if it means nothing; ``(part)`` where another line says it; or a caret below the
place that is wrong, and why. At the end: whose thread each is, and how many events were lost.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vmatrace import syscalls
from vmatrace.event import Event
from vmatrace.importers import open_trace
from vmatrace.importers.bpftrace import BpfTrace
from vmatrace.importers.gvisor import GVisor
from vmatrace.importers.jsonlines import JsonLines
from vmatrace.importers.machine import LogMachine
from vmatrace.importers.perftrace import PerfTrace
from vmatrace.importers.prefixes import PART
from vmatrace.importers.qemu import QemuUser
from vmatrace.importers.retold import Passed, Told, Wrong, lost_events, text_of
from vmatrace.importers.tracepoints import Tracepoints
from vmatrace.trace.tokens import unescaped

TOLD: Final = Path(__file__).parent / "told"
TELLERS: Final = {
    "bpftrace": BpfTrace, "gvisor": GVisor, "jsonl": JsonLines, "perf-trace": PerfTrace,
    "qemu": QemuUser, "tracepoints": Tracepoints,
}  # fmt: skip


def written(told: Told) -> str:
    if isinstance(told, Passed):
        return f"({told.kind})"
    if isinstance(told, Wrong):
        return f"{' ' * told.offset}^ {told.why}"
    return "(part)" if told == PART else told


@pytest.mark.parametrize("name", TELLERS)
def test_a_line_is_told_as_strace_would_have_printed_it(name: str) -> None:
    *lines, end = (TOLD / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    teller = TELLERS[name](LogMachine("x86_64", 4096), [])
    for line, told in zip(lines[::2], lines[1::2], strict=True):
        assert f"=> {written(teller.tell(line))}" == told, line
    assert f"== {teller.groups} {teller.lost}" == end


def test_the_title_of_the_script_says_whose_numbers_they_are(tmp_path: Path) -> None:
    """munmap() is 215 on arm64 and 11 on x86-64; of a machine that nobody knows, as on x86-64."""
    for arch, number in (("aarch64", 215), ("x86_64", 11), ("vax", 11)):
        path = tmp_path / arch
        path.write_text(
            f"vmatrace bpftrace 1 {arch}\n7 7 > {number} 1000 2000 0 0 0 0\n7 7 < {number} 0\n"
        )
        trace = open_trace(str(path))
        assert [event.text for event in trace.items() if isinstance(event, Event)] == [
            "munmap(0x1000, 0x2000)"
        ]
        assert trace.arch == (None if arch == "vax" else arch)


@pytest.mark.parametrize("arch", ["x86_64", "aarch64", "i686", "ppc64le", "mips64", "sparc64"])
def test_the_numbers_that_placed_memory_say_whose_they_are(arch: str) -> None:
    """By most of them: a small result, or another call's, says nothing."""
    numbers = syscalls.numbers(arch)
    places = [numbers.get("mmap2") or numbers["mmap"], numbers["mremap"], numbers["brk"]]
    lines = [f"  a-1 [001] 4.5: sys_exit: NR {number} = {1 << 40}" for number in places * 2]
    lines += ["  a-1 [001] 4.5: sys_exit: NR 9 = 65535"] * 9
    lines += [f"  a-1 [001] 4.5: sys_exit: NR 1 = {1 << 40}"] * 9
    lines += [f"  a-1 [001] 4.5: sys_exit: NR 9999 = {1 << 40}"] * 9
    lines += [f"  a-1 [001] 4.5: sys_exit: NR 222 = {1 << 16}"]
    assert Tracepoints(LogMachine(None, 4096), lines).machine.arch == arch
    assert Tracepoints(LogMachine("s390x", 4096), lines).machine.arch == "s390x"
    assert Tracepoints(LogMachine(None, 4096), []).machine.arch == "x86_64"


@pytest.mark.parametrize("depth", [100, 300, 600, 900, 30_000])
def test_a_header_that_is_nested_deeply_is_not_understood(depth: int) -> None:
    header = f'{{"vmatrace-events": 1, "start": {{"process": {"[" * depth}{"]" * depth}}}}}\n'
    call = '{"call": "brk(NULL)", "result": "0x560000"}\n'
    trace = open_trace(io.BytesIO((header + call).encode()))
    assert [getattr(item, "text", "") for item in trace.items()] == ["brk(NULL)"]
    assert trace.notes is not None
    assert [found.line for found in trace.notes.misread] == [1]


@pytest.mark.parametrize(
    ("line", "lost"),
    [
        ("CPU:1 [LOST 33 EVENTS]", 33),
        ("Lost 5 events", 5),
        ("x: lost 999999999999999 events", 999_999_999_999_999),
        ("x: lost 1000000000000000 events", 0),
        ("x: lost events", 0),
        ("lost 7 events".ljust(199), 7),
        ("lost 7 events".ljust(200), 0),
    ],
)
def test_a_tracer_says_in_a_short_line_how_much_it_lost(line: str, lost: int) -> None:
    assert lost_events(line) == lost


@given(st.text(st.characters(), max_size=10))  # also halves of pairs, which JSON can name
@example("\ud800")
def test_a_path_is_printed_as_one_that_strace_prints(path: str) -> None:
    text = text_of(path)
    assert text.isprintable()
    assert unescaped(text[1:-1]) == path.encode(errors="surrogatepass").decode(
        errors="backslashreplace"
    )
