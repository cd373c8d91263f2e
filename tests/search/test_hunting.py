"""Hunting finds what two models do differently: shortest, by cause, and always the same."""

from __future__ import annotations

import pytest

from vmatrace.event import Event
from vmatrace.kernels import FEATURES, get_kernel
from vmatrace.replayer.run import replay
from vmatrace.search.conditions import parse
from vmatrace.search.finds import Find, Ground
from vmatrace.search.goals import Goal
from vmatrace.search.hunting import Hunter, HuntTotal, hunt
from vmatrace.trace.file import load_trace


def hunted(ground: Ground, programs: int, most: int | None = None) -> HuntTotal:
    return hunt(Hunter(ground), programs, None, lambda work, inputs: map(work, inputs), most)


def switched(name: str, base: str = "7.3") -> Ground:
    kernel = get_kernel(base)
    return Ground(kernel, kernel.switched([FEATURES[name]]), "test")


#: Of every kind one: merging, placing, files, seals, advice, userfaultfd, mremap, configuration.
SAMPLE = (
    "ksm-before-merge", "ksm-exec-inherit", "anon-pgoff", "thp-align-anon", "shmem-mmap-prepare",
    "mseal-in-loop", "maybe-guard-flag", "uffd-unregister-strict", "mremap-multi-vma",
    "dontunmap-no-self-merge", "map-fixed-keeps-on-failure", "anon-vma-name",
)  # fmt: skip


@pytest.mark.parametrize("name", SAMPLE)
def test_a_feature_has_a_short_witness_that_names_it(name: str) -> None:
    (find,) = hunted(switched(name), 6000, 1).finds
    assert find.causes == (name,)
    assert find.calls <= 6


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("driver-flags-retry-new", "6.12"), ("driver-flags-retry-existing", "6.15"),
        ("mseal-refuses-advice", "6.10"), ("mremap-target-first", "6.16"),
    ],
)  # fmt: skip
def test_what_a_later_release_hides_is_seen_where_it_is_at_home(name: str, base: str) -> None:
    (find,) = hunted(switched(name, base), 6000, 1).finds
    assert find.causes == (name,)


def assert_witness(find: Find, older: str, newer: str) -> None:
    """The file does what it says: expectations hold on both, the sides part, no call can go."""
    trace = load_trace(find.text.encode())
    events = [item for item in trace.items() if isinstance(item, Event)]
    models = [get_kernel(older), get_kernel(newer)]
    for model in models:
        assert replay(trace, model).failures == []
    differs = parse("differs")
    assert Goal(differs, models).reach(trace, events) == len(events)
    for name in find.causes:
        without = models[1].switched([FEATURES[name]])
        assert find.together or Goal(differs, [models[0], without]).reach(trace, events) is None


def test_finds_are_witnesses_of_kinds_that_differ() -> None:
    finds = hunted(Ground(get_kernel("6.10"), get_kernel("6.18"), "kinds"), 600).finds
    assert len(finds) >= 10
    assert len({find.kind for find in finds}) == len(finds)
    assert len({cause for find in finds for cause in find.causes}) >= 6
    for find in finds:
        assert_witness(find, "6.10", "6.18")


def test_the_same_seed_finds_the_same_and_another_another() -> None:
    def texts(seed: str) -> list[str]:
        ground = Ground(get_kernel("6.12"), get_kernel("6.18"), seed)
        return [find.text for find in hunted(ground, 240).finds]

    assert texts("one") == texts("one")
    assert texts("one") != texts("two")


def test_the_series_can_cost_a_vma() -> None:
    """The neighbour that was taken out of KSM: traces/ksm-unmergeable-neighbour.yaml, unaided."""
    models = get_kernel("pre-patch"), get_kernel("post-patch")
    finds = hunted(Ground(*models, "worse", worse=True), 2400).finds
    lines = [find.lines for find in finds if "MADV_UNMERGEABLE" in "".join(find.lines)]
    assert any(len(calls) == 4 for calls in lines)
    for find in finds:
        trace = load_trace(find.text.encode())
        old, new = (replay(trace, model) for model in models)
        assert (
            old.vmas < new.vmas
            or old.tally.blocked_sides < new.tally.blocked_sides
            or old.errors < new.errors
        )


def test_what_is_narrowed_has_nothing_else() -> None:
    kernels = get_kernel("6.10"), get_kernel("7.3")
    calls = frozenset({"mmap", "munmap", "mprotect"})
    ground = Ground(*kernels, "narrow", calls, ksm=False, files=False, processes=False)
    for find in hunted(ground, 240).finds:
        events = [e for e in load_trace(find.text.encode()).items() if isinstance(e, Event)]
        assert {event.name for event in events} <= calls
        assert "MAP_ANONYMOUS" in find.text


def test_equal_models_have_no_difference() -> None:
    kernel = get_kernel("6.4")
    assert hunted(Ground(kernel, get_kernel("6.5"), "none"), 120).finds == []


def test_a_corpus_is_where_a_hunt_starts() -> None:
    text = (
        "vmatrace: 1\nprocess: {ksm: true}\nevents:\n"
        "  - a = mmap(NULL, 0x2000, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)\n"
        "  - mmap(a - 0x1000, 0x1000, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)\n"
    )
    trace = load_trace(text.encode())
    events = tuple(item for item in trace.items() if isinstance(item, Event))
    models = get_kernel("pre-patch"), get_kernel("post-patch")
    found = hunted(Ground(*models, "corpus", corpus=((trace, events),)), 60)
    assert found.finds[0].program == 0
