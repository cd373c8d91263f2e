"""What changed between releases, by example: docs/reference/changes-by-example.md.

``python tests/bench/changes.py [SECONDS]`` (`make changes`) prints the page: it hunts so long
between each pair, and writes down every kind that it finds.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final, NamedTuple

from vmatrace.kernels import FEATURES, get_kernel
from vmatrace.search.finds import Find, Ground
from vmatrace.search.hunting import Hunter, HuntTotal, hunt

PAIRS: Final = (("pre-patch", "post-patch"), ("6.16.12", "6.17.13"), ("7.1", "7.3"))
SEED: Final = "1"
_HEAD: Final = """\
# What changed, by example

What [`vmatrace hunt`](../commands/hunt.md) finds between two kernels in the programs that are
counted: every kind of difference, under the feature that is its cause, and for each cause the
shortest program; then what the newer one makes worse. `make changes` writes this page, from five
minutes of one process for each hunt.
"""
_TOGETHER: Final = "Only switching all of these makes the difference vanish."
_EACH: Final = "Switching any one of these makes the difference vanish."


class Hunt(NamedTuple):
    """A hunt of the page; *worse*: only for what the newer one makes worse."""

    older: str
    newer: str
    worse: bool

    @property
    def title(self) -> str:
        return f"{self.older} and {self.newer}{': what is worse' if self.worse else ''}"

    @property
    def command(self) -> str:
        worse = " --worse" if self.worse else ""
        return f"vmatrace hunt --from {self.older} --to {self.newer} --seed {SEED}{worse}"


HUNTS: Final = [Hunt(*pair, worse) for worse in (False, True) for pair in PAIRS]


def hunted(which: Hunt, seconds: float | None, programs: int | None = None) -> HuntTotal:
    """All that a hunt finds."""
    older, newer = get_kernel(which.older), get_kernel(which.newer)
    hunter = Hunter(Ground(older, newer, SEED, worse=which.worse))
    return hunt(hunter, programs, seconds, lambda work, inputs: map(work, inputs))


def section(which: Hunt, total: HuntTotal) -> Iterator[str]:
    """The lines on one hunt."""
    yield f"\n## {which.title}\n"
    yield f"`{which.command}`: {len(total.finds)} kinds in {total.programs:,} programs."
    causes: dict[tuple[str, ...], list[Find]] = {}
    for find in total.finds:
        causes.setdefault(find.causes, []).append(find)
    order = list(FEATURES)
    for names in sorted(causes, key=lambda n: (len(n), [order.index(name) for name in n])):
        finds = sorted(causes[names], key=lambda find: find.calls)
        yield f"\n### {', '.join(names) or 'cause unknown'}\n"
        yield from (FEATURES[name].summary for name in names)
        if len(names) > 1:
            yield "\n" + (_TOGETHER if finds[0].together else _EACH)
        yield ""
        yield from (f"* {kind(find, which)}" for find in finds)
        yield f"\n```text\n{program(finds[0])}```"


def kind(find: Find, which: Hunt) -> str:
    """What a kind is, on one line."""
    said = f"{find.call}: {find.what}"
    if find.outcomes[0] != find.outcomes[1]:
        said += f"; merges: {which.older} {find.outcomes[0]}, {which.newer} {find.outcomes[1]}"
    return said


def program(find: Find) -> str:
    """The trace without its comment and its expectations."""
    lines = find.text.splitlines(keepends=True)
    body = [line for line in lines if not line.startswith("#")]
    ends = [i for i, line in enumerate(body) if line.startswith("  - expect:")]
    return "".join(body[: min(ends, default=len(body))])


def main(seconds: float) -> None:
    """Write the page."""
    write = sys.stdout.write
    write(_HEAD)
    for which in HUNTS:
        write("\n".join(section(which, hunted(which, seconds))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 300.0)
