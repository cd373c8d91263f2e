"""VMAs of one kind together: what backs them, what they are called, and how many there are.

A group is what the report page shows as filling the map, and what audit lists: protection, whether
KSM may look at it, backing, and name. Names that differ in numbers alone are one, and so are many
files of one folder. Knows layouts, and nothing of why VMAs are apart.
"""

from __future__ import annotations

import os.path
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

from vmatrace import abi
from vmatrace.layout import Mapping

_Of = TypeVar("_Of")
#: What can back a VMA. NAMED is anonymous memory with a name (PR_SET_VMA_ANON_NAME).
ANONYMOUS: Final = "anonymous"
NAMED: Final = "named"
HEAP: Final = "heap"
STACK: Final = "stack"
FILE: Final = "file"
SHARED: Final = "shared memory"
DEVICE: Final = "device"
KERNEL: Final = "kernel"
BACKINGS: Final = (ANONYMOUS, NAMED, HEAP, STACK, FILE, SHARED, DEVICE, KERNEL)
#: Those that are private anonymous memory.
PRIVATE: Final = (ANONYMOUS, NAMED, HEAP, STACK)

#: From so many names on, those that differ in numbers alone are one, and files of one folder.
_NUMBERED: Final = 4
_FILES: Final = 8
_SHARED_NAMES: Final = ("/memfd:", "/dev/shm/", "/SYSV", "/dev/zero", "[anon_shmem:")
#: What a page of /proc/PID/smaps can be as large as.
_PAGES: Final = (65536, 16384)


class GroupKey(NamedTuple):
    """What the VMAs of a group have in common; ``name`` is a label of labels()."""

    perms: str
    mergeable: bool
    backing: str
    name: str


@dataclass(frozen=True)
class VmaGroup:
    """``vmas`` and ``bytes`` are sums; ``sizes``: how many VMAs of each size class (bytes)."""

    key: GroupKey
    vmas: int
    bytes: int
    sizes: dict[int, int]

    @property
    def usual(self) -> int | None:
        """The size class that more than half of the VMAs have."""
        size, count = max(self.sizes.items(), key=lambda item: item[1])
        return size if 2 * count > self.vmas else None


def is_file(mapping: Mapping) -> bool:
    """Whether a file backs it, also one of shared memory."""
    return bool(mapping.inode) or mapping.name.startswith("/")


def backing(mapping: Mapping) -> str:
    """One of BACKINGS."""
    name = mapping.name
    if name.startswith("["):
        if name == "[heap]":
            return HEAP
        if name.startswith("[stack"):
            return STACK
        if name.startswith("[anon:"):
            return NAMED
        return SHARED if name.startswith(_SHARED_NAMES) else KERNEL
    if name.startswith(_SHARED_NAMES):
        return SHARED
    driver = mapping.vm_flags & (abi.VM_IO | abi.VM_PFNMAP) or name.startswith("anon_inode:")
    if driver or name.startswith("/dev/"):
        return DEVICE
    if is_file(mapping):
        return FILE
    return SHARED if mapping.vm_flags & abi.VM_MAYSHARE else ANONYMOUS


def labels(names: Iterable[str]) -> dict[str, str]:
    """For each of *names* what its group is called: with ``*`` for what only numbers tell apart."""
    distinct = set(names)
    found = {name: name for name in distinct}
    numbered = {name: _without_numbers(name) for name in distinct}
    alike = Counter(numbered.values())
    folders = {name: _in_folder(name) for name in distinct if name.startswith("/")}
    together = Counter(folders.values())
    for name in distinct:
        if alike[numbered[name]] >= _NUMBERED:
            found[name] = numbered[name]
        folder = folders.get(name)
        if folder is not None and together[folder] >= _FILES:
            found[name] = folder
    return found


def _without_numbers(name: str) -> str:
    head, slash, last = name.rpartition("/")
    return head + slash + re.sub(r"(?:0x)?[0-9][0-9a-f]*", "*", last)


def _in_folder(name: str) -> str:
    """All files beside it with its suffix: ``/data/*.cfs``; libraries stay apart."""
    folder, last = os.path.split(name.removesuffix(" (deleted)"))
    suffix = os.path.splitext(last)[1]
    return name if ".so" in last or not suffix else f"{folder}/*{suffix}"


def size_class(size: int) -> int:
    """The power of two that *size*, in bytes, does not reach twice."""
    return 1 << (size.bit_length() - 1)


def of_kinds(layout: Iterable[Mapping], of: Callable[[Mapping], _Of]) -> list[_Of]:
    """*of* each VMA, asked once for all of a name, flags and backing: few of many are distinct."""
    known: dict[tuple[str, int, bool], _Of] = {}
    found = []
    for mapping in layout:
        kind = mapping.name, mapping.vm_flags, mapping.inode > 0
        if kind not in known:
            known[kind] = of(mapping)
        found.append(known[kind])
    return found


def backings(layout: Iterable[Mapping]) -> list[str]:
    """What backs each VMA: one of BACKINGS."""
    return of_kinds(layout, backing)


def keys(layout: Sequence[Mapping]) -> list[GroupKey]:
    """The group of each VMA."""
    called = labels(mapping.name for mapping in layout)
    return of_kinds(
        layout,
        lambda m: GroupKey(
            m.perms, bool(m.vm_flags & abi.VM_MERGEABLE), backing(m), called[m.name]
        ),
    )


def groups(layout: Sequence[Mapping]) -> list[VmaGroup]:
    """The VMAs of *layout* in groups, each VMA in one; the largest first."""
    sizes: defaultdict[GroupKey, Counter[int]] = defaultdict(Counter)
    totals: Counter[GroupKey] = Counter()
    for mapping, key in zip(layout, keys(layout), strict=True):
        size = mapping.end - mapping.start
        sizes[key][size_class(size)] += 1
        totals[key] += size
    found = [
        VmaGroup(key, sum(counts.values()), totals[key], dict(sorted(counts.items())))
        for key, counts in sizes.items()
    ]
    return sorted(found, key=lambda group: (-group.vmas, -group.bytes, group.key))


def page_size(layout: Sequence[Mapping]) -> int:
    """The largest page, in bytes, that all borders of *layout* are at."""
    borders = 0
    for mapping in layout:
        borders |= mapping.start | mapping.end
    return next((page for page in _PAGES if not borders % page), 4096)
