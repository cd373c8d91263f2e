"""Two layouts of a process as one table, what is equal folded.

A row for each range that no VMA border of either side divides; a VMA that is one over several rows
is drawn with a bracket, so that one beside several shows at a glance.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import Final

from vmatrace import abi
from vmatrace.alignment import Block, Segment, segments
from vmatrace.escape import visible
from vmatrace.layout import Mapping
from vmatrace.render import layouts, words
from vmatrace.render.paper import Paper

#: A block of more rows than this shows so many of its first and last.
_MOST_ROWS: Final = 12
_KEPT_ROWS: Final = 5


class _Row:
    """A range and what each side has there; without sides, a line about rows left out."""

    def __init__(self, place: str, left: str = "", right: str = "", style: str = "") -> None:
        self.place = place
        self.sides = (left, right)
        self.style = style


class LayoutTable:
    """Both layouts of one process side by side, what is equal folded."""

    def __init__(self, paper: Paper, blocks: Iterable[Block], names: tuple[str, str]) -> None:
        self._paper = paper
        self._dots = paper.glyph("…", "...")
        self._names = names
        self._rows = list(self._of(blocks))

    def write(self) -> None:
        """Write it, within the width of the paper."""
        paper = self._paper
        cells = [row for row in self._rows if any(row.sides)]
        place = max([len("address range"), *(len(row.place) for row in cells)])
        widths = [
            max([len(name), *(len(row.sides[i]) for row in cells)])
            for i, name in enumerate(self._names)
        ]
        if paper.width is not None:
            room = max(paper.width - place - 6, 32)
            widths[0] = min(widths[0], max(room // 2, room - widths[1]))
            widths[1] = room - widths[0]
        heads = [name.ljust(width) for name, width in zip(self._names, widths, strict=True)]
        paper.line("  ", ("address range".ljust(place), "quiet"), "  ", (heads[0], "quiet"), "  ",
                   (heads[1], "quiet"))  # fmt: skip
        for row in self._rows:
            if not any(row.sides):
                paper.line("  ", (row.place, "quiet"))
                continue
            left, right = (
                textwrap.wrap(cell, width, subsequent_indent="    ", break_on_hyphens=False)
                for cell, width in zip(row.sides, widths, strict=True)
            )
            for i in range(max(len(left), len(right))):
                a, b = (part[i] if i < len(part) else "" for part in (left, right))
                first = row.place if i == 0 else ""
                paper.line("  ", first.ljust(place), "  ", (a.ljust(widths[0]), row.style), "  ",
                           (b, row.style))  # fmt: skip

    def _of(self, blocks: Iterable[Block]) -> Iterator[_Row]:
        alike: list[Block] = []
        for block in blocks:
            if block.equal:
                alike.append(block)
                continue
            yield from self._folded(alike)
            alike = []
            yield from self._block(block)
        yield from self._folded(alike)

    def _folded(self, alike: list[Block]) -> Iterator[_Row]:
        if alike:
            place = layouts.address_range(alike[0].start, alike[-1].end)
            yield _Row(f"{self._dots} {words.plural(len(alike), 'equal VMA')}, {place}")

    def _block(self, block: Block) -> Iterator[_Row]:
        parts = list(segments(block))
        shown = ~layouts.ORDINARY | _unequal_flags(parts)
        if len(parts) <= _MOST_ROWS:
            yield from (self._row(part, shown) for part in parts)
            return
        yield from (self._row(part, shown) for part in parts[:_KEPT_ROWS])
        rest = parts[_KEPT_ROWS:-_KEPT_ROWS]
        place = layouts.address_range(rest[0].start, rest[-1].end)
        counts = [sum(1 for m in side if rest[0].start <= m.start < rest[-1].end)
                  for side in (block.left, block.right)]  # fmt: skip
        yield _Row(
            f"{self._dots} {len(rest)} more rows, {place}: {counts[0]} and {counts[1]} VMAs start "
            "there"
        )
        yield from (self._row(part, shown) for part in parts[-_KEPT_ROWS:])

    def _row(self, part: Segment, shown: int) -> _Row:
        cells = [self._cell(mapping, part, shown) for mapping in (part.left, part.right)]
        style = "" if part.left is not None and part.right is not None else "warning"
        return _Row(layouts.address_range(part.start, part.end), cells[0], cells[1], style)

    def _cell(self, mapping: Mapping | None, part: Segment, shown: int) -> str:
        """The bracket of a VMA, and in its first row what it is."""
        if mapping is None:
            return "none"
        glyph = self._paper.glyph
        ends = mapping.end == part.end
        if mapping.start < part.start:
            return glyph("└", "'") if ends else glyph("│", "|")
        bracket = glyph("─", "-") if ends else glyph("┌", ",")
        return f"{bracket} {_description(mapping, shown)}"


def _unequal_flags(parts: Iterable[Segment]) -> int:
    """The vm_flags in which two VMAs of one range differ."""
    unequal = 0
    for part in parts:
        if part.left is not None and part.right is not None:
            unequal |= part.left.vm_flags ^ part.right.vm_flags
    return unequal


def _description(mapping: Mapping, shown: int) -> str:
    """One VMA in few words: permissions, the vm_flags in *shown*, offset, backing."""
    flags = abi.vm_flag_codes(mapping.vm_flags & shown & ~abi.VM_SOFTDIRTY)
    offset = f"+{mapping.offset:x}" if mapping.offset else ""
    parts = [mapping.perms, *flags, offset, visible(mapping.name) or "anonymous"]
    return " ".join(part for part in parts if part)
