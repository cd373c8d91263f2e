"""What a feature needs to matter: where the trace uses none of it, no model is another by it."""

from __future__ import annotations

import pytest

from vmatrace.kernels import FEATURES, get_kernel
from vmatrace.replayer.attribution import first_partings
from vmatrace.replayer.lockstep import Lockstep
from vmatrace.replayer.run import Replay
from vmatrace.replayer.uses import VOCABULARY, uses_of
from vmatrace.search.generate import FAMILIES, files, generate
from vmatrace.trace.file import Trace


def test_a_feature_needs_what_there_are_words_for() -> None:
    for feature in FEATURES.values():
        if feature.matters is not None:
            assert feature.matters, feature.name
            assert set(feature.matters) <= VOCABULARY, feature.name


@pytest.mark.parametrize("index", range(6 * len(FAMILIES)))
def test_a_feature_that_cannot_matter_to_a_trace_does_not(index: int) -> None:
    """Random programs of every family: all that is said not to matter, switched one at a time."""
    events = generate("uses", index)
    trace = Trace("t", "t", lambda: iter(events), files=files())
    kernel = get_kernel("6.12" if index % 2 else "post-patch")
    uses = uses_of(trace, kernel)
    rest = [feature for feature in FEATURES.values() if not feature.can_matter(uses)]
    runs = [Replay(trace, kernel), *(Replay(trace, kernel.switched([x])) for x in rest)]
    partings = first_partings(Lockstep(trace, runs), [(0, i) for i in range(1, len(runs))])
    assert {x.name: p for x, p in zip(rest, partings, strict=True) if p is not None} == {}
