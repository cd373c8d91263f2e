"""Laws of reading strace logs, on real logs and on mangled ones."""

from __future__ import annotations

import random
import tempfile
from io import StringIO
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mangle import MANGLES
from stracelogs import LOGS, SETS, check_counts, outcome

from vmatrace.diagnostic import TraceError
from vmatrace.importers import open_trace, tracefile
from vmatrace.importers.format import Reading
from vmatrace.kernels import get_kernel
from vmatrace.replayer.run import replay
from vmatrace.trace.file import Trace, load_trace

_FILES: Final = [path for path in LOGS if path not in SETS]


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
