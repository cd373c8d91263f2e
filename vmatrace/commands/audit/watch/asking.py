"""What the command line asks of a series: to take one, or to show those that files hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from vmatrace.commands import forms
from vmatrace.commands.audit.parameters import Below
from vmatrace.commands.audit.sources import Asked, named
from vmatrace.commands.audit.watch.question import VmaSeries, series
from vmatrace.commands.audit.watch.samples import IN_MEMORY, Samples, open_samples
from vmatrace.commands.inputs import BAD, DIFFERS, OK, each_answer
from vmatrace.diagnostic import Diagnostic, TraceError
from vmatrace.importers.looks import is_database

if TYPE_CHECKING:
    from vmatrace.kernels import Kernel

_INTERRUPTED: Final = 130
_ROOM: Final = __package__


def stored(sources: Sequence[str]) -> bool:
    """Whether *sources* are files of samples. Raises click.UsageError for some that are."""
    found = [is_database(source) for source in sources]
    if any(found) and not all(found):
        raise click.UsageError("samples (audit --every -o FILE) do not go with other sources")
    return any(found)


def check_alone(*allowed: str) -> None:
    """Raises click.UsageError where the command line has an option whose parameter is not among
    *allowed*: of samples nothing is replayed, and no trace is read.
    """
    context = click.get_current_context()
    for param in context.command.params:
        name = param.name or ""
        given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if given and name not in allowed:
            raise click.UsageError(f"{param.opts[0]} does not go with samples (audit --every)")


def show(
    sources: Sequence[str],
    kernel: Kernel | None,
    fail_below: Below | None,
    wanted: Sequence[forms.Wanted],
    output: str | None = None,
) -> int:
    """The series that the files hold, each with the audit of its last sample."""
    otherwise: str | None = forms.DEFAULT
    if output is not None:
        wanted, otherwise = forms.to_file(_ROOM, wanted, output), None
    forms.check_known(_ROOM, wanted, "samples have no")
    out = forms.Forms[VmaSeries](_ROOM, wanted, len(sources), otherwise)

    def one(source: str) -> int:
        with open_samples(source) as samples:
            if not samples.taken:
                raise TraceError([Diagnostic(source, 0, 0, "there is no sample in it")])
            found = series(samples, kernel)
        out.write(found)
        return _status(found, fail_below)

    with out:
        return each_answer(sources, one, out.refuse)


def take(
    sources: Sequence[str],
    every: float,
    count: int | None,
    output: str | None,
    limit: int | None,
    kernel: Kernel | None,
    fail_below: Below | None,
    wanted: Sequence[forms.Wanted],
) -> int:
    """Sample the one process that *sources* name, and sum up."""
    from vmatrace.commands.audit.watch import live

    forms.check_known(_ROOM, wanted, "samples have no")
    try:
        about = live.about(_process(sources))
        quiet = any(name != forms.DEFAULT and path is None for name, path in wanted)
        with (
            Samples(output or IN_MEMORY, about) as samples,
            forms.Forms[VmaSeries](_ROOM, wanted) as out,
        ):
            interrupted = live.watch(samples, every, count, limit, quiet)
            if not samples.taken:
                return _INTERRUPTED
            found = series(samples, kernel)
            out.write(found)
    except TraceError as error:
        click.echo(str(error), err=True)
        return BAD
    return _INTERRUPTED if interrupted else _status(found, fail_below)


def _process(sources: Sequence[str]) -> int:
    """The number of the one process. Raises TraceError, click.UsageError."""
    found = named(sources)
    for each in found:
        if isinstance(each, TraceError):
            raise each
    names = [each.name for each in found if isinstance(each, Asked)]
    if len(names) != 1:
        shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
        raise click.UsageError(
            f"--every samples one process, not {len(names)} (expected one of {shown})"
        )
    if not (names[0].isascii() and names[0].isdigit()):
        raise click.UsageError("--every samples a process, not a file")
    return int(names[0])


def _status(found: VmaSeries, fail_below: Below | None) -> int:
    """A series fails by its headroom alone: of looking alike the audit of a snapshot tells."""
    return DIFFERS if fail_below is not None and fail_below.fails(found.last) else OK
