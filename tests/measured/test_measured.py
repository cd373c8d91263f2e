"""What a kernel answered where the traces of this folder ask: the model says the same.

tests/live asks the running kernel again.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from program import MEASURED

from vmatrace.kernels import get_kernel
from vmatrace.replayer.run import Replay
from vmatrace.trace.file import load_trace


@pytest.mark.parametrize("path", MEASURED, ids=lambda path: path.stem)
def test_the_model_does_what_was_measured(path: Path) -> None:
    replay = Replay(load_trace(path), get_kernel("6.18"))
    for step in replay.steps():
        step.mm.vmas.check()
    assert (replay.result.failures, replay.result.divergences) == ([], [])
