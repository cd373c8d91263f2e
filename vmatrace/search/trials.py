"""One program on two models: where they part, how, and which merge decisions it covered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from vmatrace import abi
from vmatrace.engine.merge import Blocker, blockers
from vmatrace.event import Event
from vmatrace.kernels import Kernel
from vmatrace.replayer.changes import Change, Follower
from vmatrace.replayer.result import Step
from vmatrace.replayer.run import Replay
from vmatrace.search.goals import with_events
from vmatrace.trace.file import Trace


class UnmodelledError(Exception):
    """A call of the program is not modelled."""


@dataclass
class Trial:
    """Where two models part on a program (``count`` events), how, and what it covered."""

    count: int | None = None
    what: str = ""
    outcomes: tuple[str, str] = ("", "")
    signature: object = None
    covered: set[object] = field(default_factory=set)


def run(base: Trace, events: Sequence[Event], older: Kernel, newer: Kernel, worse: bool) -> Trial:
    """Run a program on two models, up to where they part; *worse*: to where *newer* is worse.

    Raises UnmodelledError.
    """
    trace = with_events(base, events)
    runs = [Replay(trace, model) for model in (older, newer)]
    followers = [Follower(run) for run in runs]
    found = Trial()
    parted = False
    for count, event in enumerate(events, 1):
        steps = [step for run in runs if (step := run.step(event)) is not None]
        if len(steps) < 2:
            raise UnmodelledError
        found.covered.update(covered(steps[-1]))
        did = [(s.result, f.follow(s)) for s, f in zip(steps, followers, strict=True)]
        if not parted and did[0] != did[1]:
            parted = True
            found.what = _what(did)
            found.signature = (event.name, found.what, *map(frozenset, map(covered, steps)))
        if parted and (not worse or _is_worse(runs, steps)):
            found.count = count
            found.outcomes = outcomes(steps)
            return found
    return found


def outcomes(steps: Sequence[Step]) -> tuple[str, str]:
    """What became of the merges that the call tried on one side only, in words, for each side."""
    old, new = (_merges(step) for step in steps)
    sides = [[m for m in mine if m not in theirs] for mine, theirs in ((old, new), (new, old))]
    told = ["; ".join(said) or "nothing more" for said in sides]
    return told[0], told[1]


def _merges(step: Step) -> list[str]:
    said = []
    for decision in step.decisions:
        apart = []
        for side, there, mask in decision.blocked():
            flags = " ".join(abi.vm_flag_codes(decision.flag_difference(there)))
            reasons = [r.code + (f" {flags}" if r is Blocker.FLAGS else "") for r in blockers(mask)]
            apart.append(f"not with {side} ({', '.join(reasons)})")
        merged = [f"merged with {decision.kind}"] if decision.kind else []
        said += merged + apart
    return list(dict.fromkeys(said))


def _is_worse(runs: Sequence[Replay], steps: Sequence[Step]) -> bool:
    older, newer = runs
    if steps[0].mm.vmas.count < steps[1].mm.vmas.count:
        return True
    if older.result.tally.blocked_sides < newer.result.tally.blocked_sides:
        return True
    return older.result.errors < newer.result.errors


def covered(step: Step) -> Iterator[object]:
    """What a step covers: how its call ended, and its merge decisions."""
    name = step.event.name
    yield name, step.result if step.result < 0 else 0
    for decision in step.decisions:
        flags = tuple(decision.flag_difference(side) for _, side, _ in decision.blocked())
        yield decision.op, decision.left, decision.right, flags


def _what(did: Sequence[tuple[int, list[Change]]]) -> str:
    """What the sides part in: results, or of the VMAs the first thing that differs."""
    (before, old), (after, new) = did
    if before != after:
        names = ["success" if r >= 0 else abi.ERRNO_NAME.get(-r, str(r)) for r in (before, after)]
        return "addresses" if names == ["success"] * 2 else f"results ({' and '.join(names)})"
    came = [[key for _, _, keys in changes for key in keys] for changes in (old, new)]
    if len(came[0]) != len(came[1]) or any(a[:2] != b[:2] for a, b in zip(*came, strict=True)):
        return "VMAs"
    for i, word in ((2, "flags"), (3, "offsets"), (4, "names")):
        if any(a[i] != b[i] for a, b in zip(*came, strict=True)):
            if word != "flags":
                return word
            bits = next(a[2] ^ b[2] for a, b in zip(*came, strict=True) if a[2] != b[2])
            return f"flags ({' '.join(abi.vm_flag_codes(bits))})"
    return "VMAs"
