"""The command `vmatrace import`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from vmatrace.commands import options
from vmatrace.commands.inputs import BAD, OK

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from vmatrace.importers.format import Reading
    from vmatrace.trace.file import Trace


class _Form(click.ParamType):  # type: ignore[type-arg]
    """The name of a format."""

    name = "format"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """*value*, which has to be one."""
        from vmatrace.diagnostic import quoted, suggestion
        from vmatrace.importers import formats

        names = [form.name for form in formats()]
        if value not in names:
            hint = suggestion(value, names) or f" (expected {', '.join(names)})"
            if os.path.exists(value):
                hint = f" (expected FORMAT FILE, such as {names[0]} {value})"
            self.fail(f"unknown format {quoted(value)}{hint}", param, ctx)
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The formats whose names start so."""
        from vmatrace.importers import formats

        return options.matching([form.name for form in formats()], incomplete)


def _list(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    """--list: the formats, each with a command that makes one."""
    if not wanted or ctx.resilient_parsing:
        return
    from vmatrace.importers import formats

    width = max(len(form.name) for form in formats())
    for form in formats():
        click.echo(f"{form.name:{width}}  {form.what}")
        click.echo(f"    {form.made}")
    ctx.exit()


def _script(tracer: str, arch: str | None) -> int:
    """--script: what *tracer* is to run on *arch*, the processor this runs on unless said."""
    import platform

    from vmatrace.importers.bpftrace import script

    arch = arch or platform.machine()
    try:
        click.echo(script(arch), nl=False)
    except KeyError:
        raise click.UsageError(f"no system calls of {arch} (--arch says which)") from None
    return OK


@click.command(
    "import",
    short_help="Write a log as a trace file.",
    epilog="""\b
Examples:
  strace -f -y -o run.log python3 -c pass
  vmatrace import strace run.log -o run.yaml
  vmatrace import strace run.log.xz | less
  vmatrace import strace LOG -o run.yaml     the files LOG.PID of strace -ff
  vmatrace import --list
  vmatrace import --script bpftrace > vmatrace.bt

\b
Every command reads a log where it takes a trace; a trace file can be edited,
explained and kept. Lines that mean nothing to memory are passed over, and the
file's first lines count them; lines that cannot be understood are shown.

\b
Exit status: 0 done; 2 bad usage or bad input, or (--strict) a line that was
not understood.""",
)
@click.argument("form", metavar="FORMAT", required=False, type=_Form())
@click.argument("file", metavar="FILE", required=False, shell_complete=options.complete_files)
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=_list,
              help="List the formats and exit.")  # fmt: skip
@click.option("--script", metavar="TRACER", type=click.Choice(["bpftrace"]),
              help="Print what TRACER (bpftrace) is to run, and exit.")  # fmt: skip
@click.option("-o", "--output", metavar="TRACE", default="-",
              help="Where to write the trace.  [default: standard output]")  # fmt: skip
@options.reading
@click.option("--strict", is_flag=True, help="Exit 2 when a line was not understood.")
def command(
    form: str | None, file: str | None, script: str | None, output: str, reading: Reading,
    strict: bool,
) -> int:  # fmt: skip
    """Write the log of a program's system calls as a trace.

    FORMAT is one of those that --list lists. FILE is the log (also compressed with gzip, xz or
    zstd), the name that was given to strace -ff, or - for standard input.
    """
    if script is not None:
        return _script(script, reading.arch)
    if form is None or file is None:
        ctx = click.get_current_context()
        missing = "form" if form is None else "file"
        raise click.MissingParameter(
            ctx=ctx, param=next(p for p in ctx.command.params if p.name == missing)
        )
    from dataclasses import replace

    from vmatrace.importers import open_trace
    from vmatrace.trace.file import TraceError

    try:
        trace = open_trace(file, replace(reading, form=form))
        if trace.notes is None:
            raise click.UsageError(f"{file} is a trace file already (expected a log)")
        if os.path.exists(output) and os.path.exists(file) and os.path.samefile(output, file):
            raise click.UsageError(f"{output} is the log (expected another file to write)")
        return _write(trace, output, strict)
    except TraceError as error:
        click.echo(str(error), err=True)
        return BAD


def _write(trace: Trace, output: str, strict: bool) -> int:
    from vmatrace.commands.underway import underway
    from vmatrace.importers import tracefile
    from vmatrace.render import lognotes, streams

    with underway(trace):
        files = tracefile.survey(trace)
    if output == "-":
        streams.set_encoding(sys.stdout, people=False)
        tracefile.write(trace, files, sys.stdout)
        sys.stdout.flush()
    else:
        import shutil
        import tempfile

        from vmatrace.atomic import AtomicFile

        try:
            # All of it before the first byte there: an interrupted run leaves no half of a trace.
            with tempfile.TemporaryFile("w+", encoding="utf-8") as whole:
                tracefile.write(trace, files, whole)
                whole.seek(0)
                with AtomicFile(output) as file:
                    shutil.copyfileobj(whole, file)
        except OSError as error:
            raise click.UsageError(f"{output}: cannot be written: {error.strerror}") from None
    assert trace.notes is not None
    lognotes.write_import(streams.on(sys.stderr), trace.notes, None if output == "-" else output)
    return BAD if strict and trace.notes.misread_count else OK
