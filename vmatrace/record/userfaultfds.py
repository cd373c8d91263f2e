"""The userfaultfds of a recording: whose memory each is for, and whether it is still open.

A userfaultfd that nobody has open any more watches nothing: its ranges merge again. That happens at
a close(), an exit or an exec of whoever has it, which are too many to stop at. So before each call
that is recorded in the memory that one is for, its descriptor is looked up where it was last seen.
Holding a duplicate would keep it open, and change the program. A context is known by the inode
number of its file, which is its own (anon_inode_create_getfd()).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import Final

from vmatrace import abi
from vmatrace.calls import Range, numbers
from vmatrace.event import Event, Fd, File, format_flags
from vmatrace.layout import Layout
from vmatrace.record.decode import format_api
from vmatrace.record.files import OpenFiles
from vmatrace.record.smaps import vmflags_within
from vmatrace.record.spool import Spool
from vmatrace.record.tasks import AddressSpace, Pending, ThreadGroup, Watcher
from vmatrace.structures import format_uffdio, uffdio_range

#: ioctl on /dev/userfaultfd that makes one (USERFAULTFD_IOC_NEW).
NEW: Final = 0xAA00
PATH: Final = "anon_inode:[userfaultfd]"
#: What the kernel notes of one whose UFFDIO_API has been called (UFFD_FEATURE_INITIALIZED).
_INITIALIZED: Final = 1 << 31
_MODES: Final = {
    abi.UFFDIO_REGISTER_MODE_MISSING: abi.VM_UFFD_MISSING,
    abi.UFFDIO_REGISTER_MODE_WP: abi.VM_UFFD_WP,
    abi.UFFDIO_REGISTER_MODE_MINOR: abi.VM_UFFD_MINOR,
    abi.UFFDIO_REGISTER_MODE_RWP: abi.VM_UFFD_RWP,
}
_CODES: Final = frozenset({"um", "uw", "ui"})
_EVERYWHERE: Final[Range] = (0, 1 << 64)


def is_made_by(name: str, args: tuple[int, ...]) -> bool:
    """Whether the call makes a userfaultfd."""
    return name == "userfaultfd" or (name == "ioctl" and args[1] & 0xFFFFFFFF == NEW)


def identity(pid: int, fd: int) -> int | None:
    """The inode of the userfaultfd at descriptor *fd* of process *pid*, None if there is none."""
    path = f"/proc/{pid}/fd/{fd}"
    try:
        return os.stat(path).st_ino if os.readlink(path) == PATH else None
    except OSError:
        return None


def all_open(processes: Iterable[ThreadGroup]) -> Iterator[tuple[int, tuple[int, int]]]:
    """Every userfaultfd that *processes* have open: its inode, and where."""
    for process in processes:
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{process.pid}/fd"):
                found = identity(process.pid, int(name))
                if found is not None:
                    yield found, (process.pid, int(name))


class Userfaultfds:
    """Those of one recording. ``groups`` are its processes."""

    def __init__(self, files: OpenFiles, spool: Spool) -> None:
        self.groups: set[ThreadGroup] = set()
        self._files = files
        self._spool = spool

    def group_of(self, tid: int) -> ThreadGroup | None:
        """The process that has thread *tid*."""
        return next((group for group in self.groups if tid in group.tasks), None)

    def made(self, process: ThreadGroup, fd: int) -> None:
        """*process* has made one, descriptor *fd*; -errno: it has not."""
        inode = identity(process.pid, fd) if fd >= 0 else None
        if inode is not None:
            self._add(process, fd, inode)

    def _add(self, process: ThreadGroup, fd: int, inode: int) -> Watcher:
        key = self._files.named(File(PATH, "legacy"))
        watcher = Watcher(key, inode, (process.pid, fd))
        process.space.watchers.append(watcher)
        return watcher

    def met(self, process: ThreadGroup, layout: Layout) -> bool:
        """*process*, which has *layout*, runs already: its userfaultfd is in events made anew.

        *layout* is then without what is registered. False where there are several: nobody says
        which of them a VMA is registered with.
        """
        contexts = dict(all_open([process]))
        watched = [vma for vma in layout if vma.vm_flags & abi.VM_UFFD_FLAGS]
        if len(contexts) != 1:
            return not (contexts and watched)
        ((inode, place),) = contexts.items()
        watcher = self._add(process, place[1], inode)
        features = _features(*place)
        if features & _INITIALIZED:
            self._again(process, watcher, abi.UFFDIO_API, format_api(features & ~_INITIALIZED))
        for vma in watched:
            modes = format_flags(
                sum(mode for mode, flag in _MODES.items() if vma.vm_flags & flag),
                ("UFFDIO_REGISTER_MODE_",),
            )
            vma.vm_flags &= ~abi.VM_UFFD_FLAGS
            area = format_uffdio(vma.start, vma.end - vma.start, modes)
            self._again(process, watcher, abi.UFFDIO_REGISTER, area)
        return True

    def _again(self, process: ThreadGroup, watcher: Watcher, request: int, argument: str) -> None:
        args = (Fd(watcher.key), request, argument)
        event = Event("ioctl", args, "", pid=process.name, recorded=0)
        learn(watcher, event)
        self._spool.add(event)

    def find(self, process: ThreadGroup, pending: Pending) -> bool:
        """Which one an ioctl is about; whether it is about one, and whose memory is left.

        One that comes from nobody knows where is taken to be for the memory of who uses it.
        """
        fd = numbers("ioctl", pending.args)[0]
        inode = identity(process.pid, fd)
        if inode is None:
            return False
        found = (
            (space, watcher)
            for space in {group.space for group in self.groups}
            for watcher in space.watchers
            if watcher.identity == inode
        )
        pending.watcher = next(found, None) or (process.space, self._add(process, fd, inode))
        return any(not process.exited for process in pending.watcher[0].processes)

    def note_released(self, space: AddressSpace, tid: int) -> None:
        """Events for those of *space* that nobody has open any more; *tid* has this memory."""
        for watcher in [w for w in space.watchers if not self._is_open(w, tid)]:
            space.watchers.remove(watcher)
            owner = space.first().name
            self._spool.add(Event("close", (Fd(watcher.key),), "", pid=owner, recorded=0))

    def _is_open(self, watcher: Watcher, tid: int) -> bool:
        if watcher.identity is not None:
            if watcher.place is not None and identity(*watcher.place) == watcher.identity:
                return True
            watcher.place = dict(all_open(self.groups)).get(watcher.identity)
            if watcher.place is not None:
                return True
        # It may be with somebody whom we do not see, and then its ranges show it.
        moved = watcher.features & abi.UFFD_FEATURE_EVENT_REMAP and watcher.ranges
        ranges = [_EVERYWHERE] if moved else watcher.ranges
        return any(_CODES & set(codes) for codes in vmflags_within(tid, ranges))

    def inherit(self, parent: AddressSpace, child: AddressSpace) -> None:
        """*child* is born, and has contexts of its own for those with UFFD_FEATURE_EVENT_FORK.

        Their descriptors are with whoever has read the events.
        """
        asked = abi.UFFD_FEATURE_EVENT_FORK
        watching = [w for w in parent.watchers if w.features & asked and w.ranges]
        if not watching:
            return
        known = {w.identity for group in self.groups for w in group.space.watchers}
        new = sorted(seen for seen in dict(all_open(self.groups)).items() if seen[0] not in known)
        for i, watcher in enumerate(sorted(watching, key=lambda w: min(w.ranges))):
            inode, place = new[i] if i < len(new) else (None, None)
            child.watchers.append(
                Watcher(watcher.key, inode, place, watcher.features, watcher.ranges[:])
            )


def _features(pid: int, fd: int) -> int:
    """``features`` of the userfaultfd at descriptor *fd* of *pid* (userfaultfd_show_fdinfo())."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as table:
        for line in table:
            if line.startswith("API:"):
                return int(line.split(":")[2], 16)
    return 0


def learn(watcher: Watcher, event: Event) -> None:
    """What a request to a userfaultfd that succeeded says of it."""
    text = str(event.args[2])
    if event.args[1] == abi.UFFDIO_API:
        words = text.partition("features=")[2].rstrip("}").split("|")
        watcher.features = sum(abi.CONSTANTS.get(word, 0) for word in words)
    elif event.args[1] == abi.UFFDIO_REGISTER and (area := uffdio_range(text)) is not None:
        watcher.ranges.append((area[0], area[0] + area[1]))
