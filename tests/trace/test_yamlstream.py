"""YAML as a stream: what is a collection, and how much of an endless file is read."""

from __future__ import annotations

import io

import pytest

from vmatrace.trace.file import TraceError, load_trace
from vmatrace.trace.yamlstream import is_collection


@pytest.mark.parametrize(
    ("text", "whole", "start"),
    [
        ("a: 1\n", True, True),
        ("- a\n- b\n", True, True),
        ("[1, 2]", True, True),
        ("{a: 1}", True, True),
        ("just words\n", False, False),
        ("", False, False),
        ("# a comment\n", False, False),
        ("[1, 2", False, True),
        ("{a: [1,\n", False, True),
        ("a: 'b\n", False, True),
        ("a: b: c\n- d\n", False, False),
        ("a: 1\nb: [\n", False, True),
        ("'a", False, False),
        ("a: 1\n@\nb: 2\n", False, False),
    ],
)
def test_a_collection_is_one_also_where_it_is_cut_off(text: str, whole: bool, start: bool) -> None:
    assert is_collection(text.encode(), cut=False) is whole
    assert is_collection(text.encode(), cut=True) is start


class Endless(io.RawIOBase):
    """A file of two whole reads, a null byte, and no end."""

    def __init__(self, seekable: bool) -> None:
        self.seeks = seekable
        self.reads = 0
        self.place = 0

    def seekable(self) -> bool:
        return self.seeks

    def tell(self) -> int:
        return self.place

    def seek(self, place: int, whence: int = 0) -> int:
        self.place = place
        return place

    def read(self, size: int = -1) -> bytes:
        self.reads += 1
        assert self.reads < 6, "read on"
        assert size > 0
        start, self.place = self.place, self.place + size
        text = b"vmatrace: 1\n" + b"#" * ((2 << 20) - 13) + b"\n\0"
        return text[start : start + size].ljust(size, b"\0")


@pytest.mark.parametrize("seekable", [True, False])
def test_little_is_read_after_a_null_byte(seekable: bool) -> None:
    file = Endless(seekable)
    with pytest.raises(TraceError) as caught:
        load_trace(file)  # type: ignore[arg-type]
    (error,) = caught.value.diagnostics
    assert (error.line, error.column, error.message) == (3, 1, "control character 0x00")
    assert file.place == 3 << 20


def test_a_file_is_read_from_where_it_is() -> None:
    file = io.BytesIO(b"#!x\0\nvmatrace: 1\nevents:\n- munlockall()\n")
    file.seek(5)
    (event,) = load_trace(file).items()
    assert event.line == 3
