"""What memory alone costs among very many VMAs: a look at one at a random place and its neighbour.

The VMA is taken from a plain list by its number, so nothing is searched or changed. No index can
do with less than that look; a call makes several.
"""

from __future__ import annotations

import random
import statistics
import time
from itertools import pairwise

from vmatrace.engine.vma import Vma

_LOOKS = 50_000
_STEP = 4 * 4096


def seconds_per_look(live: int, runs: int) -> float:
    """CPU time of one look among *live* VMAs, the median of *runs*; the loop is not counted."""
    vmas = [Vma(_STEP * (i + 1), _STEP * (i + 1) + 4096, 0) for i in range(live + 1)]
    for vma, following in pairwise(vmas):
        vma.next, following.prev = following, vma
    at = random.Random(7).randrange
    times = []
    for _ in range(runs):
        places = [at(live) for _ in range(_LOOKS)]
        start = time.process_time()
        for _ in places:
            pass
        between = time.process_time()
        for i in places:
            vma = vmas[i]
            _ = vma.end, vma.next.start  # type: ignore[union-attr]  # each has a next
        times.append(time.process_time() - between - (between - start))
    return statistics.median(times) / _LOOKS
