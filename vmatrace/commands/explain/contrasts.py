"""The words for what separates two VMAs: every reason, with the values of both sides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, cast

from vmatrace.commands.explain.explain import Contrast, anon_state
from vmatrace.engine import merge
from vmatrace.engine.merge import Blocker, Side, blockers
from vmatrace.engine.vma import NO_EXTRA
from vmatrace.event import format_flags
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
