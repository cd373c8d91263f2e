"""`make mangled`: inputs of every format, damaged at random, must be read or refused in words.

    python tests/mangle.py [--inputs N] [--seed S] [--only KIND]

Each input has a number, so that one that fails can be tried again: ``--seed NUMBER --inputs 1``.
What must hold, whatever is in an input: nothing is raised but a TraceError (of a snapshot a
LayoutError), with the place and a message; each line of a log is counted once; no mapping of a
snapshot is dropped; it takes less than _SECONDS of CPU and _MEMORY. The tests run some thousand.
"""

from __future__ import annotations

import argparse
import random
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from io import BytesIO, StringIO
from itertools import pairwise
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from stracelogs import FOLDER, check_counts  # noqa: E402

from vmatrace import kernels  # noqa: E402
from vmatrace.commands.audit.snapshot import Snapshot  # noqa: E402
from vmatrace.commands.audit.watch.samples import About, Samples, open_samples  # noqa: E402
from vmatrace.commands.diff.baseline import Baseline  # noqa: E402
from vmatrace.diagnostic import Diagnostic, TraceError  # noqa: E402
from vmatrace.importers import open_trace  # noqa: E402
from vmatrace.importers.format import Reading  # noqa: E402
from vmatrace.layout import LayoutError  # noqa: E402
from vmatrace.render import jsonform  # noqa: E402
from vmatrace.replayer.run import Replay, replay  # noqa: E402
from vmatrace.snapshots import parse_snapshot  # noqa: E402

_SECONDS: Final = 20
_MEMORY: Final = 3 << 30
#: So many lines of a file, at most.
_LINES: Final = 24
_KERNELS: Final = ("pre-patch", "post-patch", "6.6")

# --- what is damaged ------------------------------------------------------------------------------

CASES: Final = FOLDER.parent / "cases"
TRACERS: Final = FOLDER.parent / "tracers"
SNAPSHOTS: Final = FOLDER.parent / "snapshots"
PUBLIC: Final = FOLDER.parent / "public"
QEMU: Final = {CASES / "S45-qemu-user.log", PUBLIC / "qemu-without-pid.log"}
#: Small inputs of each format of importers.formats(), by its name.
LOGS: Final = {
    "strace": [
        *sorted({*CASES.glob("S*.log"), *PUBLIC.glob("*.log")} - QEMU),
        FOLDER / "stderr-D.log",
        FOLDER / "f-N-all.log",
    ],
    "jsonl": [TRACERS / "events.jsonl"],
    "ftrace": sorted([*TRACERS.glob("ftrace*.log"), *TRACERS.glob("trace-cmd*.log")]),
    "perf-script": sorted(TRACERS.glob("perf-script*.log")),
    "perf-trace": sorted(TRACERS.glob("perf-trace*.log")),
    "bpftrace": [TRACERS / "bpftrace.log"],
    "gvisor": sorted(TRACERS.glob("gvisor*.log")),
    "qemu": [*sorted(QEMU), *sorted(TRACERS.glob("qemu*.log"))],
}
_TRACES: Final = [p for p in sorted((ROOT / "traces").glob("*.yaml")) if p.stat().st_size < 2500]

Lines = list[bytes]


def _read(path: Path) -> Lines:
    return path.read_bytes().split(b"\n")


def _saved() -> list[Lines]:
    """Results of replays as `vmatrace replay --format json` writes them."""
    model = kernels.get_kernel("post-patch")
    out = StringIO()
    for path in _TRACES[:4]:
        trace = open_trace(str(path))
        jsonform.write(out, replay(trace, model), Replay(trace, model).steps())
    return [[line] for line in out.getvalue().encode().splitlines()]


def _samples(folder: Path) -> bytes:
    """A file of two samples of a process."""
    layouts = [parse_snapshot((CASES / name).read_text()) for name in ("M01-dw.smaps",) * 2]
    del layouts[1][0]
    with Samples(str(folder / "samples"), About(7, "a", 1, "6.18")) as samples:
        for at, layout in enumerate(layouts):
            snapshot = Snapshot(layout, True, True, "/proc/7/smaps", None, "a")
            samples.add(snapshot, float(at), 0.1, 65530)
    return (folder / "samples").read_bytes()


