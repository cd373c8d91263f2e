"""The seccomp filter, run by a small interpreter of classic BPF."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vmatrace import abi
from vmatrace.record.filter import OTHER_ABI, calls, program, wanted

TABLE = calls()
CODE: list[tuple[int, int, int, int]] = list(struct.iter_unpack("<HBBI", program(TABLE)))
TRACE, ALLOW = 0x7FF00000, 0x7FFF0000


def verdict(audit: int, number: int, args: tuple[int, ...]) -> int:
    """What the filter returns; it has to end by a return within its own length."""
    data = struct.pack("<iIQ6Q", number, audit, 0, *args)
    at = accumulator = 0
    for _ in range(len(CODE)):
        op, yes, no, k = CODE[at]
        if op == 0x06:
            return k
        if op == 0x20:
            accumulator = int.from_bytes(data[k : k + 4], "little")
            at += 1
            continue
        holds = {0x15: accumulator == k, 0x35: accumulator >= k, 0x45: bool(accumulator & k)}[op]
        at += 1 + (yes if holds else no)
    raise AssertionError("no return")


argument = st.one_of(
    st.integers(0, (1 << 64) - 1),
    st.sampled_from((abi.PR_SET_MEMORY_MERGE, abi.PR_SET_VMA, 15, abi.UFFDIO_REGISTER, 0x5401,
                     abi.CLONE_THREAD | 0x100, 0x4100, 17)),
)  # fmt: skip
numbers = st.one_of(st.sampled_from(sorted(TABLE.names)), st.integers(0, 500))


@given(numbers, st.tuples(*[argument] * 6))
@example(TABLE.numbers["prctl"], (abi.PR_SET_MEMORY_MERGE, 1, 0, 0, 0, 0))
@example(TABLE.numbers["ioctl"], (3, abi.UFFDIO_UNREGISTER, 0, 0, 0, 0))
@example(TABLE.numbers["ioctl"], (3, 0x5401, 0, 0, 0, 0))
@example(TABLE.numbers["clone"], (abi.CLONE_THREAD, 0, 0, 0, 0, 0))
def test_the_filter_stops_at_exactly_what_is_wanted(number: int, args: tuple[int, ...]) -> None:
    name = TABLE.names.get(number)
    expected = TRACE if name is not None and wanted(name, args) else ALLOW
    assert verdict(TABLE.audit, number, args) == expected


@given(
    st.integers(0, (1 << 32) - 1).filter(lambda audit: audit not in (TABLE.audit, OTHER_ABI)),
    numbers,
)
def test_calls_of_another_abi_pass(audit: int, number: int) -> None:
    assert verdict(audit, number, (0,) * 6) == ALLOW


@pytest.mark.parametrize(
    ("number", "name"), [(90, "mmap"), (91, "munmap"), (4, ""), (192, "mmap2")]
)
def test_calls_of_32_bits_are_stopped_at_where_they_change_memory(number: int, name: str) -> None:
    assert verdict(OTHER_ABI, number, (0,) * 6) == (TRACE if name else ALLOW)


def test_a_limit_that_is_only_asked_for_passes() -> None:
    number = TABLE.numbers["prlimit64"]
    assert verdict(TABLE.audit, number, (0, abi.RLIMIT_STACK, 0, 1, 0, 0)) == ALLOW
    for new in (1, 1 << 32):
        assert verdict(TABLE.audit, number, (0, abi.RLIMIT_STACK, new, 1, 0, 0)) == TRACE
    assert verdict(TABLE.audit, number, (0, 7, 1, 1, 0, 0)) == ALLOW


@pytest.mark.parametrize("number", sorted(TABLE.names))
def test_calls_of_the_x32_abi_are_stopped_at_where_they_change_memory(number: int) -> None:
    name = TABLE.names[number]
    changes = name in {
        "mmap", "munmap", "mprotect", "pkey_mprotect", "mremap", "brk", "madvise", "mlock",
        "mlock2", "munlock", "msync", "mbind", "set_mempolicy_home_node", "remap_file_pages",
        "mseal", "shmat", "shmdt",
    }  # fmt: skip
    expected = TRACE if changes else ALLOW
    assert verdict(TABLE.audit, number | 0x40000000, (0,) * 6) == expected
