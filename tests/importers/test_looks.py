"""What is neither a trace nor of a known format: told what it looks like, never YAML's errors."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from program import RunProgram

from vmatrace.diagnostic import TraceError
from vmatrace.importers import looks, open_trace
from vmatrace.importers.format import Reading

BRK = "brk(NULL) = 0x55d0c8a5f000\n"


@pytest.mark.parametrize(
    ("text", "like"),
    [
        ("% time     seconds  usecs/call     calls    errors syscall\n", "table of counts"),
        ("   0.0 ( 0.0 ms): prog/9 minfault [x+0x2] => 0x55 (?k)\n", "page faults of perf trace"),
        (" Summary of events:\n", "a summary of perf trace"),
        ("  prog 1.000001:  raw_syscalls:sys_exit: NR 59 = 0\n", "perf script without threads"),
        ("Attaching 2 probes...\n", "bpftrace"),
        ("1234: mmap(0x0,8192,0x3,0x1002,-1,0x0) = 34359738368 (0x800000000)\n", "truss"),
        ("SYSCALL(args) \t = return\nmprotect(0x10763E000, 0x4000, 0x1)\t = 0 0\n", "dtruss"),
        (" 1234 sh       CALL  mmap(0,0x1000)\n", "ktrace"),
        ("malloc(8) = 0x1\nlibc.so.6->brk(0) = 0\n", "ltrace"),
        ("9 SYS_brk(0)  = 0x5600\n9 mmap(0, 4096, 3, 34) = 0x7f0000\n", "a log of ltrace -S"),
        ("[pid 9] 20:05:04.5 [0x7f00] SYS_brk(0) = 0x5600 <0.002>\n", "a log of ltrace -S"),
        ("9368 libc.so.6->brk(0) = 0\n", "a log of ltrace, which"),
        ("  prog  raw_syscalls:sys_exit: NR 59 = 0\n", "perf script without threads"),
        (" prog 9 [000] 1.0: fd: 0x00000003\n", "perf script without the names of events"),
        ('{"type": "printf", "data": "9 9 < 3 0\\n"}\n', "bpftrace -f json"),
        ("==1234== Memcheck, a memory error detector\n", "Valgrind"),
        ("type=SYSCALL msg=audit(1.1:1): arch=c000003e syscall=9\n", "auditd"),
        ("<!DOCTYPE html>\n<html>\n", "HTML"),
        ('{"format": "vmatrace-replay/1", "trace": "x"}\n', "a saved answer"),
        ("4321:   prog\n         Address Perm   Offset Device Inode Size\n", "pmap"),
        ("1000-2000 rw-p 00000000 00:00 0\n", "snapshot"),
        ("memory map (1 entry):\n", "tombstone"),
        ("", "empty"),
        ("some words\n", "neither a trace"),
    ],
)
def test_text_is_told_what_it_looks_like(tmp_path: Path, text: str, like: str) -> None:
    path = tmp_path / "x"
    path.write_text(text)
    with pytest.raises(TraceError) as caught:
        open_trace(str(path))
    (said,) = caught.value.diagnostics
    assert (said.path, said.line, said.column) == (str(path), 0, 0)
    assert like in said.message


@pytest.mark.parametrize(
    ("text", "form", "said"),
    [
        ("", None, "it is empty (expected a trace or a log)"),
        (" \n\t\n", None, "it is empty (expected a trace or a log)"),
        (BRK, "qemu", "it is a log of strace (vmatrace import strace reads it)"),
        (f"x | {BRK}y | {BRK}", "qemu", "it is a log of strace (vmatrace import strace reads it)"),
        ("app_1  | ==12== x\n" * 2, None, "it looks like a report of Valgrind or a sanitizer"),
        (
            "words\n", None,
            "neither a trace (expected a mapping with the keys vmatrace and events) nor a log of"
            " strace or another tracer (expected lines such as 'brk(NULL) = 0x55d0c8a5f000';"
            " vmatrace import --list)",
        ),
    ],
)  # fmt: skip
def test_a_refusal_is_of_the_whole_input(
    tmp_path: Path, text: str, form: str | None, said: str
) -> None:
    path = tmp_path / "x"
    path.write_text(text)
    with pytest.raises(TraceError) as caught:
        open_trace(str(path), Reading(form=form))
    assert str(caught.value) == f"{path}: error: {said}"
    assert [(found.line, found.column) for found in caught.value.diagnostics] == [(0, 0)]


def test_namesakes_that_are_no_logs_are_no_set(tmp_path: Path) -> None:
    (tmp_path / "a.12").write_text("words\n")
    with pytest.raises(TraceError) as caught:
        open_trace(str(tmp_path / "a"))
    path = tmp_path / "a"
    assert str(caught.value) == (
        f"{path}: error: no such file, and its namesakes such as {path}.12 are no logs"
    )
    assert [(found.line, found.column) for found in caught.value.diagnostics] == [(0, 0)]


@pytest.mark.parametrize(
    ("start", "lines", "like"),
    [
        (b"\x7fELF" + b"\0" * 12 + b"\x04\0", [],
         "a core file (expected its memory map as text, which audit reads)"),
        (b"\x7fELF" + b"\0" * 13 + b"\x02", [],
         "a program (expected a log of it: strace -f -y -o LOG PROGRAM)"),
        (b"\x7fELF" + b"\0" * 12 + b"\x09\0", [], "a binary file"),
        (b"\x7fELF" + b"\0" * 13, [], "a binary file"),
        (b"SQLite format 3\0" + b"\0" * 52 + b"VMAS", [],
         "samples of a process (audit --every) (vmatrace report, diff and audit read it)"),
        (b"SQLite format 3\0" + b"\0" * 52 + b"VMAX", [], "a database of SQLite"),
        (b"tracing\0", [], "data of trace-cmd (expected text: trace-cmd report)"),
        (b"x" * 511 + b"\0", [], "a binary file"),
        (b"x" * 512 + b"\0", [], "None"),
        (b"", ["x", "==12== y"], "a report of Valgrind or a sanitizer"),
        (b"", ["", "1000-2000 rw-p 00000000 00:00 0"],
         "a snapshot of a process, without calls"
         " (vmatrace audit reads it; in a trace it stands under maps:)"),
        (b"", ["words"], "None"),
    ],
)  # fmt: skip
def test_an_input_is_what_its_first_bytes_and_lines_say(
    start: bytes, lines: list[str], like: str
) -> None:
    assert str(looks.what(start, lines)) == like


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("vmatrace: 1", True),
        ("x: 1\n{'vmatrace' : 1}", True),
        ("\ufeffvmatrace: 1", True),
        ("vmatrce: 1", True),
        ("vm: 1", False),
        ("name: vmatrace: 1", False),
        ("events:\n- mmap(0)", True),
        ("{events: [{call: x}]}", True),
        ("events:\n- a = munmap(0)", True),
        ("events:\n- expect: {}", True),
        ("events:\n- words", False),
        ("- mmap(0)\nevents:", False),
        ("events:\n" + "- words\n" * 198 + "- mmap(0)", True),
        ("events:\n" + "- words\n" * 199 + "- mmap(0)", False),
        ("", False),
    ],
)
def test_a_file_among_others_is_meant_for_a_trace(text: str, meant: bool) -> None:
    assert looks.is_meant(text.encode()) is meant
    for encoding in ("utf-16-le", "utf-16-be"):
        assert looks.is_meant(f"\ufeff{text.removeprefix(chr(0xFEFF))}".encode(encoding)) is meant


@pytest.mark.parametrize(
    ("text", "trace"),
    [
        ("x\nvmatrace: 1", True),
        ("events:\n  - x", True),
        ("x: 1\n'events' :  # all\n- x", True),
        ("events:\nx\n- x", False),
        ("- x\nevents:\nx", False),
        ("- x\nevents:", False),
        ("events: 5\n- x", False),
        ("", False),
    ],
)
def test_lines_may_be_meant_for_a_trace(text: str, trace: bool) -> None:
    assert looks.is_trace(text.split("\n")) is trace


def test_a_database_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"SQLite format 3\0 and more")
    assert looks.is_database(str(path))
    path.write_bytes(b"SQLite format 3")
    assert not looks.is_database(str(path))
    assert not looks.is_database(str(tmp_path))
    assert not looks.is_database(str(tmp_path / "none"))
    assert not looks.is_database("\0")


def test_what_stands_before_calls_is_said() -> None:
    behind = looks.behind(["words", "x> munmap(0x1000, 1) = 0", "y> brk(NULL) = 0x1000"])
    assert behind == "a log of strace with 'x> ' before its calls (expected it cut off)"
    assert looks.behind(["words", "munmap(0x1000, 1) = 0"]) is None


@pytest.mark.parametrize(
    ("start", "like"),
    [
        (b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\x04\0", "a core file"),
        (b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\x03\0", "a program or shared library"),
        (b"PERFILE2", "perf record"),
        (b"PK\x03\x04", "zip"),
        (b"BZh91AY", "bzip2"),
        (b"\0\1\2\3", "a binary file"),
    ],
)
def test_binaries_are_told_what_they_look_like(tmp_path: Path, start: bytes, like: str) -> None:
    (tmp_path / "x").write_bytes(start)
    with pytest.raises(TraceError, match=like):
        open_trace(str(tmp_path / "x"))


@pytest.mark.parametrize(
    "text",
    [
        f"vmatrace : 1\nevents:\n  -\n    {BRK}",
        f"vmtrace: 1\nevents:\n  -\n    {BRK}",
        f"name: x\nevnts:\n  -\n    {BRK}",
        f"# a comment\n---\nevents:\n- >\n {BRK}",
        f'{{"vmatrace": 1,\n "events": [\n"\n{BRK}"]}}',
        f'{{\n"vmatrace": 1,\n "events": [\n"\n{BRK}"]}}',
    ],
)
def test_what_is_yaml_is_never_a_log(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x"
    path.write_text(text)
    if text.startswith(("vmatrace", "{")):
        assert open_trace(str(path)).notes is None
    else:
        with pytest.raises(TraceError, match="the key 'vmatrace' is missing"):
            open_trace(str(path))


@pytest.mark.parametrize(
    "before",
    ["Starting: now\n", "events: 5\n", '{"a": 1}\n', "- item\n", "--- SIGCHLD {} ---\n",
     "==12== words\n", "strace: Process 7 attached\n"],
)  # fmt: skip
def test_what_a_program_prints_into_a_log_makes_it_no_yaml(tmp_path: Path, before: str) -> None:
    path = tmp_path / "x"
    path.write_text(before + BRK + "munmap(0x1000, 4096) = 0\n")
    assert open_trace(str(path)).notes is not None


def test_births_alone_are_a_trace_that_can_be_read(tmp_path: Path, run: RunProgram) -> None:
    log = tmp_path / "a.log"
    log.write_text("100 read(3, <unfinished ...>\n101 futex(0x7f00, 0x109) = 0\n")
    written = tmp_path / "a.yaml"
    assert run("import", "strace", str(log), "-o", str(written)).status == 0
    assert run("replay", str(written)).status == 0


def test_a_line_in_other_digits_is_none_of_strace_s(tmp_path: Path, run: RunProgram) -> None:
    log = tmp_path / "a.log"
    log.write_text("access()           = 0\n１ execve(\n", encoding="utf-8")
    assert run("replay", str(log)).status == 0
    status, out, err = run("replay", str(log), "--strict", "--format", "json")
    assert (status, out.count("\n")) == (2, 1)
    assert err == f"{log}: error: 1 line was not understood (--strict)\n"


def test_octal_in_braces_is_octal(tmp_path: Path, run: RunProgram) -> None:
    path = tmp_path / "a.yaml"
    ioctl = '  - "ioctl(5, UFFDIO_REGISTER, {{range={{start=0x10000, len={}}}, mode=0}}) = 0"\n'
    for number, status in (("017", 0), ("09", 2), ("0x1" + "0" * 80, 2)):
        path.write_text("vmatrace: 1\nevents:\n" + ioctl.format(number))
        assert run("replay", str(path)).status == status


def test_a_pipe_in_a_folder_is_said_and_not_waited_for(tmp_path: Path, run: RunProgram) -> None:
    import os

    os.mkfifo(tmp_path / "a.yaml")
    status, _, err = run("check", str(tmp_path))
    assert status == 2
    assert "it is no file but a pipe" in err


def test_events_that_are_held_in_memory_have_a_limit(
    tmp_path: Path, run: RunProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.yaml"
    call = '"munmap(0x1000, 4096) = 0"'
    path.write_text(f'{{"vmatrace": 1, "events": [{", ".join([call] * 100)}]}}')
    assert run("replay", str(path)).status == 0
    monkeypatch.setenv("VMATRACE_MAX_INPUT", "16000")
    status, _, err = run("replay", str(path))
    assert status == 2
    assert "VMATRACE_MAX_INPUT=BYTES raises it" in err


def test_a_pipe_without_an_end_is_left_at_a_limit(
    run: RunProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VMATRACE_MAX_INPUT", "100000")
    with subprocess.Popen(["yes", "munmap(0x1000, 4096) = 0"], stdout=subprocess.PIPE) as endless:
        assert endless.stdout is not None
        status, _, err = run("replay", f"/proc/self/fd/{endless.stdout.fileno()}")
        endless.kill()
    assert status == 2
    assert "what is read from a pipe is larger than 6 MiB" in err
    assert "VMATRACE_MAX_INPUT=BYTES raises it" in err