# --- how it is damaged ----------------------------------------------------------------------------

_NUMBER: Final = re.compile(rb"0x[0-9a-f]+|\b\d+\b")
_HUGE: Final = (
    b"0", b"-1", b"1", b"4095", b"0xfff", b"0x7fffffffffff", b"0x7fffffffffffffff",
    b"0xffffffffffffffff", b"18446744073709551616", b"0x1" + b"0" * 40, b"9" * 400,
    b"0x7ffffffff000", b"1e400", b"-0", b"NaN", b"007", b"\xd9\xa3",
)  # fmt: skip
_TOKENS: Final = (
    b"(", b")", b"{" * 40, b"}", b"[", b"]", b'"', b"\\", b" = ", b" = ?", b"<unfinished ...>",
    b" <... mmap resumed>", b"<", b">", b"/*", b"*/", b", ", b"\0", b"\xff", b"\r", b"\x1b[31m",
    b"\n", b"\x85", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\t",
    b" <detached ...>", b"strace: Process 7 attached", b"+++ exited with 0 +++", b"[pid 12] ", b"|",
    b"MAP_FIXED", b"PROT_NONE", b"NULL", b"(" * 200, b" > /lib/x(y+0x1) [0x1]", b" (INJECTED)",
    b"&lt;", b"&quot;", b": ", b"- ", b"#", b"&a ", b"*a", b"!!python/object:os.system ", b"---\n",
    b"[" * 100, b'{"' * 60, b"%", b"'", b"null", b"true", b"\\u0000", b"\\ud800",
)  # fmt: skip

Mangle = Callable[[random.Random, Lines], None]


def _cut(rng: random.Random, lines: Lines) -> None:
    i = rng.randrange(len(lines))
    lines[i] = lines[i][: rng.randrange(len(lines[i]) + 1)]


def _cut_front(rng: random.Random, lines: Lines) -> None:
    i = rng.randrange(len(lines))
    lines[i] = lines[i][rng.randrange(len(lines[i]) + 1) :]


def _drop(rng: random.Random, lines: Lines) -> None:
    i = rng.randrange(len(lines))
    del lines[i : i + rng.choice((1, 1, 3, 40))]
    lines.append(b"")


def _duplicate(rng: random.Random, lines: Lines) -> None:
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[j:j] = lines[i : i + rng.choice((1, 1, 5, 100))]


def _swap(rng: random.Random, lines: Lines) -> None:
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[i], lines[j] = lines[j], lines[i]


def _flip(rng: random.Random, lines: Lines) -> None:
    i = rng.randrange(len(lines))
    line = bytearray(lines[i])
    for _ in range(rng.randrange(1, 4)):
        if line:
            line[rng.randrange(len(line))] = rng.randrange(256)
    lines[i] = bytes(line)


def _number(rng: random.Random, lines: Lines) -> None:
    i = rng.randrange(len(lines))
    found = list(_NUMBER.finditer(lines[i]))
    if found:
        at = rng.choice(found)
        lines[i] = lines[i][: at.start()] + rng.choice(_HUGE) + lines[i][at.end() :]


def _token(rng: random.Random, lines: Lines) -> None:
    i = rng.randrange(len(lines))
    at = rng.randrange(len(lines[i]) + 1)
    lines[i] = lines[i][:at] + rng.choice(_TOKENS) + lines[i][at:]


def _splice(rng: random.Random, lines: Lines) -> None:
    """Half of one line, half of another."""
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    a, b = rng.randrange(len(lines[i]) + 1), rng.randrange(len(lines[j]) + 1)
    lines[i] = lines[i][:a] + lines[j][b:]


MANGLES: Final[tuple[Mangle, ...]] = (
    _cut, _cut_front, _drop, _duplicate, _swap, _flip, _number, _number, _token, _token, _splice,
)  # fmt: skip
PREFIXES: Final = (
    b"", b"", b"", b"> ", b"2024-05-01T10:11:12Z ", b"Jun 30 05:52:41 h s[5]: ", b"w-1  | ",
    b"+", b"12\t", b"2024-05-01T10:11:12Z stdout F ", b"2024-05-01T10:11:12Z stdout P ",
)  # fmt: skip


