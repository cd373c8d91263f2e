"""The words of an explanation: what separates two VMAs, with the values of both sides, and what
other kernel models make of a border, with the feature and commit that changed it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final, cast

from vmatrace.commands.explain import advice
from vmatrace.commands.explain.elsewhere import (
    APART,
    ELSEWHERE,
    GONE,
    ONE,
    RELEASES,
    Answer,
    BorderCause,
)
from vmatrace.commands.explain.question import Contrast, anon_state
from vmatrace.engine import merge
from vmatrace.engine.merge import Blocker, Side, blockers
from vmatrace.engine.vma import NO_EXTRA
from vmatrace.event import format_flags
from vmatrace.kernels import KERNELS, is_release, timeline
from vmatrace.render import words

_ANON_SHORT: Final = {"unfaulted": "none", "own": "its own", "shared": "shared since a fork"}


def contrasted(contrast: Contrast) -> Iterator[str]:
    """Every reason in *contrast*, with the values of both sides."""
    for reason in blockers(contrast.mask & ~merge.NOTHING_THERE):
        yield _values(reason, contrast)


def _values(reason: Blocker, contrast: Contrast) -> str:
    below, above = contrast.below, contrast.above
    sentence = words.reasons(
        int(reason), "", (below.attributes.anon, above.attributes.anon), contrast.opened_twice
    )
    if reason is Blocker.FLAGS:
        only = contrast.flags
        difference = words.flag_difference(only[0] | only[1], *only, ("below", "above"))
        return f"{sentence}: {difference}"
    if reason is Blocker.FILE and not contrast.opened_twice:
        a, b = (path or "no file" for path in contrast.paths)
        return f"{sentence}: {a} below, {b} above"
    if reason is Blocker.FILE:
        return f"{sentence} ({contrast.paths[0]})"
    if reason is Blocker.PGOFF:
        continued, own = contrast.pgoff
        return f"{sentence}: {continued:#x} would continue the lower one, the upper has {own:#x}"
    if reason is Blocker.ANON_VMA and anon_state(below) == anon_state(above) == "own":
        return sentence
    if reason in (Blocker.ANON_VMA, Blocker.FORKED, Blocker.OTHER_SIDE):
        return f"{sentence} (anon_vma: {_anon(below)} below, {_anon(above)} above)"
    if reason in (Blocker.NAME, Blocker.POLICY, Blocker.UFFD, Blocker.ANON_PGOFF):
        return f"{sentence}: {_extra(below, reason)} below, {_extra(above, reason)} above"
    return sentence


def _anon(side: Side) -> str:
    return _ANON_SHORT[anon_state(side)]


def _extra(side: Side, reason: Blocker) -> str:
    extra = side.attributes.extra or NO_EXTRA
    if reason is Blocker.POLICY:
        return policy(extra.policy) or "none"
    if reason is Blocker.UFFD:
        return f"userfaultfd {extra.uffd}" if extra.uffd else "none"
    if reason is Blocker.ANON_PGOFF:
        return f"{extra.displaced:+#x} bytes" if extra.displaced else "its address"
    return extra.name or "none"


def policy(value: tuple[object, ...] | None) -> str | None:
    """A NUMA policy of mbind(): ``MPOL_BIND of nodes 0x1``; the default is None."""
    if value is None:
        return None
    mode, _, nodes = cast("tuple[int, int, int]", value)
    name = format_flags(mode, ("MPOL_",))
    return f"{name} of nodes {nodes:#x}" if nodes else name


# --- other models ---------------------------------------------------------------------------------

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
_FUTURE: Final = {kernel.name for kernel in timeline() if not is_release(kernel)}


def _distinct(causes: Iterable[BorderCause]) -> Iterator[BorderCause]:
    """The causes, without what models that are no releases only repeat."""
    seen: set[str] = set()
    for cause in causes:
        names = {feature.name for feature, _ in cause.features}
        if cause.after in RELEASES or not names <= seen:
            yield cause
        seen |= names


def _cause(cause: BorderCause) -> str:
    parts = []
    for feature, added in cause.features:
        commit = f', {feature.commit} ("{feature.subject}")' if feature.commit else ""
        parts.append(f"{'with' if added else 'without'} {feature.name}{commit}")
    what = f"{cause.before} to {cause.after}: {STATES[cause.becomes][1]} {', '.join(parts)}"
    return f"{what} together" if len(parts) > 1 else f"{what}. {cause.features[0][0].summary}"
