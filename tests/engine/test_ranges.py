"""A set of addresses kept as ranges equals a set of addresses."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vmatrace.engine.ranges import Ranges

TOP = 24
pairs = (
    st.tuples(st.integers(0, TOP), st.integers(0, TOP)).map(sorted).filter(lambda p: p[0] < p[1])
)


def members(ranges: Ranges, start: int = 0, end: int = TOP) -> set[int]:
    return {n for a, b in ranges.within(start, end) for n in range(a, b)}


@given(st.lists(st.tuples(st.booleans(), pairs), max_size=12), pairs)
def test_ranges_are_the_set_of_what_was_added_and_not_discarded(
    steps: list[tuple[bool, list[int]]], window: list[int]
) -> None:
    ranges, plain = Ranges(), set[int]()
    for adds, (start, end) in steps:
        if adds:
            ranges.add(start, end)
            plain |= set(range(start, end))
        else:
            ranges.discard(start, end)
            plain -= set(range(start, end))
        assert members(ranges) == plain
        assert bool(ranges) is bool(plain)
    seen = plain & set(range(*window))
    assert members(ranges, *window) == seen
    assert ranges.first(*window) == min(seen, default=None)


def test_ranges_that_touch_are_one() -> None:
    ranges = Ranges()
    for start in (4, 0, 2):
        ranges.add(start, start + 2)
    assert ranges.within(0, TOP) == [(0, 6)]
