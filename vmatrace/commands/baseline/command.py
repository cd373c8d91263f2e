"""The command `vmatrace baseline`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from vmatrace.commands import files, options
from vmatrace.commands.inputs import BAD, OK, each, sources

if TYPE_CHECKING:
    from vmatrace.commands.baseline.question import Renewed
    from vmatrace.commands.diff.baseline import Baseline
    from vmatrace.importers.format import Reading
    from vmatrace.kernels import Kernel
    from vmatrace.trace.file import Trace


@click.command(
    "baseline",
    short_help="Save what traces come to, for `diff --from`; renew it.",
    epilog="""\b
Examples:
  vmatrace baseline traces/ -o baseline.json
  vmatrace diff traces/ --from baseline.json      what changed since
  vmatrace baseline --update -o baseline.json     that was meant: renew it
  vmatrace baseline traces/new.yaml --update -o baseline.json

\b
Each trace is replayed under its own model (its 'kernel', else post-patch) or
that of --kernel; the baseline keeps it, and `vmatrace diff` uses it again.
With --update each trace keeps the model, the --ksm and the --steps that it has
in the baseline; others of the baseline stay as they are, unless their file is
gone. Without traces all of the baseline are renewed.

\b
Exit status: 0 written; 2 bad usage or bad input, and nothing is written.""",
)
@click.argument("traces", metavar="[TRACE]...", nargs=-1, shell_complete=options.complete_files)
@click.option("-o", "--output", metavar="FILE", required=True, type=click.Path(dir_okay=False),
              help="The baseline; what it replaces is compared, trace by trace.")  # fmt: skip
@click.option("--update", is_flag=True, help="Keep what the baseline has of other traces, and the "
              "model of each.")  # fmt: skip
@click.option("--steps", is_flag=True, help="Keep every event, so that later ones are compared "
              "event by event.")  # fmt: skip
@options.model
@options.ksm
@options.reading
def command(
    traces: tuple[str, ...],
    output: str,
    update: bool,
    steps: bool,
    kernel: Kernel | None,
    features_on: tuple[str, ...],
    features_off: tuple[str, ...],
    ksm: bool | None,
    reading: Reading,
) -> int:
    """Save what traces come to as a baseline, a file that `vmatrace diff --from` takes.

    TRACE is a file, a directory (all *.yaml below it) or - for standard input.
    """
    from vmatrace.commands import config
    from vmatrace.commands.baseline.question import renewed, rest, text
    from vmatrace.commands.baseline.saving import Wish, saved
    from vmatrace.commands.baseline.words import lines
    from vmatrace.diagnostic import TraceError

    wish = Wish(options.choice(kernel, features_on, features_off), kernel, ksm, steps)
    try:
        old = _old(output)
    except TraceError as error:
        click.echo(str(error), err=True)
        return BAD
    if not traces and not (update and old is not None):
        traces = config.traces(traces, config.settings())
    if not traces:
        assert old is not None
        traces = tuple(one.path for one in old.results if os.path.lexists(one.path))
    done: list[Renewed] = []

    def show(trace: Trace) -> int:
        found = old.find(trace) if old is not None else []
        before = found[0] if len(found) == 1 else None
        done.append(renewed(trace, before, saved(trace, wish, before if update else None)))
        return OK

    status = each(list(dict.fromkeys(sources(traces))), show, reading)
    if status == OK:
        done += rest(old, done, update) if old is not None else []
        files.write_file(output, text(done))
        for line in lines(output, done):
            click.echo(line)
    return status


def _old(path: str) -> Baseline | None:
    """The baseline that is there, None for no file. Raises TraceError for anything else."""
    from vmatrace.commands.diff.opening import open_baseline
    from vmatrace.diagnostic import Diagnostic, TraceError

    if not os.path.lexists(path) or (os.path.isfile(path) and not os.path.getsize(path)):
        return None
    try:
        found = open_baseline(path) if os.path.isfile(path) else None
    except TraceError as error:
        why = error.diagnostics[0].message
        what = f"it is no baseline and stays as it is: {why}"
        raise TraceError([Diagnostic(path, 0, 0, what)]) from None
    if found is None or not found.results:
        what = "it is no baseline and stays as it is (expected another name)"
        raise TraceError([Diagnostic(path, 0, 0, what)])
    return found
