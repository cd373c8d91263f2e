"""The options of `vmatrace audit --pages`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., Any])


class _Percent(click.ParamType):  # type: ignore[type-arg]
    """Above 0 and up to 100, with or without a % sign; given as a share of 1."""

    name = "percent"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            share = float(str(value).strip().removesuffix("%")) / 100
        except ValueError:
            share = 0.0
        if not 0 < share <= 1:
            self.fail(f"{value} is no share of the pages (expected such as 10%)", param, ctx)
        return share


_OPTIONS = (
    click.option(
        "--pages", is_flag=True,
        help="Of running processes: what KSM by default would save, by the contents of their "
        "pages, and what it would cost.",
    ),
    click.option(
        "--sample", type=_Percent(), metavar="PERCENT",
        help="With --pages: read only so many of the pages, at random.  [default: 100]",
    ),
    click.option(
        "--rate", type=click.IntRange(0), metavar="MB",
        help="With --pages: read at most so much a second (0: no limit).  [default: 200]",
    ),
)  # fmt: skip


def options(function: _F) -> _F:
    """All of them: the parameters ``pages``, ``sample`` (a share of 1) and ``rate``."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
