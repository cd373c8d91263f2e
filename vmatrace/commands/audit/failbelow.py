"""What --fail-below takes: a number of VMAs, or a part of the limit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    from vmatrace.commands.audit.question import Audit


class Below(NamedTuple):
    """A headroom: ``amount`` VMAs, or with ``percent`` hundredths of max_map_count."""

    amount: float
    percent: bool

    def fails(self, audit: Audit) -> bool:
        """Whether less than that is left."""
        least = audit.max_map_count * self.amount / 100 if self.percent else self.amount
        return audit.headroom < least


class BelowType(click.ParamType):  # type: ignore[type-arg]
    """N or PERCENT, given as Below."""

    name = "headroom"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Below:
        """What *value* says, such as ``5000`` or ``7.5%``."""
        if isinstance(value, Below):
            return value
        match = re.fullmatch(r"([0-9]{1,10})|([0-9]{1,3}(?:\.[0-9]{1,6})?)%", value, re.ASCII)
        if match is None or (match[2] and float(match[2]) > 100):
            from vmatrace.diagnostic import quoted

            expected = "expected a number of VMAs, such as 5000, or a part of the limit up to 100%"
            self.fail(f"{quoted(value)} is no headroom ({expected})", param, ctx)
        return Below(float(match[1] or match[2]), match[2] is not None)
