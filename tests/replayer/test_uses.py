"""What a feature needs to matter: where the trace uses none of it, no model is another by it."""

from __future__ import annotations

import pytest

from vmatrace.commands.diff.attribution import first_partings
from vmatrace.commands.explain.elsewhere import relevant
from vmatrace.kernels import FEATURES, get_kernel
from vmatrace.replayer.run import Replay
from vmatrace.replayer.uses import VOCABULARY, Uses
from vmatrace.trace.file import Trace
from vmatrace.verify.generate import FAMILIES, files, generate


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
    replay = Replay(trace, kernel)
    uses = Uses(replay)
    for step in replay.steps():
        uses.see(step)
    rest = sorted(set(FEATURES) - relevant(kernel.with_features(FEATURES), uses))
    others = [
        kernel.with_features([], [name])
        if name in kernel.features
        else kernel.with_features([name])
        for name in rest
    ]
    runs = [Replay(trace, model) for model in (kernel, *others)]
    partings = first_partings(runs, [(0, i) for i in range(1, len(runs))])
    assert {name: p for name, p in zip(rest, partings, strict=True) if p is not None} == {}
