"""What pytest does in a run against a mutant: come to the first failure soon, and hang nowhere.

A plugin that ``run.py`` gives to mutmut. Where no test catches a mutant, all of them run: nothing
here changes what they say.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Generator
from pathlib import Path
from types import FrameType
from typing import Final

import hypothesis
import pytest

#: Where mutmut keeps how long each test took in its first run, beside the tests.
STATS: Final = Path("mutmut-stats.json")
#: Seconds of processor time after which a test hangs, beside ten times what it took.
PATIENCE: Final = 5
_TOOK: Final = pytest.StashKey[float]()


def pytest_collection() -> None:
    """One failure is enough: no example is made smaller."""
    idle = (hypothesis.Phase.shrink, hypothesis.Phase.explain)
    phases = [phase for phase in hypothesis.Phase if phase not in idle]
    hypothesis.settings.register_profile(
        "mutants", hypothesis.settings(), phases=phases, database=None
    )
    hypothesis.settings.load_profile("mutants")


def durations() -> dict[str, float]:
    """Seconds by test; none in the run that measures them."""
    if not STATS.exists():
        return {}
    known: dict[str, float] = json.loads(STATS.read_text(encoding="utf-8"))["duration_by_test"]
    return known


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The fastest first; those about as fast stay together, with what they share."""
    known = durations()
    for item in items:
        item.stash[_TOOK] = known.get(item.nodeid, 60.0)
    items.sort(key=lambda item: int(10 * item.stash[_TOOK]))


def _hangs(_number: int, _frame: FrameType | None) -> None:
    pytest.fail("it hangs")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """A loop without an end fails the test."""
    before = signal.signal(signal.SIGPROF, _hangs)
    signal.setitimer(signal.ITIMER_PROF, PATIENCE + 10 * item.stash[_TOOK])
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
