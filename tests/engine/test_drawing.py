"""A drawing is the address space it shows."""

from __future__ import annotations

import pytest
from drawing import at, draw, strip, vma


@pytest.mark.parametrize("drawing", ["", "w", "ww|WW", "..r|r|w", "p..m|MM...x"])
def test_what_is_drawn_reads_back(drawing: str) -> None:
    assert strip(draw(drawing)) == drawing


def test_a_capital_has_an_anon_vma_of_its_own_and_small_letters_have_none() -> None:
    mm = draw("ww|WW|WW")
    assert [v.anon for v in mm.vmas] == [0, 1, 2]
    assert [v.chain for v in mm.vmas] == [0, 1, 1]
    assert (vma(mm, 3).start, vma(mm, 3).end) == (at(2), at(4))