def mangled(rng: random.Random, lines: Lines, other: Lines) -> bytes:
    """A part of the log *lines*, damaged in one to twelve places, maybe behind a prefix."""
    start = rng.choice((0, rng.randrange(max(len(lines) - _LINES, 0) + 1)))
    data = damaged(rng, lines[start : start + _LINES], other, rng.choice((1, 1, 2, 5, 12)))
    prefix = rng.choice(PREFIXES)
    return prefix + data.replace(b"\n", b"\n" + prefix) if prefix else data


def damaged(rng: random.Random, lines: Lines, other: Lines, places: int) -> bytes:
    """*lines*, damaged in so many places, maybe with some of *other* in between."""
    lines = list(lines)
    if rng.random() < 0.15:
        i, j = rng.randrange(len(lines) + 1), rng.randrange(len(other))
        lines[i:i] = other[j : j + rng.choice((1, 3, 10))]
    for _ in range(places):
        rng.choice(MANGLES)(rng, lines)
    data = rng.choice((b"\n", b"\n", b"\n", b"\r\n")).join(lines)
    if rng.random() < 0.03:
        return data.decode("utf-8", "replace").encode("utf-16")
    return data


# --- what must hold -------------------------------------------------------------------------------


#: What ends a line for YAML.
_BREAKS: Final = re.compile(rb"\r\n|[\r\n]|\xc2\x85|\xe2\x80[\xa8\xa9]")


def _check_error(error: TraceError, lines: int) -> None:
    assert error.diagnostics
    for found in error.diagnostics:
        assert found.message.strip()
        assert 0 <= found.line <= lines
        assert found.column >= 0


def _lines_in(data: bytes) -> int:
    text = data.decode("utf-16") if data[:2] in (b"\xff\xfe", b"\xfe\xff") else data.decode("latin")
    return text.count("\n") + (not text.endswith("\n"))


def _check_trace(rng: random.Random, data: bytes) -> str:
    """As every command that takes a trace."""
    reading = Reading(
        rng.choice(("none", "writable")), None, rng.choice((None, None, 4096, 65536)),
        rng.choice((None, None, "x86_64", "aarch64", "armv7l")),
    )  # fmt: skip
    try:
        trace = open_trace(BytesIO(data), reading)
        replay(trace, kernels.get_kernel(rng.choice(_KERNELS)))
    except TraceError as error:
        _check_error(error, len(_BREAKS.findall(data)) + 1)
        return "refused"
    if trace.notes is not None:
        check_counts(trace.notes)
        if data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
            assert trace.notes.lines == _lines_in(data), "lines are missing"
    return "read"


