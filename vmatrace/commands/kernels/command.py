"""The command `vmatrace kernels`."""

from __future__ import annotations

import click

from vmatrace.commands import forms
from vmatrace.commands.inputs import OK


@click.command("kernels", short_help="List the kernel models and the features.")
@click.option("--file-systems", is_flag=True,
              help="List which mmap hook each file system has instead.")  # fmt: skip
@forms.option(__package__)
def command(file_systems: bool, wanted: tuple[forms.Wanted, ...]) -> int:
    """List the kernel models and the features that set them apart.

    A model is named with --kernel, as is every stable release (6.12.95, 7.2.12), what uname -r
    prints, and `running`. A feature is switched with --with and --without.
    """
    from vmatrace.commands.kernels.question import Known

    with forms.Forms[Known](__package__, wanted) as out:
        out.write(Known(file_systems))
    return OK
