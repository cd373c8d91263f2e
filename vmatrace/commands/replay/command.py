"""The command `vmatrace replay`."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

import click

from vmatrace.commands import forms, options
from vmatrace.commands.inputs import BAD, DIFFERS, OK, each, sources

if TYPE_CHECKING:
    from vmatrace.importers.format import Reading
    from vmatrace.kernels import Kernel
    from vmatrace.trace.file import Trace

#: The forms that show layouts as a table.
_TABLES = ("table", "svg", "html-fragment")


@click.command(
    "replay",
    short_help="Replay traces; show the layout and the merges.",
    epilog="""\b
Examples:
  vmatrace replay trace.yaml                  under its kernel, or post-patch
  vmatrace replay trace.yaml --kernel 6.12    under Linux 6.12
  vmatrace replay trace.yaml --without ksm-before-merge
  vmatrace replay trace.yaml --summary        the counts, and no layout
  vmatrace replay traces/ --strict            all traces below a directory
  vmatrace replay trace.yaml --format smaps   the layout as /proc shows it
  vmatrace replay - --steps --format json < trace.yaml | jq .events

\b
Reading the table: flags are the VmFlags codes of /proc/PID/smaps; those that
an ordinary mapping has (rd wr ex sh mr mw me ms ac) are left out; mg is
VM_MERGEABLE: KSM may look at it. A line with = or != stands between two VMAs
that touch and says why they are two, where that does not show in their rows
or KSM is involved (--why all: everywhere). Merges are with the VMA before the
range (prev), behind it (next), or both; a blocked side is one where a VMA
touched the range and did not merge.

\b
Exit status: 0 done; 1 a failed expectation or (--strict) a divergence;
2 bad usage or bad input.""",
)
@options.traces
@options.model
@options.ksm
@options.reading
@click.option("--steps", is_flag=True, help="Show what every call did (table and json).")
@click.option("--summary", is_flag=True, help="Show the counts and no layout (table).")
@click.option(
    "--why",
    type=click.Choice(["all", "interesting", "none"]),
    help="Where two VMAs "
    "touch, say why they are two: everywhere, where their rows do not show it or KSM is "
    "involved, nowhere (table).  [default: interesting]",
)
@click.option("--strict", is_flag=True, help="Exit 1 when a recorded result differs, 2 when "
              "a line of a log was not understood.")  # fmt: skip
@forms.option(__package__)
def command(
    traces: tuple[str, ...],
    kernel: Kernel | None,
    features_on: tuple[str, ...],
    features_off: tuple[str, ...],
    ksm: bool | None,
    reading: Reading,
    steps: bool,
    summary: bool,
    why: str | None,
    strict: bool,
    wanted: tuple[forms.Wanted, ...],
) -> int:
    """Replay traces and print the layout and the merges that come of them.

    TRACE is a file, a directory (all *.yaml below it) or - for standard input; a log of strace
    or another tracer will do as well (vmatrace import --list).
    """
    from dataclasses import replace

    from vmatrace.commands.replay.question import Replayed, outcome
    from vmatrace.commands.underway import underway
    from vmatrace.replayer.run import Replay

    for form, _ in wanted:
        if steps and form in ("maps", "smaps"):
            raise click.UsageError(f"--steps does not go with --format {form}")
    if summary and why is not None:
        raise click.UsageError("--why is about layouts, of which --summary shows none")
    if (summary or why is not None) and wanted and not any(form in _TABLES for form, _ in wanted):
        option = "--summary" if summary else "--why"
        raise click.UsageError(f"{option} does not go with --format {wanted[0].name}")

    model = options.choice(kernel, features_on, features_off)
    named = sources(traces)
    out = forms.Forms[Replayed](__package__, wanted, len(named))

    def show(trace: Trace) -> int:
        kernel = model(trace.kernel)
        # The whole trace before the first line of output: a trace in error prints nothing.
        with underway(trace):
            result = outcome(trace, kernel, ksm)
        again = partial(Replay, trace, kernel, ksm)
        answer = Replayed(trace, result, again if steps else None, layouts=not summary)
        out.write(replace(answer, why=why) if why is not None else answer)
        if strict and trace.notes is not None and (missed := trace.notes.misread_count):
            lines = "1 line was" if missed == 1 else f"{missed} lines were"
            sys.stdout.flush()
            click.echo(f"{trace.path}: error: {lines} not understood (--strict)", err=True)
            return BAD
        return DIFFERS if result.failures or (strict and result.divergences) else OK

    with out:
        return each(named, show, reading, out.refuse)
