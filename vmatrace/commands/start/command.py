"""`vmatrace` and `vmatrace FILE...`: what to do next. No name of its own; the cli finds it."""

from __future__ import annotations

import sys

import click

from vmatrace.commands.inputs import BAD, OK

_WELCOME = """\
vmatrace says what Linux makes of a program's memory calls: which mappings
become one VMA, which do not, and why.

What is at hand?
  a file (trace, log, snapshot, saved answer): what to ask about it
    vmatrace FILE
  a program, to be recorded
    vmatrace record -o run.yaml -- PROGRAM
    strace -f -y -o run.log PROGRAM
  a running process
    vmatrace audit PID
  calls of your own, one a line, as strace prints them
    vmatrace replay -
  nothing but questions
    vmatrace --help
"""


def welcome() -> int:
    """What there is to start with."""
    click.echo(_WELCOME, nl=False)
    return OK


@click.command("vmatrace", add_help_option=False)
@click.argument("files", metavar="FILE...", nargs=-1)
def command(files: tuple[str, ...]) -> int:
    """Say what each file is, and what can be asked about it."""
    from vmatrace.commands.start.question import look
    from vmatrace.diagnostic import TraceError
    from vmatrace.render import streams

    streams.set_encoding(sys.stdout, people=True)
    page = streams.on(sys.stdout)
    status = OK
    for number, path in enumerate(files):
        try:
            found = look(path)
        except TraceError as error:
            sys.stdout.flush()
            click.echo(str(error), err=True)
            status = BAD
            continue
        if number:
            page.line("")
        page.paragraph(f"{found.path} is {found.what}{found.more}", "title")
        for why, asked in found.steps:
            page.line(("  " + why, "quiet"))
            page.line("    " + asked)
    return status
