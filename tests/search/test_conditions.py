"""Conditions: what is read is what was written, and what is wrong is shown where it is."""

from __future__ import annotations

import pytest

from vmatrace.search.conditions import (
    COUNTS,
    Compared,
    ConditionError,
    Named,
    Not,
    OfLine,
    Several,
    SideCount,
    parse,
    two_sided,
)


def test_words_lines_and_counts_are_read() -> None:
    assert parse("differs") == Named("differs")
    assert parse("line 812 fails ENOMEM") == OfLine(812, 12)
    assert parse("line 812 fails") == OfLine(812, 0)
    assert parse("line 812 succeeds") == OfLine(812, None)
    assert parse("vmas>=100") == Compared(((1, SideCount("", "vmas")),), ">=", ((1, 100),))
    parsed = parse("to.vmas - from.vmas > 2")
    assert parsed == Compared(
        ((1, SideCount("to", "vmas")), (-1, SideCount("from", "vmas"))), ">", ((1, 2),)
    )


def test_and_binds_closer_than_or_and_not_closest() -> None:
    a, b, c = (Named(word) for word in ("differs", "limit_hit", "expectation"))
    assert parse("differs or limit_hit and expectation") == Several(
        "or", (a, Several("and", (b, c)))
    )
    assert parse("(differs or limit_hit) and not expectation") == Several(
        "and", (Several("or", (a, b)), Not(c))
    )


@pytest.mark.parametrize("name", COUNTS)
def test_every_count_is_a_condition(name: str) -> None:
    assert parse(f"{name} == 1") == Compared(((1, SideCount("", name)),), "==", ((1, 1),))
    assert two_sided(parse(f"from.{name} == 1"))
    assert not two_sided(parse(f"{name} == 1"))


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("", 1, "the end"),
        ("vmaz > 3", 1, "did you mean 'vmas'"),
        ("vmas => 3", 6, "'='"),
        ("vmas >= 3 and", 14, "the end"),
        ("line x fails", 6, "the number of a line"),
        ("line 3 fails ENOMM", 14, "did you mean 'ENOMEM'"),
        ("(differs", 9, "')'"),
        ("differs limit_hit", 9, "'and', 'or' or the end"),
        ("vmas", 5, ">="),
        ("blocked.nothing > 1", 1, "did you mean"),
        ("vmas > 3 ; differs", 10, "';'"),
    ],
)
def test_what_is_wrong_is_shown_where_it_is(text: str, column: int, says: str) -> None:
    with pytest.raises(ConditionError, match=None) as error:
        parse(text)
    assert error.value.column == column
    assert says in str(error.value)
