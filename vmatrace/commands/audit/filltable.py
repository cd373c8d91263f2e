"""What fills a map as text: how near the limit it is, its patterns and groups, and what helps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vmatrace.commands.audit import patterns
from vmatrace.commands.audit.patterns import PatternUse
from vmatrace.commands.audit.patternwords import PATTERNS
from vmatrace.commands.audit.question import Audit
from vmatrace.groups import VmaGroup
from vmatrace.render import cells, layouts, words
from vmatrace.render.cells import columns
from vmatrace.render.paper import Paper

#: So many groups are shown.
_GROUPS: Final = 8
#: A pattern is spoken of where it has so many VMAs, and such a part of all.
_MANY: Final = 8
_PART: Final = 0.1
#: Those that every process has; they are spoken of from this part of the limit on.
_USUAL: Final = (patterns.LIBRARIES, patterns.FILES, patterns.SHARED_MEMORY, patterns.DEVICES)
_MUCH: Final = 0.01
#: How a number starts, or a part.
_DIGITS: Final = "0123456789<>+-"
#: There is nothing to say of these that the table does not, or that comes later.
SILENT: Final = (patterns.KERNEL, patterns.SINGLE, patterns.LOOKALIKES)
#: Less headroom than this part of the limit is bad, or a warning.
_BAD: Final = 0.1
_WARNING: Final = 0.25


def write_headroom(paper: Paper, audit: Audit) -> None:
    """How many VMAs more there may be, in the colour of what that means."""
    assumed = " (assumed)" if audit.assumed else ""
    left = audit.share(audit.headroom)
    room = f"leaves {audit.headroom} ({percent(left)})"
    paper.paragraph(f"max_map_count {audit.max_map_count}{assumed} {room}", style(left))


def style(left: float) -> str:
    """The style of a headroom that is this part of the limit."""
    return "failed" if left < _BAD else "warning" if left < _WARNING else "good"


def percent(share: float) -> str:
    """A part of the limit, as people say it; what is not 0% or 100% does not read so."""
    if 0 < share < 0.001:
        return "<0.1%"
    if 0.999 < share < 1:
        return ">99.9%"
    return f"{100 * share:.1f}".removesuffix(".0") + "%"


def write(paper: Paper, audit: Audit) -> None:
    """The patterns, the groups, and what to do about what there is much of."""
    if not audit.vmas:
        return
    paper.line("")
    _write_patterns(paper, audit)
    paper.line("")
    _write_groups(paper, audit)
    for use in audit.patterns:
        if _matters(audit, use):
            paper.line("")
            _write_remedy(paper, audit, use)


def _write_patterns(paper: Paper, audit: Audit) -> None:
    rows = [
        [str(use.vmas), percent(audit.share(use.vmas)), words.size(use.bytes),
         PATTERNS[use.name].title]
        for use in audit.patterns
    ]  # fmt: skip
    write_columns(paper, ("VMAs", "of limit", "size", "what fills the map"), rows)


def _write_groups(paper: Paper, audit: Audit) -> None:
    shown = audit.groups[:_GROUPS]
    rows = [
        [str(group.vmas), percent(audit.share(group.vmas)), sizes(group), group.key.perms,
         ("mg " if group.key.mergeable else "") + (group.key.name or group.key.backing)]
        for group in shown
    ]  # fmt: skip
    write_columns(paper, ("VMAs", "of limit", "each", "perms", "VMAs of one kind"), rows)
    rest = audit.groups[_GROUPS:]
    if rest:
        vmas = words.plural(sum(group.vmas for group in rest), "VMA")
        kinds = words.plural(len(rest), "more kind")
        paper.line((f"  and {vmas} of {kinds} (--format json has them all)", "quiet"))


def sizes(group: VmaGroup) -> str:
    """The size class of most, or from which to which they are: ``mostly 4K``, ``8K-1M``."""
    least, *_, most = sorted(group.sizes) * 2
    if group.vmas == 1 or group.bytes == least * group.vmas:
        return words.size(group.bytes // group.vmas)
    if least == most:
        return f"{words.size(least)}-{words.size(2 * least)}"
    if group.usual is not None:
        return f"mostly {words.size(group.usual)}"
    return f"{words.size(least)}-{words.size(most)}"


def write_columns(
    paper: Paper,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    styles: Sequence[str] = (),
) -> None:
    """A table: numbers to the right, the last column as wide as it is. ``styles``: of each row."""
    widths = [max(map(columns, column)) for column in zip(*rows, heads, strict=True)]
    right = [all(each[0] in _DIGITS for each in column) for column in zip(*rows, strict=True)]

    def padded(row: Sequence[str]) -> str:
        """All but the last."""
        pairs = zip(row[:-1], widths, right, strict=False)
        return "".join(
            (cell.rjust(width) if number else cells.padded(cell, width)) + "  "
            for cell, width, number in pairs
        )

    paper.line((padded(heads) + heads[-1], "quiet"))
    for i, row in enumerate(rows):
        before = padded(row)
        first, *more = paper.folded(row[-1], columns(before))
        paper.line((before, styles[i] if styles else ""), (first, "key"))
        for part in more:
            paper.line(" " * len(before), (part, "key"))


def _matters(audit: Audit, use: PatternUse) -> bool:
    if use.name in SILENT or use.vmas < _MANY or use.vmas < _PART * audit.vmas:
        return False
    return use.name not in _USUAL or audit.share(use.vmas) >= _MUCH


def _write_remedy(paper: Paper, audit: Audit, use: PatternUse) -> None:
    said = PATTERNS[use.name]
    share = percent(audit.share(use.vmas))
    paper.line((said.title, "title"), f": {words.plural(use.vmas, 'VMA')}, {share} of the limit")
    run = use.runs[0]
    place = layouts.address_range(run.start, run.end)
    many = words.plural(len(use.runs), "run")
    longest = f"{words.plural(run.vmas, 'VMA')} in a row at {place} ({many} in all)"
    paper.paragraph(longest, "", "  longest   ", " " * 12)
    paper.paragraph(said.made_by, "warning", "  made by   ", " " * 12)
    paper.paragraph(said.remedy, "good", "  to do     ", " " * 12)
    if said.rewriting:
        tried = f"record it; `vmatrace whatif TRACE` tries this as {said.rewriting}"
        paper.paragraph(tried, "", "  try       ", " " * 12)
