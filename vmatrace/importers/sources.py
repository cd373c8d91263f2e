"""Where the bytes of an input come from: a file, standard input, a compressed one of either.

Knows compression and how to read the same input several times; knows nothing of what is in it.
What few inputs need is imported where they need it: every command starts here.
"""

from __future__ import annotations

import lzma
import os
import re
import stat
import sys
import weakref
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from importlib import import_module
from typing import Any, BinaryIO, Final, Protocol

from vmatrace import inputsize
from vmatrace.diagnostic import Diagnostic, TraceError

#: Bytes read at once; fewer of compressed ones, which become more.
BLOCK: Final = 1 << 15
_PACKED: Final = 1 << 13
_START: Final = 4096
_TRACE: Final = re.compile(rb"(?:\xef\xbb\xbf)?(?:[ \t]*(?:#[^\n]*)?\r?\n)*vmatrace:")
_NO_ZSTD: Final = (
    "it is compressed with zstd, which nothing here can read (expected Python 3.14, the package"
    " zstandard as pip install 'vmatrace[zstd]' has it, or the program zstd)"
)

#: Where the file of a path is, for who reads it in another folder or for somebody else.
placed: ContextVar[Callable[[str], str]] = ContextVar("placed", default=str)


class _Decoder(Protocol):
    """What zlib, lzma, compression.zstd and zstandard have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


class _UnpackError(Exception):
    """Compressed data that cannot be read; the text says why."""


class Input:
    """One input that can be read from the start as often as wanted.

    ``name`` is what messages call it. What is no regular file is kept in a temporary one, because
    nobody can read it twice. ``packed`` says that it is compressed.
    """

    def __init__(self, path: str | BinaryIO) -> None:
        """Raises TraceError when nothing can be read at *path* ("-": standard input)."""
        self.name = "<stdin>" if path == "-" else path if isinstance(path, str) else _name(path)
        self._path = placed.get()(path) if isinstance(path, str) else ""
        self._spool: int | None = None
        with _reported(self.name):
            if not isinstance(path, str):
                self._keep(path)
            elif path == "-":
                self._keep(sys.stdin.buffer)
            elif not stat.S_ISREG(os.stat(self._path).st_mode):
                with open(self._path, "rb") as stream:
                    self._keep(stream)
            with self._open() as file:
                self._size = os.fstat(file.fileno()).st_size
                start = file.read(_START)
        self._unpack = _unpacker(start)
        self.packed = self._unpack is not None
        #: Whether its first line that is no comment is the first key of a trace.
        self.starts_as_trace = _TRACE.match(start) is not None

    def head(self, size: int) -> bytes:
        """The first bytes of the content, *size* or some more. Raises TraceError."""
        parts: list[bytes] = []
        for block in self.blocks():
            parts.append(block)
            size -= len(block)
            if size <= 0:
                break
        return b"".join(parts)

    def blocks(self, size: int = BLOCK) -> Iterator[bytes]:
        """The content, decompressed, in blocks: of *size* bytes, if it was not compressed. Raises
        TraceError.
        """
        with _reported(self.name), self._open() as file:
            if self._unpack is None:
                yield from iter(partial(file.read, size), b"")
            else:
                yield from self._unpack(file)

    def whole(self) -> bytes:
        """All of the content, which is held in memory. Raises TraceError; inputsize has a limit."""
        limit = inputsize.most()
        parts: list[bytes] = []
        size = 0
        for block in self.blocks(max(BLOCK, min(self._size, limit + 1))):
            parts.append(block)
            size += len(block)
            if size > limit:
                what = inputsize.too_large("it" if not self.packed else "it, unpacked,", limit)
                raise TraceError([Diagnostic(self.name, 0, 0, what)])
        return b"".join(parts)

    def _keep(self, stream: BinaryIO) -> None:
        """Store all of *stream*, but of what is no text only the start: /dev/zero has no end.

        Raises TraceError for more than inputsize.most_kept() bytes: `yes` has no end either.
        """
        import tempfile

        limit = inputsize.most_kept()
        with tempfile.TemporaryFile() as kept:
            block = stream.read(BLOCK)
            endless = b"\0" in block and not _unpacker(block)
            size = 0
            while block:
                kept.write(block)
                size += len(block)
                if size > limit:
                    what = inputsize.too_large("what is read from a pipe", limit)
                    raise TraceError([Diagnostic(self.name, 0, 0, f"{what}; a file has no limit")])
                block = b"" if endless else stream.read(BLOCK)
            kept.flush()
            self._spool = os.dup(kept.fileno())
        weakref.finalize(self, os.close, self._spool)

    def _open(self) -> BinaryIO:
        if self._spool is None:
            return open(self._path, "rb", buffering=0)
        # Opened anew, so that two readers do not share a position.
        return open(f"/proc/self/fd/{self._spool}", "rb", buffering=0)


def _name(stream: object) -> str:
    """What messages call an open file: its name, where it has one."""
    name = getattr(stream, "name", None)
    return name if isinstance(name, str) else "<file>"


def _unpacker(start: bytes) -> Callable[[BinaryIO], Iterator[bytes]] | None:
    return next((unpack for magic, unpack in _UNPACK.items() if start.startswith(magic)), None)


@contextmanager
def _reported(name: str) -> Iterator[None]:
    """What goes wrong while the input called *name* is read becomes a TraceError."""
    try:
        yield
    except (OSError, ValueError, _UnpackError) as error:  # ValueError: a null character in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise TraceError([Diagnostic(name, 0, 0, f"cannot be read: {reason}")]) from error


def _members(
    new: Callable[[], _Decoder], broken: type[Exception]
) -> Callable[..., Iterator[bytes]]:
    """A reader of compressed members (frames, streams) one after the other."""

    def unpacked(file: BinaryIO) -> Iterator[bytes]:
        decoder = new()
        started = False
        try:
            for packed in iter(partial(file.read, _PACKED), b""):
                data = packed
                while data:
                    if decoder.eof:
                        if not data.strip(b"\0"):
                            break  # padding
                        decoder = new()
                    started = True
                    if content := decoder.decompress(data):
                        yield content
                    data = decoder.unused_data if decoder.eof else b""
        except (broken, EOFError) as error:
            raise _UnpackError(f"the compressed data is damaged: {error}") from error
        if started and not decoder.eof:
            raise _UnpackError("the compressed data is cut short")

    return unpacked


def _zstd(file: BinaryIO) -> Iterator[bytes]:
    """With what this machine has: Python 3.14's module, the package zstandard, the program zstd."""
    for module, new in (
        ("compression.zstd", lambda found: found.ZstdDecompressor),
        ("zstandard", lambda found: lambda: found.ZstdDecompressor().decompressobj()),
    ):
        try:
            found: Any = import_module(module)
        except ImportError:
            continue
        return _members(new(found), found.ZstdError)(file)
    return _zstd_program(file)


