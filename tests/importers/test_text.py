"""The lines of an input, whatever its encoding and however it comes in blocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmatrace.importers.text import lines_of


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
