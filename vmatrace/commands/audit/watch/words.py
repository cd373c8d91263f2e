"""The words of a series: times as people say them, rates, and when there will be too many."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Final

from vmatrace.commands.audit.watch.forecast import Forecast

_UNITS: Final = ((86400.0, "day"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
#: A forecast further off than this says nothing.
_YEAR: Final = 365 * 86400


def time(at: float, unit: str = "seconds") -> str:
    """A time as in ISO 8601, in UTC, to *unit* ("milliseconds")."""
    said = datetime.fromtimestamp(at, timezone.utc).isoformat(timespec=unit)
    return said.replace("+00:00", "Z")


def duration(seconds: float) -> str:
    """``45 s``, ``2.5 h``, ``8 days``."""
    if seconds > _YEAR:
        return "more than a year"
    for unit, name in _UNITS:
        if seconds >= unit:
            value = seconds / unit
            said = f"{value:.0f}" if value >= 10 else f"{value:.1f}".removesuffix(".0")
            return f"{said} {name}{'s' if name == 'day' and said != '1' else ''}"
    return f"{seconds:.1f} s"


def rate(found: Forecast) -> str:
    """``+3.1 VMAs/min (2.5 to 3.7 with 95%)``, in the unit that leaves most before the point."""
    if found.low == found.high == 0:
        return "as many as at the start"
    units = ((1.0, "s"), (60.0, "min"), (3600.0, "h"))
    unit, name = next((u for u in units if abs(found.rate) * u[0] >= 1), (86400.0, "day"))
    low, high = found.low * unit, found.high * unit
    return f"{found.rate * unit:+.1f} VMAs/{name} ({low:.1f} to {high:.1f} with 95%)"


def limit(found: Forecast | None) -> str:
    """When the limit is reached, and how sure that is."""
    if found is None:
        return "no forecast yet"
    if found.seconds == 0:
        return "the limit is reached"
    if found.earliest is None or found.earliest > _YEAR:
        return "the limit is not in sight"
    if found.low <= 0:
        return f"the limit perhaps never, at the earliest in {duration(found.earliest)} (95%)"
    assert found.seconds is not None
    latest = "later than a year" if found.latest is None else duration(found.latest)
    return (
        f"the limit in {duration(found.seconds)} ({duration(found.earliest)} to {latest} with 95%)"
    )
