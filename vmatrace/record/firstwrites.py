"""First writes as events, and layouts: what a stopped process's memory is like.

Faults are found where they can matter: before a call, a fork and the end, by looking at the memory
that has become writable and has had no page of its own yet. Knows address spaces, pages and smaps;
nothing of calls.
"""

from __future__ import annotations

from typing import Final

from vmatrace import abi
from vmatrace.calls import Range
from vmatrace.event import Event
from vmatrace.layout import Layout, parse_layout
from vmatrace.record.files import OpenFiles
from vmatrace.record.pages import Pagemap
from vmatrace.record.pieces import PRIVATE, WRITABLE, WRITTEN
from vmatrace.record.smaps import ranges_and_flags
from vmatrace.record.spool import Spool
from vmatrace.record.tasks import AddressSpace, ThreadGroup

#: So many layouts are kept, in case the next is one of them.
_KEPT: Final = 64


class FirstWrites:
    """Those of one recording; they go to *spool*. *page* is the page size in bytes."""

    def __init__(self, files: OpenFiles, spool: Spool, page: int) -> None:
        self._files = files
        self._spool = spool
        self._page = page
        self._layouts: dict[tuple[bytes, int], Layout] = {}

    def note(self, process: ThreadGroup, seen: AddressSpace | None = None) -> None:
        """Events for what was written since the last call; *seen*: as its child has it."""
        space = seen or process.space
        if space.pagemap is None or not space.pieces.open:
            return
        for page in space.pagemap.fresh(space.pieces):
            if seen is not None:
                process.space.pieces.written_at(page)
            self._fault(process, page)

    def note_within(self, process: ThreadGroup, start: int, end: int) -> bool:
        """As note(), where a call that takes [start, end) away can tell.

        Whether it could still tell of writes that are to come.
        """
        space = process.space
        if space.pagemap is None or not space.pieces.open:
            return False
        pages, more = space.pagemap.within(space.pieces, start, end)
        self.note_pages(process, pages)
        return more

    def note_near(self, process: ThreadGroup, ranges: list[Range] | None) -> bool:
        """As note_within(), of a call that works on *ranges*; None: anywhere."""
        space = process.space
        if space.pagemap is None or not space.pieces.open:
            return False
        if ranges is None:
            self.note(process)
            return bool(space.pieces.open)
        if not ranges and not space.pieces.borders:
            return False
        pages, more = space.pagemap.near(space.pieces, ranges)
        self.note_pages(process, pages)
        return more

    def note_around(self, process: ThreadGroup, new: Range, written: bool) -> list[int]:
        """As note_near(), after a call mapped *new*: pages that were written since then."""
        space = process.space
        if space.pagemap is None or not space.pieces.open:
            space.pieces.clear(*new)
            return []
        before, after = space.pagemap.around(space.pieces, *new, written)
        self.note_pages(process, before)
        return after

    def note_pages(self, process: ThreadGroup, pages: list[int]) -> None:
        """Events for the first write to each of *pages*."""
        for page in pages:
            self._fault(process, page)

    def _fault(self, process: ThreadGroup, page: int) -> None:
        args = (page, self._page, abi.PROT_WRITE)
        self._spool.add(Event("fault", args, "", pid=process.name))

    def final(self, process: ThreadGroup, tid: int) -> Layout:
        layout = self.layout(tid)
        self.note_growth(process, layout)
        return layout

    def note_growth(self, process: ThreadGroup, layout: Layout) -> None:
        """A fault for each stack that has grown: at its lowest page."""
        pieces = process.space.pieces
        for vma in layout:
            if vma.vm_flags & abi.VM_GROWSDOWN and not pieces.covered(vma.start):
                pieces.grow_down(vma.start, vma.end, PRIVATE | WRITABLE | WRITTEN)
                self._fault(process, vma.start)

    def note_stacks(self, process: ThreadGroup, seen: AddressSpace, tid: int) -> None:
        """As note_growth(), at a fork: *seen*, its parent or child, has the stacks as they are."""
        if seen.pagemap is None or not Pagemap.queries:
            self.note_growth(process, self.layout(tid))
            return
        space = process.space
        for end in space.stacks:
            stack = seen.pagemap.vma_at(end - 1)
            if stack is not None and not space.pieces.covered(stack[0]):
                space.pieces.grow_down(*stack, PRIVATE | WRITABLE | WRITTEN)
                self._fault(process, stack[0])

    def layout(self, tid: int, with_pages: bool = False) -> Layout:
        """What smaps shows of thread *tid*; not to be changed, for children often have the same."""
        lines = ranges_and_flags(tid, with_pages)
        key = (lines, self._files.renamed)
        layout = self._layouts.get(key)
        if layout is None:
            text = lines.decode("utf-8", "backslashreplace")
            layout = self._files.rename(parse_layout(text))
            if len(self._layouts) == _KEPT:
                self._layouts.clear()
            self._layouts[key] = layout
        return layout
