"""What became of the traces of a baseline, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from vmatrace._version import __version__
from vmatrace.commands.baseline.question import KINDS, UNCHANGED, Renewed
from vmatrace.commands.diff.words import changed_totals
from vmatrace.escape import visible
from vmatrace.render.words import plural


def lines(path: str, all_: Sequence[Renewed]) -> Iterator[str]:
    """A line for each trace of which there is something to say, and the total last."""
    told = sorted(all_, key=lambda one: (KINDS.index(one.kind), one.path))
    shown = [one for one in told if one.kind != UNCHANGED]
    width = max((len(visible(one.path)) for one in shown), default=0)
    for one in shown:
        said = _what(one)
        name = f"{visible(one.path):<{width}}" if said else visible(one.path)
        yield f"{one.kind:<8} {name}  {said}".rstrip()
    counts = Counter(one.kind for one in told)
    total = ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind])
    count = sum(one.now is not None for one in all_)
    yield f"{visible(path)}: {plural(count, 'trace')}" + (f" ({total})" if total else "")
    writers = {one.before.version for one in all_ if one.before} - {__version__}
    if writers:
        names = " and ".join(sorted(str(version or "an older one") for version in writers))
        yield f"note: it was written by vmatrace {names}, now by {__version__}"


def _what(one: Renewed) -> str:
    if one.now is None or one.before is one.now:
        return ""
    if one.diff is None:
        return f"{one.now.kernel}: {plural(one.now.side.totals.vmas or 0, 'VMA')}"
    assert one.before is not None
    parts = []
    if one.before.kernel != one.now.kernel:
        parts.append(f"{one.before.kernel} → {one.now.kernel}")
    parts.append(changed_totals(one.diff) or ("" if one.diff.equal else "other VMAs"))
    expected = one.before.side.expected, one.now.side.expected
    if expected[0] != expected[1]:
        parts.append(f"expectations {expected[0]} → {expected[1]}")
    return ", ".join(part for part in parts if part)
