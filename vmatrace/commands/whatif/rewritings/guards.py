"""Guards by MADV_GUARD_INSTALL instead of PROT_NONE."""

from __future__ import annotations

from typing import Final

from vmatrace import abi, kernels
from vmatrace.calls import Range
from vmatrace.commands.whatif.rewritings.rewriting import Memories, Rewriting, new_event
from vmatrace.engine import view
from vmatrace.engine.mm import Mm
from vmatrace.engine.ranges import Ranges
from vmatrace.event import Event
from vmatrace.replayer.result import Step
from vmatrace.search.rewriting import changed

NAME: Final = "guards"
RULE: Final = (
    "mprotect(PROT_NONE) of at most 64 pages of private anonymous memory becomes "
    "madvise(MADV_GUARD_INSTALL); what makes them accessible again, MADV_GUARD_REMOVE before it. "
    "mmap(PROT_NONE) of which mprotect() leaves at most 64 pages at either end, as in stacks of "
    "threads, becomes accessible as a whole, with MADV_GUARD_INSTALL there."
)
MEANING: Final = (
    "A guard is no VMA any more: it is not seen in /proc/PID/maps, and what its pages held is lost."
)
FEATURES: Final = (kernels.GUARD_REGIONS,)
_MOST: Final = 64


class Guards(Rewriting):
    """One pass over a trace; knows the guards made, and PROT_NONE mappings, by address space."""

    def __init__(self) -> None:
        super().__init__()
        self._memories = Memories()
        self._made: dict[int, Ranges] = {}
        self._reserved: dict[int, dict[int, int]] = {}

    def rewritten(self, step: Step) -> list[Event] | None:
        """See Rewriting."""
        event, args = step.event, step.args
        memory = self._memories(step)
        made = self._made.setdefault(memory, Ranges())
        if step.born is not None and (child := self._memories.of(step.born)) != memory:
            self._made[child] = made.copy()
        if step.result < 0 or event.name not in ("mmap", "mprotect"):
            return None
        if event.name == "mmap":
            self._note(memory, step)
            return None
        start, length, prot = (arg for arg in args if isinstance(arg, int))
        mask = step.mm.world.page_mask
        end = start + abi.page_align(length, mask)
        if prot == abi.PROT_NONE:
            if not _is_guard(step.mm, start, end):
                return None
            made.add(start, end)
            return [self._advice(event, start, end, abi.MADV_GUARD_INSTALL)]
        if around := self._around(memory, step.mm, start, end):
            low, high = around
            guards = [(a, b) for a, b in ((low, start), (end, high)) if a < b]
            for guard in guards:
                made.add(*guard)
            whole = changed(event, args=(self.places.told(low), high - low, prot))
            return [whole, *(self._advice(event, a, b, abi.MADV_GUARD_INSTALL) for a, b in guards)]
        inside = made.within(start, end)
        if not inside:
            return None
        made.discard(start, end)
        return [*(self._advice(event, a, b, abi.MADV_GUARD_REMOVE) for a, b in inside), event]

    def _note(self, memory: int, step: Step) -> None:
        """Keep where memory is mapped that nobody can access."""
        length, prot = step.args[1:3]
        assert isinstance(length, int)
        if prot == abi.PROT_NONE:
            end = step.result + abi.page_align(length, step.mm.world.page_mask)
            self._reserved.setdefault(memory, {})[step.result] = end

    def _around(self, memory: int, mm: Mm, start: int, end: int) -> Range | None:
        """The PROT_NONE mapping of which [start, end) is all but guards, when that is protected."""
        reserved = self._reserved.get(memory, {})
        for pages in range(_MOST + 1):
            low = start - pages * (mm.world.page_mask + 1)
            high = reserved.get(low)
            if high is None or high < end or (low, high) == (start, end):
                continue
            parts = [(a, b) for a, b in ((low, start), (end, high)) if a < b]
            if all(_is_guard(mm, a, b) and _is_closed(mm, a, b) for a, b in parts):
                del reserved[low]
                return low, high
        return None

    def _advice(self, event: Event, start: int, end: int, advice: int) -> Event:
        args = (self.places.told(start), end - start, advice)
        return new_event("madvise", args, event.pid, event.line)


def _is_closed(mm: Mm, start: int, end: int) -> bool:
    """Whether nobody can access [start, end)."""
    access = abi.VM_READ | abi.VM_WRITE | abi.VM_EXEC
    return not any(vma.flags & access for vma in mm.vmas.overlapping(start, end))


def _is_guard(mm: Mm, start: int, end: int) -> bool:
    """Whether the kernel takes guards there (is_valid_guard_vma(), mm/madvise.c), and is to."""
    if not 0 < end - start <= _MOST * (mm.world.page_mask + 1):
        return False
    found = [view.mapping(mm, vma) for vma in mm.vmas.overlapping(start, end)]
    return bool(found) and all(
        not m.name.startswith(("/", "[stack", "[v"))
        and m.perms[3] == "p"
        and not {"lo", "ht", "pf", "io"} & set(m.codes)
        for m in found
    )


make: Final = Guards
