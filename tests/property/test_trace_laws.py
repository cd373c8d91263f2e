"""Laws that hold for every call and every trace."""

from __future__ import annotations

import string
from collections.abc import Iterator
from typing import cast

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vmatrace import abi
from vmatrace.calls import CALLS, Param
from vmatrace.event import Arg, Event, Expectation, Fd, format_call, format_result
from vmatrace.trace.callstring import CallError, CallParser, ParsedCall, parse_call
from vmatrace.trace.file import TraceError, load_trace
from vmatrace.trace.grammar import Grammar

HEAD = "vmatrace: 1\nevents:\n"

# --- calls --------------------------------------------------------------------------------------

WORDS = st.integers(0, abi.ULONG_MAX)
LABELS = st.sampled_from(["a", "b", "ring_2"])
FDS = st.one_of(
    st.integers(-1, 9),
    st.builds(Fd, st.integers(0, 9), st.sampled_from(["/lib/a b.so", "/x, (y)", "/memfd:z"])),
)
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


def pieces(*alphabet: str, size: int) -> st.SearchStrategy[str]:
    """Texts of up to *size* pieces of *alphabet*."""
    return st.lists(st.sampled_from(alphabet), max_size=size).map("".join)


def argument(param: Param) -> st.SearchStrategy[Arg]:
    """Values that the parameter can have, in the form in which they are read back."""
    if param.kind == "flags":
        names = [name for name in abi.CONSTANTS if name.startswith(param.families)]
        known = st.sampled_from(names).map(abi.CONSTANTS.__getitem__)
        return st.one_of(known, st.integers(0, 1 << 32))
    if param.kind == "fd":
        return FDS
    if param.kind == "text":
        return TEXTS
    if param.kind == "any":
        return st.one_of(WORDS, st.sampled_from(["{a=1, b=[2, 3]}", '"na, me)"', "[0x1 0x2]"]))
    return st.one_of(WORDS, st.integers(-4096, 65536))


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, tuple[Arg, ...]]:
    call = draw(st.sampled_from(list(CALLS.values())))
    count = draw(st.integers(call.required, len(call.params)))
    return call.name, tuple(draw(argument(param)) for param in call.params[:count])


@st.composite
def call_strings(draw: st.DrawFn) -> str:
    """Call strings as people and strace write them, and such with a character too many or few."""
    name, args = draw(calls())
    text = format_call(name, args)
    if draw(st.booleans()):
        text = f"{draw(LABELS)}{draw(st.sampled_from([' = ', '=', '  =  ']))}{text}"
    text += draw(
        st.sampled_from(
            ["", " = 0", " = ?", " = 0x7f0000001000", " = -1 ENOMEM (No memory)", " = 17",
             " = 0x", " = 0x0x1", " = 0x1_0", "=0", " = ", ")", " ", " = 0x10000000000000000"]
        )
    )  # fmt: skip
    for old, new in draw(
        st.lists(
            st.sampled_from(
                [(", ", ","), (", ", ",  "), ("(", "( "), (")", " )"), ("0x", "0X"), ("0x", "0x0x"),
                 ("0x", "0x_"), ("0", "０"), ("NULL", "a"), (", ", ", a + "), ("1", "PAGE_SIZE"),
                 ("|", " | "), (", ", ")"), (")", ""), ("(", ""), ("1", "1 /* x, y) */")]
            ),
            max_size=2,
        )
    ):  # fmt: skip
        text = text.replace(old, new, 1)
    return text


def outcome(text: str, parser: CallParser | None) -> object:
    """What reading *text* gives: by the whole of *parser*, or without it by the grammar alone."""
    try:
        return parser.parse(text) if parser else Grammar(text, 4096).call()
    except CallError as error:
        return (error.offset, error.message)


@given(calls(), st.one_of(st.none(), LABELS))
def test_a_written_call_reads_back_as_the_same_call(
    call: tuple[str, tuple[Arg, ...]], label: str | None
) -> None:
    name, args = call
    text = format_call(name, args)
    parsed = parse_call(text if label is None else f"{label} = {text}")
    assert (parsed.label, parsed.name, parsed.args, parsed.text) == (label, name, args, text)


@given(st.one_of(st.integers(-4095, -2), WORDS))
def test_a_written_result_reads_back_as_the_same_number(result: int) -> None:
    if result >= 0 or -result in abi.ERRNO_NAME:
        assert parse_call(f"brk(0) = {format_result(result, 'addr')}").recorded == result


@given(st.lists(call_strings(), min_size=1, max_size=6))
def test_the_fast_path_agrees_with_the_grammar(texts: list[str]) -> None:
    parser = CallParser()
    for text in texts * 2:  # the second time from the caches
        assert outcome(text, parser) == outcome(text, None)


