"""Between VMAs and what /proc shows: the layout of an address space, and one made from a layout.

Mirrors show_map_vma() and get_vma_name() in fs/proc/task_mmu.c. Where a snapshot does not tell (the
VmFlags in a maps text, what has been faulted), the assumption is stated at the function.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from vmatrace import abi, kernels
from vmatrace.engine import ksm
from vmatrace.engine.merge import Border
from vmatrace.engine.mm import Mm
from vmatrace.engine.vma import Extra, Vma
from vmatrace.engine.vmfile import VmFile
from vmatrace.kernels import Kernel
from vmatrace.layout import Layout, Mapping

_VDSO: Final = abi.VM_READ | abi.VM_EXEC | abi.VM_MAY_ALL | abi.VM_DONTEXPAND
_VVAR: Final = abi.VM_READ | abi.VM_MAYREAD | abi.VM_DONTEXPAND | abi.VM_DONTDUMP
_SPECIAL_NAMES: Final = ("[vdso]", "[vvar]", "[vvar_vclock]", "[sigpage]", "[vectors]")


def layout(mm: Mm) -> Layout:
    """What /proc/PID/smaps shows of *mm* now."""
    return [mapping(mm, vma) for vma in mm.vmas]


def mapping(mm: Mm, vma: Vma) -> Mapping:
    """One VMA as /proc/PID/smaps shows it. The offset is 0 for every VMA without a file."""
    file = vma.file
    if file is None or file.special or file is mm.world.assumed:
        return Mapping(vma.start, vma.end, vma.flags, 0, name(mm, vma))
    device, inode = file.inode
    offset = vma.start + vma.skew & abi.ULONG_MAX
    return Mapping(vma.start, vma.end, vma.flags, offset, name(mm, vma), device, inode)


def name(mm: Mm, vma: Vma) -> str:
    """The name column: a path, ``[heap]``, ``[stack]``, ``[anon:NAME]`` or nothing."""
    anon_name = vma.extra.name if vma.extra is not None else None
    if vma.file is not None:
        if anon_name is not None and vma.file.is_shmem:
            return f"[anon_shmem:{anon_name}]"
        return vma.file.path
    if vma.start < mm.brk and vma.end > mm.start_brk:
        return "[heap]"
    if mm.start_stack and vma.start <= mm.start_stack <= vma.end:
        return "[stack]"
    return f"[anon:{anon_name}]" if anon_name is not None else ""


def borders(mm: Mm) -> list[Border]:
    """What lies between each two VMAs of *mm* that touch."""
    return [
        Border(vma, vma.next, mm.between(vma, vma.next))
        for vma in mm.vmas
        if vma.next is not None and vma.next.start == vma.end
    ]


def load(mm: Mm, start: Layout, open_file: Callable[[Mapping], VmFile]) -> None:
    """Fill the empty *mm* with the VMAs of a snapshot.

    Mappings of one path, device and inode share one open file. Flags that a maps text cannot show
    are those of an ordinary mapping of that kind. The stack, and what smaps shows to have
    anonymous pages, is taken as faulted; each such VMA has an anon_vma of its own.
    """
    files: dict[tuple[str, str, int], VmFile] = {}
    last: Vma | None = None
    for item in start:
        file = _file(item, files, open_file)
        flags = item.vm_flags if item.flags_known else _assumed_flags(mm, item, file)
        skew = item.offset - item.start if file is not None and not file.special else 0
        vma = Vma(item.start, item.end, flags, skew, file, extra=_named(item))
        if item.faulted or item.name == "[stack]":
            vma.anon, vma.chain = mm.world.new_anon(), 1
        last = mm.insert(vma, last)
        if item.name == "[heap]":
            if not mm.brk_known:
                mm.start_brk = item.start
            mm.brk = item.end
            mm.brk_known = True
        elif item.name == "[stack]":
            mm.start_stack = item.end - 1


_NAMED: Final = re.compile(r"\[anon(?P<shmem>_shmem)?:(?P<name>.*)\]\Z", re.DOTALL)


def _named(item: Mapping) -> Extra | None:
    """The name that PR_SET_VMA_ANON_NAME gave it."""
    match = _NAMED.match(item.name)
    return Extra(name=match["name"]) if match else None


def _file(
    item: Mapping,
    files: dict[tuple[str, str, int], VmFile],
    open_file: Callable[[Mapping], VmFile],
) -> VmFile | None:
    if item.name in _SPECIAL_NAMES:
        return VmFile(item.name, "special", "legacy", special=True)
    match = _NAMED.match(item.name)
    if match and match["shmem"]:
        unnamed = ("/dev/zero (deleted)", item.device, item.inode)
        if unnamed not in files:
            inode = (item.device, item.inode)
            files[unnamed] = VmFile(unnamed[0], "tmpfs", "shmem", inode=inode)
        return files[unnamed]
    if match or not item.name or (item.name.startswith("[") and item.inode == 0):
        return None
    key = (item.name, item.device, item.inode)
    if key not in files:
        files[key] = open_file(item)
    return files[key]


def _vvar_flags(kernel: Kernel) -> int:
    """The VmFlags of the data pages of the vdso (vdso_install_vvar_mapping(), x86's map_vdso())."""
    mixed = kernel.has(kernels.VVAR_MIXEDMAP)
    flags = _VVAR | (abi.VM_MIXEDMAP if mixed else abi.VM_PFNMAP)
    return flags if kernel.has(kernels.VVAR_NO_IO) else flags | abi.VM_IO


def _assumed_flags(mm: Mm, item: Mapping, file: VmFile | None) -> int:
    if item.name == "[vdso]":
        return _VDSO
    if item.name in ("[vvar]", "[vvar_vclock]"):
        return _vvar_flags(mm.world.kernel)
    flags = item.vm_flags | abi.VM_MAY_ALL
    if flags & abi.VM_MAYSHARE:
        flags |= abi.VM_SHARED
    elif flags & abi.VM_WRITE:
        flags |= abi.VM_ACCOUNT
    if item.name == "[stack]":
        flags |= abi.VM_GROWSDOWN
    elif mm.merge_any and ksm.compatible(flags, file):
        flags |= abi.VM_MERGEABLE
    return flags
