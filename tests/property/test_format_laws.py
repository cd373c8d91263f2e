"""Laws of every format: each line counted once, and a mangled input is read or refused in words."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stracelogs import FOLDER, check_counts
from test_strace_laws import MANGLES

from vmatrace.diagnostic import TraceError
from vmatrace.importers import formats, open_trace
from vmatrace.importers.format import Reading
from vmatrace.kernels import get_kernel
from vmatrace.layout import LayoutError
from vmatrace.replayer.run import replay
from vmatrace.snapshots import parse_snapshot

CASES: Final = FOLDER.parent / "cases"
TRACERS: Final = FOLDER.parent / "tracers"
QEMU: Final = {CASES / "S45-qemu-user.log"}
#: Small inputs of each format, by its name.
INPUTS: Final = {
    "strace": [
        *sorted(set(CASES.glob("S*.log")) - QEMU),
        FOLDER / "stderr-D.log",
        FOLDER / "f-N-all.log",
    ],
    "jsonl": [TRACERS / "events.jsonl"],
    "ftrace": sorted(TRACERS.glob("ftrace*.log")),
    "perf-script": sorted(TRACERS.glob("perf-script*.log")),
    "perf-trace": sorted(TRACERS.glob("perf-trace*.log")),
    "bpftrace": [TRACERS / "bpftrace.log"],
    "gvisor": [TRACERS / "gvisor.log"],
    "qemu": [*QEMU, *sorted(TRACERS.glob("qemu*.log"))],
}
SNAPSHOTS: Final = [path for path in sorted(CASES.glob("M*")) if path.suffix != ".yaml"]
#: So many lines of one, at most.
_LINES: Final = 40
PREFIXES: Final = (
    b"",
    b"",
    b"> ",
    b"2024-05-01T10:11:12Z ",
    b"Jun 30 05:52:41 h s[5]: ",
    b"w-1  | ",
)


def mangled(rng: random.Random, path: Path) -> bytes:
    """A part of the file, damaged in one to twelve places, maybe behind a prefix."""
    lines = path.read_bytes().split(b"\n")
    start = rng.randrange(max(len(lines) - _LINES, 0) + 1)
    lines = lines[start : start + _LINES]
    for _ in range(rng.choice((1, 2, 5, 12))):
        rng.choice(MANGLES)(rng, lines)
    prefix = rng.choice(PREFIXES)
    return b"\n".join(prefix + line for line in lines)


def test_every_format_has_inputs_here() -> None:
    assert set(INPUTS) == {form.name for form in formats()}


@pytest.mark.parametrize("name", INPUTS)
def test_every_line_of_every_input_is_counted_once(name: str) -> None:
    for path in INPUTS[name]:
        trace = open_trace(str(path), Reading(form=name))
        replay(trace, get_kernel("post-patch"))
        assert trace.notes is not None
        check_counts(trace.notes)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_a_mangled_input_is_read_to_its_end_or_refused(seed: int) -> None:
    rng = random.Random(seed)
    reading = Reading(
        rng.choice(("none", "writable")), None, rng.choice((None, None, 4096, 65536)),
        rng.choice((None, None, "x86_64", "aarch64", "armv7l")),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        path.write_bytes(mangled(rng, rng.choice(INPUTS[rng.choice(sorted(INPUTS))])))
        try:
            trace = open_trace(str(path), reading)
            replay(trace, get_kernel(rng.choice(("pre-patch", "post-patch", "6.6"))))
        except TraceError:
            return
        if trace.notes is not None:
            check_counts(trace.notes)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_a_mangled_snapshot_is_a_layout_or_an_error_with_its_line(seed: int) -> None:
    rng = random.Random(seed)
    text = mangled(rng, rng.choice(SNAPSHOTS)).decode("utf-8", "backslashreplace")
    line, layout = 1, []
    try:
        layout = parse_snapshot(text)
    except LayoutError as error:
        line = error.line
    assert 1 <= line <= text.count("\n") + 1
    assert all(m.start < m.end for m in layout)
