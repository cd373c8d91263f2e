"""userfaultfd: ioctl(fd, UFFDIO_REGISTER …), UFFDIO_UNREGISTER, UFFDIO_API, and its end.

Mirrors userfaultfd_register(), userfaultfd_unregister() and userfaultfd_api() in fs/userfaultfd.c
(since 7.2 mm/userfaultfd.c). A context is known by the identity of its descriptor; events of it
(missing pages) are not modelled. Where a trace does not show a context's UFFDIO_API, its program
is taken to have asked for what its registrations need, and for no events.
"""

from __future__ import annotations

import re
from typing import Final

from vmatrace import abi, kernels
from vmatrace.calls import IOCTL_REQUESTS
from vmatrace.engine.mm import Mm
from vmatrace.engine.vma import NO_EXTRA, Vma, some
from vmatrace.engine.walk import Holes, walk
from vmatrace.structures import uffdio_range

_MODE: Final = re.compile(r"mode=([\w|]+)")
_API: Final = re.compile(r"api=(0[xX][0-9a-fA-F]+|\d+)")
_VERSION: Final = 0xAA
_FEATURES: Final = re.compile(r"features=([\w|]+)")
_MODES: Final = {
    abi.UFFDIO_REGISTER_MODE_MISSING: abi.VM_UFFD_MISSING,
    abi.UFFDIO_REGISTER_MODE_WP: abi.VM_UFFD_WP,
    abi.UFFDIO_REGISTER_MODE_MINOR: abi.VM_UFFD_MINOR,
    abi.UFFDIO_REGISTER_MODE_RWP: abi.VM_UFFD_RWP,
}
#: The features of a kernel that has them all, as the newest release: UFFD_API_FEATURES.
_FEATURE_BITS: Final = (1 << 19) - 1
_BITS_OF: Final = {
    kernels.UFFD_POISON: 1 << 14,
    kernels.UFFD_WP_ASYNC: abi.UFFD_FEATURE_WP_ASYNC,
    kernels.UFFD_MOVE: 1 << 16,
    kernels.UFFD_RWP: 3 << 17,
}


def ioctl(mm: Mm, context: int, request: int, argument: str) -> int | None:
    """ioctl(2) on a userfaultfd: 0 or -errno; None for a request that is not modelled.

    *argument* is the structure as strace prints it:
    ``{range={start=0x…, len=0x…}, mode=UFFDIO_REGISTER_MODE_MISSING}``.
    """
    if request == abi.UFFDIO_API:
        return _api(mm, context, argument)
    if request not in IOCTL_REQUESTS:
        return None
    area = uffdio_range(argument)
    if area is None:
        return -abi.EFAULT
    start, length = area
    # Whose UFFDIO_API is not shown has been called: before it a context takes no registration.
    mm.world.uffd_features.setdefault(context, abi.UFFD_FEATURE_RWP)
    error = _check_range(mm, start, length)
    if request == abi.UFFDIO_UNREGISTER:
        return error or _unregister(mm, context, start, start + length)
    modes = _modes(argument)
    if not modes or error or not _possible(mm, context, modes):
        return -abi.EINVAL
    return _register(mm, context, start, start + length, modes)


def release(mm: Mm, context: int) -> None:
    """userfaultfd_release(): its last descriptor is closed, what it watched is memory as any."""
    if any(_context(vma) == context for vma in mm.vmas):
        walk(mm, mm.vmas.find(0), 0, mm.world.task_size, Holes.SKIPPED, _drop, context)


def _drop(mm: Mm, vma: Vma, start: int, end: int, context: int) -> Vma | int:
    return _set(mm, vma, start, end, 0, 0) if _context(vma) == context else vma


def watches_forks(mm: Mm, context: int) -> bool:
    """Whether a child has its own context for what *context* watches (dup_userfaultfd())."""
    features = mm.world.uffd_features.get(context, 0)
    return bool(features & abi.UFFD_FEATURE_EVENT_FORK)


def _api(mm: Mm, context: int, argument: str) -> int:
    """userfaultfd_api(): 0, or -EINVAL for an unknown feature and where it was called before."""
    world = mm.world
    api = _API.search(argument)
    match = _FEATURES.search(argument)
    asked = _bits(match[1]) if match else 0
    missing = ~_FEATURE_BITS
    for feature, bits in _BITS_OF.items():
        missing |= 0 if world.kernel.has(feature) else bits
    if api is not None and abi.c_integer(api[1]) != _VERSION:
        return -abi.EINVAL
    if asked is None or asked & missing or context in world.uffd_features:
        return -abi.EINVAL
    world.uffd_features[context] = asked
    return 0


