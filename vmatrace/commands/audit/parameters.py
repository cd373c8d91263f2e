"""What options of audit take: --fail-below a headroom, --every an interval."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

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


#: In seconds.
_UNITS: Final = {"ms": 0.001, "s": 1, "": 1, "m": 60, "min": 60, "h": 3600}


class IntervalType(click.ParamType):  # type: ignore[type-arg]
    """A time, given in seconds."""

    name = "interval"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """What *value* says, such as ``10s``, ``500ms``, ``2m``."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|min|h|)", value, re.ASCII)
        seconds = float(match[1]) * _UNITS[match[2]] if match is not None else 0.0
        if not 0.01 <= seconds <= 7 * 86400:
            from vmatrace.diagnostic import quoted

            expected = "expected such as 10s, 500ms, 2m or 1h, from 10ms to a week"
            self.fail(f"{quoted(value)} is no interval ({expected})", param, ctx)
        return seconds
