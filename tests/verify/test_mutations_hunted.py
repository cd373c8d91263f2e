"""A hunt on the running kernel finds rules that are broken: a sample of what the bench measures."""

from __future__ import annotations

import pytest
from mutations import MUTATIONS, PACKAGE, hunted, model

from vmatrace.oracle import Sandbox, Unavailable


@pytest.fixture(autouse=True)
def oracle() -> None:
    """Skips where the running kernel cannot be asked."""
    try:
        Sandbox().close()
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize(
    "rule",
    [
        "flags have to be equal",
        "an unfaulted VMA merges with a faulted one",
        "the heap is marked before its merge",
        "mprotect charges what becomes writable",
        "the stack keeps its guard gap",
    ],
)
def test_a_hunt_finds_a_rule_that_is_broken(rule: str) -> None:
    (mutation,) = (m for m in MUTATIONS if m.rule == rule)
    found = hunted(mutation, model(), "--finds", "1", "--programs", "1500")
    (find,) = found["finds"]
    assert len(find["calls"]) <= 6
    assert find["features"] == []


def test_every_mutation_still_applies() -> None:
    stale = [
        mutation.rule
        for mutation in MUTATIONS
        if (PACKAGE / "engine" / f"{mutation.module}.py")
        .read_text(encoding="utf-8")
        .count(mutation.old)
        != 1
    ]
    assert stale == []
