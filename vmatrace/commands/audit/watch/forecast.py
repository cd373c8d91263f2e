"""When a count that grows will reach its limit, and between when and when: ``forecast()``.

The count is taken for a random walk with a drift, as a heap's is: it goes on from where it is, and
its errors add up. A line through the points would promise more than they hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from typing import Final, NamedTuple

#: So many samples are needed, and so many of the last are looked at.
FEWEST: Final = 5
WINDOW: Final = 100
#: Of the normal distribution, for 95 in a hundred.
_Z: Final = 1.959964


class Forecast(NamedTuple):
    """``rate`` in VMAs per second, and between what it is with 95%. Seconds from the last sample to
    the limit: as the rate has it, and the ``earliest`` and ``latest`` with 95%; None is never.
    """

    rate: float
    low: float
    high: float
    seconds: float | None
    earliest: float | None
    latest: float | None


def forecast(points: Sequence[tuple[float, int]], limit: int) -> Forecast | None:
    """The forecast from pairs of a time in seconds and a count; None where they are too few."""
    points = points[-WINDOW:]
    steps = [
        (after - before, b - a)
        for (before, a), (after, b) in pairwise(points)
        if after > before  # a clock may be set back
    ]
    if len(steps) < FEWEST - 1:
        return None
    span = sum(time for time, _ in steps)
    rate = sum(grown for _, grown in steps) / span
    degrees = len(steps) - 1
    variance = sum((grown - rate * time) ** 2 / time for time, grown in steps) / degrees
    quantile = _student(degrees)
    margin = quantile * sqrt(variance / span)
    room = max(limit - points[-1][1], 0)
    return Forecast(
        rate, rate - margin, rate + margin, *_reached(room, rate, variance, span, quantile)
    )


def _reached(
    room: int, rate: float, variance: float, span: float, quantile: float
) -> tuple[float | None, float | None, float | None]:
    """When *room* is used up: as the rate has it, at the earliest, at the latest.

    Where rate·t ± quantile·√(variance·t + variance/span·t²) is *room*: a quadratic equation.
    """
    if not room:
        return 0.0, 0.0, 0.0
    expected = room / rate if rate > 0 else None
    a = rate**2 - quantile**2 * variance / span
    if a > 0 and rate < 0:
        return None, None, None
    b = 2 * room * rate + quantile**2 * variance
    root = sqrt(max(b * b - 4 * a * room**2, 0.0))
    # The roots as 2c/(b±√…), which does not divide by a, that may be next to nothing.
    earliest = 2 * room**2 / (b + root) if b + root > 0 else None
    latest = 2 * room**2 / (b - root) if a > 0 and b - root > 0 else None
    if a > 0 and latest is None:
        latest = b / (2 * a)
    return expected, earliest, latest


def _student(degrees: int) -> float:
    """The quantile of Student's distribution for 95 in a hundred (Cornish and Fisher's series)."""
    z = _Z
    return (
        z
        + (z**3 + z) / (4 * degrees)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * degrees**3)
    )
