"""The options and arguments that commands share, so that they look the same everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vmatrace import abi

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from vmatrace.kernels import Kernel

_F = TypeVar("_F", bound=Callable[..., Any])


def matching(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """Those of *names* that start with what has been typed, for the shell."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_files(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Files and directories, which the shell finds itself."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def complete_features(
    _: click.Context, __: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The names that --with and --without take."""
    from vmatrace import kernels

    return matching(kernels.FEATURES, incomplete)


def say_assumed(name: str, kernel: Kernel) -> None:
    """Say on standard error which release is taken for *name*, where it leaves something open."""
    if kernel.assumed:
        said = "; ".join(kernel.assumed)
        click.echo(f"vmatrace: note: kernel {name} is {kernel.name} here: {said}", err=True)


class Seconds(click.FloatRange):
    """A time that ends: above zero, and a number."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is no time (expected a number of seconds)", param, ctx)
        return number


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
            kernel = kernels.get_kernel(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        say_assumed(value, kernel)
        return kernel

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The models whose names start so."""
        from vmatrace import kernels

        points = [point.name for row in kernels.KERNELS for point in kernels.point_releases(row)]
        return matching([*kernels.KERNELS, *points, "running"], incomplete)


def complete_sides(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """What MODEL|FILE takes: the models, or where no name starts so, files."""
    models = Model().shell_complete(ctx, param, incomplete)
    return models or complete_files(ctx, param, incomplete)


def traces(function: _F) -> _F:
    """The argument TRACE..."""
    return click.argument(
        "traces", metavar="TRACE...", nargs=-1, required=True, shell_complete=complete_files
    )(function)


def traces_or_settings(function: _F) -> _F:
    """The argument [TRACE]..., for which the settings of the project can stand."""
    return click.argument("traces", metavar="[TRACE]...", nargs=-1, shell_complete=complete_files)(
        function
    )


def model(function: _F) -> _F:
    """The options --kernel, --with and --without: the parameters of choice()."""
    for option in (
        click.option(
            "--without", "features_off", metavar="FEATURE", multiple=True,
            shell_complete=complete_features,
            help="Switch a feature of the model off; may be repeated.",
        ),
        click.option(
            "--with", "features_on", metavar="FEATURE", multiple=True,
            shell_complete=complete_features,
            help="Switch a feature of the model on; may be repeated.",
        ),
        click.option(
            "-k", "--kernel", type=Model(), metavar="MODEL",
            help="Use this kernel model (see `vmatrace kernels`), whatever the trace says.  "
            "[default: the trace's, else post-patch]",
        ),
    ):  # fmt: skip
        function = option(function)
    return function


def choice(
    kernel: Kernel | None, features_on: Iterable[str], features_off: Iterable[str]
) -> Callable[[str | None], Kernel]:
    """The model for a trace that names one or none. Raises click.UsageError for a bad feature."""
    from vmatrace import kernels

    said: set[str] = set()

    def model(name: str | None) -> Kernel:
        chosen = kernel or kernels.get_kernel(name or kernels.DEFAULT)
        if kernel is None and name is not None and name not in said:
            said.add(name)
            say_assumed(name, chosen)
        return chosen.with_features(features_on, features_off)

    try:
        model(None)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return model


def allow(*kinds: str) -> Callable[[_F], _F]:
    """The option --allow: which of *kinds* is no failure, the parameter ``allowed``."""
    return click.option(
        "--allow", "allowed", metavar="KIND", type=click.Choice(kinds), multiple=True,
        help=f"What is no failure: {', '.join(kinds)}.  May be repeated.",
    )  # fmt: skip


def ksm(function: _F) -> _F:
    """The option --ksm/--no-ksm."""
    return click.option(
        "--ksm/--no-ksm", default=None,
        help="Start with PR_SET_MEMORY_MERGE in force or not, whatever the trace says.",
    )(function)  # fmt: skip


def reading(function: _F) -> _F:
    """The options that say how a log is read, together the parameter *reading* (a Reading)."""
    from functools import wraps

    @wraps(function)
    def read(
        *args: Any, assume_faulted: str | None, page_size: str | None, arch: str | None, **rest: Any
    ) -> Any:
        from vmatrace.importers.format import Reading

        size = None if page_size is None else int(page_size)
        return function(*args, reading=Reading(assume_faulted, None, size, arch), **rest)

    for option in (
        click.option(
            "--arch", metavar="NAME", type=click.Choice(list(abi.TASK_SIZES)),
            help="Of a log: the machine, as `uname -m` there says.  [default: as the log shows]",
        ),
        click.option(
            "--page-size", metavar="BYTES", type=click.Choice([str(n) for n in abi.PAGE_SIZES]),
            help="Of a log: the page size there.  [default: as the log shows, else 4096]",
        ),
        click.option(
            "--assume-faulted", type=click.Choice(["none", "writable"]),
            help="Of a log, which has no page faults: what counts as written to.  "
            "[default: writable]",
        ),
    ):  # fmt: skip
        read = option(read)
    return read  # type: ignore[return-value]
