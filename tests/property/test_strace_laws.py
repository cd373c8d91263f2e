"""Laws of reading strace logs, on real logs and on mangled ones."""

from __future__ import annotations

import random
import re
import tempfile
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stracelogs import LOGS, SETS, check_counts, outcome

from vmatrace.diagnostic import TraceError
from vmatrace.importers import open_trace, tracefile
from vmatrace.importers.format import Reading
from vmatrace.kernels import get_kernel
from vmatrace.replayer.run import replay
from vmatrace.trace.file import Trace, load_trace

_FILES: Final = [path for path in LOGS if path not in SETS]
_NUMBER: Final = re.compile(rb"0x[0-9a-f]+|\b\d+\b")
_HUGE: Final = (
    b"0", b"-1", b"1", b"4095", b"0xfff", b"0x7fffffffffff", b"0x7fffffffffffffff",
    b"0xffffffffffffffff", b"18446744073709551616", b"0x1" + b"0" * 40, b"9" * 400,
    b"0x7ffffffff000",
)  # fmt: skip
_TOKENS: Final = (
    b"(", b")", b"{" * 40, b"}", b"[", b"]", b'"', b"\\", b" = ", b" = ?", b"<unfinished ...>",
    b" <... mmap resumed>", b"<", b">", b"/*", b"*/", b", ", b"\0", b"\xff", b"\r", b"\x1b[31m",
    b"\n",
    b" <detached ...>", b"strace: Process 7 attached", b"+++ exited with 0 +++", b"[pid 12] ", b"|",
    b"MAP_FIXED", b"PROT_NONE", b"NULL", b"(" * 200, b" > /lib/x(y+0x1) [0x1]", b" (INJECTED)",
)  # fmt: skip

Mangle = Callable[[random.Random, list[bytes]], None]


def _cut(rng: random.Random, lines: list[bytes]) -> None:
    i = rng.randrange(len(lines))
    lines[i] = lines[i][: rng.randrange(len(lines[i]) + 1)]


def _drop(rng: random.Random, lines: list[bytes]) -> None:
    i = rng.randrange(len(lines))
    del lines[i : i + rng.choice((1, 1, 3, 40))]
    lines.append(b"")


def _duplicate(rng: random.Random, lines: list[bytes]) -> None:
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[j:j] = lines[i : i + rng.choice((1, 1, 5, 100))]


def _swap(rng: random.Random, lines: list[bytes]) -> None:
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[i], lines[j] = lines[j], lines[i]


def _flip(rng: random.Random, lines: list[bytes]) -> None:
    i = rng.randrange(len(lines))
    line = bytearray(lines[i])
    for _ in range(rng.randrange(1, 4)):
        if line:
            line[rng.randrange(len(line))] = rng.randrange(256)
    lines[i] = bytes(line)


def _number(rng: random.Random, lines: list[bytes]) -> None:
    i = rng.randrange(len(lines))
    found = list(_NUMBER.finditer(lines[i]))
    if found:
        at = rng.choice(found)
        lines[i] = lines[i][: at.start()] + rng.choice(_HUGE) + lines[i][at.end() :]


def _token(rng: random.Random, lines: list[bytes]) -> None:
    i = rng.randrange(len(lines))
    at = rng.randrange(len(lines[i]) + 1)
    lines[i] = lines[i][:at] + rng.choice(_TOKENS) + lines[i][at:]


def _splice(rng: random.Random, lines: list[bytes]) -> None:
    """Half of one line, half of another."""
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    a, b = rng.randrange(len(lines[i]) + 1), rng.randrange(len(lines[j]) + 1)
    lines[i] = lines[i][:a] + lines[j][b:]


MANGLES: Final[tuple[Mangle, ...]] = (
    _cut, _drop, _duplicate, _swap, _flip, _number, _number, _token, _splice,
)  # fmt: skip


def mangled(seed: int) -> bytes:
    """One of the logs, damaged in one to thirty places."""
    rng = random.Random(seed)
    lines = rng.choice(_FILES).read_bytes().split(b"\n")
    for _ in range(rng.choice((1, 2, 5, 30))):
        rng.choice(MANGLES)(rng, lines)
    return rng.choice((b"\n", b"\n", b"\r\n")).join(lines)


def read_mangled(seed: int, folder: Path) -> Trace | None:
    """Replay a damaged log; it is read to its end, or it is no log any more."""
    path = folder / "log"
    path.write_bytes(mangled(seed))
    try:
        trace = open_trace(str(path), Reading(("none", "writable")[seed % 2]))
    except TraceError:
        return None
    if trace.notes is None:
        return None
    replay(trace, get_kernel(("pre-patch", "post-patch", "6.6")[seed % 3]))
    check_counts(trace.notes)
    return trace


@settings(max_examples=300)
@given(st.integers(0, 2**32))
def test_a_mangled_log_is_read_to_its_end_and_every_line_is_counted(seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        read_mangled(seed, Path(folder))


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_a_mangled_log_and_the_trace_made_of_it_replay_alike(seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trace = read_mangled(seed, Path(folder))
        if trace is not None:
            _check_import(trace)


@pytest.mark.parametrize("faulted", ["none", "writable"])
@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_a_log_and_the_trace_made_of_it_replay_alike(path: Path, faulted: str) -> None:
    trace = open_trace(str(path), Reading(faulted))
    _check_import(trace)
    assert trace.notes is not None
    check_counts(trace.notes)


def _check_import(trace: Trace) -> None:
    out = StringIO()
    tracefile.write(trace, tracefile.survey(trace), out)
    again = load_trace(out.getvalue().encode())
    for kernel in map(get_kernel, ("pre-patch", "post-patch")):
        assert outcome(replay(trace, kernel)) == outcome(replay(again, kernel))
