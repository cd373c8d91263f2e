"""A file that is read window by window says what its bytes say, held whole."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from vmatrace import diagnostic
from vmatrace.diagnostic import Source, TraceError
from vmatrace.event import Event
from vmatrace.trace import file as tracefile
from vmatrace.trace import items
from vmatrace.trace.file import load_trace

HEAD = "vmatrace: 1\nname: windows\nevents:\n"
#: Pieces of a list of events, and bad ones.
GOOD = (
    "  - munmap(0x1000, 4096) = 0\n", "  - mmap(0, 8192, PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS)\n",
    "  - expect: {vmas: 1}\n", "  # a remark\n", "\n", "  - brk(0)\r\n", "  - brk(0)\r",
    "  - >\n    brk(0)\n", "  - munmap(0, \n      1) = 0\n", "  - brk(0)\n",
    "  - 'brk(0)' # " + "\u00fc" * 99 + "\n",
)  # fmt: skip
BAD = (
    "  - {call: 'brk(0)', on: x}\n", "  - nonsense(1)\n", "  - munmap(\n", "name: x\n", "---\n",
    "page_size: 4096\n", "  - \u00fc\n", "  - [\n", "\t\n", "- brk(0)\n", "  - brk(0)",
)  # fmt: skip
BYTES = (b"\xff", b"\x01", b"\xe2\x82", b"\xef\xbb\xbf", b"\x00")


def lists(pieces: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(pieces), max_size=40)


def said(source: Path | bytes) -> object:
    try:
        trace = load_trace(source, None if isinstance(source, Path) else "bytes")
        return [
            [(i.text, i.line, i.column, i.pid) if isinstance(i, Event) else str(i)
             for i in trace.items()] for _ in range(2)
        ]  # fmt: skip
    except TraceError as error:
        return [(d.line, d.column, d.message, d.source) for d in error.diagnostics], error.omitted


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.sampled_from([GOOD, GOOD + BAD]).flatmap(lists),
    usual=st.tuples(st.integers(0, 9), st.integers(0, 60)),
    wrong=st.one_of(st.none(), st.tuples(st.sampled_from(BYTES), st.integers(0, 2000))),
    window=st.one_of(st.integers(1, 60), st.integers(1, 300)),
    piece=st.sampled_from([16, 100, 1 << 14]),
)
@example(pieces=["  - brk(0)\r", *GOOD[:1]], usual=(0, 20), wrong=None, window=60, piece=1 << 14)
def test_a_file_read_in_windows_says_what_it_says_when_held(
    pieces: list[str], usual: tuple[int, int], wrong: tuple[bytes, int] | None, window: int,
    piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    data = ("#\n" * usual[0] + HEAD + GOOD[0] * usual[1] + "".join(pieces)).encode()
    if wrong is not None:
        data = data[: wrong[1]] + wrong[0] + data[wrong[1] :]
    path = tmp_path / "t.yaml"
    path.write_bytes(data)
    with monkeypatch.context() as patched:
        patched.setattr(items, "_PIECE", piece)
        held = said(data)
        patched.setattr(diagnostic, "WINDOW", window)
        patched.setattr(tracefile, "WINDOW", 0)
        assert said(path) == held


@given(st.binary(max_size=200), st.integers(1, 50), st.integers(0, 3))
def test_windows_are_whole_lines_and_all_of_a_source(data: bytes, window: int, start: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(diagnostic, "WINDOW", window)
        blocks = list(Source("x", data).windows(start))
    assert b"".join(block for _, block in blocks) == data[start:]
    assert all(block.endswith(b"\n") for _, block in blocks[:-1])
    assert [at for at, _ in blocks] == [
        start + sum(len(block) for _, block in blocks[:i]) for i in range(len(blocks))
    ]


def test_a_file_that_becomes_shorter_while_it_is_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnostic, "WINDOW", 60)
    monkeypatch.setattr(tracefile, "WINDOW", 0)
    path = tmp_path / "t.yaml"
    path.write_text(HEAD + GOOD[0] * 99, encoding="ascii")
    trace = load_trace(path)
    read = trace.items()
    first = next(read)
    path.write_text(HEAD + GOOD[0] * 40, encoding="ascii")
    with pytest.raises(TraceError, match=r"t\.yaml: error: it became shorter while it was read"):
        list(read)
    assert isinstance(first, Event)


def test_a_source_held_is_the_same_as_its_bytes() -> None:
    source = Source("t", b"a\nb")
    assert (source.size, source.data, source.part(2, 9)) == (3, b"a\nb", b"b")
    assert (
        load_trace(BytesIO(HEAD.replace("events:", "events: []").encode()), "t").name == "windows"
    )
