"""The command `vmatrace explain`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Union

import click

from vmatrace.commands import forms, options
from vmatrace.commands.inputs import DIFFERS, OK, each

if TYPE_CHECKING:
    from vmatrace.importers.format import Reading
    from vmatrace.kernels import Kernel
    from vmatrace.trace.file import Trace


@click.command(
    "explain",
    short_help="Why a VMA is not one with its neighbours.",
    epilog="""\b
Examples:
  vmatrace explain trace.yaml 7ffff7ffd000       what is there, and why
  vmatrace explain trace.yaml a+0x1000           by the label of a call
  vmatrace explain trace.yaml a --kernel 6.12 --pid child
  vmatrace explain trace.yaml all                every border, by reason
  vmatrace explain trace.yaml all --format json | jq '.borders[].today'

\b
Of two that touch it says since when, what the last attempt to merge them
found, what separates them today, under which kernel models they are one VMA,
and what can be done. The other models take a replay for each kind of them
that can differ on the trace; --no-models leaves them out.

\b
ADDRESS is hexadecimal, with 0x or without, as tables and maps print it; of a
range the start counts. 0d4096 is decimal, and in an expression so is 4096.

\b
Exit status: 0 explained; 1 nothing is mapped there; 2 bad usage or bad
input.""",
)
@click.argument("trace", metavar="TRACE", shell_complete=options.complete_files)
@click.argument("address", metavar="ADDRESS|all")
@options.model
@click.option("-p", "--pid", metavar="PROCESS",
              help="The process: a label of fork() or its number.  [default: main; of all: every "
              "process]")  # fmt: skip
@click.option("--models/--no-models", default=True, show_default=True,
              help="Say what the other models make of it.")  # fmt: skip
@options.ksm
@options.reading
@forms.option(__package__)
def command(
    trace: str,
    address: str,
    kernel: Kernel | None,
    features_on: tuple[str, ...],
    features_off: tuple[str, ...],
    pid: str | None,
    models: bool,
    ksm: bool | None,
    reading: Reading,
    wanted: tuple[forms.Wanted, ...],
) -> int:
    """Explain what is at ADDRESS at the end of TRACE, and why it is not one with its neighbours.

    TRACE is a file or - for standard input. ADDRESS is one as the tables print it, a label, or
    an expression such as a+0x1000; `all` stands for every border of every process.
    """
    from vmatrace.commands.explain import question
    from vmatrace.commands.explain.address import parse_address
    from vmatrace.commands.underway import underway

    if os.path.isdir(trace):
        raise click.UsageError(f"{trace!r} is a directory (expected one trace)")

    model = options.choice(kernel, features_on, features_off)
    out = forms.Forms[Union[question.Account, question.Overview]](__package__, wanted)

    def show(read: Trace) -> int:
        under = model(read.kernel)
        answer: question.Account | question.Overview
        try:
            where = None if address == "all" else parse_address(address, read.page_size)
            with underway(read):
                if where is None:
                    answer = question.overview(read, under, pid, ksm, models)
                else:
                    answer = question.explain(
                        read, under, address, where, pid or "main", ksm, models
                    )
        except ValueError as error:  # no such address, label or process
            raise click.UsageError(str(error)) from None
        out.write(answer)
        hole = isinstance(answer, question.Account) and answer.mapping is None
        return DIFFERS if hole else OK

    with out:
        return each([trace], show, reading, out.refuse)
