"""Which event placed what: the last one at each address, whatever was there before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vmatrace.commands.explain.placements import Origin, Placements

RANGES = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12)), max_size=30)


@given(RANGES, RANGES)
def test_an_address_is_of_the_last_event_that_placed_memory_there(
    ours: list[tuple[int, int]], childs: list[tuple[int, int]]
) -> None:
    expected: dict[int, Origin] = {}
    parent = Placements()

    def place(placements: Placements, nth: int, start: int, length: int) -> None:
        placements.add(start, start + length, nth, start - 1)
        expected.update({at: Origin(nth, at - start + 1) for at in range(start, start + length)})

    for nth, (start, length) in enumerate(ours):
        place(parent, nth, start, length)
    before = expected.copy()
    child = Placements(parent)
    for nth, (start, length) in enumerate(childs, len(ours)):
        place(child, nth, start, length)
    everywhere = set(range(-2, 45))
    assert child.origins(everywhere) == expected
    assert parent.origins(everywhere) == before
