"""The files of strace -ff as one log: by their times, or by turns where they have none."""

from __future__ import annotations

import tempfile
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmatrace import abi
from vmatrace.event import Event
from vmatrace.importers import native, open_trace
from vmatrace.trace.file import Trace


def opened(tmp_path: Path, **files: str) -> Trace:
    for name, text in files.items():
        (tmp_path / f"a.log.{name[1:]}").write_text(text, encoding="utf-8")
    return open_trace(str(tmp_path / "a.log"))


def order(trace: Trace) -> list[str]:
    """Whose call each event is, and the number in its line."""
    return [
        f"{event.pid}:{event.args[0]}"
        for event in trace.items()
        if isinstance(event, Event) and event.name == "munmap"
    ]


def calls(*numbers: int, times: str = "") -> str:
    clocks = times.split() if times else [""] * len(numbers)
    return "".join(
        f"{clock}{' ' if clock else ''}munmap({number}, 4096) = 0\n"
        for clock, number in zip(clocks, numbers, strict=True)
    )


def test_without_times_each_has_a_line_in_turn_from_its_birth_on(tmp_path: Path) -> None:
    trace = opened(
        tmp_path,
        p10=f"{calls(1)}fork() = 11\n{calls(2, 3)}fork() = 12\n{calls(4)}",
        p11=calls(5, 6, 7), p12=calls(8, 9), p99=calls(10),
    )  # fmt: skip
    assert order(trace) == [
        "main:1", "99:10", "main:2", "11:5", "main:3", "11:6", "11:7", "main:4", "12:8", "12:9",
    ]  # fmt: skip
    assert trace.notes is not None
    assert trace.notes.form == "strace -ff"
    assert trace.name == "a"


def test_who_bears_each_other_is_read_all_the_same(tmp_path: Path) -> None:
    trace = opened(tmp_path, p10=f"{calls(1)}fork() = 11\n", p11=f"{calls(2)}fork() = 10\n")
    assert sorted(o.split(":")[1] for o in order(trace)) == ["1", "2"]
    trace = opened(
        tmp_path, p9=calls(3), p10=f"{calls(1)}fork() = 11\n", p11=f"{calls(2)}fork() = 10\n"
    )
    assert order(trace) == ["main:3", "10:1", "11:2"]


@pytest.mark.parametrize(
    ("first", "second", "numbers"),
    [
        ("12:00:00.1 12:00:00.4", "12:00:00.2 12:00:00.3", "1 3 4 2"),
        ("1700000000.5 1700000002.5", "1700000001.5 1700000001.6", "1 3 4 2"),
        ("1700000000 1700000002", "1700000001 1700000003", "1 3 2 4"),
        ("12:00:00 12:00:00", "12:00:00 12:00:00", "1 2 3 4"),  # in order of their numbers
        ("23:59:59 00:00:01", "00:00:00 00:00:02", "1 3 2 4"),
        ("23:00:00 23:30:00", "22:00:00 22:30:00", "3 4 1 2"),
        ("0.000001 0.000002", "0.000001 0.000002", "1 3 2 4"),  # of -r: by turns
    ],
)
def test_times_say_the_order(tmp_path: Path, first: str, second: str, numbers: str) -> None:
    trace = opened(tmp_path, p10=calls(1, 2, times=first), p11=calls(3, 4, times=second))
    assert [each.split(":")[1] for each in order(trace)] == numbers.split()


@given(
    st.integers(0, 86399),
    st.lists(st.tuples(st.integers(1, 10_000), st.integers(10, 13)), min_size=1, max_size=40),
)
def test_lines_of_clocks_are_read_in_the_order_they_were_written_in(
    start: int, written: list[tuple[int, int]]
) -> None:
    """Also past several midnights, where no file is still for half a day and all start on time."""
    seconds = list(accumulate((gap for gap, _ in written), initial=start))[1:]
    files = {10: f"{_clock(start)} munmap(0, 4096) = 0\n"}
    last = {10: start}
    expected = ["0"]
    for number, (now, (_, pid)) in enumerate(zip(seconds, written, strict=True), 1):
        if now - last.get(pid, start) < 43_000:
            files[pid] = files.get(pid, "") + f"{_clock(now)} munmap({number}, 4096) = 0\n"
            last[pid] = now
            expected.append(str(number))
    with tempfile.TemporaryDirectory() as folder:
        trace = opened(Path(folder), **{f"p{pid}": text for pid, text in files.items()})
        assert [each.split(":")[1] for each in order(trace)] == expected


def _clock(seconds: int) -> str:
    return f"{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def test_a_line_without_a_time_follows_the_one_before_it(tmp_path: Path) -> None:
    stack = " > /usr/bin/app(f+0x1) [0x22]\n"
    trace = opened(
        tmp_path,
        p10=f"12:00:00.1 munmap(1, 4096) = 0\n{stack}12:00:00.3 munmap(2, 4096) = 0\n{stack}",
        p11=calls(3, times="12:00:00.2"),
    )
    events = [event for event in trace.items() if isinstance(event, Event)]
    assert [(e.args[0], e.caller) for e in events if e.name == "munmap"] == [
        (1, "app(f)"), (3, None), (2, "app(f)"),
    ]  # fmt: skip


def test_what_is_wrong_is_shown_in_its_own_file(tmp_path: Path) -> None:
    trace = opened(tmp_path, p10=calls(1), p11="munmap(2, x) = 0\n", p12="nonsense\n" + calls(3))
    list(trace.items())
    assert trace.notes is not None
    assert [(Path(d.path).name, d.line) for d in trace.notes.misread] == [
        ("a.log.11", 1), ("a.log.12", 1),
    ]  # fmt: skip


def test_names_of_arguments_may_be_in_one_file_alone(tmp_path: Path) -> None:
    trace = opened(
        tmp_path, p10="brk(addr=NULL) = 0x560000\n", p11="munmap(addr=5, len=4096) = 0\n"
    )
    assert order(trace) == ["11:5"]


@pytest.mark.parametrize(
    ("arch", "call", "same"),
    [
        ("mips64", "mmap(0, 1, 3, 0x802, -1, 0) = 0", "mmap(0, 1, 3, 0x22, -1, 0) = 0"),
        ("mips64", "mmap(0, 1, 3, 0x80802, -1, 0) = 0", "mmap(0, 1, 3, 0x40022, -1, 0) = 0"),
        ("mips64", "mmap(0, 1, 3, MAP_SHARED, 4, 0) = 0", "mmap(0, 1, 3, MAP_SHARED, 4, 0) = 0"),
        ("mips64", "mmap(0, 1) = 0", "mmap(0, 1) = 0"),
        ("ppc64le", "mlockall(0x2000) = 0", "mlockall(0x1) = 0"),
        ("ppc64le", "mlockall(24576) = 0", "mlockall(0x3) = 0"),
        ("sparc64", "mmap(0, 1, 3, 0x262, -1, 0) = 0", "mmap(0, 1, 3, 0x4122, -1, 0) = 0"),
    ],
)  # fmt: skip
def test_flags_have_the_numbers_of_every_other_machine(arch: str, call: str, same: str) -> None:
    name = call.partition("(")[0]
    assert name in native.calls(arch)
    assert native.text(arch, name, call) == same
    assert native.calls("x86_64") == native.calls(None) == frozenset()
    assert abi.MAP_NORESERVE == 0x4000
