"""What calls of a log do that are no events themselves: to descriptors, to processes, to memory."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from program import Run, RunProgram

MAPPED = "mmap(NULL, 4096, PROT_READ, MAP_SHARED, 3, 0) = 0x7f0000001000\n"


def of_one_process(text: str) -> str:
    return "".join(f"100 {line}\n" for line in text.splitlines())


@pytest.fixture
def replayed(run: RunProgram, tmp_path: Path) -> RunProgram:
    def replay(log: str, *options: str) -> Run:
        (tmp_path / "a.log").write_text(log, encoding="utf-8")
        return run("replay", str(tmp_path / "a.log"), "--kernel", "6.18", *options)

    return replay


def maps(replayed: RunProgram, log: str) -> list[str]:
    """The lines of /proc/PID/maps at the end of a *log* of one process."""
    done = replayed(of_one_process(log), "--format", "maps", "--strict")
    assert done.status == 0, done.err
    return [line for line in done.out.splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("flags", ["MFD_HUGETLB", "MFD_CLOEXEC|MFD_HUGETLB|MFD_HUGE_2MB", "0x4"])
def test_a_memfd_of_huge_pages_maps_whole_ones(replayed: RunProgram, flags: str) -> None:
    call = "mmap(NULL, {}, PROT_READ, MAP_SHARED, 3, 0) = 0x7f0000200000\n".format
    log = f'memfd_create("x", {flags}) = 3\n' + call(2 << 20)
    (line,) = maps(replayed, log)
    assert line.startswith("7f0000200000-7f0000400000 r--s")
    assert line.endswith(" /anon_hugepage (deleted)")


@pytest.mark.parametrize(
    ("flags", "result"),
    [
        ("0", "0x7f0000001000"), ("02", "0x7f0000001000"), ("0x80002", "0x7f0000001000"),
        ("01", "-1 EACCES (Permission denied)"), ("0x80001", "-1 EACCES (Permission denied)"),
    ],
)  # fmt: skip
def test_flags_of_an_open_may_be_numbers(replayed: RunProgram, flags: str, result: str) -> None:
    call = "mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0) = "
    shown = maps(replayed, f'open("/tmp/a", {flags}) = 3\n{call}{result}\n')
    assert len(shown) == result.startswith("0x")


@pytest.mark.parametrize(
    ("closed", "name"),
    [("3, 3, 0", "fd:3"), ("2, 4294967295, 0", "fd:3"), ("1, 0xffffffff, 0", "fd:3"),
     ("3, ?, 0", "/tmp/a"), ("4, 9, 0", "/tmp/a"), ("0, 2, 0", "/tmp/a"),
     ("3, 9, CLOSE_RANGE_CLOEXEC", "/tmp/a")],
)  # fmt: skip
def test_a_range_of_descriptors_is_closed(replayed: RunProgram, closed: str, name: str) -> None:
    (line,) = maps(replayed, f'open("/tmp/a", O_RDWR) = 3\nclose_range({closed}) = 0\n{MAPPED}')
    assert line.split(maxsplit=5)[5] == name


def test_a_memfd_is_one_file_whether_or_not_it_is_called_deleted(replayed: RunProgram) -> None:
    call = "mmap(NULL, 4096, PROT_READ, MAP_SHARED, 3</memfd:x{}>, {:#x}) = {:#x}\n".format
    log = (
        'memfd_create("x", 0) = 3</memfd:x (deleted)>\n'
        + call(" (deleted)", 0, 0x7F0000001000)
        + call("", 4096, 0x7F0000002000)
    )
    (line,) = maps(replayed, log)
    assert line.startswith("7f0000001000-7f0000003000 r--s")


def test_a_descriptor_that_is_shown_to_be_a_memfd_is_no_file_by_another_name(
    replayed: RunProgram,
) -> None:
    """Its making is not in the log: the file opened there before is not what is mapped now."""
    log = (
        f'open("x", O_RDWR) = 3\n{MAPPED}'
        "mmap(NULL, 4096, PROT_READ, MAP_SHARED, 3</memfd:y (deleted)>, 4096) = 0x7f0000002000\n"
    )
    assert [line.split(maxsplit=5)[5] for line in maps(replayed, log)] == [
        "x", "/memfd:y (deleted)",
    ]  # fmt: skip


def test_of_many_processes_without_a_birth_some_are_named(replayed: RunProgram) -> None:
    log = "100 brk(NULL) = 0x555555560000\n" + "".join(
        f'{200 + i} execve("/bin/x", ["x"], 0x7ffc /* 1 var */) = 0\n' for i in range(40)
    )
    done = replayed(log)
    (line,) = (line for line in done.out.splitlines() if line.startswith("assumed"))
    said = line.split("; ")
    assert sum(item.startswith("Process ") for item in said) == 20
    assert said[-1] == "And so on for more processes"


@pytest.mark.parametrize("name", ["a)  b", "a)  = 7", "a)  "])
def test_a_name_may_look_like_the_end_of_a_call(replayed: RunProgram, name: str) -> None:
    for padding in (" ", "     "):
        log = f'openat(AT_FDCWD, "/tmp/{name}", O_RDWR){padding}= 3\n{MAPPED}'
        (line,) = maps(replayed, log)
        assert line.split(maxsplit=5)[5:] == [f"/tmp/{name}".rstrip()] or line.endswith(name)


def test_a_process_that_ended_is_no_more_and_its_number_may_be_anothers(
    replayed: RunProgram,
) -> None:
    child = (
        "101 mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000001000\n"
        "101 exit_group(0) = ?\n101 +++ exited with 0 +++\n"
    )
    log = f"100 brk(NULL) = 0x555555560000\n100 fork() = 101\n{child}100 fork() = 101\n{child}"
    done = replayed(log, "--strict")
    assert done.status == 0, done.err
    assert "101" not in done.out
    assert "gone that no call removed" not in done.out


def test_a_child_knows_the_break_only_if_its_parent_does(replayed: RunProgram) -> None:
    asked = "100 brk(NULL) = 0x555555560000\n"
    grown = "101 brk(NULL) = 0x555555560000\n101 brk(0x555555561000) = 0x555555561000\n"
    start = '100 execve("/bin/x", ["x"], 0x7ffc /* 1 var */) = 0\n'
    for log in (f"{start}100 fork() = 101\n{grown}", f"{start}{asked}100 fork() = 101\n{grown}"):
        done = replayed(log, "--strict")
        assert done.status == 0, done.out
        assert "0 divergences" in done.out
        assert re.search(r"555555560000-555555561000 +4K +rw-p +\[heap\]\n", done.out)


@pytest.mark.parametrize(("earlier", "hit"), [(1, "1 mapping"), (2, "2 mappings")])
def test_what_a_mapping_lands_on_is_counted_as_gone(
    replayed: RunProgram, earlier: int, hit: str
) -> None:
    call = "mmap(NULL, {}, PROT_READ{}, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = {:#x}\n".format
    there = [call(4096, "|PROT_WRITE" * (i % 2), 0x7F0000000000 + i * 4096) for i in range(earlier)]
    done = replayed(of_one_process("".join(there) + call(8192, "", 0x7F0000000000)))
    assert f"assumed  {hit} gone that no call removed" in done.out


@pytest.mark.parametrize("name", ["open", "openat"])
@pytest.mark.parametrize(
    ("flags", "mode"),
    [
        ("O_RDONLY", "mode: r}"), ("O_WRONLY|O_CLOEXEC", "mode: w}"), ("O_RDWR", "fs: ext4}"),
        ("0x0", "mode: r}"), ("0x80001", "mode: w}"), ("0x2", "fs: ext4}"),
    ],
)  # fmt: skip
def test_a_file_is_open_for_what_its_flags_say_also_where_its_name_is_an_address(
    run: RunProgram, tmp_path: Path, name: str, flags: str, mode: str
) -> None:
    (path, given) = ("0x7ffc00001000", "fd:3") if flags[0] == "0" else ('"/tmp/a"', "/tmp/a")
    first = {"openat": "0xffffff9c, " if flags[0] == "0" else "AT_FDCWD, "}.get(name, "")
    log = f"{name}({first}{path}, {flags}) = 3\n{MAPPED}"
    (tmp_path / "a.log").write_text(of_one_process(log), encoding="utf-8")
    done = run("import", "strace", str(tmp_path / "a.log"))
    assert re.search(rf'{{path: "{given}", .*{mode}\n', done.out), done.out


def test_a_descriptor_of_32_bits_is_signed(run: RunProgram, tmp_path: Path) -> None:
    log = "mmap(0, 0x1000, 0x3, 0x22, 0xffffffff, 0) = 0x7f0000001000\n"
    (tmp_path / "a.log").write_text(of_one_process(log), encoding="utf-8")
    assert (
        ", MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = "
        in run("import", "strace", str(tmp_path / "a.log")).out
    )


@pytest.mark.parametrize("hour", [9, 11, 12, 20, 23])
def test_the_logs_of_a_set_are_put_in_order_of_time_also_past_noon_and_midnight(
    run: RunProgram, tmp_path: Path, hour: int
) -> None:
    call = "mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = {:#x}\n".format
    later = (hour + 1) % 24
    logs = {
        100: f"{hour:02}:59:57 fork() = 101\n{later:02}:00:01 {call(0x7F0000002000)}",
        101: f"{later:02}:00:00 {call(0x7F0000001000)}{later:02}:00:02 {call(0x7F0000003000)}",
    }
    for pid, text in logs.items():
        (tmp_path / f"a.log.{pid}").write_text(text, encoding="utf-8")
    out = run("import", "strace", str(tmp_path / "a.log")).out
    assert re.findall(r"= (0x7f\w+|101)", out) == [
        "101", "0x7f0000001000", "0x7f0000002000", "0x7f0000003000",
    ]  # fmt: skip
    assert "A log has no page faults. Private memory counts as written to when" in out
