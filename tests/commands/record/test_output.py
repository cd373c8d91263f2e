"""Where a recording goes: a file is whole or as it was; of a pipe all can be read again."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Thread
from typing import IO

import pytest

from vmatrace.commands.record.output import Output

TEXT = "vmatrace: 1\nname: é\nevents: [munlockall()]\n"


def put(file: IO[str]) -> None:
    file.write(TEXT)


def test_a_file_is_written_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    with Output(str(path)) as out:
        assert (out.path, out.shown, out.standard) == (str(path), str(path), False)
        assert not path.exists()
        out.write(put)
        assert path.read_text(encoding="utf-8") == TEXT
        assert (out.read().name, out.read().path) == ("é", str(path))
    assert [each.name for each in tmp_path.iterdir()] == ["x.yaml"]


def test_a_file_is_as_it_was_where_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("before")

    def failing(file: IO[str]) -> None:
        file.write("half")
        raise ValueError

    with Output(str(path)) as out, pytest.raises(ValueError, match=r"^$"):
        out.write(failing)
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["x.yaml"]
    with pytest.raises(OSError, match="No such file"):
        Output(str(tmp_path / "none" / "x.yaml"))


def test_what_went_into_a_pipe_can_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    seen: list[str] = []
    reader = Thread(target=lambda: seen.append(path.read_text(encoding="utf-8")))
    reader.start()
    with Output(str(path)) as out:
        out.write(put)
        for _ in range(2):
            assert (out.read().name, out.read().path) == ("é", str(path))
    reader.join()
    assert seen == [TEXT]


def test_a_pipe_without_a_reader_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with Output(str(path)) as out:
        os.close(reader)
        out.write(put)
        assert out.read().name == "é"


@pytest.mark.parametrize("path", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_has_a_name(path: str, capfd: pytest.CaptureFixture[str]) -> None:
    with Output(path) as out:
        assert out.standard
        assert out.shown == ("standard output" if path == "-" else path)
    assert capfd.readouterr() == ("", "")
