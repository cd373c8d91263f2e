"""Logs of other people's that were read wrong once: what is right for each."""

from __future__ import annotations

from pathlib import Path

import pytest
from stracelogs import check_counts

from vmatrace.event import Event
from vmatrace.importers import open_trace
from vmatrace.kernels import get_kernel
from vmatrace.notes import Notes
from vmatrace.replayer.result import Result
from vmatrace.replayer.run import replay

CASES = Path(__file__).parent / "cases"


def read(name: str) -> tuple[Result, Notes]:
    trace = open_trace(str(next(CASES.glob(f"{name}-*"))))
    result = replay(trace, get_kernel("post-patch"))
    notes = trace.notes
    assert notes is not None
    check_counts(notes)
    assert (notes.misread, result.divergences) == ([], [])
    return result, notes


def lines(result: Result) -> list[str]:
    """``7f00… 20K rw-p NAME`` for each VMA of each process."""
    return [
        f"{m.start:x} {m.end - m.start >> 10}K {m.perms} {m.name}".rstrip()
        for process in result.processes
        for m in process.layout
    ]


def test_s01_behind_the_journal_s_prefix_a_service_is_one_process() -> None:
    result, notes = read("S01")
    assert lines(result) == [
        "7fff98000000 92096K ---p", "7fff9d9f0000 64K ---p", "7fff9da00000 8192K rw-p",
    ]  # fmt: skip
    assert "journal" in notes.form


def test_s02_a_strace_run_by_its_path_swallows_no_call() -> None:
    result, notes = read("S02")
    assert (result.events, notes.events) == (6, 4)
    assert lines(result) == [
        "7f4de2ba7000 4K ---p", "7f4de2ba8000 8192K rw-p", "7f4de5000000 4K rw-p",
    ]  # fmt: skip


def test_s04_what_failed_changed_nothing() -> None:
    result, _ = read("S04")
    assert lines(result) == ["7f0040272000 20K rw-p"]
    assert (result.mergeable, result.errors, result.believed) == (0, 10, 10)


def test_s06_addresses_of_48_bits_are_arm64_s() -> None:
    result, notes = read("S06")
    assert lines(result) == ["ffff955e2000 4K rw-p [assumed]", "ffff955e8000 8K r--p"]
    assert any("aarch64" in text for text in notes.assumed)


def test_s07_a_log_that_starts_within_a_run_has_a_heap_below_its_first_brk() -> None:
    result, _ = read("S07")
    assert lines(result) == ["918000 136K rw-p [heap]"]
    assert result.assumed > 0


def test_s08_arguments_may_have_names() -> None:
    result, notes = read("S08")
    assert lines(result) == ["7ffff7fc0000 4K r--p", "7ffff7fc1000 4K rw-p"]
    assert notes.form == "strace -N"


def test_s09_old_strace_announces_a_thread_in_the_middle_of_its_birth() -> None:
    result, _ = read("S09")
    assert [process.pid for process in result.processes] == ["main"]
    assert lines(result) == ["7f4de2ba7000 4K ---p", "7f4de2ba8000 8192K rw-p"]


def test_s11_a_path_is_what_it_is_on_disk_however_it_is_written() -> None:
    result, _ = read("S11")
    assert [m.name for m in result.processes[0].layout] == [
        "/opt/é dir/lib<m>.so", "/opt/é dir/lib<n>.so", "/memfd:a (deleted)",
    ]  # fmt: skip


def test_s14_a_name_that_was_taken_proves_memory() -> None:
    result, _ = read("S14")
    assert result.assumed > 0
    assert result.processes[0].layout[0].name == "[assumed]"


def test_s45_qemu_user_s_log_is_read_as_strace_s() -> None:
    result, _ = read("S45")
    assert "4000850000 16K r--p fd:3" in lines(result)


def test_s50_behind_a_container_s_time_stamps_is_a_log() -> None:
    result, notes = read("S50")
    assert lines(result) == ["55d0c8a5f000 132K rw-p [heap]", "7f6344a45000 4K rw-p"]
    assert "time stamp" in notes.form


