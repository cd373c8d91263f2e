"""When the limit is reached: exact for what grows evenly, else as sure as is said."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmatrace.commands.audit.watch import words
from vmatrace.commands.audit.watch.forecast import FEWEST, Forecast, forecast


def even(rate: float, count: int = 20) -> list[tuple[float, int]]:
    return [(10.0 * i, 1000 + round(10 * rate * i)) for i in range(count)]


def test_what_grows_evenly_reaches_the_limit_when_it_does() -> None:
    found = forecast(even(2), 1000 + 20 * 19 + 600)
    assert found is not None
    assert found.rate == found.low == found.high == 2
    assert found.seconds == found.earliest == found.latest == pytest.approx(300)


def test_what_does_not_grow_never_does() -> None:
    assert forecast(even(0), 65530) == Forecast(0, 0, 0, None, None, None)
    shrinking = forecast(even(-1), 65530)
    assert shrinking is not None
    assert shrinking[3:] == (None, None, None)


def test_a_forecast_reads_as_people_speak() -> None:
    def said(points: list[tuple[float, int]], limit: int) -> tuple[str, str]:
        found = forecast(points, limit)
        assert found is not None
        return words.rate(found), words.limit(found)

    assert said(even(0), 65530) == ("as many as at the start", "the limit is not in sight")
    assert said(even(2), 1380 + 7200) == (
        "+2.0 VMAs/s (2.0 to 2.0 with 95%)", "the limit in 1 h (1 h to 1 h with 95%)",
    )  # fmt: skip
    assert said(even(1), 100)[1] == "the limit is reached"
    assert said(even(-1), 65530)[1] == "the limit is not in sight"
    assert words.limit(None) == "no forecast yet"
    noisy = [(float(i), 1000 + 100 * (i % 2) + i) for i in range(20)]
    assert "perhaps never, at the earliest in" in said(noisy, 2000)[1]


def test_what_is_at_the_limit_is_there_now() -> None:
    found = forecast(even(1), 1100)
    assert found is not None
    assert found[3:] == (0, 0, 0)


def test_too_few_samples_tell_nothing() -> None:
    assert forecast([], 10) is None
    assert forecast(even(1, FEWEST - 1), 10) is None
    assert forecast([(0.0, 1)] * 10, 10) is None


@given(
    st.lists(st.tuples(st.floats(0.01, 1e6), st.integers(0, 70_000)), max_size=30),
    st.integers(1, 100_000),
)
def test_a_forecast_is_in_order(steps: list[tuple[float, int]], limit: int) -> None:
    at, points = 0.0, []
    for step, count in steps:
        at += step
        points.append((at, count))
    found = forecast(points, limit)
    if found is None:
        return
    assert found.low <= found.rate <= found.high
    times = [t for t in (found.earliest, found.seconds, found.latest) if t is not None]
    assert all(after >= before * (1 - 1e-6) for before, after in pairwise(times))
    assert all(t >= 0 for t in times)
    if found.latest is not None:
        assert found.seconds is not None
        assert found.earliest is not None


@pytest.mark.parametrize(("drift", "noise", "seen"), [(3.0, 5.0, 40), (1.0, 10.0, 100)])
def test_95_of_100_walks_reach_the_limit_when_it_was_said(
    drift: float, noise: float, seen: int
) -> None:
    """Walks of a fixed seed; so many of 400 may fall outside as chance allows (0.95 ± 3 sigma)."""
    chance = random.Random(16)
    inside = 0
    for _ in range(400):
        count, points = 0.0, []
        for i in range(seen):
            points.append((float(i), round(count)))
            count += chance.gauss(drift, noise)
        limit = points[-1][1] + 1500
        found = forecast(points, limit)
        assert found is not None
        time, count = 0, float(points[-1][1])
        while count < limit and time < 100_000:
            count += chance.gauss(drift, noise)
            time += 1
        earliest = found.earliest if found.earliest is not None else 100_000
        inside += earliest <= time and (found.latest is None or time <= found.latest)
    assert inside >= 367
