"""The table of calls is complete: whoever works with calls knows each of them, or is excused.

An excuse stands in the table by name (Call.without) with its reason, and one that is not needed
any more fails, too. A call that is added to CALLS alone fails here once for each who forgot it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from vmatrace import abi
from vmatrace.calls import (
    BIRTHS,
    CALLS,
    DEATHS,
    EXECS,
    KINDS,
    USERS,
    Call,
    given,
    numbers,
    shares_memory,
    touched,
    used_by,
)
from vmatrace.event import Event, Fd, File, format_call
from vmatrace.importers.machine import LogMachine
from vmatrace.importers.strace.reader import Reader
from vmatrace.kernels import DEFAULT, get_kernel
from vmatrace.notes import Notes
from vmatrace.oracle import arch
from vmatrace.record import filter as recorded
from vmatrace.replayer import assumptions
from vmatrace.replayer.run import replay
from vmatrace.schema.tracefile import schema
from vmatrace.search.generate import generate
from vmatrace.structures import iovec, uffdio_range
from vmatrace.trace.callstring import parse_call
from vmatrace.trace.file import Trace

PAGE = 4096
#: LogText for a parameter by its kind, and for those that want something of their own.
TEXTS = {
    "addr": "0x10000000", "size": "0x1000", "int": "0", "flags": "0", "fd": "3", "text": '"/bin/a"',
    "any": "NULL",
}  # fmt: skip
SPECIAL = {
    ("mmap", "prot"): "PROT_READ", ("mmap", "flags"): "MAP_PRIVATE|MAP_ANONYMOUS",
    ("mmap", "fd"): "-1",
    ("prctl", "option"): "PR_SET_MEMORY_MERGE",
    ("ioctl", "request"): "UFFDIO_REGISTER",
    ("ioctl", "argp"): "{range={start=0x10000000, len=0x1000}, mode=UFFDIO_REGISTER_MODE_MISSING}",
    ("process_madvise", "iovec"): "[{iov_base=0x10000000, iov_len=0x1000}]",
    ("process_madvise", "vlen"): "1",
    ("clone", "flags"): "flags=SIGCHLD", ("clone3", "cl_args"): "{flags=0, exit_signal=SIGCHLD}",
    ("fault", "access"): "PROT_READ",
}  # fmt: skip
calls = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def written(call: Call) -> str:
    """The call as strace would print it, with what it needs and no more."""
    args = [SPECIAL.get((call.name, p.name), TEXTS[p.kind]) for p in call.params if not p.optional]
    return f"{call.name}({', '.join(args)})"


@cache
def generated() -> frozenset[str]:
    return frozenset(event.name for i in range(1200) for event in generate("all", i))


def parsed(call: Call) -> bool:
    return parse_call(written(call)).name == call.name


def described(call: Call) -> bool:
    """Whether the schema has the mapping form of the call with exactly its parameters."""
    entries = schema()["properties"]["events"]["items"]["anyOf"]
    ours = [e for e in entries if e.get("properties", {}).get("call") == {"const": call.name}]
    return len(ours) == 1 and {p.name for p in call.params} <= set(ours[0]["properties"])


def replayed(call: Call) -> bool:
    """Whether the model makes the call, whatever comes of it."""
    args = parse_call(written(call)).args
    files: dict[int | str, File] = {3: File("/memfd:a (deleted)", "tmpfs")}
    event = Event(call.name, args, written(call))
    trace = Trace("t", "t", lambda: iter([event]), files=files)
    return replay(trace, get_kernel(DEFAULT)).events == 1


def imported(call: Call) -> bool:
    """Whether a line of a log about it becomes an event."""
    result = "-1 EPERM (Operation not permitted)" if call.name not in DEATHS else "?"
    reader = Reader("log", Notes("strace", "none"), False, LogMachine(None, 4096))
    events = reader.chunk([f"{written(call)} = {result}"])
    return call.name in {event.name for event in events}


def recorded_call(call: Call) -> bool:
    """Whether a recording stops at it, on every processor that has it."""
    table = recorded.calls()
    names = set(table.names.values())
    numbered = {call.name, *call.also} & set(table.numbers)
    return bool(numbered) and numbered <= names


def assumed(call: Call) -> bool:
    """Whether its success proves that memory was there."""
    args = parse_call(written(call)).args
    return assumptions.range_of(call.name, args) is not None


#: Who has to know each call, and whether it does.
WHO: dict[str, Callable[[Call], bool]] = {
    "parser": parsed,
    "schema": described,
    "replay": replayed,
    "log": imported,
    "record": recorded_call,
    "random": lambda call: call.name in generated(),
    "assume": assumed,
}


@calls
@pytest.mark.parametrize("who", WHO)
def test_who_works_with_calls_knows_each_or_is_excused_by_name(call: Call, who: str) -> None:
    if who == "assume" and not any(p.kind == "addr" for p in call.params):
        assert who not in call.without, "without an address there is nothing to excuse"
        return
    assert WHO[who](call) != (who in call.without)


@calls
def test_an_excuse_is_for_somebody_there_is_and_has_a_reason(call: Call) -> None:
    assert set(call.without) <= set(USERS)
    assert all(len(reason) > 10 for reason in call.without.values())


def test_every_processor_has_a_number_for_what_is_recorded() -> None:
    for processor in (arch.x86_64(), arch.aarch64()):
        missing = {call.name for call in used_by("record")} - set(processor.calls)
        assert missing <= {"fork", "vfork"}, processor.name  # arm64: they are clone()


@calls
def test_the_parameters_are_of_kinds_and_families_that_there_are(call: Call) -> None:
    for param in call.params:
        assert param.kind in KINDS
        assert param.bits in (32, 64)
        for family in param.families:
            assert any(name.startswith(family) for name in abi.CONSTANTS), (call.name, family)
    optional = [param.optional for param in call.params]
    assert optional == sorted(optional)
    assert call.required == optional.count(False)


@calls
def test_a_range_is_an_address_and_a_size(call: Call) -> None:
    kinds = [param.kind for param in call.params]
    if call.ranged or call.mapped:
        assert kinds[:2] == ["addr", "size"]
    if call.placed is not None:
        assert kinds[call.placed] == "size"
        assert call.result == "addr"
        assert call.fixed
        assert kinds[call.flags[-1]] == "flags"
    if call.select is not None:
        names = format_call(call.name, [*[0] * call.select.param, call.select.values[0]])
        assert call.params[call.select.param].families[0] in names


def test_births_are_what_returns_a_process() -> None:
    assert {call.name for call in CALLS.values() if call.result == "pid"} == BIRTHS
    assert {"exit", "exit_group"} == DEATHS
    assert {"execve"} == EXECS


@pytest.mark.parametrize(
    ("name", "args", "seen"),
    [
        ("madvise", (-PAGE, PAGE, 4 | 1 << 32), [(1 << 64) - PAGE, PAGE, 4]),
        ("pkey_mprotect", (0, PAGE, 1, 0xFFFFFFFF), [0, PAGE, 1, -1]),
        ("mmap", (0, PAGE, 1, 2, 0xFFFFFFFF, 0), [0, PAGE, 1, 2, -1, 0]),
        ("mmap", (0, PAGE, 1, 2, Fd(3), 0), [0, PAGE, 1, 2, 0, 0]),
    ],
)
def test_arguments_are_as_wide_as_the_kernel_takes_them(
    name: str, args: tuple[object, ...], seen: list[int]
) -> None:
    assert numbers(name, args) == seen


@pytest.mark.parametrize(
    ("name", "args", "result", "ranges"),
    [
        ("munmap", (PAGE, 10), 0, [(PAGE, PAGE + 10)]),
        ("mmap", (PAGE, PAGE, 0, 0, -1, 0), 8 * PAGE, [(8 * PAGE, 9 * PAGE)]),
        ("mmap", (PAGE, PAGE, 0, 0, -1, 0), -abi.ENOMEM, [(PAGE, 2 * PAGE)]),
        ("mremap", (PAGE, PAGE, 2 * PAGE, 1), 8 * PAGE, [(8 * PAGE, 10 * PAGE), (PAGE, 3 * PAGE)]),
        ("mremap", (PAGE, PAGE, PAGE, 3, 4 * PAGE), 4 * PAGE,
         [(4 * PAGE, 5 * PAGE), (PAGE, 2 * PAGE)]),
        ("mremap", (PAGE, PAGE, PAGE, 3, 4 * PAGE), -abi.ENOMEM,
         [(PAGE, 2 * PAGE), (PAGE, 2 * PAGE), (4 * PAGE, 5 * PAGE)]),
        ("prctl", (abi.PR_SET_VMA, 0, PAGE, PAGE, '"a"'), 0, [(PAGE, 2 * PAGE)]),
        ("prctl", (abi.PR_SET_MEMORY_MERGE, 1, 0, 0, 0), 0, None),
        ("prctl", (abi.PR_GET_MEMORY_MERGE,), 0, []),
        ("ioctl", (3, abi.UFFDIO_UNREGISTER, "{start=0x1000, len=4096}"), 0, [(PAGE, 2 * PAGE)]),
        ("process_madvise", (3, "[{iov_base=0x1000, iov_len=4096}]", 1, 4, 0), 0,
         [(PAGE, 2 * PAGE)]),
        ("mlockall", (1,), 0, None),
        ("fork", (), 100, []),
        ("exit", (), 0, []),
        ("execve", ("/bin/a",), 0, None),
    ],
)  # fmt: skip
def test_a_call_touches_what_it_names_and_what_it_places(
    name: str, args: tuple[object, ...], result: int, ranges: list[tuple[int, int]] | None
) -> None:
    assert touched(name, args, result) == ranges


def test_a_recorded_place_that_was_not_taken_is_touched_too() -> None:
    args = (0, PAGE, 0, 0, -1, 0)
    assert touched("mmap", args, PAGE, 5 * PAGE) == [(PAGE, 2 * PAGE), (5 * PAGE, 6 * PAGE)]


@calls
def test_what_a_call_names_is_within_what_it_touches(call: Call) -> None:
    args = parse_call(written(call)).args
    ours = given(call.name, args)
    if call.placed is None:
        assert touched(call.name, args, 0) == ours


def test_structures_are_read_as_they_are_written() -> None:
    assert iovec("[{iov_base=NULL, iov_len=0x10}, {iov_base=4096, iov_len=1}]") == [
        (0, 16), (PAGE, 1),
    ]  # fmt: skip
    assert iovec(0x7000) == []
    assert uffdio_range("{range={start=0x1000, len=0x2000}, mode=1}") == (PAGE, 2 * PAGE)
    assert uffdio_range("NULL") is None
    assert uffdio_range(0) is None


@pytest.mark.parametrize(
    ("name", "args", "shared"),
    [
        ("fork", (), False),
        ("vfork", (), True),
        ("clone", ("flags=CLONE_VM|SIGCHLD",), True),
        ("clone", ("flags=CLONE_VMX",), False),
        ("clone", (abi.CLONE_VM | 17,), True),
        ("clone", (17,), False),
        ("clone3", ("{flags=CLONE_VM|CLONE_VFORK}", 88), True),
    ],
)
def test_a_child_has_its_parents_memory_by_clone_vm(
    name: str, args: tuple[object, ...], shared: bool
) -> None:
    assert shares_memory(name, args) == shared