def test_s53_the_mark_of_an_editor_costs_no_line() -> None:
    result, notes = read("S53")
    assert lines(result) == ["55d0c8a5f000 132K rw-p [heap]", "7f6344a45000 4K rw-p"]
    assert notes.events == 5


@pytest.mark.parametrize("name", ["M09-go-names.yaml", "M10-memfd-name.yaml"])
def test_names_of_memory_keep_neighbours_apart(name: str) -> None:
    result = replay(open_trace(str(CASES / name)), get_kernel("post-patch"))
    assert (result.passed, result.failures) == (1, [])


# --- relatives ------------------------------------------------------------------------------------

MAP = "mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, {}, 0) = {:#x}\n"


def events(tmp_path: Path, text: str) -> list[Event]:
    path = tmp_path / "a.log"
    path.write_text(text, encoding="utf-8")
    trace = open_trace(str(path))
    found = [event for event in trace.items() if isinstance(event, Event)]
    assert trace.notes is not None
    check_counts(trace.notes)
    assert trace.notes.misread == []
    return found


def mapped(tmp_path: Path, *descriptors: str) -> list[str]:
    """The names of files that mappings of *descriptors*, as -y shows them, are of."""
    text = "".join(MAP.format(fd, 0x7F0000000000 + i * 0x10000) for i, fd in enumerate(descriptors))
    events(tmp_path, text)
    result = replay(open_trace(str(tmp_path / "a.log")), get_kernel("post-patch"))
    return [m.name for m in result.processes[0].layout]


def test_in_a_log_of_memory_calls_alone_each_path_is_a_file(tmp_path: Path) -> None:
    shown = ["3</etc/ld.so.cache>", "3</lib/libc.so.6>", "3</lib/libc.so.6>", "3</lib/libm.so.6>"]
    assert mapped(tmp_path, *shown) == [
        "/etc/ld.so.cache", "/lib/libc.so.6", "/lib/libc.so.6", "/lib/libm.so.6",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("shown", "path"),
    [
        (r"3</a\303\251b>", "/aéb"),
        (r"3</a\74b\76>", "/a<b>"),
        (r"3</a\"b\\c>", '/a"b\\c'),
        (r"3</a\nb\tc>", "/a\nb\tc"),
        (r"3</a\1b>", "/a\x01b"),
        (r"3<\x2f\x61\xc3\xa9>", "/aé"),
        (r"3</a\377b>", r"/a\xffb"),
        ("3</a b>(deleted)", "/a b (deleted)"),
        ("3</memfd:x (deleted)>", "/memfd:x (deleted)"),
        ("3</memfd:x>(deleted)", "/memfd:x (deleted)"),
        ("3</dev/fuse<char 10:229>>", "/dev/fuse"),
        ("3</dev/sda<block 8:0>>", "/dev/sda"),
        ("3<TCP:[127.0.0.1:42->127.0.0.1:80]>", "TCP:[127.0.0.1:42->127.0.0.1:80]"),
        ("3<socket:[4242]>", "socket:[4242]"),
        ("3<anon_inode:[perf_event]>", "anon_inode:[perf_event]"),
        ("3</lib/x.so> [system_u:object_r:lib_t:s0]", "/lib/x.so"),
        ("3</a, b>", "/a, b"),
        ("3</a) = 0>", "/a) = 0"),
    ],
)
def test_a_path_in_angle_brackets_is_that_of_proc(tmp_path: Path, shown: str, path: str) -> None:
    assert mapped(tmp_path, shown) == [path]


