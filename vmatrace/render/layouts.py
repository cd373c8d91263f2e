"""A few VMAs as rows: those that an event changed, or one that is spoken of.

Flags that an ordinary mapping has, and those that the permissions show, are left out of the flags
column (ORDINARY); everything else that smaps prints is worth seeing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vmatrace import abi
from vmatrace.layout import Mapping
from vmatrace.render import words
from vmatrace.render.paper import Paper, Span

#: rd wr ex sh mr mw me ms ac: what the permissions say, may be changed to, and accounting.
ORDINARY: Final = (
    abi.VM_ACCESS_FLAGS | abi.VM_SHARED | abi.VM_MAY_ALL | abi.VM_MAYSHARE | abi.VM_ACCOUNT
)
#: The names of the columns of a layout.
HEADS: Final = ("address range", "size", "perms", "offset", "flags", "backing")


class Columns:
    """The widths of the columns; the last one, the backing, takes what is left of the paper."""

    def __init__(self, layout: Sequence[Mapping]) -> None:
        widths = [0] * 5
        for mapping in layout:
            cells = row(mapping)
            widths = [max(w, len(cell)) for w, cell in zip(widths, cells[:5], strict=True)]
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
    """One VMA. A backing that is too long for its column stands below the row."""
    cells = row(mapping)
    plain = [style] * 6
    if not style:
        plain[4] = "key"
        plain[5] = "" if mapping.name else "quiet"
    spans: list[Span] = [indent, (mark, style), *columns.spans(cells, plain)]
    name = cells[5]
    before = len(indent) + len(mark) + columns.before_backing
    if len(paper.folded(name, before)) == 1:
        paper.line(*spans, (name, plain[5]))
        return
    paper.line(*spans)
    below = indent + " " * (len(mark) + 4)
    for part in paper.folded(name, len(below)):
        paper.line(below, (part, plain[5]))
