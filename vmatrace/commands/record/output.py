"""Where a recording goes: a file that is whole or as before, a pipe, or standard output."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from types import TracebackType
from typing import IO, TYPE_CHECKING, BinaryIO

from vmatrace.atomic import AtomicFile

if TYPE_CHECKING:
    from vmatrace.trace.file import Trace


class Output:
    """The place *path*, "-" for standard output. Raises OSError where it cannot be written to.

    A pipe is opened at once, for its reader waits; of a file nothing is there before write().
    ``standard``: what is written comes out of our standard output. ``shown``: its name.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.standard = path in ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
        self.shown = "standard output" if path == "-" else path
        self._direct: AtomicFile | None = None
        self._whole: BinaryIO | None = None
        file = AtomicFile("/dev/stdout" if path == "-" else path)
        if file.direct:
            self._direct = file
        else:
            file.discard()

    def __enter__(self) -> Output:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if self._direct is not None:
            self._direct.discard()
        if self._whole is not None:
            self._whole.close()

    def write(self, write: Callable[[IO[str]], None]) -> None:
        """Let *write* write all of it. Raises OSError; a pipe without reader is no error."""
        if self._direct is None:
            with AtomicFile(self.path) as file:
                write(file)
            return
        # What was written can be read again, which a pipe does not allow.
        with tempfile.NamedTemporaryFile("w+", encoding="utf-8", newline="\n") as whole:
            write(whole)
            whole.flush()
            self._whole = open(whole.name, "rb")  # noqa: SIM115
            whole.seek(0)
            sys.stdout.flush()
            with contextlib.suppress(BrokenPipeError):
                shutil.copyfileobj(whole, self._direct.stream)
                self._direct.commit()

    def read(self) -> Trace:
        """The trace that was written."""
        from vmatrace.trace.file import load_trace

        if self._whole is None:
            return load_trace(self.path)
        os.lseek(self._whole.fileno(), 0, os.SEEK_SET)
        return load_trace(self._whole, self.shown)