@given(pieces(*string.printable, "mmap(", "0x", "é", "\0", size=60))
def test_any_text_is_a_call_or_a_call_error(text: str) -> None:
    assert outcome(text, CallParser()) == outcome(text, None)


@given(call_strings(), st.integers(0, 8))
def test_the_offset_of_an_error_lies_within_the_text(text: str, cut: int) -> None:
    text = text[: len(text) - cut]
    result = outcome(text, None)
    offset = 0 if isinstance(result, ParsedCall) else cast("tuple[int, str]", result)[0]
    assert 0 <= offset <= len(text)


# --- traces -------------------------------------------------------------------------------------

GOOD = """\
vmatrace: 1
name: x
kernel: post-patch
page_size: 4096
sysctl: {max_map_count: 100}
process: {ksm: true, brk: 0x1000}
files: {3: {path: /a, fs: ext4}, shm: {path: "/b\\tc", fs: tmpfs}}
maps: |
  10000-20000 rw-p 00000000 00:00 0   [heap]
events:
  - a = mmap(NULL, 3*PAGE_SIZE, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7000
  - 'mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, shm, 0)'
  - {call: munmap, addr: a + 0x1000, length: 4096, result: 0}
  - child = fork() = 77
  - {pid: child, call: "munmap(a, 4096)"}
  - expect: {on: [post-patch, ">=6.17"], vmas: 1, merges: <= 3, maps: [{start: a, end: a + 1}]}
"""


def read(data: bytes) -> Iterator[Event | Expectation]:
    return load_trace(data, "t.yaml").items()


def problems(data: bytes) -> TraceError | None:
    try:
        for _ in read(data):
            pass
    except TraceError as error:
        return error
    return None


def check_only_trace_errors(data: bytes) -> None:
    error = problems(data)
    if error is not None:
        assert str(error).startswith("t.yaml:")
        lines = data.count(b"\n") + data.count(b"\r") + 1
        assert error.diagnostics
        assert all(1 <= d.line <= lines and d.column >= 1 for d in error.diagnostics)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_trace_or_a_trace_error(data: bytes) -> None:
    check_only_trace_errors(data)


EDITS = st.tuples(
    st.integers(0, len(GOOD)),
    st.integers(0, 12),
    pieces(*"{}[]&*!|>'\"%@`:,#?-\t\n \\é0x(=)~", "- ", ": ", "\n- ", size=4),
)


@given(st.lists(EDITS, min_size=1, max_size=4))
def test_a_mangled_trace_is_a_trace_or_a_trace_error(edits: list[tuple[int, int, str]]) -> None:
    text = GOOD
    for start, length, replacement in edits:
        text = text[:start] + replacement + text[start + length :]
    check_only_trace_errors(text.encode())


def description(item: Event | Expectation) -> tuple[object, ...]:
    if isinstance(item, Expectation):
        return (item,)
    return item.__reduce__()


ENTRIES = st.lists(
    st.one_of(
        calls().map(lambda call: format_call(*call)).filter(lambda text: "exit" not in text),
        st.sampled_from(
            ["a = brk(0)", "expect: {vmas: 3}", "{call: munmap, addr: 1, length: 2}", "foo(1)"]
        ),
    ).map(lambda text: text if text[0] in "e{" else "'" + text.replace("'", "''") + "'"),
    min_size=1,
    max_size=5,
)


@given(ENTRIES)
def test_streamed_and_materialised_reading_give_the_same(entries: list[str]) -> None:
    lines = "".join(f"  - {entry}\n" for entry in entries)
    results = []
    # A key after the events keeps them from being read as a stream.
    for tail in ("", "name: t\n"):
        try:
            results.append([description(i) for i in read((HEAD + lines + tail).encode())])
        except TraceError as error:
            results.append([(str(d),) for d in error.diagnostics])
    assert results[0] == results[1]


def test_the_pure_python_parser_gives_the_same_as_libyaml(monkeypatch: pytest.MonkeyPatch) -> None:
    first = [description(item) for item in read(GOOD.encode())]
    assert len(first) == 6
    monkeypatch.setattr(yaml, "__with_libyaml__", not yaml.__with_libyaml__)
    assert [description(item) for item in read(GOOD.encode())] == first


@given(st.text(st.sampled_from(list("abxé日 ,()0")), min_size=1, max_size=10), st.integers(0, 3))
def test_the_column_points_at_the_offending_token(noise: str, style: int) -> None:
    entry = f"brk(0) /* {noise} */ WRONG"
    source = [f"- {entry}", f"- '{entry}'", f'- "{entry}"', f"- >\n    {entry}"][style]
    with pytest.raises(TraceError) as caught:
        list(read((HEAD + source + "\n").encode()))
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.source[diagnostic.column - 1 :].startswith("WRONG")
