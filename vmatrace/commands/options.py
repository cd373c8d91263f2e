"""The options and arguments that commands share, so that they look the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from vmatrace.kernels import Kernel

_F = TypeVar("_F", bound=Callable[..., Any])


class Model(click.ParamType):  # type: ignore[type-arg]
    """The name of a kernel model, given as the Kernel; the nearest one is suggested."""

    name = "model"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Kernel:
        """The model called *value*."""
        from vmatrace import kernels

        if isinstance(value, kernels.Kernel):
            return value
        try:
            return kernels.get_kernel(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def traces(function: _F) -> _F:
    """The argument TRACE..."""
    return click.argument("traces", metavar="TRACE...", nargs=-1, required=True)(function)


def ksm(function: _F) -> _F:
    """The option --ksm/--no-ksm."""
    return click.option(
        "--ksm/--no-ksm", default=None,
        help="Start with PR_SET_MEMORY_MERGE in force or not, whatever the trace says.",
    )(function)  # fmt: skip


def assume_faulted(function: _F) -> _F:
    """The option --assume-faulted."""
    return click.option(
        "--assume-faulted", type=click.Choice(["none", "writable"]),
        help="Of a log, which has no page faults: what counts as written to.",
    )(function)  # fmt: skip


def form(*forms: str) -> Callable[[_F], _F]:
    """The option --format with *forms*, the first of which is the default."""
    return click.option(
        "--format", "form", type=click.Choice(forms), default=forms[0], show_default=True,
        help="How to print the results.",
    )  # fmt: skip
