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
from vmatrace.commands.audit.watch.samples import open_samples
from vmatrace.commands.audit.watch.words import time
from vmatrace.commands.inputs import BAD, DIFFERS, OK, check_stdin
from vmatrace.diagnostic import Diagnostic, TraceError
from vmatrace.importers.looks import is_database

if TYPE_CHECKING:
    from vmatrace.kernels import Kernel


def show(
    sources: Sequence[str],
    kernel: Kernel | None,
    limit: int | None,
    wanted: Sequence[forms.Wanted],
) -> int:
    """Compare the two that *sources* name: before, after."""
    forms.check_known(str(__package__), wanted, "a comparison of snapshots has no")
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
    if len(sources) == 1 and is_database(sources[0]):
        before, after = _sampled(sources[0], kernel, limit)
        return before, after
    check_stdin(sources)
    found = [each for source in sources for each in named([source])]
    problems = [each for each in found if isinstance(each, TraceError)]
    if problems:
        raise TraceError([d for each in problems for d in each.diagnostics])
    names = [each.name for each in found if not isinstance(each, TraceError)]
    if len(names) != 2:
        raise click.UsageError(f"two snapshots are compared, before and after, not {len(names)}")
    first, last = (
        _sampled(name, kernel, limit)[-1]
        if is_database(name)
        else audit(open_snapshot(name), kernel, limit)
        for name in names
    )
    return first, last


def _sampled(path: str, kernel: Kernel | None, limit: int | None) -> list[Audit]:
    """The first and the last of the samples in a file."""
    with open_samples(path) as samples:
        if not samples.taken:
            raise TraceError([Diagnostic(path, 0, 0, "there is no sample in it")])
        found = []
        for number in (1, len(samples.taken)):
            sample = samples.taken[number - 1]
            snapshot = replace(samples.snapshot(number), source=f"{path} at {time(sample.at)}")
            found.append(audit(snapshot, kernel, limit or sample.max_map_count))
        return found
