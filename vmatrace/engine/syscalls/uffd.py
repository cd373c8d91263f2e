"""userfaultfd registration: ioctl(fd, UFFDIO_REGISTER …) and UFFDIO_UNREGISTER.

Mirrors userfaultfd_register() and userfaultfd_unregister() in fs/userfaultfd.c. A context is known
by the identity of its descriptor; events of it (missing pages) are not modelled.
"""

from __future__ import annotations

import re
from typing import Final

from vmatrace import abi, kernels
from vmatrace.engine.mm import Mm
from vmatrace.engine.vma import Vma, make_extra
from vmatrace.engine.walk import Holes, walk

_START: Final = re.compile(r"start=(0x[0-9a-fA-F]+|\d+|NULL)")
_LENGTH: Final = re.compile(r"len=(0x[0-9a-fA-F]+|\d+)")
_MODE: Final = re.compile(r"mode=([\w|]+)")
_MODES: Final = {
    abi.UFFDIO_REGISTER_MODE_MISSING: abi.VM_UFFD_MISSING,
    abi.UFFDIO_REGISTER_MODE_WP: abi.VM_UFFD_WP,
    abi.UFFDIO_REGISTER_MODE_MINOR: abi.VM_UFFD_MINOR,
}


def ioctl(mm: Mm, context: int, request: int, argument: str) -> int | None:
    """ioctl(2) on a userfaultfd: 0 or -errno; None for a request that is not modelled.

    *argument* is the structure as strace prints it:
    ``{range={start=0x…, len=0x…}, mode=UFFDIO_REGISTER_MODE_MISSING}``.
    """
    if request not in (abi.UFFDIO_REGISTER, abi.UFFDIO_UNREGISTER):
        return None
    start, length = _number(_START, argument), _number(_LENGTH, argument)
    if start is None or length is None:
        return -abi.EFAULT
    error = _check_range(mm, start, length)
    if request == abi.UFFDIO_UNREGISTER:
        return error or _unregister(mm, context, start, start + length)
    modes = _modes(argument)
    if not modes or error:
        return -abi.EINVAL
    return _register(mm, context, start, start + length, modes)


def _number(pattern: re.Pattern[str], text: str) -> int | None:
    match = pattern.search(text)
    if match is None:
        return None
    return 0 if match[1] == "NULL" else int(match[1], 0)


def _modes(text: str) -> int:
    """The vm_flags of the modes asked for, 0 where one is unknown or none is given."""
    match = _MODE.search(text)
    flags = 0
    for word in match[1].split("|") if match else ():
        value = abi.CONSTANTS.get(word)
        number = int(word, 0) if value is None and word[0].isdigit() else value
        if number is None or number & ~sum(_MODES):
            return 0
        flags |= sum(flag for mode, flag in _MODES.items() if number & mode)
    return flags


def _check_range(mm: Mm, start: int, length: int) -> int:
    """validate_unaligned_range() and validate_range()."""
    mask = mm.world.page_mask
    if start & mask or length & mask or not length or start < mm.world.min_addr:
        return -abi.EINVAL
    return -abi.EINVAL if start >= abi.TASK_SIZE or length > abi.TASK_SIZE - start else 0


def _eligible(mm: Mm, vma: Vma, modes: int) -> bool:
    """vma_can_userfault()."""
    backed = vma.file is not None and not vma.is_anonymous
    shared_memory = backed and vma.file is not None and vma.file.hook == "shmem"
    huge = bool(vma.flags & abi.VM_HUGETLB)
    if vma.flags & abi.VM_DROPPABLE and mm.world.kernel.has(kernels.UFFD_NOT_DROPPABLE):
        return False
    if modes & abi.VM_UFFD_MINOR and not (huge or shared_memory):
        return False
    return vma.is_anonymous or huge or shared_memory


def _context(vma: Vma) -> int:
    return vma.extra.uffd if vma.extra is not None else 0


def _register(mm: Mm, context: int, start: int, end: int, modes: int) -> int:
    found = list(mm.vmas.overlapping(start, end))
    if not found:
        return -abi.EINVAL
    for vma in found:
        if not _eligible(mm, vma, modes):
            return -abi.EINVAL
        if not vma.flags & abi.VM_MAYWRITE:
            return -abi.EPERM
        if _context(vma) not in (0, context):
            return -abi.EBUSY
    return walk(mm, mm.vmas.find(start), start, end, Holes.SKIPPED, _set, context, modes)


def _unregister(mm: Mm, context: int, start: int, end: int) -> int:
    strict = mm.world.kernel.has(kernels.UFFD_UNREGISTER_STRICT)
    found = list(mm.vmas.overlapping(start, end))
    if not found:
        return -abi.EINVAL
    for vma in found:
        if not _eligible(mm, vma, vma.flags & abi.VM_UFFD_FLAGS):
            return -abi.EINVAL
        if strict and _context(vma) not in (0, context):
            return -abi.EINVAL
    return walk(mm, mm.vmas.find(start), start, end, Holes.SKIPPED, _set, 0, 0)


def _set(mm: Mm, vma: Vma, start: int, end: int, context: int, modes: int) -> Vma | int:
    """Register [start, end) of one VMA with *context* in *modes*, or unregister it (both 0)."""
    if _context(vma) == context and vma.flags & modes == modes:
        return vma
    old = vma.extra
    extra = make_extra(old.policy if old else None, context, old.name if old else None)
    return mm.modify(vma, start, end, vma.flags & ~abi.VM_UFFD_FLAGS | modes, extra)
