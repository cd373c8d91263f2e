"""The command `vmatrace diff`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vmatrace.commands import forms, options
from vmatrace.commands.inputs import BAD, DIFFERS, OK, each, sources

if TYPE_CHECKING:
    from vmatrace.commands.diff.question import Source
    from vmatrace.importers.format import Reading
    from vmatrace.trace.file import Trace

_FROM, _TO = "pre-patch", "post-patch"
_ACROSS = f"{__package__}.across"


@click.command(
    "diff",
    short_help="Compare what traces lead to under two models.",
    epilog="""\b
Examples:
  vmatrace diff trace.yaml                     pre-patch against post-patch
  vmatrace diff trace.yaml --from 6.12 --to 6.18
  vmatrace diff trace.yaml --steps             every event that differs
  vmatrace diff traces/ --format markdown      a comment for a pull request
  vmatrace diff traces/ --format github        annotations for GitHub Actions
  vmatrace replay traces/ --kernel 6.12 --format json > baseline.json
  vmatrace diff traces/ --from baseline.json --to 6.18
  vmatrace diff trace.yaml --across 6.4..6.18  release by release

\b
A side (--from, --to) is a model, a saved result of `vmatrace replay --format
json` (those of several traces are matched by path, then by name), or the text
of /proc/PID/smaps or maps. A file called like a model is written ./NAME.

\b
Two sides are equal when every call returned the same and left the same VMAs
(range, flags, offset, name), whatever merges that took. Without events on
both sides (a saved result has them with --steps) the layouts at the end, the
peak and the number of failed calls are compared.

\b
Reading the table: a VMA over several rows is drawn with a bracket. Equal VMAs
are folded.

\b
Exit status: 0 equal; 1 different; 2 bad usage or bad input.""",
)
@options.traces
@click.option("--from", "from_", metavar="MODEL|FILE", shell_complete=options.complete_sides,
              help=f"What to compare with.  [default: {_FROM}]")  # fmt: skip
@click.option("--to", metavar="MODEL|FILE", shell_complete=options.complete_sides,
              help=f"What is compared.  [default: {_TO}]")  # fmt: skip
@click.option("--across", metavar="MODELS",
              help="Compare each of several models with the one before it: a range of releases "
              "(6.4..6.18), a list (6.12,6.12.117,post-patch), or both.")  # fmt: skip
@click.option("--steps", is_flag=True, help="Show all events that differ, not only the first.")
@options.ksm
@options.reading
@forms.option(__package__)
def command(
    traces: tuple[str, ...],
    from_: str | None,
    to: str | None,
    across: str | None,
    steps: bool,
    ksm: bool | None,
    reading: Reading,
    wanted: tuple[forms.Wanted, ...],
) -> int:
    """Compare what traces lead to under two models, or across several.

    TRACE is a file, a directory (all *.yaml below it) or - for standard input.
    """
    if across is not None:
        if from_ is not None or to is not None:
            raise click.UsageError("--across does not go with --from and --to")
        if steps:
            raise click.UsageError("--across does not go with --steps")
        for form, _ in wanted:
            if form not in (known := forms.names(_ACROSS)):
                raise click.UsageError(
                    f"--across does not go with --format {form} (expected {', '.join(known)})"
                )
        return _across(traces, across, ksm, reading, wanted)
    return _two(traces, (from_ or _FROM, to or _TO), steps, ksm, reading, wanted)


def _two(
    traces: tuple[str, ...],
    names: tuple[str, str],
    steps: bool,
    ksm: bool | None,
    reading: Reading,
    wanted: tuple[forms.Wanted, ...],
) -> int:
    from vmatrace.commands.diff.question import Comparison, Diff
    from vmatrace.diagnostic import TraceError
    from vmatrace.render import progress

    named = sources(traces)
    try:
        from_, to = (
            _side(name, option) for name, option in zip(names, ("--from", "--to"), strict=True)
        )
    except TraceError as error:
        click.echo(str(error), err=True)
        return BAD
    out = forms.Forms[Diff](__package__, wanted, len(named))

    def show(trace: Trace) -> int:
        comparison = Comparison(trace, from_, to, ksm)
        # The whole trace before the first line of output: a trace in error prints nothing.
        with progress.watching(trace):
            found = comparison.diff()
        found.again = comparison.events if steps else None
        out.write(found)
        return OK if found.equal else DIFFERS

    with out:
        return each(named, show, reading, out.refuse)


def _across(
    traces: tuple[str, ...],
    text: str,
    ksm: bool | None,
    reading: Reading,
    wanted: tuple[forms.Wanted, ...],
) -> int:
    from vmatrace.commands.diff.across.question import Across, across, parse_models
    from vmatrace.render import progress

    named = sources(traces)
    try:
        models = parse_models(text)
    except ValueError as error:
        raise click.UsageError(f"--across: {error}") from None
    out = forms.Forms[Across](_ACROSS, wanted, len(named))

    def show(trace: Trace) -> int:
        with progress.watching(trace):
            found = across(trace, models, ksm)
        out.write(found)
        return OK if found.equal else DIFFERS

    with out:
        return each(named, show, reading, out.refuse)


def _side(name: str, option: str) -> Source:
    from vmatrace.commands.diff.baseline import open_side
    from vmatrace.kernels import UnknownKernel

    try:
        return open_side(name)
    except UnknownKernel as error:
        raise click.UsageError(f"{option}: {error}, and no file of that name") from None
