"""io_setup and io_destroy: the ring of an AIO context is memory of the process.

Mirrors aio_setup_ring(), aio_ring_mmap() and kill_ioctx() in fs/aio.c.
"""

from __future__ import annotations

from typing import Final

from vmatrace import abi
from vmatrace.engine.mm import Mm
from vmatrace.engine.region import unmap
from vmatrace.engine.syscalls.mapping import mmap
from vmatrace.engine.vmfile import VmFile

_NAME: Final = "/[aio] (deleted)"
_FS: Final = "aio"
#: struct aio_ring before its events, and struct io_event, in bytes.
_HEAD: Final = 32
_EVENT: Final = 32
_PER_CPU: Final = 4
_MOST: Final = 0x10000000 // _EVENT


def io_setup(mm: Mm, events: int, recorded: int | None) -> int:
    """io_setup(2): 0 or -errno. *recorded* is where the ring of a real call was, None: nowhere."""
    if events > _MOST or not events:
        return -abi.EINVAL
    count = max(events, mm.world.cpus * _PER_CPU) * 2 + 2
    size = abi.page_align(_HEAD + count * _EVENT, mm.world.page_mask)
    # Anonymous inodes are on a noexec mount.
    file = VmFile(_NAME, _FS, "legacy", sets=abi.VM_DONTEXPAND, clears=abi.VM_MAYEXEC, size=size)
    prot = abi.PROT_READ | abi.PROT_WRITE
    return min(mmap(mm, 0, size, prot, abi.MAP_SHARED, file, 0, recorded), 0)


def io_destroy(mm: Mm, context: int) -> int:
    """io_destroy(2): 0, or -EINVAL where no ring is at *context*."""
    vma = mm.vmas.find(context)
    if vma is None or vma.start != context or vma.file is None or vma.file.fs != _FS:
        return -abi.EINVAL
    unmap(mm, context, context + (vma.file.size or 0))
    return 0
