"""For every rule that ``make mutations`` breaks: how fast a hunt on the running kernel finds it.

``python tests/bench/hunted.py [SECONDS]`` prints the second table of
docs/reference/witnesses.md.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "verify"))

from mutations import MUTATIONS, hunted, model
from witnesses import summary


def rows(seconds: float) -> Iterator[str]:
    """The rows of the table, and what it comes to."""
    name = model()
    times: list[float] = []
    calls: list[int] = []
    yield "| the rule that is broken | programs | seconds | calls | they part at |"
    yield "|---|---|---|---|---|"
    for mutation in MUTATIONS:
        began = time.monotonic()
        found = hunted(mutation, name, "--finds", "1", "--seconds", str(seconds))
        took = time.monotonic() - began
        if not found["finds"]:
            yield f"| {mutation.rule} | {found['programs']} | | | nothing found in {seconds:g} s |"
            continue
        (find,) = found["finds"]
        times.append(took)
        calls.append(len(find["calls"]))
        where = f"{find['call']}: {find['what']}"
        yield f"| {mutation.rule} | {found['programs']} | {took:.1f} | {calls[-1]} | {where} |"
    yield "\n" + summary(len(MUTATIONS), times, calls)


if __name__ == "__main__":
    for row in rows(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0):
        sys.stdout.write(row + "\n")
        sys.stdout.flush()
