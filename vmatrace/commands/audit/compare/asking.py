"""What the command line asks of a comparison: two snapshots, or the ends of a file of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import click

from vmatrace.commands import forms
from vmatrace.commands.audit.compare.question import MapComparison, compare
from vmatrace.commands.audit.question import Audit, audit
from vmatrace.commands.audit.snapshot import open_snapshot
from vmatrace.commands.audit.sources import named
from vmatrace.commands.audit.watch.choosing import chosen
from vmatrace.commands.audit.watch.samples import open_samples
from vmatrace.commands.audit.watch.words import time
from vmatrace.commands.inputs import BAD, DIFFERS, OK, check_stdin
from vmatrace.diagnostic import Diagnostic, TraceError
from vmatrace.importers.looks import is_database

if TYPE_CHECKING:
    from vmatrace.kernels import Kernel

#: Which sample of a file is meant before, and which after, as choosing has it; None: of one file
#: the first and the last, of two files the last of each.
Picks: TypeAlias = "tuple[str | None, str | None]"


def show(
    sources: Sequence[str],
    kernel: Kernel | None,
    limit: int | None,
    wanted: Sequence[forms.Wanted],
    picks: Picks = (None, None),
) -> int:
    """Compare the two that *sources* name: before, after. *picks*: which samples."""
    forms.check_known(str(__package__), wanted, "a comparison of snapshots has no")
    try:
        before, after = _both(sources, kernel, limit, picks)
        with forms.Forms[MapComparison](str(__package__), wanted) as out:
            found = compare(before, after)
            out.write(found)
    except TraceError as error:
        click.echo(str(error), err=True)
        return BAD
    return DIFFERS if found.changes else OK


def _both(
    sources: Sequence[str], kernel: Kernel | None, limit: int | None, picks: Picks
) -> tuple[Audit, Audit]:
    if len(sources) == 1 and is_database(sources[0]):
        first, last = picks
        both = [("--from", first or "1"), ("--to", last or "-1")]
        before, after = _sampled(sources[0], kernel, limit, both)
        return before, after
    check_stdin(sources)
    found = [each for source in sources for each in named([source])]
    problems = [each for each in found if isinstance(each, TraceError)]
    if problems:
        raise TraceError([d for each in problems for d in each.diagnostics])
    names = [each.name for each in found if not isinstance(each, TraceError)]
    if len(names) != 2:
        raise click.UsageError(f"two snapshots are compared, before and after, not {len(names)}")
    return (
        _side(names[0], kernel, limit, ("--from", picks[0])),
        _side(names[1], kernel, limit, ("--to", picks[1])),
    )


def _side(
    name: str, kernel: Kernel | None, limit: int | None, pick: tuple[str, str | None]
) -> Audit:
    option, which = pick
    if is_database(name):
        return _sampled(name, kernel, limit, [(option, which or "-1")])[0]
    if which is not None:
        raise click.UsageError(f"{option} chooses a sample, and {name} has none")
    return audit(open_snapshot(name), kernel, limit)


def _sampled(
    path: str, kernel: Kernel | None, limit: int | None, picks: Sequence[tuple[str, str]]
) -> list[Audit]:
    """Those samples of a file that *picks* mean, each with the option that it is from."""
    with open_samples(path) as samples:
        if not samples.taken:
            raise TraceError([Diagnostic(path, 0, 0, "there is no sample in it")])
        found = []
        for option, which in picks:
            number = chosen(samples.taken, which, option)
            sample = samples.taken[number - 1]
            snapshot = replace(samples.snapshot(number), source=f"{path} at {time(sample.at)}")
            found.append(audit(snapshot, kernel, limit or sample.max_map_count))
        return found
