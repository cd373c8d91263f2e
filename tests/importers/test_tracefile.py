"""A log written as a trace file, to a letter: its top, its events, what stands above them."""

from __future__ import annotations

import io

import pytest

from vmatrace.importers import open_trace
from vmatrace.importers.format import Reading, stem
from vmatrace.importers.tracefile import survey, write

GUESSED = """\
# What files are on is a guess by their paths. Memory that was there before the log, or that an exec
# mapped, is not in it; where results prove it, it is assumed (partial: true).
"""


def written(log: str, faulted: str) -> str:
    trace = open_trace(io.BytesIO(log.encode()), Reading(faulted))
    out = io.StringIO()
    write(trace, survey(trace), out)
    return out.getvalue()


def test_processes_files_and_what_was_supplied_stand_where_they_belong() -> None:
    log = """\
10 execve("/bin/a", ["a"], 0x7ff /* 3 vars */) = 0
10 brk(NULL) = 0x560000
10 brk(0x561000) = 0x561000
10 fork() = 11
10 clone(flags=CLONE_VM|CLONE_THREAD) = 12
10 fork() = -1 EAGAIN (x)
11 execve("/none", [], NULL) = -1 ENOENT (x)
10 openat(AT_FDCWD, "/lib/a", O_RDONLY) = 3
10 mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0) = 0x7f0000000000
"""
    log += "".join(f"10 {chr(97 + i)}x(1) = 0\n" * (1 + i % 2) for i in range(13))
    assert written(log, "writable") == (
        """\
# Imported by vmatrace from "<file>", a log of strace -f -o.
# 28 lines: 8 are events, 0 the other halves of calls, 20 mean nothing to memory, 0 were not
# understood.
# Passed over: bx 2, dx 2, fx 2, hx 2, jx 2, lx 2, ax 1, cx 1, ex 1, gx 1, ix 1, kx 1, and 2 more
# kinds.
# A log has no page faults. Private memory counts as written to when it becomes writable (the
# fault() events, --assume-faulted writable).
# 1 events stand for what the log does not show.
"""
        + GUESSED
        + """\
vmatrace: 1
name: file
files:
  a: {path: "/lib/a", fs: ext4, mode: r}
partial: true
events:
  # main executes "/bin/a"
  - "execve(\\"/bin/a\\") = 0"
  - brk(NULL) = 0x560000
  - brk(0x561000) = 0x561000
  - fault(0x560000, 0x1000, PROT_WRITE)
  # 11: a child of main
  - fork() = 11
  # 12: a thread of main
  - clone(flags=CLONE_VM|CLONE_THREAD) = 12
  - fork() = -1 EAGAIN
  - {pid: "11", call: "execve(\\"/none\\") = -1 ENOENT"}
  - mmap(NULL, 0x1000, PROT_READ, MAP_PRIVATE, a, 0) = 0x7f0000000000
"""
    )


@pytest.mark.parametrize(("kinds", "more"), [(12, ""), (13, ", and 1 more kinds")])
def test_what_was_not_understood_is_listed_as_far_as_it_is_kept(kinds: int, more: str) -> None:
    log = "brk(NULL) = 0x560000\n" + "munmap(x, 1) = 0\n" * 103
    log += "".join(f"{chr(97 + i)}x(1) = 0\n" for i in range(kinds))
    said, _, rest = written(log, "none").partition("vmatrace: 1\n")
    lines = said.splitlines()
    assert " ".join(line.removeprefix("# ") for line in lines[1:4]).startswith(
        f"{104 + kinds} lines: 1 are events, 0 the other halves of calls, {kinds} mean nothing to"
        " memory, 103 were not understood. Passed over: ax 1, "
    )
    shown = [f"{chr(97 + i)}x 1" for i in range(min(kinds, 12))]
    at = next(i for i, line in enumerate(lines) if line.startswith("#   "))
    assert " ".join(line.removeprefix("# ") for line in lines[3:at]) == (
        f"Passed over: {', '.join(shown)}{more}."
    )
    reason = "an argument is neither a number nor a constant"
    assert lines[at:-2] == [
        *[f"#   line {number}: {reason}" for number in range(2, 102)], "#   and 3 more",
        "# A log has no page faults; nothing counts as written to (--assume-faulted none).",
    ]  # fmt: skip
    assert said.endswith(GUESSED)
    assert rest == "name: file\npartial: true\nevents:\n  - brk(NULL) = 0x560000\n"


def test_a_log_that_says_what_is_written_to_needs_no_assumption() -> None:
    log = (
        '{"vmatrace-events": 1, "accesses": true, "page_size": 16384, "arch": "aarch64"}\n'
        '{"call": "fault(0x4000, 1, PROT_WRITE)", "result": 0}\n'
    )
    assert written(log, "") == (
        '# Imported by vmatrace from "<file>", a log of jsonl.\n'
        "# 2 lines: 1 are events, 0 the other halves of calls, 1 mean nothing to memory, 0 were not"
        "\n# understood.\n# Passed over: header 1.\n"
        + GUESSED
        + "vmatrace: 1\nname: file\npage_size: 16384\narch: aarch64\npartial: true\nevents:\n"
        "  - fault(0x4000, 1, PROT_WRITE) = 0\n"
    )


def test_without_events_the_list_is_empty() -> None:
    assert written("read(1) = 0\n", "writable").endswith(
        GUESSED + "vmatrace: 1\nname: file\npartial: true\nevents: []\n"
    )


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/run.log", "run"), ("run.strace.gz", "run"), ("run", "run"), ("<stdin>", "stdin"),
        ("run.txt", "run"), ("run.jsonl.xz", "run"), ("run.trace.zst", "run"), (".log", ".log"),
        ("run.log.log", "run.log"), ("run.gz.log", "run.gz"), ("run.LOG", "run.LOG"),
        ("run.yaml", "run.yaml"),
    ],
)  # fmt: skip
def test_a_trace_is_called_as_its_log(path: str, name: str) -> None:
    assert stem(path) == name
