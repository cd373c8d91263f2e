"""How `vmatrace audit --pages` is run: which processes, and what is said of those left out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

import click

from vmatrace.commands import forms
from vmatrace.commands.audit.pages.question import Estimate, estimate
from vmatrace.commands.inputs import BAD, OK
from vmatrace.diagnostic import TraceError
from vmatrace.kernels import Kernel

#: Megabytes a second that are read where nobody says otherwise.
_RATE: Final = 200


def run(
    sources: Sequence[str],
    sample: float | None,
    rate: int | None,
    kernel: Kernel | None,
    wanted: Sequence[forms.Wanted],
) -> int:
    """Estimate for the processes *sources*; the exit status. Raises click.UsageError."""
    from vmatrace.render import progress

    _check(sources, wanted)
    status = OK

    def refuse(error: TraceError) -> None:
        nonlocal status
        sys.stdout.flush()
        click.echo(str(error), err=True)
        status = BAD

    pids = [int(source) for source in sources]
    speed = (_RATE if rate is None else rate) << 20
    with forms.Forms[Estimate](__package__, wanted) as out:
        with progress.telling("pages") as tell:
            found = estimate(pids, sample or 1.0, speed, kernel, refuse, tell)
        if found.processes:
            out.write(found)
    return status


def _check(sources: Sequence[str], wanted: Sequence[forms.Wanted]) -> None:
    for source in sources:
        if not (source.isascii() and source.isdigit()):
            raise click.UsageError(
                f"--pages looks into running processes (expected a PID, not {source})"
            )
    for form, _ in wanted:
        if form not in (known := forms.names(__package__)):
            raise click.UsageError(
                f"--pages does not go with --format {form} (expected {', '.join(known)})"
            )
