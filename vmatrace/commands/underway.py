"""What surrounds a command's run through one trace: ``underway()``. Nothing of what comes of it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from vmatrace.render import progress
from vmatrace.trace.ahead import ahead
from vmatrace.trace.file import Trace

#: So many objects are made between two looks for cycles (Python: 700 to 2000).
_COLLECTED: Final = 20_000


@contextmanager
def underway(trace: Trace) -> Iterator[None]:
    """A run through *trace*: it shows how far it has come, and reads ahead where that is worth it.

    For whoever has this machine for one trace.
    """
    with few_collections(), ahead(trace), progress.watching(trace):
        yield


@contextmanager
def few_collections() -> Iterator[None]:
    """Look for cycles seldom: a run makes none, and looking takes a tenth of its time."""
    before = gc.get_threshold()
    gc.set_threshold(_COLLECTED, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
