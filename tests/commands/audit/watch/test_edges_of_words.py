"""Times, rates and limits as people say them, at their edges."""

from __future__ import annotations

import pytest

from vmatrace.commands.audit import filltable
from vmatrace.commands.audit.watch import words
from vmatrace.commands.audit.watch.forecast import Forecast

DAY = 86400.0


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0.0 s"), (0.04, "0.0 s"), (0.95, "0.9 s"), (1, "1 s"), (1.5, "1.5 s"), (9.94, "9.9 s"),
        (10, "10 s"), (45.4, "45 s"), (59.4, "59 s"), (60, "1 min"), (90, "1.5 min"),
        (600, "10 min"), (3599, "60 min"), (3600, "1 h"), (9000, "2.5 h"), (86399, "24 h"),
        (DAY, "1 day"), (1.02 * DAY, "1 day"), (1.5 * DAY, "1.5 days"), (8 * DAY, "8 days"),
        (10.4 * DAY, "10 days"), (365 * DAY, "365 days"), (365 * DAY + 1, "more than a year"),
    ],
)  # fmt: skip
def test_a_duration(seconds: float, said: str) -> None:
    assert words.duration(seconds) == said


def test_a_time() -> None:
    assert words.time(0) == "1970-01-01T00:00:00Z"
    assert words.time(1795780800.5) == "2026-11-27T12:00:00Z"
    assert words.time(1795780800.5, "milliseconds") == "2026-11-27T12:00:00.500Z"


def forecast(rate: float, low: float, high: float) -> Forecast:
    return Forecast(rate, low, high, None, None, None)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (forecast(0, 0, 0), "as many as at the start"),
        (forecast(0, -1, 1), "+0.0 VMAs/day (-86400.0 to 86400.0 with 95%)"),
        (forecast(1, 0.5, 2), "+1.0 VMAs/s (0.5 to 2.0 with 95%)"),
        (forecast(0.99, 0.5, 2), "+59.4 VMAs/min (30.0 to 120.0 with 95%)"),
        (forecast(-1 / 60, -0.5, 0), "-1.0 VMAs/min (-30.0 to 0.0 with 95%)"),
        (forecast(0.01, 0, 0.1), "+36.0 VMAs/h (0.0 to 360.0 with 95%)"),
        (forecast(1 / 3600, 0, 1), "+1.0 VMAs/h (0.0 to 3600.0 with 95%)"),
        (forecast(1e-4, 0, 1e-3), "+8.6 VMAs/day (0.0 to 86.4 with 95%)"),
    ],
)
def test_a_rate_is_in_the_unit_that_leaves_something_before_the_point(
    found: Forecast, said: str
) -> None:
    assert words.rate(found) == said


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "no forecast yet"),
        (Forecast(1, 1, 1, 0, 0, 0), "the limit is reached"),
        (Forecast(1, -1, 1, None, None, None), "the limit is not in sight"),
        (Forecast(1, 1, 1, 1e9, 366 * DAY, None), "the limit is not in sight"),
        (
            Forecast(1, 0, 1, 1e9, 365 * DAY, None),
            "the limit perhaps never, at the earliest in 365 days (95%)",
        ),
        (Forecast(1, -1, 1, None, 60, None),
         "the limit perhaps never, at the earliest in 1 min (95%)"),
        (Forecast(1, 0.1, 1, 120, 60, 180), "the limit in 2 min (1 min to 3 min with 95%)"),
        (Forecast(1, 0.1, 1, 120, 60, None),
         "the limit in 2 min (1 min to later than a year with 95%)"),
    ],
)  # fmt: skip
def test_a_limit_with_how_sure_it_is(found: Forecast | None, said: str) -> None:
    assert words.limit(found) == said


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0, "0%"), (0.0005, "<0.1%"), (0.001, "0.1%"), (0.05, "5%"), (0.1234, "12.3%"),
        (0.999, "99.9%"), (0.9995, ">99.9%"), (1, "100%"), (1.5, "150%"),
    ],
)  # fmt: skip
def test_a_part_of_the_limit(share: float, said: str) -> None:
    assert filltable.percent(share) == said


def test_a_headroom_has_the_colour_of_what_it_means() -> None:
    shares = (0, 0.0999, 0.1, 0.2499, 0.25, 1)
    styles = ["failed", "failed", "warning", "warning", "good", "good"]
    assert [filltable.style(share) for share in shares] == styles
