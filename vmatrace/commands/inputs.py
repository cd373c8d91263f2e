"""The traces that a command line names: which files they are, and the status of all together.

Knows directories, standard input, and what becomes of a trace in error; nothing of any command.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

import click

if TYPE_CHECKING:
    from vmatrace.importers.format import Reading
    from vmatrace.trace.file import Trace, TraceError

_Answer = TypeVar("_Answer")

OK: Final = 0
DIFFERS: Final = 1
BAD: Final = 2


def each(
    sources: Iterable[str | TraceError],
    show: Callable[[Trace], int],
    reading: Reading | None = None,
    refuse: Callable[[TraceError], None] = lambda _: None,
) -> int:
    """The worst status of *show* over all traces; one in error is reported and passed over.

    *reading* is for logs (importers.open_trace()); *refuse* is told of each error too.
    """
    return each_answer(sources, lambda source: show(opened(source, reading)), refuse)


def each_answer(
    answers: Iterable[_Answer | TraceError],
    show: Callable[[_Answer], int],
    refuse: Callable[[TraceError], None] = lambda _: None,
) -> int:
    """The same of anything else: *answers*, or whatever *show* finds one from, or what is wrong."""
    from vmatrace.trace.file import TraceError

    status = OK
    for one in answers:
        try:
            if isinstance(one, TraceError):
                raise one
            status = max(status, show(one))
        except TraceError as error:
            sys.stdout.flush()
            click.echo(str(error), err=True)
            status = BAD
            refuse(error)
        except BrokenPipeError:
            write_nowhere()
            break
    return status


def opened(source: str, reading: Reading | None = None) -> Trace:
    """importers.open_trace(); of another kind of file the error names the command that takes it."""
    from vmatrace.importers import open_trace
    from vmatrace.trace.file import TraceError

    try:
        return open_trace(source, reading)
    except TraceError as error:
        from vmatrace.commands.start.question import recognised

        raise recognised(source, "a trace or a log") or error from None


def write_nowhere() -> None:
    """What is buffered for standard output would be written at exit, and fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def check_stdin(named: Sequence[str]) -> None:
    """Raises click.UsageError where standard input is *named* twice."""
    if named.count("-") > 1:
        raise click.UsageError("standard input ('-') can be read only once")


def sources(traces: Sequence[str]) -> list[str | TraceError]:
    """The files that *traces* name, and an error for each that names none."""
    check_stdin(traces)
    found: list[str | TraceError] = []
    for trace in traces:
        found += _below(trace) if os.path.isdir(trace) and trace != "-" else [trace]
    return found


def _below(directory: str) -> list[str | TraceError]:
    """The traces in *directory*, sorted, then what cannot be read there."""
    from vmatrace.diagnostic import Diagnostic
    from vmatrace.trace.file import TraceError

    unreadable: list[OSError] = []
    named = sorted(
        os.path.join(folder, file)
        for folder, _, files in os.walk(directory, onerror=unreadable.append)
        for file in files
        if file.endswith(".yaml")
    )
    # Opening a pipe would wait for somebody to write into it, and nobody asked for this one.
    special = [path for path in named if os.path.exists(path) and not os.path.isfile(path)]
    found = [path for path in named if path not in special]
    errors = [(str(e.filename), f"cannot be read: {e.strerror}") for e in unreadable]
    errors += [(path, "it is no file but a pipe, socket or device") for path in special]
    if not found and not errors:
        errors = [
            (directory, f"no trace in this directory (expected *.yaml files{_else(directory)})")
        ]
    return [*found, *(TraceError([Diagnostic(path, 0, 0, what)]) for path, what in errors)]


def _else(directory: str) -> str:
    """What could be asked about in a folder without traces, as commands."""
    from vmatrace.commands.start.question import quoted, readable

    context = click.get_current_context(silent=True)
    command = context.info_name if context is not None else "replay"
    others = [found for found in readable(directory) if found.trace]
    return "".join(
        f"; there is {found.what}: vmatrace {command} {quoted(found.path)}" for found in others[:2]
    )
