"""The command `vmatrace whatif`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vmatrace.commands import files, forms, options
from vmatrace.commands.inputs import BAD, OK, opened

if TYPE_CHECKING:
    from vmatrace.commands.whatif.question import WhatIf
    from vmatrace.importers.format import Reading
    from vmatrace.kernels import Kernel


@click.command(
    "whatif",
    short_help="What a program could change to need fewer VMAs.",
    epilog="""\b
Examples:
  vmatrace whatif run.log --kernel 6.18
  vmatrace whatif trace.yaml --format json
  vmatrace whatif run.log -o rewritten.yaml

\b
Only what applies is shown. Exit status: 0 done; 2 bad usage or bad input.""",
)
@click.argument("trace", metavar="TRACE|LOG", shell_complete=options.complete_files)
@options.model
@options.ksm
@options.reading
@click.option("-o", "--output", metavar="FILE",
              help="Write the trace with what saves together.")  # fmt: skip
@forms.option(__package__)
def command(
    trace: str,
    kernel: Kernel | None,
    features_on: tuple[str, ...],
    features_off: tuple[str, ...],
    ksm: bool | None,
    reading: Reading,
    output: str | None,
    wanted: tuple[forms.Wanted, ...],
) -> int:
    """Show what each change to a program would save in VMAs, alone and together."""
    from vmatrace.commands.whatif.question import whatif
    from vmatrace.trace.file import TraceError

    if output is not None:
        files.refuse_input(output, trace)
    model = options.choice(kernel, features_on, features_off)
    out: forms.Forms[WhatIf] = forms.Forms(__package__, wanted)
    try:
        source = opened(trace, reading)
        found = whatif(source, model(source.kernel), ksm)
        if output is not None:
            files.write_file(output, f"{found.rewritten}\n")
        with out:
            out.write(found)
    except TraceError as error:
        click.echo(str(error), err=True)
        return BAD
    return OK
