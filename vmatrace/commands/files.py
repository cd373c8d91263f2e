"""Files that a command writes: whole or not at all, and one error where that fails."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import click

from vmatrace.commands.inputs import BAD
from vmatrace.escape import inert


class CannotWriteError(click.ClickException):
    """The file at *path* cannot be written."""

    exit_code = BAD

    def __init__(self, path: str, error: OSError) -> None:
        super().__init__(inert(f"{path}: error: cannot be written: {error.strerror or error}"))

    def show(self, file: Any = None) -> None:
        click.echo(self.message, err=True, file=file)


@contextmanager
def whole_file(path: str) -> Iterator[TextIO]:
    """What is written goes into the file at *path*, whole or not at all. CannotWriteError."""
    from vmatrace.atomic import AtomicFile

    try:
        with AtomicFile(path) as file:
            yield file
    except OSError as error:
        raise CannotWriteError(path, error) from None


def write_file(path: str, text: str) -> None:
    """Put *text* into the file at *path*, whole or not at all. Raises CannotWriteError."""
    with whole_file(path) as file:
        file.write(text)


def refuse_input(output: str, *inputs: str) -> None:
    """Raise click.UsageError where *output* is one of the files that are read."""
    for path in inputs:
        there = output != "-" and os.path.exists(output) and os.path.exists(path)
        if there and os.path.samefile(output, path):
            raise click.UsageError(f"{output} is the input (expected another file to write)")
