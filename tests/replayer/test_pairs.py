"""A Pair says at which event two replays part: where they do not change the same."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from vmatrace.event import Event
from vmatrace.kernels import Kernel, get_kernel
from vmatrace.replayer.changes import Follower
from vmatrace.replayer.pairs import pairs_of
from vmatrace.replayer.run import Replay
from vmatrace.search.generate import FAMILIES, files, generate
from vmatrace.trace.file import Trace, load_trace

PAIRS = (("6.4", "7.3"), ("pre-patch", "post-patch"), ("6.12.117", "6.16"), ("6.18", "7.2"))


def program(index: int) -> tuple[Trace, list[Event]]:
    """A random program of the verifier."""
    events = generate("pairs", index)
    return Trace("t", "t", lambda: iter(events), files=files()), events


def parting(trace: Trace, events: Sequence[Event], kernels: Sequence[Kernel]) -> int | None:
    """Where two models part by what each event changed in whole layouts, and that Pair agrees."""
    runs = [Replay(trace, kernel) for kernel in kernels]
    (pair,) = pairs_of(runs)
    followers = [Follower(run) for run in runs]
    for n, event in enumerate(events):
        a, b = (run.step(event) for run in runs)
        assert a is not None
        assert b is not None
        did = [(s.result, f.follow(s)) for s, f in zip((a, b), followers, strict=True)]
        same = did[0] == did[1]
        assert pair.is_same_after(a, b) == same, (n, event.text)
        if not same:
            return n
    return None


@pytest.mark.parametrize("index", range(6 * len(FAMILIES)))
def test_two_models_part_where_what_they_change_does(index: int) -> None:
    parting(*program(index), [get_kernel(name) for name in PAIRS[index % len(PAIRS)]])


def test_the_programs_part_now_and_then() -> None:
    """The test above would not notice if no program told two models apart."""
    kernels = [get_kernel("6.4"), get_kernel("7.3")]
    found = [parting(*program(index), kernels) for index in range(40)]
    assert None in found
    assert len({n for n in found if n is not None}) > 5


MAPS = """\
vmatrace: 1
name: t
maps: |
  7ffff7fb9000-7ffff7fbd000 r--p 00000000 00:00 0 [vvar]
  7ffff7fbd000-7ffff7fbf000 r-xp 00000000 00:00 0 [vdso]
events:
  - mmap(0x7ffff7fb8000, 0x1000, PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - munmap(0x7ffff7fb8000, 0x1000)
  - mremap(0x7ffff7fb9000, 0x4000, 0x4000, MREMAP_MAYMOVE|MREMAP_FIXED, 0x10000000)
"""


def test_what_is_unlike_from_the_start_is_a_difference_when_it_changes() -> None:
    """Each release gives [vvar] flags of its own, which a text without VmFlags does not show."""
    trace = load_trace(MAPS.encode())
    events = [item for item in trace.items() if isinstance(item, Event)]
    kernels = [get_kernel("6.4"), get_kernel("7.3")]
    starts = [Replay(trace, kernel).process("main").vmas.first for kernel in kernels]
    assert starts[0] is not None
    assert starts[1] is not None
    assert starts[0].flags != starts[1].flags
    assert parting(trace, events, kernels) == 2
