"""How `vmatrace audit --pages` is run: which processes, and what is said of those left out."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from vmatrace.commands import forms
from vmatrace.commands.audit.pages.question import RATE, Estimate, estimate
from vmatrace.commands.audit.sources import Asked, Lost
from vmatrace.commands.inputs import BAD, OK
from vmatrace.diagnostic import TraceError
from vmatrace.kernels import Kernel


def run(
    asked: Sequence[Asked | TraceError],
    sample: float | None,
    rate: int | None,
    kernel: Kernel | None,
    wanted: Sequence[forms.Wanted],
) -> int:
    """Estimate for the processes *asked*; the exit status. Raises click.UsageError."""
    from vmatrace.render import progress

    _check(asked, wanted)
    status = OK
    lost = Lost(len(asked) > 1)
    by_pid = {int(each.name): each for each in asked if not isinstance(each, TraceError)}

    def refuse(error: TraceError, pid: int | None = None) -> None:
        nonlocal status
        if pid is None or not lost.excuses(by_pid[pid], error):
            sys.stdout.flush()
            click.echo(str(error), err=True)
            status = BAD

    for each in asked:
        if isinstance(each, TraceError):
            refuse(each)
    speed = (RATE if rate is None else rate) << 20
    with forms.Forms[Estimate](__package__, wanted) as out:
        with progress.telling("pages") as tell:
            found = estimate(list(by_pid), sample or 1.0, speed, kernel, refuse, tell)
        if found.processes:
            out.write(found)
    lost.answered = len(found.processes)
    return lost.close(status)


def _check(asked: Sequence[Asked | TraceError], wanted: Sequence[forms.Wanted]) -> None:
    for each in asked:
        if not isinstance(each, TraceError) and not each.name.isdigit():
            raise click.UsageError(
                f"--pages looks into running processes (expected such as a PID, not {each.name})"
            )
    forms.check_known(__package__, wanted, "--pages does not go with")
