"""The command `vmatrace kernels`."""

from __future__ import annotations

import click

from vmatrace.commands import forms
from vmatrace.commands.inputs import OK


@click.command("kernels", short_help="List the kernel models and the features.")
@forms.option(__package__)
def command(wanted: tuple[forms.Wanted, ...]) -> int:
    """List the kernel models and the features that set them apart.

    A model is named with --kernel; a feature is switched with --with and --without.
    """
    from vmatrace.commands.kernels.question import Known

    with forms.Forms[Known](__package__, wanted) as out:
        out.write(Known())
    return OK
