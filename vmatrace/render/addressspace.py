"""The layout of a process as a table: a row for each VMA, the gaps, and what lies between VMAs.

Drawn for a screen, a bracket joins the VMAs that touch. A layout may have a million rows, so they
are lines of their own and no Table of rich, which makes some 3,000 a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Final

from vmatrace import abi
from vmatrace.engine.merge import Blocker, Border
from vmatrace.layout import Layout, Mapping
from vmatrace.render import words
from vmatrace.render.cells import columns
from vmatrace.render.layouts import HEADS, ORDINARY, row
from vmatrace.render.paper import Paper, Span

#: Of which borders the reasons are given: those that the rows do not explain are interesting.
ALL, INTERESTING, NONE = "all", "interesting", "none"
WHY: Final = (ALL, INTERESTING, NONE)
_INDENT: Final = "  "
_GAP: Final = "gap"
_LEAST: Final = len("[anon_shmem]")  # columns for a backing


def write(paper: Paper, layout: Layout, borders: Sequence[Border], why: str = INTERESTING) -> None:
    """The table of one address space. ``borders`` are those of its touching VMAs."""
    _Table(paper, layout, {border.address: border for border in borders}, why).write()


def interesting(border: Border, above: Mapping, below: Mapping) -> bool:
    """Whether the rows of two neighbours leave open why they are two, or KSM keeps them apart."""
    if border.mask == 0:
        return True
    if above.name != below.name:
        return False
    if border.flags & abi.VM_MERGEABLE:
        return True
    shown = ~ORDINARY & ~abi.VM_SOFTDIRTY
    if above.perms != below.perms or (above.vm_flags ^ below.vm_flags) & shown:
        return False
    continued = below.offset in (above.offset, above.offset + above.end - above.start)
    return continued or not _in_file(below) or bool(border.mask & Blocker.FILE)


def _in_file(mapping: Mapping) -> bool:
    return bool(mapping.offset) or mapping.name.startswith("/")


class _Table:
    def __init__(self, paper: Paper, layout: Layout, borders: dict[int, Border], why: str) -> None:
        self._paper = paper
        self._layout = layout
        self._borders = borders
        self._why = why
        self._cells = [row(mapping) for mapping in layout]
        found = zip(*[cells[:5] for cells in self._cells], strict=True)
        widths = [max(map(len, column)) for column in found]
        gaps = [len(words.size(b.start - a.end)) for a, b in pairwise(layout) if b.start != a.end]
        widths[1] = max([widths[1], *gaps])
        # A column with nothing in it is left out.
        widths = [max(w, len(x)) if w else 0 for w, x in zip(widths, HEADS, strict=False)]
        self._widths = widths
        before = len(_INDENT) + sum(w + 2 for w in widths if w)
        room = None if paper.width is None else paper.width - before
        #: Columns for the backing, 0 where there are too few for any.
        self._room = 0 if room is not None and room < _LEAST else room
        #: The folder above its rows, where a name is too long to stand beside them.
        self._heading = ""
        self._untold = 0

    def write(self) -> None:
        paper, layout = self._paper, self._layout
        paper.line(_INDENT, (self._padded(HEADS) + (HEADS[5] if self._room != 0 else ""), "quiet"))
        marks = self._marks() if paper.drawn else None
        last: Mapping | None = None
        for i, mapping in enumerate(layout):
            touching = last is not None and last.end == mapping.start
            if last is not None:
                if touching:
                    self._write_border(last, mapping)
                else:
                    self._write_gap(mapping.start - last.end)
            mark: Span = _INDENT if marks is None else marks[i]
            self._write_row(mapping, self._cells[i], mark, touching)
            last = mapping
        if self._untold:
            count = words.plural(self._untold, "more border")
            text = f"{count} between VMAs that differ as shown (--why all gives the reasons)"
            paper.paragraph(text, "quiet", _INDENT, _INDENT)

    def _marks(self) -> list[tuple[str, str]]:
        """The bracket before each row, and its style."""
        glyph = self._paper.glyph
        alone, first, middle, last = (
            glyph(character, instead) + " "
            for character, instead in (("─", "-"), ("┌", ","), ("│", "|"), ("└", "'"))
        )
        touching = [a.end == b.start for a, b in pairwise(self._layout)]
        equal = [
            joined and (border := self._borders.get(b.start)) is not None and border.mask == 0
            for joined, b in zip(touching, self._layout[1:], strict=False)
        ]
        shapes = {
            (False, False): alone, (False, True): first, (True, True): middle, (True, False): last,
        }  # fmt: skip
        return [
            (shapes[above, below], "alike" if alike_above or alike_below else "frame")
            for above, below, alike_above, alike_below in zip(
                [False, *touching], [*touching, False], [False, *equal], [*equal, False],
                strict=True,
            )
        ]  # fmt: skip

    def _write_row(
        self, mapping: Mapping, cells: Sequence[str], mark: Span, touching: bool
    ) -> None:
        place, size, perms, offset, _, name = cells
        w = self._widths
        more = f"  {size:>{w[1]}}  {perms:<{w[2]}}  " + (f"{offset:>{w[3]}}  " if w[3] else "")
        place = f"{place:<{w[0]}}"
        alike = mark[1] == "alike"
        first: tuple[Span, ...] = ((place, "alike"), more) if alike else (place + more,)
        backing = name
        if self._room is not None and columns(name) > self._room:
            backing = self._put_above(name, touching)
        dim = "" if mapping.name else "anonymous"
        self._paper.line(mark, *first, *_flag_spans(mapping.vm_flags, w[4]), (backing, dim))

    def _put_above(self, name: str, touching: bool) -> str:
        """Write the folder of a backing above its rows, once; what stands in their last column.

        Where not even the last part of the name has room, that is a sign of repetition.
        """
        paper = self._paper
        folder, slash, base = name.rpartition("/")
        assert self._room is not None
        if not name.startswith("/") or columns(base) > self._room:
            folder, slash, base = name, "", '"' if self._room else ""
        if folder + slash != self._heading:
            self._heading = folder + slash
            bar = paper.glyph("│", "|") + " " if paper.drawn and touching else _INDENT
            for part in paper.folded(self._heading, len(_INDENT)):
                paper.line((bar, "frame"), (part, "anonymous"))
        return base

    def _write_gap(self, size: int) -> None:
        width = self._widths[0]
        place = _GAP.center(width)
        if self._paper.drawn:
            place = f" {_GAP} ".center(width, self._paper.glyph("┄", "."))
        self._paper.line(_INDENT, (f"{place}  {words.size(size):>{self._widths[1]}}", "gap"))

    def _padded(self, cells: Sequence[str]) -> str:
        """All cells of a row but the backing."""
        return "".join(
            (cell.rjust(width) if i in (1, 3) else cell.ljust(width)) + "  "
            for i, (cell, width) in enumerate(zip(cells, self._widths, strict=False))
            if width
        )

    # --- borders ----------------------------------------------------------------------------------

    def _write_border(self, above: Mapping, below: Mapping) -> None:
        border = self._borders.get(below.start)
        if border is None or self._why == NONE:
            return
        if self._why == INTERESTING and not interesting(border, above, below):
            self._untold += 1
            return
        paper = self._paper
        if border.mask == 0:
            mark, style, text = "=", "alike", _why_apart(border)
        else:
            mark = paper.glyph("≠", "!=")
            style = "ksm" if border.flags & abi.VM_MERGEABLE else "apart"
            difference = words.flag_difference(
                border.flags, above.vm_flags, below.vm_flags, ("above", "below")
            )
            anon = (border.anon[0][0], border.anon[1][0])
            text = words.reasons(border.mask, difference, anon, above.name == below.name)
        bar = paper.glyph("│", "|") + " " if paper.drawn else _INDENT
        first = f"{_INDENT}{mark} "
        margin = " " * len(first)
        for part in paper.broken(text, len(bar) + len(first), len(bar) + len(margin)):
            paper.line((bar, "frame"), (first + part, style))
            first = margin


_PLACES: Final = ("on the one already there", "on the new one")


def _why_apart(border: Border) -> str:
    """Of two VMAs that differ in nothing: what kept them apart when they met."""
    refusal = border.refusal
    if refusal is not None:
        for _, side, mask in refusal.blocked():
            here, there = refusal.proposed, side.attributes
            if border.address not in (side.start, side.end):
                continue
            difference = words.flag_difference(
                refusal.flag_difference(side), there.flags, here.flags, _PLACES
            )
            why = words.reasons(mask, difference, (there.anon, here.anon), False)
            line = f" in line {refusal.event.line}" if refusal.event else ""
            return f"alike now, but not when they met{line}: {why}"
    return "alike now: would be one VMA if a call tried to merge them"


@cache
def _flag_spans(vm_flags: int, width: int) -> list[Span]:
    """The flags worth seeing, padded to *width*: VM_MERGEABLE stands out."""
    if not width:
        return []
    codes = abi.vm_flag_codes(vm_flags & ~ORDINARY & ~abi.VM_SOFTDIRTY)
    text = " ".join(codes)
    blank = " " * (width - len(text) + 2)
    merges = abi.VM_FLAG_CODES[abi.VM_MERGEABLE]
    if merges not in codes:
        return [(text + blank, "flags")]
    before, after = text.split(merges)
    spans = [(before, "flags"), (merges, "ksm"), (after + blank, "flags")]
    return [span for span in spans if span[0]]
