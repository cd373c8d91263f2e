"""What makes a kernel worse than a model, seen from outside: a model stands in its place."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from modelwitness import ModelWitness

from vmatrace.event import Event
from vmatrace.kernels import FEATURES, Kernel, get_kernel
from vmatrace.oracle import OracleError
from vmatrace.search import trials
from vmatrace.search.breeding import Breeder
from vmatrace.search.finds import Ground
from vmatrace.search.generate import FAMILIES
from vmatrace.search.rare import starts
from vmatrace.trace.file import Trace, load_trace
from vmatrace.verify.realtrial import BLOCKED_SIDES, Judge
from vmatrace.verify.witness import Mismatch, program

PAIRS = [
    ("pre-patch", "post-patch"), ("post-patch", "pre-patch"), ("6.12", "6.18"),
    ("6.18", "6.12"), ("6.16.12", "6.17.13"),
]  # fmt: skip
RW = "PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0"
UNMERGEABLE = f"""
  - prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0)
  - a = mmap(0x10000000, PAGE_SIZE, {RW})
  - madvise(a, PAGE_SIZE, MADV_UNMERGEABLE)
  - mmap(a + PAGE_SIZE, PAGE_SIZE, {RW})
"""
#: Before it, the pair of VMAs that the series merges: --to has no more VMAs, but one more is locked
#: beside what was taken out of KSM.
BLOCKED = f"""
  - prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0)
  - b = mmap(0x20000000, PAGE_SIZE, {RW})
  - mmap(b + PAGE_SIZE, PAGE_SIZE, {RW})
  - a = mmap(0x10000000, 2*PAGE_SIZE, {RW})
  - madvise(a, 2*PAGE_SIZE, MADV_UNMERGEABLE)
  - mmap(a + 2*PAGE_SIZE, PAGE_SIZE, {RW})
  - mlock2(a + 2*PAGE_SIZE, PAGE_SIZE, MLOCK_ONFAULT)
"""
SEALED = f"""
  - a = mmap(0x10000000, PAGE_SIZE, {RW})
  - madvise(a, PAGE_SIZE, MADV_GUARD_INSTALL)
"""


def judged(
    base: Trace, events: Sequence[Event], older: Kernel, newer: Kernel, *, first: bool = False,
    like: Kernel | None = None, worse: bool = True,
) -> tuple[int | None, Mismatch | None, Judge]:  # fmt: skip
    """After how many events *newer* is worse, the kernel being that side, or *first* the other."""
    kernel, model = (older, newer) if first else (newer, older)
    judge = Judge(like or kernel, worse, first)
    count = 0
    try:
        for found in judge(program(events, base), model, ModelWitness(base, kernel)):
            count += 1
            if found is not None:
                return count, found, judge
    except OracleError:
        pass
    return None, None, judge


def loaded(events: str) -> tuple[Trace, list[Event]]:
    trace = load_trace(f"vmatrace: 1\nevents:{events}".encode())
    return trace, [item for item in trace.items() if isinstance(item, Event)]


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(
    ("events", "older", "newer", "what", "count"),
    [
        (UNMERGEABLE, "pre-patch", "post-patch", "number of VMAs", 4),
        (BLOCKED, "pre-patch", "post-patch", BLOCKED_SIDES, 7),
        (SEALED, "6.18", "6.12", "result", 2),
    ],
)
def test_each_kind_of_worse_is_told_on_either_side(
    events: str, older: str, newer: str, what: str, count: int, first: bool
) -> None:
    base, calls = loaded(events)
    sides = get_kernel(older), get_kernel(newer)
    found_at, found, judge = judged(base, calls, *sides, first=first)
    assert found is not None
    assert (found_at, found.field) == (count, what)
    if what != "result":
        assert judge.shown.outcomes != ("", "")
        told = judged(base, calls, *sides, first=not first)[2].shown.outcomes
        assert told == judge.shown.outcomes  # --from, then --to, whichever is the kernel
    assert judged(base, calls, *sides[::-1], first=first)[0] != count


def test_blocked_sides_are_the_decisions_of_a_model_that_is_exact() -> None:
    base, calls = loaded(BLOCKED)
    older, newer = get_kernel("pre-patch"), get_kernel("post-patch")
    # A model that is not: nothing is known of the kernel's decisions, and nothing is claimed.
    assert judged(base, calls, older, newer, like=older)[0] is None
    base, calls = loaded(UNMERGEABLE)
    count, found, judge = judged(base, calls, older, newer, like=older)
    assert found is not None
    assert (count, found.field, judge.shown.outcomes) == (4, "number of VMAs", ("", ""))


@pytest.mark.parametrize(("older", "newer"), PAIRS)
def test_a_kernel_is_worse_where_its_model_is(older: str, newer: str) -> None:
    sides = get_kernel(older), get_kernel(newer)
    base = starts(*sides)[0]
    makers = list(dict.fromkeys(m for table in FAMILIES.values() for m, _ in table))
    differing = [f for f in FEATURES.values() if sides[0].has(f) != sides[1].has(f)]
    breeder = Breeder(Ground(*sides, "worse"), makers, differing)
    kinds = set()
    for number in range(80):
        random = Random(f"{older}/{newer}/{number}")
        events = breeder.made(random, random.randint(3, 20))
        for worse in (True, False):
            trial = trials.run(base, events, *sides, worse)
            for first in (False, True):
                count, found, judge = judged(base, events, *sides, first=first, worse=worse)
                assert count == trial.count, (number, worse, first)
                if found is not None and worse:
                    kinds.add(found.field)
                if not first and count is not None and worse:
                    assert judge.shown.outcomes == trial.outcomes
    assert kinds or older.endswith("patch")  # 80 programs are few for one feature
