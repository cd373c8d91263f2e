"""Inputs as they come: compressed, cut short, from a pipe, as a set of files, or nothing at all."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from stracelogs import FOLDER, outcome

from vmatrace.diagnostic import Diagnostic, TraceError
from vmatrace.importers import open_trace
from vmatrace.importers.format import Reading
from vmatrace.importers.sources import set_of
from vmatrace.kernels import get_kernel
from vmatrace.replayer.run import replay

LOG = FOLDER / "f.log"
KERNEL = get_kernel("post-patch")


def zstd(data: bytes) -> bytes:
    """*data* in a frame of zstd that stores and does not compress: anybody can write that."""
    blocks = [data[i : i + 100_000] for i in range(0, len(data), 100_000)]
    frame = b"\x28\xb5\x2f\xfd" + bytes([0b10_0_0_0_0_00, 0x58]) + len(data).to_bytes(4, "little")
    for block in blocks:
        last = block is blocks[-1]
        frame += (len(block) << 3 | last).to_bytes(3, "little") + block
    return frame


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress, "xz": lzma.compress, "zst": zstd,
}  # fmt: skip


@pytest.fixture(params=["zstandard", "program"])
def unpacker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One way to read zstd at a time; where it is not installed, one that does the same."""
    real = import_module
    wanted = "zstandard" if request.param == "zstandard" else None

    def only(name: str, package: str | None = None) -> ModuleType:
        if name != wanted:
            raise ImportError(name)
        return real(name, package)

    if request.param == "program" and shutil.which("zstd") is None:
        pytest.skip("the program zstd is not installed")
    if request.param == "zstandard":
        pytest.importorskip("zstandard", reason="the package zstandard is not installed")
    monkeypatch.setattr("vmatrace.importers.sources.import_module", only)
    return str(request.param)


def same(path: str) -> bool:
    return outcome(replay(open_trace(path), KERNEL)) == outcome(
        replay(open_trace(str(LOG)), KERNEL)
    )