ANNOUNCED = [
    "strace: Process 9 attached\n", "/usr/bin/strace: Process 9 attached\n",
    "./strace-6.1: Process 9 attached\n", "Process 9 attached\n",
    "Process 9 attached (waiting for parent)\nProcess 9 resumed (parent 7 ready)\n",
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "cut"),
    [
        *((said, "", cut) for said in ANNOUNCED for cut in (len("clone("), 22, 200)),
        ("src/strace: Process 9 attached\n", "", 200),
        ("Process 7 suspended\n", "Process 7 resumed\nProcess 9 detached\n", 6),
    ],
)
def test_what_strace_says_of_itself_cuts_no_birth(
    tmp_path: Path, before: str, after: str, cut: int
) -> None:
    birth = "clone(child_stack=0x7f00, flags=CLONE_VM|CLONE_FILES|CLONE_THREAD, tls=0x7f) = 9\n"
    text = (
        'execve("./a", ["a"], 0x7ffc /* 2 vars */) = 0\n' + birth[:cut] + before + birth[cut:]
        + "[pid     9] mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANON, -1, 0) = 0x7f0000001000\n"
        + after
        + "[pid     7] munmap(0x7f0000001000, 4096) = 0\n"
    )  # fmt: skip
    found = events(tmp_path, text)
    assert [(e.pid, e.name) for e in found if e.name != "fault"] == [
        ("main", "execve"), ("main", "clone"), ("9", "mmap"), ("main", "munmap"),
    ]  # fmt: skip
    assert "CLONE_THREAD" in str(found[1].args)


def test_without_f_a_child_ends_where_somebody_waits_for_it(tmp_path: Path) -> None:
    text = (
        'execve("./a", ["a"], 0x7ffc /* 2 vars */) = 0\n'
        "clone(child_stack=NULL, flags=SIGCHLD) = 9\nfork() = 10\nfork() = 11\n"
        "wait4(-1, [{WIFSTOPPED(s) && WSTOPSIG(s) == SIGSTOP}], WUNTRACED, NULL) = 9\n"
        "wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, NULL) = 9\n"
        "--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_KILLED, si_pid=10, si_uid=0} ---\n"
        "waitid(P_PID, 11, {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=11}, WEXITED, NULL) = 0\n"
    )
    found = events(tmp_path, text)
    assert [(e.pid, e.line) for e in found if e.name == "exit"] == [("9", 6), ("10", 7), ("11", 8)]


@pytest.mark.parametrize(
    "line",
    [
        "mmap(NULL, 8192, PROT_READ, MAP_PRIVATE|MAP_ANON, -1, 0) = ? <unavailable>",
        "munmap(0x7f0000001000, 4096) = ? <unavailable>",
        "mprotect(0x7f0000001000) = ? <unavailable>",
        "fork() = ? <unavailable>",
        'execve("./b", ["b"], 0x7ffc /* 2 vars */) = ? <unavailable>',
    ],
)
def test_a_call_whose_result_strace_never_learned_is_passed_over(tmp_path: Path, line: str) -> None:
    found = events(tmp_path, 'execve("./a", ["a"], 0x7ffc /* 2 vars */) = 0\n' + line + "\n")
    assert [event.name for event in found] == ["execve"]


@pytest.mark.parametrize(
    ("call", "offset"),
    [
        ("mmap2(NULL, 8192, PROT_READ, MAP_PRIVATE, 3, 0x5000)", 0x5000),
        ("mmap2(NULL, 8192, PROT_READ, MAP_PRIVATE, 3, 0x5)", 0x5000),
        ("mmap2(0, 0x2000, 0x1, 0x2, 0x3, 0x1000)", 0x1000000),
    ],
)
def test_an_offset_in_pages_becomes_one_in_bytes(tmp_path: Path, call: str, offset: int) -> None:
    found = events(tmp_path, f"{call} = 0x7f0000001000\n")
    assert found[0].args[5] == offset


