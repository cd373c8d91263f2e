"""A hunt with the running kernel on one side: what a model lacks is found, and its cause named."""

from __future__ import annotations

import json

from program import RunProgram

from vmatrace.event import Event
from vmatrace.kernels import get_kernel
from vmatrace.replayer.run import replay
from vmatrace.trace.file import load_trace


def test_what_an_old_model_lacks_is_found_on_the_running_kernel(run: RunProgram) -> None:
    done = run("hunt", "--from", "6.4", "--to", "running", "--seed", "1", "--programs", "120",
               "--format", "json")  # fmt: skip
    assert (done.status, done.err) == (1, "")
    finds = json.loads(done.out)["finds"]
    assert len({(find["call"], find["what"], *find["features"]) for find in finds}) == len(finds)
    assert any(find["features"] for find in finds)
    for find in finds:
        trace = load_trace(find["text"].encode())
        events = [item for item in trace.items() if isinstance(item, Event)]
        assert len(events) == len(find["calls"]) <= 8
        outcome = replay(trace, get_kernel("6.4"))
        assert outcome.failures or outcome.diverged, find["text"]
