"""Guards by MADV_GUARD_INSTALL instead of mprotect(PROT_NONE)."""

from __future__ import annotations

from typing import Final

from vmatrace import abi, kernels
from vmatrace.engine import view
from vmatrace.engine.mm import Mm
from vmatrace.event import Event, format_call
from vmatrace.replayer.result import Step

NAME: Final = "guards"
RULE: Final = (
    "mprotect(PROT_NONE) of at most 64 pages of private anonymous memory becomes "
    "madvise(MADV_GUARD_INSTALL); what makes them accessible again, MADV_GUARD_REMOVE before it."
)
MEANING: Final = (
    "A guard is no VMA any more: it is not seen in /proc/PID/maps, and what its pages held is lost."
)
FEATURES: Final = (kernels.GUARD_REGIONS,)
_MOST: Final = 64


class Guards:
    """One pass over a trace; knows the guards that it has made, by process."""

    def __init__(self) -> None:
        self._made: dict[str, list[tuple[int, int]]] = {}

    def rewritten(self, step: Step) -> list[Event] | None:
        """See the package."""
        event, args = step.event, step.args
        made = self._made.setdefault(event.pid, [])
        if step.born is not None:
            self._made[step.born] = list(made)
        if event.name != "mprotect" or step.result != 0:
            return None
        start, length, prot = (arg for arg in args if isinstance(arg, int))
        mask = step.mm.world.page_mask
        end = start + abi.page_align(length, mask)
        if (
            prot == abi.PROT_NONE
            and 0 < end - start <= _MOST * (mask + 1)
            and _is_plain(step.mm, start, end)
        ):
            made.append((start, end))
            return [_advice(event, start, end, abi.MADV_GUARD_INSTALL)]
        inside = [(max(start, a), min(end, b)) for a, b in made if a < end and start < b]
        if not inside or prot == abi.PROT_NONE:
            return None
        made[:] = [
            part
            for a, b in made
            for part in ((a, min(b, start)), (max(a, end), b))
            if part[0] < part[1]
        ]
        return [*(_advice(event, a, b, abi.MADV_GUARD_REMOVE) for a, b in inside), event]


def _is_plain(mm: Mm, start: int, end: int) -> bool:
    """Whether the kernel takes guards there (is_valid_guard_vma(), mm/madvise.c)."""
    found = [view.mapping(mm, vma) for vma in mm.vmas.overlapping(start, end)]
    return bool(found) and all(
        not m.name.startswith(("/", "[stack", "[v"))
        and m.perms[3] == "p"
        and not {"lo", "ht", "pf", "io"} & set(m.codes)
        for m in found
    )


def _advice(event: Event, start: int, end: int, advice: int) -> Event:
    args = (start, end - start, advice)
    return Event("madvise", args, format_call("madvise", args), event.line, 1, event.pid)


make: Final = Guards
