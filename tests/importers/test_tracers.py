"""Other tracers' logs: what one program did, recorded by each of them here, comes out the same.

The recordings in ``tracers/`` are of ``tracers/program.c``, run without address randomization on
Linux 6.18.44 by strace 6.1, perf 6.1, ftrace, trace-cmd 3.1.6 (an instance's buffer; report -l
--ts-diff, and -R), bpftrace 0.17 with vmatrace's script, by qemu-user
7.2, and, linked statically, in gVisor (gvisor-run.log: runsc 20221219, --platform=ptrace, less what
it says of its files). gvisor.log has lines of a public report (gVisor issue 10625), without an end.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import pytest
from program import RunProgram
from stracelogs import check_counts
from test_calls import written

from vmatrace.calls import BIRTH, CALLS, Call, used_by
from vmatrace.diagnostic import Diagnostic
from vmatrace.event import Event, format_flags
from vmatrace.importers import formats, open_trace, perftrace, tracepoints
from vmatrace.importers.bpftrace import script
from vmatrace.importers.format import Reading
from vmatrace.importers.machine import LogMachine
from vmatrace.kernels import get_kernel
from vmatrace.replayer.result import Result
from vmatrace.replayer.run import replay
from vmatrace.syscalls import ARCHES, numbers
from vmatrace.trace.file import Trace

TRACERS: Final = Path(__file__).parent / "tracers"
#: The recordings of the same run of the same program on the same kernel.
SAME: Final = {
    "perf-trace": "perf-trace", "perf-script": "perf-script", "perf-script-raw": "perf-script",
    "ftrace": "ftrace", "ftrace-raw": "ftrace", "ftrace-tgid": "ftrace", "bpftrace": "bpftrace",
    "trace-cmd-latency": "ftrace", "trace-cmd-fields": "ftrace",
}  # fmt: skip


def outcome(path: Path) -> tuple[Trace, Result]:
    trace = open_trace(str(path))
    return trace, replay(trace, get_kernel("post-patch"))


def opened(tmp_path: Path, text: str) -> tuple[Trace, Result]:
    path = tmp_path / "log"
    path.write_text(text, encoding="utf-8")
    trace, result = outcome(path)
    assert trace.notes is not None
    check_counts(trace.notes)
    return trace, result


def misread(trace: Trace) -> list[Diagnostic]:
    assert trace.notes is not None
    return trace.notes.misread


def memory(result: Result) -> list[object]:
    """What each process has at its end, but for names: not every tracer shows paths."""
    return [
        [(m.start, m.end, m.perms, m.offset) for m in process.layout]
        for process in result.processes
    ]


@pytest.mark.parametrize("name", SAME)
def test_a_program_has_the_memory_that_straces_log_of_it_has(name: str) -> None:
    trace, result = outcome(TRACERS / f"{name}.log")
    assert trace.notes is not None
    assert trace.notes.form.startswith(SAME[name])
    assert misread(trace) == []
    _, expected = outcome(TRACERS / "strace.log")
    assert memory(result) == memory(expected)
    assert result.diverged == expected.diverged == 0
    assert len(result.processes) == 1


@pytest.mark.parametrize("name", ["qemu-x86_64", "qemu-aarch64"])
def test_qemus_log_is_read_where_threads_and_children_cut_its_lines(name: str) -> None:
    trace, result = outcome(TRACERS / f"{name}.log")
    assert misread(trace) == []
    assert result.diverged == 0
    first = {(m.start, m.perms) for m in result.processes[0].layout}
    assert {(0x600000000000, "rw-p"), (0x600000004000, "r--p"), (0x600000040000, "rw-p")} <= first


#: Where the program puts its own memory, which is the same whoever places the rest.
OWN: Final = range(0x600000000000, 0x610000000000)


def test_a_program_in_gvisor_has_the_memory_that_straces_log_of_it_has() -> None:
    trace, result = outcome(TRACERS / "gvisor-run.log")
    assert misread(trace) == []
    assert result.diverged == 0
    assert trace.notes is not None
    assert not any("whose birth" in said for said in trace.notes.assumed)
    assert [process.exited for process in result.processes] == [True]
    _, expected = outcome(TRACERS / "strace.log")

    def own(of: Result) -> list[tuple[int, int, str, int]]:
        layout = of.processes[0].layout
        return [(m.start, m.end, m.perms, m.offset) for m in layout if m.start in OWN]

    assert own(result) == own(expected)
    kinds = {event.name for event in trace.items() if isinstance(event, Event)}
    assert {"clone", "execve", "exit", "mremap", "mlock"} <= kinds


def test_what_gvisor_says_else_may_have_many_lines_and_a_damaged_call_is_none(
    tmp_path: Path,
) -> None:
    text = (TRACERS / "gvisor-run.log").read_text()
    call = "X munmap(0x60000000e000, 0x1000) = 0 (0x0)"
    assert call in text
    for damaged in ("munmap(0x60000000e000, 0x1000) = 0 (0x0)", "X munmap(0x60000000e"):
        trace, _ = opened(tmp_path, text.replace(call, damaged))
        assert len(misread(trace)) == 1
    assert "= 4993024 (0x4c3000)" in text
    trace, _ = opened(tmp_path, text.replace("= 4993024 (0x4c3000)", "= 04993024"))  # not octal
    assert misread(trace) == []


@pytest.mark.parametrize("name", ["gvisor-run", "strace", "perf-trace", "ftrace", "bpftrace"])
def test_a_log_may_start_behind_much_else(name: str, tmp_path: Path) -> None:
    text = (TRACERS / f"{name}.log").read_text()
    noise = "checking for gcc... yes\n" * 10_000
    if name == "gvisor-run":  # which says much before the first call
        noise = text[: text.index("\n") + 1] * 3000
    path = tmp_path / "log"
    path.write_text(noise + text)
    trace, result = outcome(path)
    assert trace.notes is not None
    check_counts(trace.notes)
    assert trace.notes.misread_count == (0 if name == "gvisor-run" else 10_000)
    assert memory(result) == memory(outcome(TRACERS / f"{name}.log")[1])


def test_gvisors_log_is_read(tmp_path: Path) -> None:
    text = (TRACERS / "gvisor.log").read_text()
    start = "I0705 23:27:43.0 1 strace.go:5] [   1:   1] a "
    fork = f"{start}E clone(CLONE_VM|CLONE_FILES|CLONE_THREAD|0x0, 0x0, 0x0, 0x0, 0x0)\n"
    more = (
        f"{start}X mmap(0x0, 0x20000, 0x0, MAP_PRIVATE|MAP_ANONYMOUS, 0xffffffffffffffff (bad FD), "
        "0x0) = 139853111762944 (0x7f32170c2000) (1µs)\n"
        f"{start}X openat(AT_FDCWD /, 0x1 /lib/a, b.so, O_RDONLY|0x0, 0o0) = 3 (0x3) (1µs)\n"
        f"{start}X mmap(0x0, 0x1000, PROT_READ, MAP_PRIVATE, 0x3 /lib/a, b.so, 0x0) = 0x7000000 "
        f"(1µs)\n{fork}"
        "[   1:   2] a E mprotect(0x7000000, 0x1000, 0x0)\n"
        f"{start}X clone(CLONE_VM|CLONE_FILES|CLONE_THREAD|0x0, 0x0, 0x0, 0x0, 0x0) = 2 (0x2)\n"
        "[   1:   2] a X mprotect(0x7000000, 0x1000, 0x0) = 0 (0x0) (2ms)\n"
        "[   1:   2] a X munmap(0x7000000, 0x1000) = 0 (0x0) errno=22 (invalid argument) (2ms)\n"
    )
    trace, result = opened(tmp_path, text + more)
    assert misread(trace) == []
    assert [(m.start, m.perms, m.name) for m in result.processes[0].layout] == [
        (0x7000000, "---p", "/lib/a, b.so"), (0x7F32170C2000, "---p", ""),
        (0x7F32170E2000, "rw-p", ""),
    ]  # fmt: skip


def test_events_as_json_lines() -> None:
    trace, result = outcome(TRACERS / "events.jsonl")
    assert trace.page_size == 4096
    assert trace.arch == "x86_64"
    callers = {event.caller for event in trace.items() if isinstance(event, Event)}
    assert callers == {None, "init"}
    assert misread(trace) == []
    assert [(m.start, m.end, m.perms, m.name) for m in result.processes[0].layout] == [
        (0x7F0000000000, 0x7F0000002000, "r--p", "/usr/lib/libc.so.6"),
        (0x7F0000200000, 0x7F0000201000, "r--p", ""),
        (0x7F0000201000, 0x7F0000280000, "rw-p", ""),
        (0x7F0000280000, 0x7F0000281000, "rw-p", "[anon:arena]"),
        (0x7F0000281000, 0x7F0000300000, "rw-p", ""),
    ]


@pytest.mark.parametrize(
    ("line", "column", "why"),
    [
        ('{"call": "mmap", "args": [1 2], "result": 0}', 29, "not JSON"),
        ('{"call": "munmap", "args": [4096, 1.5], "result": 0}', 1, "integers"),
        ('{"call": "munmap", "args": [4096, true], "result": 0}', 28, "not an argument"),
        ('{"call": "read", "args": {"fd": 1}, "result": 0}', 26, "a list is expected for calls"),
        ('{"call": "munmap", "args": {"adr": 1}, "result": 0}', 36, "unknown parameter"),
        ('{"call": "munmap", "args": {"addr": 1}, "result": 0}', 28, "length is missing"),
        ('{"call": "munmap", "args": [0, 1], "result": "EWHAT"}', 46, "not a result"),
        ('{"call": "munmap", "args": [0, 1], "pid": -1, "result": 0}', 43, "not a pid"),
        ('{"call": "munmap", "args": [0, 4096]}', 1, "the result is missing"),
        ('{"call": "munmap(0, 1)", "args": [0, 1], "result": 0}', 34, "arguments twice"),
        ('{"call": "unmap me", "result": 0}', 10, "not the name of a call"),
        ('{"result": 0}', 1, "the call is missing"),
        ("[1]", 1, "not an event"),
        ('{"call": "mprotect", "args": [4096, 4096, "PROT_REED"], "result": 0}', 44, "PROT_REED"),
    ],
)
def test_a_bad_event_is_shown_where_it_is_wrong(
    tmp_path: Path, line: str, column: int, why: str
) -> None:
    good = '{"call": "brk", "args": [0], "result": 90000000}\n'
    trace, _ = opened(tmp_path, f"{good}{line}\n{good}")
    (found,) = misread(trace)
    assert (found.line, found.column) == (2, column)
    assert why in found.message
    assert found.source == line


LOGGED: Final = [call for call in used_by("log") if call.life != BIRTH]
logged = pytest.mark.parametrize("call", LOGGED, ids=lambda call: call.name)


@logged
def test_a_call_in_json_is_the_call_that_strace_prints(call: Call, tmp_path: Path) -> None:
    text = written(call)
    result = 0x7F0000000000 if call.result == "addr" else 0
    arguments = text[len(call.name) + 1 : -1]
    several = [
        {"call": text, "result": result},
        {"call": f"{text} = {result}"},
        {"call": call.name, "args": split(arguments), "result": str(result)},
        {
            "call": call.name, "result": result,
            "args": dict(zip([p.name for p in call.params], split(arguments), strict=False)),
        },
    ]  # fmt: skip
    for event in several:
        (found,) = events_in(tmp_path, f"{json.dumps(event)}\n")
        (expected,) = events_in(tmp_path, f"{text} = {result}\n")
        assert (found.name, found.args, found.recorded) == (
            expected.name, expected.args, expected.recorded,
        )  # fmt: skip


def split(arguments: str) -> list[str]:
    """The arguments; those of a structure stay together."""
    return re.findall(r"(?:[^,\[{]|\[.*\]|\{.*\})+?(?=, |$)", arguments) if arguments else []


def events_in(tmp_path: Path, text: str) -> list[Event]:
    path = tmp_path / "log"
    path.write_text(text)
    trace = open_trace(str(path), Reading(assume_faulted="none"))
    found = [event for event in trace.items() if isinstance(event, Event)]
    assert misread(trace) == []
    return found


@logged
def test_every_call_has_a_number_everywhere_and_names_in_perf_trace(call: Call) -> None:
    for arch in ARCHES:
        known = numbers(arch).keys()
        assert call.name in known or {"mmap2", "old_mmap"} & known, arch
    fields = perftrace.FIELDS[call.name]
    assert call.variadic or len(fields) == len(call.params)


def test_an_exec_in_json_may_have_the_layout_after_it_and_calls_a_caller(tmp_path: Path) -> None:
    layout = "1000-2000 r--p 00000000 00:00 0 [heap]\n"
    lines = [
        {"call": "brk(0)", "result": 0x560000, "pid": 7, "tgid": 7, "caller": "main"},
        {"call": "fork()", "result": 8, "pid": 7},
        {"call": "execve", "args": ["/bin/a"], "result": 0, "pid": 8, "maps": layout},
        {"call": "brk(0)", "result": 0x570000, "pid": 8},
        {"call": "mmap(NULL, 4096, 3, 0x22, -1, 0)", "result": 0x7F0000000000, "pid": 7,
         "caller": "a\x1b"},
        {"call": "mmap(NULL, 4096, 3, 0x22, -1, 0)", "result": 0x7F0000001000, "pid": 7,
         "caller": "f"},
        {"call": "execve", "args": ["/bin/b"], "result": -2, "pid": 7, "maps": layout},
    ]  # fmt: skip
    trace, _ = opened(tmp_path, "".join(f"{json.dumps(line)}\n" for line in lines))
    events = [event for event in trace.items() if isinstance(event, Event)]
    assert [(e.name, e.pid, e.caller, [m.name for m in e.maps or ()]) for e in events] == [
        ("brk", "main", "main", []), ("fork", "main", None, []),
        ("execve", "8", None, ["[heap]"]),
        ("brk", "8", None, []),
        ("mmap", "main", None, []), ("fault", "main", None, []),
        ("mmap", "main", "f", []), ("fault", "main", None, []),
        ("execve", "main", None, ["[heap]"]),
    ]  # fmt: skip


def test_a_header_says_that_accesses_are_recorded(tmp_path: Path) -> None:
    events = [
        {"vmatrace-events": 1, "accesses": True},
        {"call": "mmap(NULL, 8192, 3, 0x22, -1, 0)", "result": 0x7F0000000000},
        {"call": "fault", "args": [0x7F0000000000, 4096, "PROT_WRITE"]},
    ]
    trace, _ = opened(tmp_path, "".join(f"{json.dumps(event)}\n" for event in events))
    assert trace.notes is not None
    assert (trace.notes.supplied, trace.notes.faulted, trace.notes.events) == (0, "recorded", 2)


@pytest.mark.parametrize("name", ["perf-script-frames", "perf-script-where", "perf-trace-summary"])
def test_what_other_options_print_is_passed_over(name: str) -> None:
    trace, result = outcome(TRACERS / f"{name}.log")
    assert trace.notes is not None
    check_counts(trace.notes)
    assert misread(trace) == []
    assert len(result.processes[0].layout) > 0


def test_lost_events_are_said(tmp_path: Path) -> None:
    text = (TRACERS / "ftrace-raw.log").read_text() + "CPU:1 [LOST 33 EVENTS]\n"
    trace, _ = opened(tmp_path, text)
    assert trace.notes is not None
    assert any("lost 33 events" in said for said in trace.notes.assumed)


ZERO: Final = "00, "


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            '  a-1 [000] ..... 1.0: sys_openat(dfd: 0xffffff9c, filename: 0x7f "/a, b", flags: 0)',
            '1 openat(0xffffff9c, "/a, b", 0x0 <unfinished ...>',
        ),
        (
            "  a-1 [0] ..... 1.0: sys_munmap(unsigned long addr: 1000, size_t len: 2000)",
            "1 munmap(0x1000, 0x2000 <unfinished ...>",
        ),
        (
            "  <...>-1 [001] 1.0: sys_exit:             NR 9 = 4096",
            "1 <... mmap resumed>) = 0x1000",
        ),
        (
            "  ls-1 [001] 1.000001: sys_enter_munmap:       addr: 0x00001000, len: 0x00002000",
            "1 munmap(0x1000, 0x2000 <unfinished ...>",
        ),
        ("  a b-1 (  9) [001] d..2. 1.0: sys_exit_group(error_code: 3)", "1 exit_group(0x3) = ?"),
        # trace-cmd report: an instance, -l, -t, --ts-diff, --raw-ts, -R; ftrace's latency-format
        ("x.1:   a-1 [1] 1.000000001: sys_exit:   NR 9 = 4096", "1 <... mmap resumed>) = 0x1000"),
        ("  a-1    1d..2. 49.835: sys_exit:  NR 9 = 4096", "1 <... mmap resumed>) = 0x1000"),
        ("  a-1    1d..2.   5us+: sys_mmap -> 0x1000", "1 <... mmap resumed>) = 0x1000"),
        ("  a-1 [001] 4.5: (+2)   sys_exit:  NR 9 = 4096", "1 <... mmap resumed>) = 0x1000"),
        ("  a-1 [001]49239835075250: sys_exit: NR 9 = 4096", "1 <... mmap resumed>) = 0x1000"),
        ("  a-1 [001] 4.5: sys_exit:   id=9 ret=-12", "1 <... mmap resumed>) = -1 ENOMEM"),
        (
            f"  a-1 [001] 4.5: sys_enter: id=11 args=ARRAY[00, 10, {ZERO * 7}20, {ZERO * 37}00]",
            "1 munmap(0x1000, 0x2000 <unfinished ...>",
        ),
        (
            "  a-1 [001] 4.5: sys_enter_munmap:  __syscall_nr=11 addr=0x1000 len=0x00002000",
            "1 munmap(0x1000, 0x2000 <unfinished ...>",
        ),
        ("  a-1 [0] 4.5: sys_exit_munmap: __syscall_nr=11 ret=0x0", "1 <... munmap resumed>) = 0"),
        ("  a-1 [0] 4.5: sys_enter_futex:  op=FUTEX_WAKE val=1", "1 futex( <unfinished ...>"),
        # perf script -F
        ("1/1 4.5: raw_syscalls:sys_exit: NR 9 = 4096", "1 <... mmap resumed>) = 0x1000"),
        ("    1 4.5: raw_syscalls:sys_exit: NR 9 = 4096", "1 <... mmap resumed>) = 0x1000"),
        (" a b  1 [001]  raw_syscalls:sys_exit: NR 9 = 4096", "1 <... mmap resumed>) = 0x1000"),
        (" a  1 4.5: NR 9 = 4096", "1 <... mmap resumed>) = 0x1000"),
        (" a  9/1 [001] NR 11 (1000, 2000, 0, 0)", "1 munmap(0x1000, 0x2000 <unfinished ...>"),
        (" 1   syscalls:sys_exit_mmap: 0x1000", "1 <... mmap resumed>) = 0x1000"),
    ],
)
def test_tracepoints_as_other_kernels_and_trace_cmd_print_them(line: str, told: str) -> None:
    teller = tracepoints.Tracepoints(LogMachine("x86_64", 4096), [])
    assert teller.tell(line) == told
    assert teller.groups["1"] in ("1", "9", "1 by name", "a by name", "a b by name", "ls by name")


def test_registers_have_the_byte_order_of_their_machine() -> None:
    registers = f"{'00, ' * 6}10, {'00, ' * 8}20, {'00, ' * 31}00"
    line = f"  a-1 [0] 4.5: sys_enter: id=91 args=ARRAY[{registers}]"
    teller = tracepoints.Tracepoints(LogMachine("ppc64", 4096), [])
    assert teller.tell(line) == "1 munmap(0x1000, 0x20 <unfinished ...>"


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (" raw_syscalls:sys_exit 49542783.597 setarch 1043/1043 [0]", "sample"),
        (f"{' ' * 39}_start (/usr/lib/ld-linux-x86-64.so.2)", "stack"),
        ("\t\t\t\tENOENT: 1", "summary"),
    ],
)
def test_what_options_of_perf_trace_print_beside_is_passed_over(line: str, kind: str) -> None:
    assert perftrace.PerfTrace(LogMachine("x86_64", 4096)).tell(line) == (kind,)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            '0.010 ( 0.001 ms): a/1 openat(dfd: 3, filename: "b", flags: RDONLY) = 4',
            '1 openat(3, "b", O_RDONLY, 0) = 4',
        ),
        (
            '0.010 ( 0.001 ms): a/1 openat(dfd: CWD, filename: "b", flags: RDONLY) = 4',
            '1 openat(AT_FDCWD, "b", O_RDONLY, 0) = 4',
        ),
    ],
)
def test_perf_trace_shows_a_folder_by_its_descriptor_or_as_the_current_one(
    line: str, told: str
) -> None:
    assert perftrace.PerfTrace(LogMachine("x86_64", 4096)).tell(line) == told


def test_a_line_of_perf_trace_that_tells_nothing_is_blank() -> None:
    teller = perftrace.PerfTrace(LogMachine("x86_64", 4096))
    assert teller.tell("  ") == teller.tell("0.010 ( 0.001 ms): a/1 ") == ("blank",)


def test_processes_of_a_whole_system_are_kept_apart(tmp_path: Path) -> None:
    line = "  {0} [000] 1.000001: raw_syscalls:sys_{1}\n"
    calls = []
    for who in ("a 10", "b 11", "a 12"):
        calls.append(line.format(who, "enter: NR 9 (0, 1000, 3, 22, ffffffff, 0)"))
        calls.append(line.format(who, f"exit: NR 9 = {0x7F0000000000 + 0x1000 * len(calls)}"))
    _, result = opened(tmp_path, "".join(calls))
    assert [(p.pid, len(p.layout)) for p in result.processes] == [("main", 2), ("11", 1)]


#: Where private anonymous memory that reserves nothing and is locked has other numbers.
NATIVE: Final = {
    "mips64": (5009, 0x8C02), "ppc64le": (90, 0xE2), "sparc64": (71, 0x162), "x86_64": (9, 0x6022),
    "aarch64": (222, 0x6022),
}  # fmt: skip
PRIVATE: Final = "MAP_PRIVATE|MAP_ANONYMOUS|MAP_LOCKED|MAP_NORESERVE"


@pytest.mark.parametrize("arch", NATIVE)
def test_numbers_of_calls_and_flags_are_those_of_the_machine(arch: str, tmp_path: Path) -> None:
    number, flags = NATIVE[arch]
    raw = (
        f" a 10 [000] 1.000001: raw_syscalls:sys_enter: NR {number} (0, 10000, 3, {flags:x}, "
        f"ffffffff, 0)\n a 10 [000] 1.000001: raw_syscalls:sys_exit: NR {number} = "
        "139637976727552\n"
    )
    strace = (
        f"mmap(0, 0x10000, 0x3, {flags:#x}, 0xffffffff, 0) = 0x7f0000000000\n"
        f"syscall_{numbers(arch)['mseal']:#x}(0x7f0000000000, 0x10000, 0, 0x1, 0x2, 0x3) = 0\n"
    )
    for text in (raw, strace):
        path = tmp_path / "log"
        path.write_text(text)
        trace = open_trace(str(path), Reading(assume_faulted="none", arch=arch))
        first, *more = [event for event in trace.items() if isinstance(event, Event)]
        assert isinstance(first.args[3], int)
        assert format_flags(first.args[3], CALLS["mmap"].params[3].families) == PRIVATE
        assert [event.name for event in more] == (["mseal"] if text is strace else [])


@pytest.mark.parametrize("arch", sorted(ARCHES))
def test_the_script_names_the_calls_of_its_machine(arch: str) -> None:
    text = script(arch)
    assert f"vmatrace bpftrace 1 {arch}" in text
    assert f"@want[(uint64){numbers(arch)['munmap']}] = (uint64)1; // munmap" in text


def test_the_script_is_printed(run: RunProgram) -> None:
    done = run("import", "--script", "bpftrace", "--arch", "aarch64")
    assert (done.status, done.out, done.err) == (0, script("aarch64"), "")
    assert run("import").status == 2


def test_import_takes_every_format_by_its_name(run: RunProgram, tmp_path: Path) -> None:
    listed = run("import", "--list").out
    for form in formats():
        assert form.name in listed
    out = tmp_path / "t.yaml"
    done = run("import", "perf-trace", str(TRACERS / "perf-trace.log"), "-o", str(out))
    assert done.status == 0
    assert memory(outcome(out)[1]) == memory(outcome(TRACERS / "perf-trace.log")[1])
    wrong = run("import", "qemu", str(TRACERS / "perf-trace.log"))
    assert wrong.status == 2
    assert "vmatrace import perf-trace reads it" in wrong.err