def _possible(mm: Mm, context: int, modes: int) -> bool:
    """Whether this kernel has the modes, the context asked for them, and they go together."""
    kernel = mm.world.kernel
    if not kernel.has(kernels.USERFAULTFD):
        return False
    if modes & abi.VM_UFFD_WP and not kernel.has(kernels.UFFD_WP):
        return False
    if modes & abi.VM_UFFD_MINOR and not kernel.has(kernels.UFFD_MINOR):
        return False
    if modes & abi.VM_UFFD_RWP:
        asked = mm.world.uffd_features[context] & abi.UFFD_FEATURE_RWP
        return kernel.has(kernels.UFFD_RWP) and bool(asked) and not modes & abi.VM_UFFD_WP
    return True


def _bits(text: str) -> int | None:
    """A word of flags as strace prints it; None where one is unknown."""
    total = 0
    for word in text.split("|"):
        value = abi.CONSTANTS.get(word)
        if value is None and not "0" <= word[:1] <= "9":
            return None
        total |= abi.c_integer(word) if value is None else value
    return total


def _modes(text: str) -> int:
    """The vm_flags of the modes asked for, 0 where one is unknown or none is given."""
    match = _MODE.search(text)
    number = _bits(match[1]) if match else 0
    if number is None or number & ~sum(_MODES):
        return 0
    return sum(flag for mode, flag in _MODES.items() if number & mode)


def _check_range(mm: Mm, start: int, length: int) -> int:
    """validate_unaligned_range() and validate_range()."""
    mask = mm.world.page_mask
    if start & mask or length & mask or not length:
        return -abi.EINVAL
    world = mm.world
    if start < world.min_addr and not world.kernel.has(kernels.UFFD_BELOW_MIN_ADDR):
        return -abi.EINVAL
    return -abi.EINVAL if start >= mm.world.task_size or length > mm.world.task_size - start else 0


def _eligible(mm: Mm, context: int, vma: Vma, modes: int) -> bool:
    """vma_can_userfault()."""
    kernel = mm.world.kernel
    anonymous = vma.is_anonymous
    shared_memory = not anonymous and vma.file is not None and vma.file.is_shmem
    huge = bool(vma.flags & abi.VM_HUGETLB)
    if vma.flags & abi.VM_DROPPABLE and kernel.has(kernels.UFFD_NOT_DROPPABLE):
        return False
    special = vma.flags & abi.VM_SPECIAL and not huge
    if special and kernel.has(kernels.UFFD_REFUSES_SPECIAL):
        return False
    if modes & abi.VM_UFFD_MINOR and not (huge or shared_memory):
        return False
    asynchronous = mm.world.uffd_features[context] & abi.UFFD_FEATURE_WP_ASYNC
    if asynchronous and modes == abi.VM_UFFD_WP:
        return True
    if modes & abi.VM_UFFD_RWP and not vma.flags & abi.VM_ACCESS_FLAGS:
        return False
    return anonymous or huge or shared_memory


def _context(vma: Vma) -> int:
    return vma.extra.uffd if vma.extra is not None else 0


#: The modes that leave marks in page tables, which one without them would not understand.
_PROTECTED: Final = abi.VM_UFFD_WP | abi.VM_UFFD_RWP


def _register(mm: Mm, context: int, start: int, end: int, modes: int) -> int:
    sticky = mm.world.kernel.has(kernels.UFFD_MODE_STICKY)
    found = list(mm.vmas.overlapping(start, end))
    if not found:
        return -abi.EINVAL
    for vma in found:
        if not _eligible(mm, context, vma, modes):
            return -abi.EINVAL
        if not vma.flags & abi.VM_MAYWRITE:
            return -abi.EPERM
        if _context(vma) not in (0, context):
            return -abi.EBUSY
        if sticky and _context(vma) and vma.flags & _PROTECTED & ~modes:
            return -abi.EBUSY
    return walk(mm, mm.vmas.find(start), start, end, Holes.SKIPPED, _set, context, modes)


def _unregister(mm: Mm, context: int, start: int, end: int) -> int:
    strict = mm.world.kernel.has(kernels.UFFD_UNREGISTER_STRICT)
    found = list(mm.vmas.overlapping(start, end))
    if not found:
        return -abi.EINVAL
    for vma in found:
        if not _eligible(mm, context, vma, vma.flags & abi.VM_UFFD_FLAGS & ~abi.VM_UFFD_RWP):
            return -abi.EINVAL
        if strict and _context(vma) not in (0, context):
            return -abi.EINVAL
    return walk(mm, mm.vmas.find(start), start, end, Holes.SKIPPED, _set, 0, 0)


def _set(mm: Mm, vma: Vma, start: int, end: int, context: int, modes: int) -> Vma | int:
    """Register [start, end) of one VMA with *context* in *modes*, or unregister it (both 0)."""
    if _context(vma) == context and vma.flags & modes == modes:
        return vma
    old = vma.extra
    extra = some((old or NO_EXTRA)._replace(uffd=context))
    return mm.modify(vma, start, end, vma.flags & ~abi.VM_UFFD_FLAGS | modes, extra)
