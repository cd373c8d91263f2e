"""brk: the heap grows and shrinks at its end. Mirrors brk(), mm/mmap.c."""

from __future__ import annotations

from vmatrace import abi
from vmatrace.engine.faults import populate
from vmatrace.engine.limits import UNLIMITED
from vmatrace.engine.mm import Mm
from vmatrace.engine.region import brk_region, cut, may_unmap


def brk(mm: Mm, addr: int, recorded: int | None = None) -> int:
    """brk(2) as the kernel returns it: the new break, or the old one on failure.

    Where the trace does not state the initial break, the first recorded result does.
    """
    if not mm.brk_known and recorded is not None and recorded > 0:
        mm.start_brk = mm.brk = recorded
    mm.brk_known = True
    world, vmas = mm.world, mm.vmas
    mask = world.page_mask
    if addr < mm.start_brk:
        return mm.brk
    new, old = abi.page_align(addr, mask), abi.page_align(mm.brk, mask)
    if new == old:
        mm.brk = addr
        return addr
    if addr <= mm.brk:
        first = vmas.find(new)
        if first is None or first.start >= old or may_unmap(mm, first, new, old):
            return mm.brk
        cut(mm, first, new, old)
        mm.brk = addr
        return addr
    following = vmas.find(old)
    if new > world.task_size or vmas.count > world.max_map_count:
        return mm.brk
    if following is not None:
        floor = following.start
        if following.flags & abi.VM_STARTGAP:
            floor = max(floor - world.guard, 0)
        if new + world.page_size > floor:
            return mm.brk
    flags = abi.VM_READ | abi.VM_WRITE | abi.VM_MAY_ALL | abi.VM_ACCOUNT | mm.def_flags
    if mm.persona & abi.READ_IMPLIES_EXEC:  # VM_DATA_FLAGS_TSK_EXEC
        flags |= abi.VM_EXEC
    limits = mm.limits
    if limits is not UNLIMITED and (
        (limits.data is not None and addr - mm.start_brk > limits.data)
        or not limits.may_expand(vmas, flags, new - old)
        or (flags & abi.VM_LOCKED and not limits.may_lock(vmas, new - old))
    ):
        return mm.brk
    brk_region(mm, old, new, flags)
    mm.brk = addr
    if flags & abi.VM_LOCKED:
        populate(mm, old, new)
    return addr
