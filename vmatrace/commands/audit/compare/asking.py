"""What the command line asks of a comparison: two snapshots, or the ends of a file of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from vmatrace.commands import forms
from vmatrace.commands.audit.compare.question import MapComparison, compare
from vmatrace.commands.audit.question import Audit, audit
from vmatrace.commands.audit.snapshot import open_snapshot
from vmatrace.commands.audit.sources import named
from vmatrace.commands.audit.watch.samples import is_samples, open_samples
from vmatrace.commands.audit.watch.words import time
from vmatrace.commands.inputs import BAD, DIFFERS, OK, check_stdin
from vmatrace.diagnostic import Diagnostic, TraceError

if TYPE_CHECKING:
    from vmatrace.kernels import Kernel


def show(
    sources: Sequence[str],
    kernel: Kernel | None,
    limit: int | None,
    wanted: Sequence[forms.Wanted],
) -> int:
    """Compare the two that *sources* name: before, after."""
    forms.check_known(str(__package__), wanted, "--compare does not go with")
    try:
        before, after = _both(sources, kernel, limit)
        with forms.Forms[MapComparison](str(__package__), wanted) as out:
            found = compare(before, after)
            out.write(found)
    except TraceError as error:
        click.echo(str(error), err=True)
        return BAD
    return DIFFERS if found.changes else OK


def _both(sources: Sequence[str], kernel: Kernel | None, limit: int | None) -> tuple[Audit, Audit]:
    if len(sources) == 1 and is_samples(sources[0]):
        with open_samples(sources[0]) as samples:
            if not samples.taken:
                raise TraceError([Diagnostic(sources[0], 0, 0, "there is no sample in it")])
            limit = limit or samples.taken[-1].max_map_count
            before, after = (
                replace(
                    samples.snapshot(number),
                    source=f"{sources[0]} at {time(samples.taken[number - 1].at)}",
                )
                for number in (1, len(samples.taken))
            )
            return audit(before, kernel, limit), audit(after, kernel, limit)
    check_stdin(sources)
    found = [each for source in sources for each in named([source])]
    problems = [each for each in found if isinstance(each, TraceError)]
    if problems:
        raise TraceError([d for each in problems for d in each.diagnostics])
    names = [each.name for each in found if not isinstance(each, TraceError)]
    if len(names) != 2:
        raise click.UsageError(f"--compare takes two snapshots, before and after, not {len(names)}")
    first, last = (audit(open_snapshot(name), kernel, limit) for name in names)
    return first, last
