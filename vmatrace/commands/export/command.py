"""The command `vmatrace export`."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import click

from vmatrace.commands import files, options
from vmatrace.commands.inputs import BAD, DIFFERS, OK, opened

if TYPE_CHECKING:
    from typing import TextIO

    from vmatrace.kernels import Kernel
    from vmatrace.trace.file import Trace


@click.command(
    "export",
    short_help="Write a trace as a C program, KTAP or JSON Lines.",
    epilog="""\b
Examples:
  vmatrace export c trace.yaml -o test.c
  cc -Wall -Wextra -Werror -static -o test test.c && ./test
  vmatrace export c trace.yaml --kernel running --layouts -o test.c
  vmatrace export jsonl trace.yaml | jq .call

\b
The C program makes the calls of the trace and checks their results and the
trace's expectations through /proc/self/smaps. It prints KTAP, and its exit
status is 0 where all holds, 1 where something does not, and 4 where it cannot
be tried (no such file system, another sysctl), as kselftest has it.

\b
Exit status: 0 done; 1 no program of its own can do what the trace does (what is
written says so, and is skipped when it runs); 2 bad usage or bad input.""",
)
@click.argument("form", metavar="c|ktap|jsonl", type=click.Choice(["c", "ktap", "jsonl"]))
@click.argument("trace", metavar="TRACE", shell_complete=options.complete_files)
@options.model
@click.option(
    "--layouts",
    is_flag=True,
    help="Check the whole layout after every call, as the model has it (c, ktap).",
)
@click.option("-o", "--output", metavar="FILE", default="-",
              help="Where to write it.  [default: standard output]")  # fmt: skip
def command(
    form: str,
    trace: str,
    kernel: Kernel | None,
    features_on: tuple[str, ...],
    features_off: tuple[str, ...],
    layouts: bool,
    output: str,
) -> int:
    """Write a trace in a form that other programs take.

    c is a program of its own that makes the calls and checks what comes of them, for other
    kernels, emulators and sandboxes; ktap is what that program prints where all holds; jsonl is
    one event a line.
    """
    from vmatrace.trace.file import TraceError

    model = options.choice(kernel, features_on, features_off)
    if layouts and form == "jsonl":
        raise click.UsageError("--layouts does not go with jsonl")
    try:
        found = opened(trace)
        if output == "-":
            return _write(form, found, model(found.kernel), layouts, sys.stdout)
        with files.whole_file(output) as file:
            return _write(form, found, model(found.kernel), layouts, file)
    except TraceError as error:
        click.echo(str(error), err=True)
        return BAD


def _write(form: str, trace: Trace, kernel: Kernel, layouts: bool, out: TextIO) -> int:
    from vmatrace.commands.export import jsonl, ktap, source
    from vmatrace.commands.export.program import UnperformableError, program

    if form == "jsonl":
        jsonl.write(trace, kernel, out)
        return OK
    try:
        made = program(trace, kernel, layouts)
        text = io.StringIO()
        source.write(made, text)
        if form == "c":
            out.write(text.getvalue())
        else:
            ktap.write(made, out)
    except UnperformableError as error:
        click.echo(f"{trace.path}: note: no program of its own can do this: {error}", err=True)
        if form == "c":
            source.write_skipped(trace.name, str(error), out)
        else:
            out.write(f"KTAP version 1\n1..0 # SKIP {error}\n")
        return DIFFERS
    return OK
