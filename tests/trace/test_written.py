"""A trace that is printed is read again as the same, whatever it holds."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from vmatrace import abi
from vmatrace.event import EXPECTED_COUNTS, Bound, Event, Expectation, ExpectedMapping, Expr, File
from vmatrace.kernels import FILE_SYSTEMS
from vmatrace.layout import Layout, Mapping
from vmatrace.trace.file import Trace, load_trace
from vmatrace.trace.header import FILE_MODES, RLIMITS, SYSCTL_MOST, ProcessState, Sysctl

#: What a file may be called, and whatever else is text.
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
PAGES = st.integers(0, (1 << 47) // 65536).map(lambda page: 65536 * page)
LONGS = st.integers(0, abi.ULONG_MAX)
CODES = st.lists(
    st.sampled_from(sorted(abi.CODE_TO_VM_FLAG)), min_size=1, max_size=4, unique=True
).map(tuple)


def maybe(values: st.SearchStrategy[int]) -> st.SearchStrategy[int | None]:
    return st.none() | values


FILES = st.dictionaries(
    st.integers(0, 99) | st.sampled_from(["shm", "dev_2", "F"]),
    st.builds(
        File, NAMES, st.sampled_from(sorted(FILE_SYSTEMS)), st.sampled_from(FILE_MODES),
        maybe(st.integers(0, (1 << 63) - 1)), st.just(()) | CODES,
    ),
    max_size=3,
)  # fmt: skip
SYSCTLS = st.builds(
    Sysctl,
    *(st.integers(0, SYSCTL_MOST.get(knob.name, abi.ULONG_MAX)) for knob in fields(Sysctl)),
) | st.just(Sysctl())
PROCESSES = st.builds(
    ProcessState, st.booleans(), maybe(LONGS), maybe(PAGES),
    st.dictionaries(st.sampled_from(RLIMITS), LONGS),
)  # fmt: skip


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    starts = sorted(draw(st.sets(PAGES, max_size=3)))
    flags = st.sampled_from([abi.VM_READ, abi.VM_SHARED, abi.VM_WRITE | abi.VM_MERGEABLE])
    names = st.sampled_from(["", "/lib/a b.so", "[heap]", "[anon:a: #b]"])
    return [Mapping(at, at + 65536, draw(flags), draw(PAGES), draw(names)) for at in starts]


ENDS = PAGES | st.builds(
    lambda label, pages: Expr(("+", label, pages), f"{label} + {pages}"),
    st.sampled_from(["a", "b_2"]), PAGES.filter(bool),
)  # fmt: skip
EXPECTED = st.builds(
    ExpectedMapping, ENDS, ENDS, st.none() | st.sampled_from(["r--p", "rwxs"]), maybe(LONGS),
    st.none() | st.just("") | NAMES, st.none() | CODES,
)  # fmt: skip
COUNTS = st.dictionaries(
    st.sampled_from(EXPECTED_COUNTS),
    st.builds(
        Bound, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), st.integers(0, 10**17)
    ),
    min_size=1,
)  # fmt: skip
MODELS = st.lists(st.sampled_from(["pre-patch", "6.12", ">=6.17", "6.4..6.16"]), max_size=2)
EXPECTATIONS = st.builds(
    Expectation, st.sampled_from(["main", "child", "77"]), st.just(1), st.just(1),
    MODELS.map(tuple), COUNTS, st.none() | st.lists(EXPECTED, max_size=2).map(tuple),
    NAMES.map(lambda name: " ".join(name.split())),
)  # fmt: skip

FIRST = ["a = brk(0)", "b_2 = brk(0)", "child = fork() = 5", "fork() = 77"]


HEADERS = st.tuples(
    NAMES, st.none() | st.sampled_from(["6.12", "pre-patch"]), st.sampled_from(abi.PAGE_SIZES),
    st.none() | st.sampled_from(sorted(abi.TASK_SIZES)), SYSCTLS, PROCESSES, FILES, layouts(),
    st.booleans(), st.booleans(), st.integers(1, 1 << 16),
)  # fmt: skip


@given(NAMES, HEADERS)
def test_a_printed_header_is_read_as_the_same(name: str, values: tuple[Any, ...]) -> None:
    trace = Trace("t.yaml", name + "x", lambda: iter(()), *values)
    again = load_trace(str(trace).encode(), "t.yaml")
    kept = [part.name for part in fields(Trace) if part.name not in ("read", "_opened")]
    assert [getattr(again, part) for part in kept] == [getattr(trace, part) for part in kept]


@given(st.lists(EXPECTATIONS, min_size=1, max_size=3))
def test_a_printed_expectation_is_read_as_the_same(expected: list[Expectation]) -> None:
    trace = Trace.of([*FIRST, *expected])
    again = [i for i in load_trace(str(trace).encode()).items() if isinstance(i, Expectation)]
    assert [replace(item, line=1, column=1) for item in again] == expected


def test_a_printed_event_keeps_all_that_it_says() -> None:
    entries = [
        'a = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3</x y>, 0) = 0x7f0000001000',
        "child = fork() = 12",
        "fork() = 13",
        '{pid: child, call: munmap, addr: a + 0x1000, length: 1, label: b, result: -1 EINVAL}',
        '{pid: 13, call: "execve(\\"/bin/\\\\x41\\", [\\"a\\"], NULL) = 0",'
        ' maps: "1000-2000 rw-p 00000000 00:00 0 [stack]"}',
        "mmap(b | 1, 2*PAGE_SIZE, PROT_READ|0x80, MAP_SHARED|MAP_HUGETLB, shm, 0)",
    ]  # fmt: skip
    text = "vmatrace: 1\nfiles: {shm: {path: /dev/shm/x, fs: tmpfs}}\nevents:\n"
    first = load_trace((text + "".join(f"- {entry}\n" for entry in entries)).encode())
    again = load_trace(str(first).encode())
    read = [
        [
            (e.name, e.args, e.pid, e.label, e.recorded, e.symbolic, e.maps)
            for e in trace.items()
            if isinstance(e, Event)
        ]
        for trace in (first, again)
    ]
    assert len(read[0]) == len(entries)
    assert read[0] == read[1]