class Inputs:
    """All kinds of inputs, and the check of one by its number. *folder* is for what needs a file.

    ``kinds`` are the formats of logs, and what else is read: "trace" (YAML), "snapshot", "saved"
    and "samples".
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._logs = {name: [_read(path) for path in paths] for name, paths in LOGS.items()}
        self._traces = [_read(path) for path in _TRACES]
        cases = (p for p in CASES.glob("M*") if p.suffix != ".yaml")
        paths = [*SNAPSHOTS.iterdir(), *PUBLIC.glob("*.txt"), *cases]
        self._snapshots = [_read(path) for path in sorted(paths)]
        #: The lines of each that are a mapping.
        self._mappings = [set(filter(_MAPPING.match, lines)) for lines in self._snapshots]
        self._saved = _saved()
        self._samples = _samples(folder)
        self.kinds = (*self._logs, "trace", "snapshot", "saved", "samples")

    def check(self, number: int, kind: str | None = None) -> str:
        """Check input *number*; its kind and how it ended. Raises what should not be.

        *kind*: as if it were of that one.
        """
        rng = random.Random(number)
        drawn = rng.choice(self.kinds)
        kind = kind or drawn
        if kind in self._logs:
            other = rng.choice(self._logs[rng.choice(tuple(self._logs))])
            data = mangled(rng, rng.choice(self._logs[kind]), other)
            return f"{kind} {_check_trace(rng, data)}"
        return f"{kind} {getattr(self, f'_check_{kind}')(rng)}"

    def _check_trace(self, rng: random.Random) -> str:
        other = rng.choice(self._traces)
        places = rng.choice((1, 1, 2, 4))
        return _check_trace(rng, damaged(rng, rng.choice(self._traces), other, places))

    def _check_snapshot(self, rng: random.Random) -> str:
        i = rng.randrange(len(self._snapshots))
        places = rng.choice((1, 1, 2, 4))
        data = damaged(rng, self._snapshots[i], rng.choice(self._snapshots), places)
        text = data.decode("utf-8", "backslashreplace")
        lines = text.count("\n") + 1
        try:
            layout = parse_snapshot(text)
        except LayoutError as error:
            _check_error(TraceError([Diagnostic("x", error.line, 1, str(error))]), lines)
            return "refused"
        assert all(m.start < m.end for m in layout)
        assert all(a.end <= b.start for a, b in pairwise(layout))
        seen = sum(line.removesuffix(b"\r") in self._mappings[i] for line in data.split(b"\n"))
        assert len(layout) >= seen, "mappings are missing"
        return "read"

    def _check_saved(self, rng: random.Random) -> str:
        lines = rng.choice(self._saved)
        data = damaged(rng, lines, rng.choice(self._saved), rng.choice((1, 1, 2, 4)))
        text = data.decode("utf-8", "replace")
        try:
            for result in Baseline("x", text).results:
                result.model()
        except TraceError as error:
            _check_error(error, text.count("\n") + 1)
            return "refused"
        return "read"

    def _check_samples(self, rng: random.Random) -> str:
        data = bytearray(self._samples)
        for _ in range(rng.choice((1, 2, 5, 30))):
            at = rng.randrange(len(data))
            size = rng.choice((1, 1, 2, 8))
            data[at : at + size] = rng.choice(
                (rng.randbytes(size), b"", b"\xff" * size, b"\0" * size, rng.randbytes(size))
            )
        path = self._folder / "mangled"
        path.write_bytes(data)
        try:
            with open_samples(str(path)) as samples:
                samples.snapshot()
        except TraceError as error:
            _check_error(error, 0)
            return "refused"
        return "read"


#: A line that is a mapping, in any of the forms.
_MAPPING: Final = re.compile(
    rb"(?!.*\[vsyscall\])(?:[0-9a-f]{8,16}-[0-9a-f]{8,16} [r-]|\s+[0-9a-f']{8,17}-[0-9a-f']{8,17} "
    rb"[r-]|\s*[0-9a-f]{8,16} [r-][w-]|\s*0x[0-9a-f]{8,16}[ -]+0x[0-9a-f]{8,16}|"
    rb"\[0x[0-9a-f]{8,16}-0x[0-9a-f]{8,16}\) (?:r|.*/))"
)

# --- the program ----------------------------------------------------------------------------------


def _hangs(*_: object) -> None:
    raise AssertionError(f"not done after {_SECONDS} s")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mangled")
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0, help="the number of the first")
    parser.add_argument("--only", metavar="KIND", help="as if each were of that kind")
    asked = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    signal.signal(signal.SIGVTALRM, _hangs)
    ends: Counter[str] = Counter()
    failed = 0
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        inputs = Inputs(Path(folder))
        for number in range(asked.seed, asked.seed + asked.inputs):
            signal.setitimer(signal.ITIMER_VIRTUAL, _SECONDS, 1)  # of CPU, however busy it is here
            try:
                ends[inputs.check(number, asked.only)] += 1
            except Exception:
                failed += 1
                sys.stdout.write(f"input {number} failed:\n{traceback.format_exc()}\n")
                sys.stdout.flush()
            if number % 10_000 == 9_999:
                sys.stderr.write(f"{number + 1 - asked.seed} inputs, {failed} failed\n")
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    for end, count in sorted(ends.items()):
        sys.stdout.write(f"{count:9,} {end}\n")
    seconds = time.perf_counter() - began
    sys.stdout.write(f"{asked.inputs:,} inputs, {failed} failed, {seconds:.0f} s\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
