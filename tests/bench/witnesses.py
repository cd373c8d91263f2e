"""For every feature: how fast a hunt finds a witness, and how short it is.

``python tests/bench/witnesses.py [SECONDS]`` prints the table of docs/reference/witnesses.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from statistics import median

from vmatrace.kernels import FEATURES, Feature, Kernel, get_kernel
from vmatrace.search.finds import Find, Ground
from vmatrace.search.hunting import Hunter, hunt

#: Features that 7.3 alone cannot show: on which release they are switched.
HOMES = {
    "driver-flags-retry-new": "6.12",
    "driver-flags-retry-existing": "6.15",
    "mseal-refuses-advice": "6.10",
    "mremap-target-first": "6.16",
}
#: Features that no trace shows, and why.
UNSEEN = {
    "vvar-vclock": "which mappings a new image has, a trace says itself",
    "hugetlbfs-mmap-prepare": "huge pages of a file never merge, whichever hook maps them",
}


def witness(kernel: Kernel, feature: Feature, seconds: float) -> tuple[Find | None, float]:
    """The first find between *kernel* and itself with *feature* switched, and when it came."""
    hunter = Hunter(Ground(kernel, kernel.switched([feature]), "witness"))
    total = hunt(hunter, None, seconds, lambda work, inputs: map(work, inputs), 1)
    return (total.finds[0] if total.finds else None), total.seconds


def rows(seconds: float) -> Iterator[str]:
    """The rows of the table, and what it comes to."""
    times, calls = [], []
    yield "| feature | on | calls | seconds | they part at |\n|---|---|---|---|---|"
    for name, feature in FEATURES.items():
        home = HOMES.get(name, "7.3")
        if name in UNSEEN:
            yield f"| `{name}` | | | | not seen: {UNSEEN[name]} |"
            continue
        find, took = witness(get_kernel(home), feature, seconds)
        times.append(took)
        if find is None:
            yield f"| `{name}` | {home} | | | nothing found in {seconds:g} s |"
            continue
        calls.append(find.calls)
        yield f"| `{name}` | {home} | {find.calls} | {took:.1f} | {find.call}: {find.what} |"
    yield "\n" + summary(len(times), times, calls)


def summary(total: int, times: Sequence[float], calls: Sequence[int]) -> str:
    """What a table comes to: of how many one was found, how fast, and of how many calls."""
    short = sum(n <= 6 for n in calls)
    return (
        f"{len(calls)} of {total} found; median {median(times):.1f} s; {short} of them have "
        "at most 6 calls"
    )


if __name__ == "__main__":
    for row in rows(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0):
        sys.stdout.write(row + "\n")
        sys.stdout.flush()
