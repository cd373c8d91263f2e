"""What other kernel models make of a border, and which feature and commit changed it, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

from vmatrace.commands.explain import advice
from vmatrace.commands.explain.elsewhere import APART, ELSEWHERE, GONE, ONE, RELEASES, Answer, Cause
from vmatrace.kernels import KERNELS

#: What a border is under other models, for each state of a Verdict; and what it became.
STATES: Final = {
    ONE: ("one VMA under", "one VMA"),
    APART: ("two that touch under", "two"),
    ELSEWHERE: ("they do not touch under", "not touching"),
    GONE: ("not both mapped under", "not both mapped"),
}


def told(answer: Answer) -> Iterator[tuple[str, str]]:
    """Paragraphs, each with its label; a label that would be repeated is empty."""
    label = "other kernels"
    for state, (text, _) in STATES.items():
        names = [name for name, verdict in answer.verdicts.items() if verdict.state == state]
        if names:
            yield label, f"{text} {spans(names)}"
            label = ""
    label = "changed by"
    for cause in _distinct(answer.causes):
        yield label, _cause(cause)
        label = ""
    lost = advice.lost_ksm(answer)
    if lost:
        yield "why", lost


def spans(names: Iterable[str]) -> str:
    """Models in a few words: ``6.4 to 6.16, pre-patch``, ``6.17 and later``, ``every model``.

    Later ones are those of what is to come, too.
    """
    wanted = set(names)
    if wanted == set(KERNELS):
        return "every model"
    parts = []
    for chosen, run in groupby(RELEASES, key=wanted.__contains__):
        row = list(run)
        if not chosen:
            continue
        if row[-1] == RELEASES[-1] and wanted >= _FUTURE:
            parts.append(f"{row[0]} and later")
            wanted -= _FUTURE
        else:
            parts.append(row[0] if len(row) == 1 else f"{row[0]} to {row[-1]}")
    parts += [name for name in KERNELS if name in wanted and name not in RELEASES]
    return ", ".join(parts)


#: The models of what comes after the newest release.
_FUTURE: Final = {
    name for name, kernel in KERNELS.items() if kernel.release > KERNELS[RELEASES[-1]].release
}


def _distinct(causes: Iterable[Cause]) -> Iterator[Cause]:
    """The causes, without what models that are no releases only repeat."""
    seen: set[str] = set()
    for cause in causes:
        names = {feature.name for feature, _ in cause.features}
        if cause.after in RELEASES or not names <= seen:
            yield cause
        seen |= names


def _cause(cause: Cause) -> str:
    parts = []
    for feature, added in cause.features:
        commit = f', {feature.commit} ("{feature.subject}")' if feature.commit else ""
        parts.append(f"{'with' if added else 'without'} {feature.name}{commit}")
    what = f"{cause.before} to {cause.after}: {STATES[cause.becomes][1]} {', '.join(parts)}"
    return f"{what} together" if len(parts) > 1 else f"{what}. {cause.features[0][0].summary}"
