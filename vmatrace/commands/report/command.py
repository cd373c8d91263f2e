"""The command `vmatrace report`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import click

from vmatrace.commands import forms, options, sharing
from vmatrace.commands.inputs import OK, each_answer, sources

if TYPE_CHECKING:
    from vmatrace.commands.report.question import Report
    from vmatrace.importers.format import Reading
    from vmatrace.kernels import Kernel
    from vmatrace.trace.file import Item, Trace


@click.command(
    "report",
    short_help="What a trace costs: VMAs over time, peaks, costly calls.",
    epilog="""\b
Examples:
  vmatrace report trace.yaml                  before the series and after it
  vmatrace report trace.yaml --ksm            what if KSM were on by default
  vmatrace report trace.yaml --from 6.12 --to 6.18
  vmatrace report trace.yaml -o report.html            as a page
  vmatrace report trace.yaml -o trace.pftrace          for ui.perfetto.dev
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
@options.reading
@sharing.options
@forms.option(__package__)
@click.option("-o", "--output", metavar="FILE", type=click.Path(dir_okay=False),
              help="Write there instead of to standard output; the suffix (.html, .json, .txt, "
              ".csv, .pftrace) says the form.")  # fmt: skip
def command(
    traces: tuple[str, ...],
    before: Kernel,
    after: Kernel,
    ksm: bool | None,
    reading: Reading,
    jobs: int | None,
    on: tuple[str, bool],
    wanted: tuple[forms.Wanted, ...],
    output: str | None,
) -> int:
    """Show what traces cost in VMAs under two models: before the KSM series and after it.

    TRACE is a file, a directory (all *.yaml below it) or - for standard input. Of a file of
    samples (`vmatrace audit --every -o FILE`) it shows those: VMAs over time, and when there are
    too many.
    """
    from vmatrace.commands.report.question import Report
    from vmatrace.importers.looks import is_database

    if any(map(is_database, traces)):
        return _of_samples(traces, wanted, output)
    named = sources(traces)
    if output is not None:
        wanted = forms.to_file(__package__, wanted, output)
    out = forms.Forms[Report](
        __package__, wanted, len(named), None if output is not None else forms.DEFAULT
    )
    where = sharing.where(jobs, on)

    def show(found: Report) -> int:
        out.write(found)
        return OK

    work = partial(_report, pair=(before, after), ksm=ksm, reading=reading)
    each_one = partial(sharing.answer, reading=reading, of=work)
    with out:
        found = sharing.each_of(each_one, named, where, not sys.stdout.isatty(), watch=True)
        return each_answer(found, show, out.refuse)


def _of_samples(
    files: tuple[str, ...], wanted: tuple[forms.Wanted, ...], output: str | None
) -> int:
    """What `audit --every` has sampled of processes."""
    from vmatrace.commands.audit.watch import asking

    asking.stored(files)
    asking.check_alone("traces", "wanted", "output")
    return asking.show(files, None, None, wanted, output)


def _report(
    trace: Trace, pair: tuple[Kernel, Kernel], ksm: bool | None, reading: Reading
) -> Report:
    """A report that can go from one process to another: its trace is opened where it is read."""
    from vmatrace.commands.report.question import report

    found = report(trace, pair, ksm)
    if trace.path != "<stdin>":
        found.trace = dataclasses.replace(trace, read=partial(_again, trace.path, reading))
    # No form shows the memory that lives at the end, which leads to everything that made it.
    for process in found.processes:
        process.mms = None
    for result in found.results:
        for ended in result.processes:
            ended.borders = []
    return found


def _again(path: str, reading: Reading) -> Iterator[Item]:
    from vmatrace.importers import open_trace

    return open_trace(path, reading).read()
