"""What others put before each line of a log: it is cut off, and that is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from stracelogs import FOLDER, check_counts, outcome

from vmatrace.diagnostic import TraceError
from vmatrace.importers import open_trace
from vmatrace.kernels import get_kernel
from vmatrace.replayer.result import Result
from vmatrace.replayer.run import replay

KERNEL = get_kernel("post-patch")
PLAIN = (FOLDER / "stderr.log").read_text(encoding="utf-8")
ISO = "2024-05-01T10:11:12.123456789Z"

#: Each as a format of one line, and what its lines are called.
PREFIXES = {
    "journalctl -o short": ("Jun 30 05:52:41 host strace[5595]: {}", "the journal"),
    "journalctl -o short-precise": ("Jun  3 05:52:41.123456 host a.sh[5]: {}", "the journal"),
    "journalctl -o short-iso": ("2024-05-01T10:11:12+0200 host strace[5595]: {}", "the journal"),
    "journalctl -o short-iso-precise": (
        "2024-05-01T10:11:12.123456+02:00 host strace[5595]: {}", "the journal",
    ),
    "journalctl -o short-full": ("Wed 2024-05-01 10:11:12 CEST host a[5]: {}", "the journal"),
    "journalctl -o short-monotonic": ("[  123.456789] host strace[5595]: {}", "the journal"),
    "journalctl -o short-unix": ("1714558272.123456 host strace[5595]: {}", "the journal"),
    "syslog": ("<30>Jun 30 05:52:41 host strace[5595]: {}", "syslog"),
    "RFC 5424": (f"<30>1 {ISO} host strace 5595 - - {{}}", "RFC 5424"),
    "docker logs -t": (f"{ISO} {{}}", "a time stamp"),
    "CRI": (f"{ISO} stderr F {{}}", "CRI"),
    "docker compose": ("web-1  | {}", "a container's name"),
    "docker compose -t": (f"web-1  | {ISO} {{}}", "a time stamp in lines with a container's name"),
    "kubectl logs --prefix": ("[pod/web-7f9c/main] {}", "a container's name"),
    "GitHub Actions": ("2024-05-01T10:11:12.1234567Z {}", "a time stamp"),
    "gh run view --log": ("build\tRun tests\t2024-05-01T10:11:12.1234567Z {}", "GitHub Actions"),
    "GitLab": ("2024-05-01T10:11:12.123456Z 00O {}", "GitLab"),
    "ts": ("May 01 10:11:12 {}", "a time stamp"),
    "brackets": ("[2024-05-01 10:11:12.123] {}", "a time stamp"),
    "logcat": ("05-01 10:11:12.123  1234  1240 I strace  : {}", "logcat"),
    "mail": ("> {}", "quoted mail"),
    "mail, twice": ("> > {}", "quoted mail"),
    "mail, twice, tight": (">> {}", "quoted mail"),
    "cat -n": ("     7\t{}", "numbered lines"),
    "grep -n": ("run.log:12:{}", "numbered lines"),
}  # fmt: skip


def test_lines_that_a_container_s_log_broke_are_put_together(tmp_path: Path) -> None:
    call = "mmap(NULL, 8192, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000000000"
    path = tmp_path / "0.log"
    path.write_text(
        f"{ISO} stderr P {call[:20]}\n{ISO} stdout P some \n{ISO} stderr P {call[20:50]}\n"
        f"{ISO} stdout F words\n{ISO} stderr F {call[50:]}\n{ISO} stderr F munmap(0x1, oops) = 0\n"
    )
    trace = open_trace(str(path))
    result = replay(trace, KERNEL)
    assert [(m.start, m.perms) for m in result.processes[0].layout] == [(0x7F0000000000, "r--p")]
    assert trace.notes is not None
    check_counts(trace.notes)
    assert (trace.notes.lines, trace.notes.events, trace.notes.joined) == (6, 1, 3)
    assert [found.line for found in trace.notes.misread] == [4, 6]


def read(path: Path) -> Result:
    trace = open_trace(str(path))
    result = replay(trace, KERNEL)
    assert trace.notes is not None
    check_counts(trace.notes)
    return result


@pytest.mark.parametrize("name", PREFIXES)
def test_a_log_behind_a_prefix_is_the_log_and_its_form_says_so(name: str, tmp_path: Path) -> None:
    line, called = PREFIXES[name]
    path = tmp_path / "run.log"
    path.write_text("".join(line.format(each) + "\n" for each in PLAIN.splitlines()), "utf-8")
    assert outcome(read(path)) == outcome(read(FOLDER / "stderr.log"))
    notes = open_trace(str(path)).notes
    assert notes is not None
    assert called in notes.form


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_what_an_editor_makes_of_a_log_is_the_log(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_text(PLAIN, encoding, newline="\r\n")
    assert outcome(read(path)) == outcome(read(FOLDER / "stderr.log"))


def test_lines_of_others_between_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    stamp = "Jun 30 05:52:41 host {}: {}\n"
    lines = [stamp.format("strace[5]", each) for each in PLAIN.splitlines()]
    path.write_text("".join([stamp.format("kernel", "Hello."), *lines]), "utf-8")
    trace = open_trace(str(path))
    assert outcome(replay(trace, KERNEL)) == outcome(read(FOLDER / "stderr.log"))
    assert trace.notes is not None
    assert [found.source for found in trace.notes.misread] == ["Hello."]


def test_a_prefix_that_nobody_knows_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_text("".join(f"#! {line}\n" for line in PLAIN.splitlines()), "utf-8")
    with pytest.raises(TraceError, match=r"a log of strace with '#! ' before its calls"):
        open_trace(str(path))


@pytest.mark.parametrize("more", ["", f"{ISO} stdout F words\n" * 3000])
def test_a_line_whose_last_part_is_missing_is_not_dropped(tmp_path: Path, more: str) -> None:
    call = "mmap(NULL, 8192, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000000000"
    path = tmp_path / "log"
    path.write_text(
        f"{ISO} stderr F brk(NULL) = 0x55d0c8a5f000\n"
        f"{ISO} stderr P {call[:20]}\n{ISO} stderr P {call[20:]}\n{more}"
    )
    trace = open_trace(str(path))
    (mapping,) = replay(trace, KERNEL).processes[0].layout
    assert mapping.start == 0x7F0000000000
    assert trace.notes is not None
    check_counts(trace.notes)
    assert (trace.notes.joined, trace.notes.lines) == (1, 3 + more.count("\n"))
