"""The lines of an input, whatever its encoding and however it comes in blocks."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmatrace.importers import text
from vmatrace.importers.prefixes import PREFIXES
from vmatrace.importers.sources import BLOCK, Input
from vmatrace.importers.text import HEAD, LogText, lines_of


def lines(*blocks: bytes) -> list[str]:
    return [line for some in lines_of(blocks) for line in some]


@given(
    st.lists(st.text("ab é漢\r\x1b[0m"), min_size=1, max_size=8), st.integers(1, 9), st.booleans()
)
def test_lines_are_the_same_however_they_come(texts: list[str], size: int, mark: bool) -> None:
    data = (b"\xef\xbb\xbf" if mark else b"") + "\n".join(texts).encode()
    blocks = [data[i : i + size] for i in range(0, len(data), size)]
    expected = lines(data)
    assert [line.rstrip("\r") for line in lines(*blocks)] == [
        line.rstrip("\r") for line in expected
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"a\nb", ["a", "b"]),
        (b"a\n\nb\n", ["a", "", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", ["a", "\ufeffb"]),
        (b"\xef\xbb\xbfa", ["a"]),
        (b"\xff\xfea\0\n\0b\0", ["a", "b"]),
        (b"\xfe\xff\0a\0\n\0b", ["a", "b"]),
        (b"\x1b[1;31ma\x1b[0m b\n", ["a b"]),
        (b"a\xffb\n", ["a\\xffb"]),
        (b"\xff\xfe\x00\xd8a\0\n\0", ["\ufffda"]),
    ],
)
def test_marks_breaks_colours_and_bad_bytes(data: bytes, expected: list[str]) -> None:
    assert lines(data) == expected


def test_a_line_without_an_end_is_cut() -> None:
    block = b"x" * (1 << 19)
    found = lines(*[block] * 5)
    assert "".join(found) == "x" * (5 << 19)
    assert [len(line) for line in found] == [3 << 19, 2 << 19]


def test_later_lines_are_those_of_each_block_with_what_is_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(text, "_FAR", 5 * BLOCK)
    blocks = [f"block {i}{' here' * (i % 2)}".ljust(BLOCK // 2) + "\n" for i in range(8)]
    whole = "".join(block + "x" * (BLOCK - len(block) - 1) + "\n" for block in blocks)
    known = LogText(Input(io.BytesIO(whole.encode())))
    found = list(known.later(re.compile("here$|here ")))
    assert [later.head[0].split()[1] for later in found] == ["1", "3"]
    for later in found:
        assert later.name == known.name == "<file>"
        assert later.cut is known.cut is True
        assert list(later.chunks()) == list(known.chunks())


@pytest.mark.parametrize(("size", "cut"), [(HEAD, False), (HEAD + 1, True)])
def test_a_head_is_the_first_of_it(size: int, cut: bool) -> None:
    known = LogText(Input(io.BytesIO(b"x" * size)))
    assert (known.cut, known.head) == (cut, ["x" * HEAD])


def test_prefixes_are_cut_off_one_after_the_other_and_named_from_the_inside() -> None:
    logs = b"app_1  | 2024-01-02T03:04:05.678901234Z brk(NULL) = 0x1000\n" * 3
    known = LogText(Input(io.BytesIO(logs)))
    assert known.dressed == ""
    for _ in range(2):
        known = known.without(next(prefix for prefix in PREFIXES if prefix.on(known.head)))
    assert known.head == ["brk(NULL) = 0x1000"] * 3
    assert [line for lines in known.chunks() for line in lines] == known.head
    outer, inner = known.prefixes
    assert known.dressed == f" in {inner.what} in {outer.what}"
