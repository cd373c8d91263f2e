"""The command `vmatrace import`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from vmatrace.commands import options
from vmatrace.commands.inputs import BAD, OK

if TYPE_CHECKING:
    from vmatrace.trace.file import Trace


@click.command(
    "import",
    short_help="Write a strace log as a trace file.",
    epilog="""\b
Examples:
  strace -f -y -o run.log python3 -c pass
  vmatrace import strace run.log -o run.yaml
  vmatrace import strace run.log.xz | less
  vmatrace import strace LOG -o run.yaml     the files LOG.PID of strace -ff

\b
Every command reads a log where it takes a trace; a trace file can be edited,
explained and kept. Lines that mean nothing to memory are passed over, and the
file's first lines count them; lines that cannot be understood are shown.

\b
Exit status: 0 done; 2 bad usage or bad input, or (--strict) a line that was
not understood.""",
)
@click.argument("form", metavar="strace", type=click.Choice(["strace"]))
@click.argument("log", metavar="LOG")
@click.option("-o", "--output", metavar="TRACE", default="-",
              help="Where to write the trace.  [default: standard output]")  # fmt: skip
@options.assume_faulted
@click.option("--strict", is_flag=True, help="Exit 2 when a line was not understood.")
def command(form: str, log: str, output: str, assume_faulted: str | None, strict: bool) -> int:
    """Write the log of a program's system calls as a trace.

    LOG is what strace wrote (also compressed with gzip, xz or zstd), the name that was given to
    strace -ff, or - for standard input.
    """
    from vmatrace.importers import open_trace
    from vmatrace.trace.file import TraceError

    try:
        trace = open_trace(log, assume_faulted)
        if trace.notes is None:
            raise click.UsageError(f"{log} is a trace file already (expected a log of strace)")
        if os.path.exists(output) and os.path.exists(log) and os.path.samefile(output, log):
            raise click.UsageError(f"{output} is the log (expected another file to write)")
        return _write(trace, output, strict)
    except TraceError as error:
        click.echo(str(error), err=True)
        return BAD


def _write(trace: Trace, output: str, strict: bool) -> int:
    from vmatrace.importers import tracefile
    from vmatrace.render import lognotes, paper, progress

    with progress.watching(trace):
        files = tracefile.survey(trace)
    if output == "-":
        paper.set_encoding(sys.stdout, people=False)
        tracefile.write(trace, files, sys.stdout)
        sys.stdout.flush()
    else:
        import shutil
        import tempfile

        try:
            # All of it before the first byte there: an interrupted run leaves no half of a trace.
            with tempfile.TemporaryFile("w+", encoding="utf-8") as whole:
                tracefile.write(trace, files, whole)
                whole.seek(0)
                with open(output, "w", encoding="utf-8") as file:
                    shutil.copyfileobj(whole, file)
        except OSError as error:
            raise click.UsageError(f"{output}: cannot be written: {error.strerror}") from None
    assert trace.notes is not None
    lognotes.write_import(paper.on(sys.stderr), trace.notes, None if output == "-" else output)
    return BAD if strict and trace.notes.misread_count else OK
