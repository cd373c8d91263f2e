"""What expectations are called: no two alike, and the same after edits elsewhere in the trace."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vmatrace.replayer.identities import named
from vmatrace.trace.file import load_trace

EVENTS = [
    "- a = mmap(0x10000, 0x3000, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)",
    "- expect: {vmas: 1}",
    "- expect: {vmas: 1, maps: [{start: a, end: a + 0x3000}]}",
    "- munmap(a, PAGE_SIZE)",
    "- expect: {vmas: 1}",
    "- expect: {on: 6.4, vmas: 1}",
    "- child = fork()",
    "- expect: {pid: child, name: inherited, merges: 0}",
    "- madvise(a, PAGE_SIZE, MADV_MERGEABLE)",
    "- madvise(a + PAGE_SIZE, PAGE_SIZE, MADV_MERGEABLE)",
    "- expect: {mergeable: 1}",
]
NAMES = [
    "vmas after a",
    "vmas, maps after a",
    "vmas after munmap(a, PAGE_SIZE)",
    "vmas after munmap(a, PAGE_SIZE) (2)",
    "inherited",
    "mergeable after madvise(a + PAGE_SIZE, PAGE_SIZE, …)",
]
#: Lines that change nothing about the expectations around them.
OTHERS = ["# a comment", "", "- munlockall()", "- brk(0)"]


def names(lines: list[str]) -> list[str]:
    text = "vmatrace: 1\nevents:\n" + "".join(f"  {line}\n" for line in lines)
    return [name for _, name in named(load_trace(text.encode()).items())]


def test_a_name_is_the_given_one_or_made_of_what_and_after_which_call() -> None:
    assert names(EVENTS) == NAMES
    assert names(["- expect: {vmas: 0}"]) == ["vmas at the start"]


@given(st.lists(st.tuples(st.sampled_from([0, 3, 6, 8, 9]), st.sampled_from(OTHERS))))
def test_lines_inserted_before_calls_change_no_name(inserted: list[tuple[int, str]]) -> None:
    lines = list(EVENTS)
    for at, line in sorted(inserted, reverse=True):
        lines.insert(at, line)
    assert names(lines) == NAMES


EXPECT = st.sampled_from(
    ["- expect: {vmas: 0}", "- expect: {name: x, vmas: 0}", "- expect: {name: vmas at the start,"
     " vmas: 0}", "- expect: {name: x (2), merges: 0}", "- munlockall()", "- brk(0)"]
)  # fmt: skip


@given(st.lists(EXPECT, min_size=1, max_size=20))
def test_no_two_have_one_name(lines: list[str]) -> None:
    found = names(lines)
    assert len(set(found)) == len(found) == sum("expect" in line for line in lines)


def test_equal_calls_are_counted() -> None:
    lines = ["- munlockall()", "- expect: {vmas: 0}", "- brk(0)"] * 3
    assert names(lines) == [
        "vmas after munlockall()",
        "vmas after munlockall(), time 2",
        "vmas after munlockall(), time 3",
    ]
