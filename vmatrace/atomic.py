"""Files that are written whole or not at all: who reads one never finds half of it.

Knows file systems; nothing of what is written.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from contextlib import suppress
from typing import Final, TextIO

#: Names of open descriptors: what they are open on has no name of its own to take.
_DESCRIPTOR: Final = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,9})|/dev/std(?:out|err)")


class AtomicFile:
    """A text file (UTF-8) that takes its name at ``commit()``, and leaves nothing behind without.

    Raises OSError where the file could not be written. The mode and owner of a file that is there
    are kept, and a symbolic link is followed. What is no regular file (a device, a pipe), and a
    descriptor that is open already (/dev/fd/3, /dev/stdout), is written to at once; one with
    several names or with attributes, or in a directory that takes no new file, is overwritten at
    the end. A context: committed when it is left, discarded when an exception leaves it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        number = _DESCRIPTOR.fullmatch(path)
        self._held = int(number[1] or (1 if path.endswith("out") else 2)) if number else -1
        self._target = os.path.realpath(path)
        self._beside: str | None = None  # the new file, which has a name for the moment
        self._copied = False
        self.stream = self._open()

    def _open(self) -> TextIO:
        if self._held >= 0:
            return _text(os.dup(self._held))
        try:
            before = os.stat(self._target)
        except FileNotFoundError:
            return self._new(None)
        if not stat.S_ISREG(before.st_mode):
            return _text(os.open(self._target, os.O_WRONLY))
        os.close(os.open(self._target, os.O_WRONLY))  # a file that is read-only stays as it is
        if before.st_nlink == 1 and not has_attributes(self._target):
            with suppress(PermissionError):
                return self._new(before)
        self._copied = True
        return tempfile.TemporaryFile(
            "w+", encoding="utf-8", errors="backslashreplace", newline="\n"
        )

    def _new(self, before: os.stat_result | None) -> TextIO:
        folder = os.path.dirname(self._target)
        beside = os.path.join(folder, f".vmatrace-{os.urandom(6).hex()}")
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        self._beside = beside
        if before is not None:
            with suppress(PermissionError):
                os.fchown(handle, before.st_uid, before.st_gid)
            os.fchmod(handle, before.st_mode & 0o7777)
        return _text(handle)

    @property
    def direct(self) -> bool:
        """Whether it is written to at once."""
        return self._beside is None and not self._copied

    @property
    def empty(self) -> bool:
        """Whether nothing was written to it; False of what is written to at once."""
        return not self.direct and self.stream.tell() == 0

    def __enter__(self) -> TextIO:
        return self.stream

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.commit()
        else:
            self.discard()

    def commit(self) -> None:
        """Give the file its name, or its content."""
        try:
            self.stream.flush()
            if self._copied:
                self.stream.seek(0)
                with open(self._target, "w", encoding="utf-8", newline="\n") as file:
                    shutil.copyfileobj(self.stream, file)
            self.stream.close()
            if self._beside is not None:
                os.replace(self._beside, self._target)
                self._beside = None
        finally:
            self.discard()

    def discard(self) -> None:
        """Leave everything as it was; nothing after ``commit()``."""
        with suppress(OSError):  # what could not be written is of no interest any more
            self.stream.close()
        if self._beside is not None:
            with suppress(FileNotFoundError):
                os.unlink(self._beside)
            self._beside = None


def has_attributes(path: str) -> bool:
    """Whether the file at *path* has extended attributes, such as a list of who may access it."""
    try:
        return bool(os.listxattr(path))
    except OSError:  # the file system has none
        return False


def _text(handle: int) -> TextIO:
    return open(handle, "w", encoding="utf-8", errors="backslashreplace", newline="\n")
