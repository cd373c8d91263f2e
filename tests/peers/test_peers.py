"""What the runs of other people's suites come to, as their page says it."""

from __future__ import annotations

import pytest
from peers import PAGE, STRESSORS, Outcome, Run, table, verdict


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("vmatrace: t: 2 events\nvmatrace: check: exact, 1 layout and every result\n", "exact"),
        (
            "noise\nvmatrace: check: exact, 1 layout and every result"
            " (2 refused by the machine, believed)\n",
            "exact, refusals believed",
        ),
        (
            "vmatrace: check: 1 of 2 layouts and 0 results differ (- recorded, + modelled)\n",
            "check: 1 of 2 layouts and 0 results differ (- recorded, + modelled)",
        ),
        ("Traceback (most recent call last):\n  x\nKeyError: 1\n", "traceback: KeyError: 1"),
        ("", "nothing was said"),
    ],
)
def test_only_what_the_check_calls_exact_is_exact(said: str, expected: str) -> None:
    assert verdict(said) == expected


def test_what_is_not_exact_has_a_row_of_its_own() -> None:
    runs = [("a", "exact"), ("b", "exact, refusals believed"), ("c", "check: 1 of 1 layout ...")]
    page = table(Outcome(Run("suite", name, ()), said) for name, said in runs)
    assert "| suite | 3 | 2 | 1 |" in page
    assert "| suite | `c` | check: 1 of 1 layout ... | not known |" in page
    assert "Exact of suite: `a`, `b`." in page


def test_the_page_has_every_stressor_of_the_list() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in STRESSORS if f"`{name}`" not in page] == []
