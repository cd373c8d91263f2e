"""The command `vmatrace kernels`."""

from __future__ import annotations

import sys

import click

from vmatrace.commands.inputs import OK


@click.command("kernels", short_help="List the kernel models and the features.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table",
              show_default=True, help="How to print the lists.")  # fmt: skip
def command(form: str) -> int:
    """List the kernel models and the features that set them apart.

    A model is named with --kernel; a feature is switched with --with and --without.
    """
    from vmatrace.commands.kernels import as_text
    from vmatrace.render import paper

    if form == "json":
        as_text.write_json(sys.stdout)
    else:
        as_text.write(paper.on(sys.stdout))
    return OK
