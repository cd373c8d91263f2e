"""A comparison as text: the totals, what happened how often, and the changes that cost most."""

from __future__ import annotations

from typing import Final, TextIO

from vmatrace.commands.audit import filltable
from vmatrace.commands.audit.compare.question import MapChange, MapComparison
from vmatrace.commands.audit.compare.words import KINDS, STRANGE
from vmatrace.commands.audit.patternwords import PATTERNS
from vmatrace.commands.form import Form, Pages
from vmatrace.render import layouts, words
from vmatrace.render.paper import Paper

SUFFIXES: Final = (".txt",)
FOR_PEOPLE: Final = True
#: So many changes are shown, and so many of the VMAs of each.
_CHANGES: Final = 8


def form(out: TextIO, count: int) -> Form[MapComparison]:
    """One after the other."""
    return Pages(out, write)


def write(paper: Paper, found: MapComparison) -> None:
    """All of it."""
    before, after = found.both
    arrow = paper.glyph("→", "->")
    paper.line((before.title, "title"), f" {arrow} ", (after.title, "title"))
    grown = after.vmas - before.vmas
    paper.paragraph(f"{before.vmas} VMAs, then {after.vmas}: {grown:+d}")
    filltable.write_headroom(paper, after)
    if found.strange:
        paper.paragraph(STRANGE, "warning")
    if not found.changes:
        paper.paragraph("Nothing differs.", "passed")
        return
    paper.line("")
    rows = [[str(count), f"{more:+d}", KINDS[kind]] for kind, (count, more) in found.kinds.items()]
    filltable.write_columns(paper, ("times", "VMAs", "what happened"), rows)
    if found.patterns:
        paper.line("")
        rows = [
            [str(was), str(now), f"{now - was:+d}", PATTERNS[name].title]
            for name, was, now in found.patterns
        ]
        filltable.write_columns(paper, ("before", "after", "more", "pattern"), rows)
    paper.line("")
    _write_changes(paper, found)


def _write_changes(paper: Paper, found: MapComparison) -> None:
    largest = sorted(found.changes, key=lambda c: (-abs(c.grown), -_size(c)))
    arrow = paper.glyph("→", "->")
    rows = [
        [layouts.address_range(c.start, c.end), c.kind, f"{len(c.before)} {arrow} {len(c.after)}",
         PATTERNS[c.pattern].title]
        for c in largest[:_CHANGES]
    ]  # fmt: skip
    filltable.write_columns(paper, ("the largest changes", "kind", "VMAs", "pattern"), rows)
    if len(largest) > _CHANGES:
        more = words.plural(len(largest) - _CHANGES, "change")
        paper.line((f"  and {more} more (--format json has them all)", "quiet"))


def _size(change: MapChange) -> int:
    return change.end - change.start
