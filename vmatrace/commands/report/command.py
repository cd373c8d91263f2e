"""The command `vmatrace report`."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import click

from vmatrace.commands import options
from vmatrace.commands.inputs import BAD, OK, each, sources

if TYPE_CHECKING:
    from vmatrace.kernels import Kernel
    from vmatrace.trace.file import Trace


@click.command(
    "report",
    short_help="What a trace costs: VMAs over time, peaks, costly calls.",
    epilog="""\b
Examples:
  vmatrace report trace.yaml                  before the series and after it
  vmatrace report trace.yaml --ksm            what if KSM were on by default
  vmatrace report trace.yaml --from 6.12 --to 6.18
  vmatrace report trace.yaml --format html -o report.html
  vmatrace report trace.yaml --format json | jq .summary

\b
The replays run without max_map_count; the report says where it would have
been hit. The page (html) is one file without scripts or fonts from elsewhere.

\b
Exit status: 0 done, also where the two models differ; 2 bad usage or input.""",
)
@options.traces
@click.option("--from", "before", type=options.Model(), metavar="MODEL", default="pre-patch",
              show_default=True,
              help="The model to compare with (see `vmatrace kernels`).")  # fmt: skip
@click.option("--to", "after", type=options.Model(), metavar="MODEL", default="post-patch",
              show_default=True, help="The model it is compared to.")  # fmt: skip
@options.ksm
@options.assume_faulted
@options.form("table", "json", "html")
@click.option("-o", "--output", metavar="FILE", type=click.Path(dir_okay=False),
              help="Write there instead of to standard output.")  # fmt: skip
def command(
    traces: tuple[str, ...],
    before: Kernel,
    after: Kernel,
    ksm: bool | None,
    assume_faulted: str | None,
    form: str,
    output: str | None,
) -> int:
    """Show what traces cost in VMAs under two models: before the KSM series and after it.

    TRACE is a file, a directory (all *.yaml below it) or - for standard input.
    """
    from vmatrace.commands.report.as_text import Printer
    from vmatrace.commands.report.report import report
    from vmatrace.render import progress

    named = sources(traces)
    if form == "html" and len(named) != 1:
        raise click.UsageError("--format html takes one trace")
    out = sys.stdout if output is None else io.StringIO()
    printer = Printer(form, out)

    def show(trace: Trace) -> int:
        with progress.watching(trace):
            printer.write(report(trace, (before, after), ksm))
        return OK

    status = each(named, show, assume_faulted)
    # The file is touched only when there is something to write.
    if output is not None and isinstance(out, io.StringIO) and out.getvalue():
        try:
            with open(output, "w", encoding="utf-8") as file:
                file.write(out.getvalue())
        except OSError as error:
            click.echo(f"vmatrace: error: cannot write {output}: {error.strerror}", err=True)
            return BAD
    return status