def _zstd_program(file: BinaryIO) -> Iterator[bytes]:
    import shutil
    import subprocess

    program = shutil.which("zstd")
    if program is None:
        raise _UnpackError(_NO_ZSTD)
    command = [program, "--decompress", "--stdout", "--quiet"]
    with subprocess.Popen(
        command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            yield from iter(partial(process.stdout.read, BLOCK), b"")
        except GeneratorExit:
            process.kill()
            raise
        said = process.stderr.read().decode("utf-8", "replace").strip()
    if process.returncode:
        raise _UnpackError(said.rpartition("\n")[2] or "the compressed data is damaged")


#: By the first bytes of a file.
_UNPACK: Final[dict[bytes, Callable[[BinaryIO], Iterator[bytes]]]] = {
    b"\x1f\x8b": _members(lambda: zlib.decompressobj(wbits=31), zlib.error),
    b"\xfd7zXZ\0": _members(lzma.LZMADecompressor, lzma.LZMAError),
    b"\x28\xb5\x2f\xfd": _zstd,
}


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def set_of(path: str) -> list[str]:
    """The files that strace -ff wrote for *path*, LOG.PID, by number; empty if there are none."""
    folder, base = os.path.split(path)
    try:
        names = os.listdir(folder or ".")
    except (OSError, ValueError):
        return []
    numbered = [n for n in names if n.startswith(base + ".") and _is_number(n[len(base) + 1 :])]
    numbered.sort(key=lambda name: int(name[len(base) + 1 :]))
    return [os.path.join(folder, name) for name in numbered] if base else []