@pytest.mark.parametrize("suffix", ["gz", "xz"])
def test_a_compressed_log_reads_as_the_log(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.log.{suffix}"
    data = LOG.read_bytes()
    half = len(data) // 2
    # In two members, as appending to a compressed file makes it.
    path.write_bytes(PACKERS[suffix](data[:half]) + PACKERS[suffix](data[half:]))
    assert same(str(path))


def test_a_log_of_zstd_reads_as_the_log(tmp_path: Path, unpacker: str) -> None:
    path = tmp_path / "a.log.zst"
    path.write_bytes(zstd(LOG.read_bytes()))
    assert same(str(path))


@pytest.mark.parametrize("suffix", ["gz", "xz"])
def test_compressed_data_that_is_cut_or_damaged_is_an_error(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.log.{suffix}"
    packed = PACKERS[suffix](LOG.read_bytes() * 50)
    path.write_bytes(packed[: len(packed) - 9])
    with pytest.raises(TraceError) as caught:
        open_trace(str(path)).validate()
    assert str(caught.value) == f"{path}: error: cannot be read: the compressed data is cut short"
    path.write_bytes(packed[:500] + b"\0\xff" * 50 + packed[600:])
    with pytest.raises(TraceError, match="the compressed data is damaged"):
        open_trace(str(path)).validate()


def test_zstd_that_is_cut_short_is_an_error(tmp_path: Path, unpacker: str) -> None:
    path = tmp_path / "a.log.zst"
    path.write_bytes(zstd(LOG.read_bytes() * 20)[:-1000])
    with pytest.raises(TraceError, match="cannot be read: "):
        open_trace(str(path)).validate()


def test_without_any_zstd_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(name: str, package: str | None = None) -> ModuleType:
        raise ImportError(name)

    monkeypatch.setattr("vmatrace.importers.sources.import_module", none)
    monkeypatch.setenv("PATH", "")
    path = tmp_path / "a.log.zst"
    path.write_bytes(zstd(LOG.read_bytes()))
    with pytest.raises(TraceError, match=r"vmatrace\[zstd\]"):
        open_trace(str(path))


def test_the_module_of_newer_pythons_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As compression.zstd of Python 3.14 is used: ZstdDecompressor(), one for each frame."""

    class Decoder:
        eof = False
        unused_data = b""

        def decompress(self, data: bytes) -> bytes:
            frame, end, self.unused_data = data.partition(b"|")
            self.eof = bool(end)
            return frame.removeprefix(magic)

    magic = b"\x28\xb5\x2f\xfd"
    found = SimpleNamespace(ZstdDecompressor=Decoder, ZstdError=ValueError)
    asked = []

    def only(name: str, package: str | None = None) -> object:
        asked.append(name)
        return found

    monkeypatch.setattr("vmatrace.importers.sources.import_module", only)
    path = tmp_path / "a.log.zst"
    path.write_bytes(magic + b"munmap(0x1000, 1) = 0\n|" + magic + b"brk(NULL) = 0x1000\n|")
    assert [getattr(item, "text", "") for item in open_trace(str(path)).items()] == [
        "munmap(0x1000, 1)", "brk(NULL)",
    ]  # fmt: skip
    assert set(asked) == {"compression.zstd"}


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        (r"printf 'zstd: x\n\377 is bad\n\n' >&2; exit 1", "\ufffd is bad"),
        ("exit 3", "the compressed data is damaged"),
    ],
)
def test_what_the_program_zstd_says_last_is_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str, said: str
) -> None:
    path = tmp_path / "a.zst"
    path.write_bytes(zstd(b""))
    programs(tmp_path, monkeypatch, zstd=printed)
    assert refusal(lambda: open_trace(str(path))) == f"{path}: error: cannot be read: {said}"


def test_the_program_zstd_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zst"
    path.write_bytes(zstd(b""))
    endless = "while echo 'munmap(0x1000, 4096) = 0'; do :; done"
    programs(tmp_path, monkeypatch, zstd=endless)
    events = iter(open_trace(str(path)).items())
    assert [str(getattr(next(events), "text", "")) for _ in range(3)] == [
        "munmap(0x1000, 4096)"
    ] * 3


def programs(folder: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    """These are the only programs, and no module reads zstd."""

    def none(name: str, package: str | None = None) -> ModuleType:
        raise ImportError(name)

    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setattr("vmatrace.importers.sources.import_module", none)
    monkeypatch.setenv("PATH", str(folder))


def test_a_compressed_trace_file_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml.gz"
    path.write_bytes(gzip.compress(b"vmatrace: 1\nevents:\n  - munmap(0x1000, 0x1000)\n"))
    assert replay(open_trace(str(path)), KERNEL).events == 1


@pytest.mark.parametrize("packed", [False, True])
def test_a_log_comes_through_a_pipe_and_can_be_read_twice(packed: bool) -> None:
    data = LOG.read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "vmatrace", "replay", "--steps", "--format", "json", "-"],
        input=gzip.compress(data) if packed else data,
        capture_output=True, check=True, env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert b'"trace":"stdin"' in done.stdout
    assert b'"misread":0' in done.stdout


def test_a_trace_file_comes_through_a_pipe_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Standard:
        buffer = io.BytesIO(b"vmatrace: 1\nevents:\n  - munmap(0x1000, 0x1000\n")

    monkeypatch.setattr(sys, "stdin", Standard)
    with pytest.raises(TraceError, match="<stdin>:3:"):
        open_trace("-").validate()


def test_standard_input_is_no_set_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Standard:
        buffer = io.BytesIO(b"munmap(0x1000, 4096) = 0\n")

    (tmp_path / "-.12").write_text("brk(NULL) = 0x1000\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", Standard)
    assert [getattr(item, "text", "") for item in open_trace("-").items()] == [
        "munmap(0x1000, 4096)"
    ]


def test_a_named_pipe_is_read_once(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    with subprocess.Popen(["cp", str(LOG), str(fifo)]):
        trace = open_trace(str(fifo))
    assert replay(trace, KERNEL).events == replay(trace, KERNEL).events > 0


def test_a_set_has_a_name_before_its_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (".12", "a.9", "a.10", "a.x", "a.1x", "a.", "ab.1", "b.²"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert [set_of(path) for path in ("", "a", "b", "none/a")] == [[], ["a.9", "a.10"], [], []]
    assert set_of(f"{tmp_path}/a") == [f"{tmp_path}/a.9", f"{tmp_path}/a.10"]
    assert set_of(f"{tmp_path}/") == []


def test_what_has_no_end_and_no_text_is_given_up() -> None:
    with pytest.raises(TraceError, match="/dev/zero"):
        open_trace("/dev/zero")


_TRACE = b"vmatrace: 1\nevents:\n  - munmap(0x1000, 4096)\n#"


def test_what_is_held_in_memory_may_be_as_large_as_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VMATRACE_MAX_INPUT", str(2 << 20))
    path = tmp_path / "a.yaml.gz"
    for size, refused in ((2 << 20, False), ((2 << 20) + 1, True)):
        path.write_bytes(gzip.compress(_TRACE.ljust(size, b"x"), 1))
        said = refusal(lambda: open_trace(str(path)))
        assert said == refused * (
            f"{path}: error: it, unpacked, is larger than 2 MiB"
            " (expected less; VMATRACE_MAX_INPUT=BYTES raises it)"
        )
        path.write_bytes(_TRACE.ljust(size, b"x"))
        with path.open("rb") as file:
            said = refusal(partial(open_trace, file))
        assert said == refused * (
            f"{path}: error: it is larger than 2 MiB"
            " (expected less; VMATRACE_MAX_INPUT=BYTES raises it)"
        )


def test_what_comes_through_a_pipe_may_be_as_large_as_its_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VMATRACE_MAX_INPUT", str(1 << 14))
    line = b"munmap(0x1000, 4096) = 0".ljust(63) + b"\n"
    assert refusal(lambda: open_trace(io.BytesIO(line * (1 << 14)))) == ""
    assert refusal(lambda: open_trace(io.BytesIO(line * (1 << 14) + b"\n"))) == (
        "<file>: error: what is read from a pipe is larger than 1 MiB"
        " (expected less; VMATRACE_MAX_INPUT=BYTES raises it); a file has no limit"
    )


def refusal(opening: Callable[[], object]) -> str:
    """What is said against an input; empty where nothing is."""
    found: list[Diagnostic] = []
    try:
        opening()
    except TraceError as error:
        found = error.diagnostics
    assert all((each.line, each.column) == (0, 0) for each in found)
    return "\n".join(map(str, found))


def test_the_files_of_a_set_go_by_the_name_that_strace_was_given(tmp_path: Path) -> None:
    for path in FOLDER.glob("ff.log.*"):
        shutil.copy(path, tmp_path / path.name.replace("ff.log", "run"))
    assert replay(open_trace(str(tmp_path / "run")), KERNEL).events > 0
    with pytest.raises(TraceError, match="No such file"):
        open_trace(str(tmp_path / "other"))


def test_a_set_with_times_is_read_in_their_order(tmp_path: Path) -> None:
    first = 'execve("./a", ["a"], 0x7ffc /* 2 vars */) = 0'
    call = "mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = {0}"
    (tmp_path / "a.10").write_text(
        f"23:59:58 {first}\n23:59:59 clone(flags=CLONE_VM|CLONE_THREAD) = 9\n"
        f"00:00:01 {call.format('0x7f0000003000')}\n"
    )
    (tmp_path / "a.9").write_text(f"00:00:00 {call.format('0x7f0000001000')}\n")
    events = list(open_trace(str(tmp_path / "a"), Reading("none")).items())
    assert [(e.pid, getattr(e, "name", "")) for e in events] == [
        ("main", "execve"), ("main", "clone"), ("9", "mmap"), ("main", "mmap"),
    ]  # fmt: skip


def test_a_stream_without_a_name_is_called_a_file() -> None:
    trace = open_trace(io.BytesIO(b"munmap(0x1000, 4096) = 0\n" * 3))
    assert trace.path == "<file>"