def test_a_segment_of_unknown_size_is_as_long_as_what_follows_shows(tmp_path: Path) -> None:
    anon = "mmap({}, 4096, PROT_READ, MAP_PRIVATE|MAP_ANON{}, -1, 0) = {}\n"
    text = (
        anon.format("0x7f0000008000", "|MAP_FIXED", "0x7f0000008000")
        + "shmat(5, NULL, 0) = 0x7f0000000000\n"
        + anon.format("NULL", "", "0x7f0000004000")
        + "shmat(6, NULL, 0) = 0x7f0000100000\nmlock(0x7f0000100000, 1048576) = 0\n"
    )
    events(tmp_path, text)
    result = replay(open_trace(str(tmp_path / "a.log")), get_kernel("post-patch"))
    assert [(m.start & 0xFFFFFF, m.end & 0xFFFFFF) for m in result.processes[0].layout] == [
        (0, 0x4000), (0x4000, 0x5000), (0x8000, 0x9000), (0x100000, 0x200000),
    ]  # fmt: skip
    assert (result.diverged, result.cleared) == (0, 0)


def test_names_of_arguments_change_nothing_in_structures(tmp_path: Path) -> None:
    named = (
        "mmap(addr=NULL, length=8192, prot=PROT_READ, flags=MAP_PRIVATE|MAP_ANON, fd=-1, offset=0)"
        " = 0x7f0000001000\n"
        "process_madvise(pidfd=-1, iovec=[{iov_base=0x7f0000001000, iov_len=4096}], n=1,"
        " advice=MADV_COLD, flags=0) = 4096\n"
        "prctl(option=PR_SET_VMA, attr=PR_SET_VMA_ANON_NAME, addr=0x7f0000001000, size=4096,"
        ' name="a, b=c") = 0\n'
    )
    found = events(tmp_path, named)
    assert found[1].args[1] == "[{iov_base=0x7f0000001000, iov_len=4096}]"
    assert found[2].args[4] == '"a, b=c"'


@pytest.mark.parametrize(("size", "arch"), [(65536, "ppc64le"), (16384, None)])
def test_larger_pages_are_known_by_where_small_mappings_are(
    tmp_path: Path, size: int, arch: str | None
) -> None:
    text = 'execve("/lib64/ld64.so.2", ["a"], 0x7ffc) = 0\n' if arch else ""
    text += "".join(
        f"mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANON, -1, 0) = {0x7F0000000000 + i:#x}\n"
        for i in range(0, 7 * size, size)
    )
    events(tmp_path, text)
    trace = open_trace(str(tmp_path / "a.log"))
    assert (trace.page_size, trace.arch) == (size, arch)
    odd = "munmap(0x7f0000001000, 4096) = 0\n"
    (tmp_path / "a.log").write_text(text + odd)
    assert open_trace(str(tmp_path / "a.log")).page_size == 4096


@pytest.mark.parametrize(
    ("address", "arch"),
    [(0xFFFF955E1000, "aarch64"), (0x7FF0000000000, None), (0xFF00000000000, None)],
)
def test_addresses_may_go_as_far_as_some_architecture_s(
    tmp_path: Path, address: int, arch: str | None
) -> None:
    events(tmp_path, f"mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANON, -1, 0) = {address:#x}\n")
    trace = open_trace(str(tmp_path / "a.log"))
    assert trace.arch == arch
    result = replay(trace, get_kernel("post-patch"))
    assert [m.start for m in result.processes[0].layout] == [address]


def test_arm64_s_protections_are_flags_of_their_own(tmp_path: Path) -> None:
    text = (
        "mmap(NULL, 8192, PROT_READ|PROT_WRITE|PROT_MTE, MAP_PRIVATE|MAP_ANON, -1, 0)"
        " = 0x7f0000000000\n"
        "mprotect(0x7f0000001000, 4096, PROT_READ|PROT_EXEC|PROT_BTI) = 0\n"
    )
    events(tmp_path, text)
    result = replay(open_trace(str(tmp_path / "a.log")), get_kernel("post-patch"))
    assert ["bt" in m.codes for m in result.processes[0].layout] == [False, True]
    assert ["mt" in m.codes for m in result.processes[0].layout] == [True, True]
