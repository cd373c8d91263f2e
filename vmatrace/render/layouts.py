"""The layout of a process as a table: a row for each VMA, the gaps, and what lies between VMAs.

Flags that an ordinary mapping has, and those that the permissions show, are left out of the flags
column (ORDINARY); everything else that smaps prints is worth seeing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from vmatrace import abi
from vmatrace.engine.merge import Border
from vmatrace.layout import Layout, Mapping
from vmatrace.render import words
from vmatrace.render.paper import Paper, Span

#: rd wr ex sh mr mw me ms ac: what the permissions say, may be changed to, and accounting.
ORDINARY: Final = (
    abi.VM_ACCESS_FLAGS | abi.VM_SHARED | abi.VM_MAY_ALL | abi.VM_MAYSHARE | abi.VM_ACCOUNT
)
_HEADS: Final = ("address range", "size", "perms", "offset", "flags", "backing")
_INDENT: Final = "  "


class Columns:
    """The widths of the columns; the last one, the backing, takes what is left of the paper."""

    def __init__(self, layout: Sequence[Mapping], head: bool = False) -> None:
        """*head*: there will be a line with the names of the columns, and gaps."""
        widths = [0] * 5
        if head:
            widths[1] = max((len(words.size(gap)) for gap in _gaps(layout)), default=0)
        for mapping in layout:
            cells = row(mapping)
            widths = [max(w, len(cell)) for w, cell in zip(widths, cells[:5], strict=True)]
        # A column with nothing in it is left out.
        if head:
            widths = [max(w, len(x)) if w else 0 for w, x in zip(widths, _HEADS, strict=False)]
        self.widths = widths

    def spans(self, cells: Sequence[str], styles: Sequence[str] = ("",) * 6) -> list[Span]:
        """One row without its last cell, padded."""
        spans: list[Span] = []
        for i, (cell, width) in enumerate(zip(cells, self.widths, strict=False)):
            if width:
                padded = cell.rjust(width) if i == 1 or i == 3 else cell.ljust(width)
                spans += [(padded, styles[i]), "  "]
        return spans

    @property
    def before_backing(self) -> int:
        return sum(w + 2 for w in self.widths if w)


def _gaps(layout: Sequence[Mapping]) -> Iterator[int]:
    return (b.start - a.end for a, b in pairwise(layout))


def address_range(start: int, end: int) -> str:
    """As in /proc/PID/maps: ``7ffff7ffd000-7ffff7fff000``."""
    return f"{start:08x}-{end:08x}"


def row(mapping: Mapping) -> tuple[str, str, str, str, str, str]:
    """The cells of one VMA. The offset is that into a file, in bytes and hex."""
    in_file = mapping.offset or mapping.name.startswith("/")
    return (
        address_range(mapping.start, mapping.end),
        words.size(mapping.end - mapping.start),
        mapping.perms,
        f"{mapping.offset:x}" if in_file else "",
        " ".join(abi.vm_flag_codes(mapping.vm_flags & ~ORDINARY & ~abi.VM_SOFTDIRTY)),
        mapping.name or "anonymous",
    )


def write_row(
    paper: Paper, columns: Columns, mapping: Mapping, indent: str, style: str = "", mark: str = ""
) -> None:
    """One VMA. A backing too long for the paper goes on below itself."""
    cells = row(mapping)
    plain = [style] * 6
    if not style:
        plain[4] = "key"
        plain[5] = "" if mapping.name else "quiet"
    before = len(indent) + len(mark) + columns.before_backing
    first, *rest = paper.folded(cells[5], before)
    paper.line(indent, (mark, style), *columns.spans(cells, plain), (first, plain[5]))
    for part in rest:
        paper.line(" " * before, (part, plain[5]))


def write(paper: Paper, layout: Layout, borders: Sequence[Border]) -> None:
    """The table of one address space. ``borders`` are those of its touching VMAs."""
    columns = Columns(layout, head=True)
    paper.line(_INDENT, *columns.spans(_HEADS, ["quiet"] * 6), ("backing", "quiet"))
    between = {border.address: border for border in borders}
    last: Mapping | None = None
    for mapping in layout:
        if last is not None and last.end == mapping.start:
            _write_border(paper, between.get(mapping.start), last, mapping)
        elif last is not None:
            gap = words.size(mapping.start - last.end)
            paper.line(_INDENT, *columns.spans(("gap".center(columns.widths[0]), gap), ["gap"] * 2))
        write_row(paper, columns, mapping, _INDENT)
        last = mapping


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


def _write_border(paper: Paper, border: Border | None, above: Mapping, below: Mapping) -> None:
    if border is None:
        return
    if border.mask == 0:
        mark, style = "=", "key"
        text = _why_apart(border)
    else:
        mark, style = paper.glyph("≠", "!="), "warning"
        difference = words.flag_difference(
            border.flags, above.vm_flags, below.vm_flags, ("above", "below")
        )
        text = words.reasons(
            border.mask,
            difference,
            (border.anon[0][0], border.anon[1][0]),
            above.name == below.name,
        )
    indent = _INDENT * 2
    paper.paragraph(text, style, f"{indent}{mark} ", " " * (len(indent) + len(mark) + 1))
