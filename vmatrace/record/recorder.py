"""What the stops of a process tree mean: events, faults and final layouts, in the order made.

Knows calls, address spaces and the trace's events; not who is resumed when (tracer), nor how
anything is written (spool), or seen of memory (firstwrites).
"""

from __future__ import annotations

from typing import Final, cast

from vmatrace import abi
from vmatrace.calls import ALIASES, BIRTHS, DEATHS, EXECS
from vmatrace.event import FIRST, Event, Fd
from vmatrace.layout import Layout
from vmatrace.record import decode, effects
from vmatrace.record.files import OpenFiles
from vmatrace.record.filter import UNFOLLOWED, in_words, is_unfollowed
from vmatrace.record.firstwrites import FirstWrites
from vmatrace.record.pages import Pagemap
from vmatrace.record.pieces import Pieces
from vmatrace.record.spool import Spool
from vmatrace.record.status import binds_nobody, exe, is_short, start_brk
from vmatrace.record.tasks import AddressSpace, Pending, Task, ThreadGroup
from vmatrace.record.userfaultfds import Userfaultfds, is_made_by, learn

#: mmap() of what cannot be mapped: the reason is not memory's, and no model knows it.
_NOT_MEMORY: Final = (-19, -6, -95)  # ENODEV, ENXIO, EOPNOTSUPP
#: Calls by which processes begin, end or get another image.
_LIVES: Final = frozenset({*EXECS, *ALIASES, *BIRTHS, *DEATHS})
#: Calls that are no events with some arguments.
_NOT_ALWAYS: Final = frozenset({"userfaultfd", "ioctl", "setrlimit", "prlimit64", *UNFOLLOWED})


class Recorder:
    """Turns what the tracer meets into a trace.

    ``maps``, ``brk`` describe the first process at the start; ``root`` is that process, None
    before the first exec. *kernel* is the model's name that expectations are for.
    """

    def __init__(self, files: OpenFiles, spool: Spool, kernel: str, page_size: int) -> None:
        self.files = files
        self.spool = spool
        self.maps: Layout = []
        self.brk: int | None = None
        self.root: ThreadGroup | None = None
        #: Programs that were met whose calls are not recorded (ThreadGroup.foreign).
        self.foreign: list[str] = []
        #: What changed memory and is no event: what it was, and the first process that did it.
        self.unfollowed: dict[str, str] = {}
        #: Whether rings of io_setup() are in the trace, whose size depends on the machine.
        self.rings = False
        self._userfaultfds = Userfaultfds(files, spool)
        #: Processes that somebody else began to trace, by name.
        self.surrendered: list[str] = []
        self._closed = False
        self._memory = FirstWrites(files, spool, page_size)
        self._kernel = kernel
        self.page = page_size

    def recording(self, process: ThreadGroup) -> bool:
        """Whether calls of *process* are events."""
        return self.root is not None and not process.foreign and not self._closed

    def not_followed(self, process: ThreadGroup, what: str) -> None:
        """*process* changed its memory in a way that no event says."""
        if self.recording(process):
            self.unfollowed.setdefault(what, process.name)

    def close(self) -> None:
        """No more events."""
        self._closed = True

    # --- calls ------------------------------------------------------------------------------

    def clone_flags(self, task: Task, name: str, args: tuple[int, ...]) -> int:
        """The CLONE_* flags of a birth that begins."""
        return decode.clone_flags(name, args, decode.Memory(task.tid))

    def enter(self, task: Task, pending: Pending) -> bool:
        """*task* begins a call. Whether it would matter if another thread wrote meanwhile."""
        process, name, args = task.process, pending.name, pending.args
        if process.space.watchers:
            self._userfaultfds.note_released(process.space, task.tid)
        if name in _LIVES:
            self._enter_life(task, pending)
            return False
        if name in _NOT_ALWAYS and (
            is_made_by(name, args)
            or is_unfollowed(name, args)
            or binds_nobody(name, args, process.pid)
        ):
            return False
        memory = decode.Memory(task.tid)
        values = decode.arguments(name, args, memory)
        if name == "mmap":
            if not args[3] & abi.MAP_ANONYMOUS:
                opened = self.files.of(process.pidfd(), task.tid, cast(int, values[4]))
                if opened is not None:
                    pending.opened = opened
        elif name == "ioctl":
            if not self._userfaultfds.find(process, pending):
                return False
        elif name == "prlimit64" and values[0]:
            target = self._userfaultfds.group_of(cast(int, values[0]))
            if target is None:
                return False
            process, values[0] = target, 0
        elif name == "process_madvise":
            number = decode.pid_of(process.pid, cast(int, values[0]))
            first = self.root is not None and number == self.root.pid
            values[0] = FIRST if first else number
        elif name == "shmat" and (segment := self.files.segment(cast(int, values[0]), task.tid)):
            values[0] = Fd(segment[0])
            pending.size = segment[1]
        if pending.watcher is not None:
            process = pending.watcher[0].first()
            values[0] = Fd(pending.watcher[1].key)
        pending.event = Event(name, tuple(values), "", pid=process.name)
        pending.reach = effects.reach(process.space, pending, self.page)
        return self._note_before(process, pending)

    def _enter_life(self, task: Task, pending: Pending) -> None:
        """*task* begins a call by which processes begin, end or get another image."""
        if pending.name in BIRTHS:
            if not pending.birth & abi.CLONE_VM:  # what the parent has written to, the child has
                self._memory.note(task.process)
        elif pending.name in DEATHS:
            self.last(task)
        else:
            self._before_exec(task, pending)

    def _note_before(self, process: ThreadGroup, pending: Pending) -> bool:
        if pending.name == "munmap" and pending.reach and Pagemap.queries:
            return self._memory.note_within(process, *pending.reach[0])
        return self._memory.note_near(process, pending.reach)

    def settle(self, task: Task, pending: Pending) -> None:
        """After enter(): the other threads stand still now."""
        self._note_before(task.process, pending)

    def leave(self, task: Task, pending: Pending, result: int | None) -> None:
        """*task* has made its call; *result* None: it was not made, or will be made again."""
        event, process = pending.event, task.process
        if pending.watcher is not None:
            process = pending.watcher[0].first()
        space = process.space
        if event is None and result is not None and is_made_by(pending.name, pending.args):
            self._userfaultfds.made(process, result)
        if event is None and result == 0 and is_unfollowed(pending.name, pending.args):
            self.not_followed(process, in_words(pending.name))
        if event is not None and event.name not in EXECS and result is not None:
            if event.name == "shmat" and result > 0 and not pending.size:
                shmid = cast(int, event.args[0])
                if segment := self.files.unseen_segment(shmid, result, task.tid):
                    event.args = (Fd(segment[0]), *event.args[1:])
                    pending.size = segment[1]
            if event.name == "io_setup" and result == 0:
                context = decode.Memory(task.tid).words(pending.args[1], 1)
                event.args = (event.args[0], f"[{context[0]:#x}]" if context else "NULL")
                self.rings = True
            if pending.opened is not None:
                at = (task.tid, result) if result > 0 else None
                shared = pending.args[3] & abi.MAP_TYPE != abi.MAP_PRIVATE
                key = self.files.key(pending.opened, shared, at)
                event.args = (*event.args[:4], Fd(key), *event.args[5:])
            elif event.name == "shmat" and result == -abi.EINVAL:
                # Maybe there is no such segment any more, or not in its namespace.
                event.args = (pending.args[0] & 0x7FFFFFFF, *event.args[1:])
            elif event.name == "shmat" and result > 0 and isinstance(event.args[0], Fd):
                self.files.huge_segment(str(event.args[0].key), (task.tid, result))
            new = effects.placed(space, pending, result, self.page)
            later: list[int] = []
            if new is not None:  # whose neighbours were not known before
                moved = effects.moves_written(space, pending)
                later = self._memory.note_around(process, new, moved)
            elif pending.disturbed:
                self._memory.note_near(process, pending.reach)
            if event.name in ("mprotect", "pkey_mprotect") and result < 0:
                self._note_part(process, event, pending)
            elif event.name == "remap_file_pages" and result == -abi.EINVAL:
                self._note_hole(process, event, pending)
            if not (event.name == "mmap" and result in _NOT_MEMORY):
                event.recorded = result
                self.spool.add(event)
            self._memory.note_pages(process, later)
            pending.result = result
            if pending.watcher is not None and result == 0:
                learn(pending.watcher[1], event)

    def left(self, task: Task, pending: Pending) -> None:
        """After leave(), where *task* may run again: what its call did to its memory."""
        if pending.result is not None:
            space = task.process.space
            if pending.watcher is not None:
                space = pending.watcher[0]
            effects.apply(space, pending, pending.result, self.page)
        if pending.opened is not None:
            self.files.release(pending.opened)

    def _note_part(self, process: ThreadGroup, event: Event, pending: Pending) -> None:
        """A protection that was refused may be in force up to some VMA: make two calls of it."""
        pagemap, (start, length, prot) = process.space.pagemap, pending.args[:3]
        if pagemap is None or start % self.page:
            return
        done = pagemap.protected(start, start + length, prot)
        if done > start:
            more = event.args[2:]
            first = (start, done - start, *more)
            self.spool.add(Event(event.name, first, "", pid=event.pid, recorded=0))
            event.args = (done, start + length - done, *more)

    def _note_hole(self, process: ThreadGroup, event: Event, pending: Pending) -> None:
        """Unmapped, and not mapped again, is a System V segment that was removed meanwhile."""
        pagemap, pieces = process.space.pagemap, process.space.pieces
        start, size = (value & -self.page for value in pending.args[:2])
        if pagemap is None or not Pagemap.queries or not pieces.covered(start):
            return
        if pagemap.vma_at(start) is None:
            pieces.clear(start, start + size)
            args = (start, size)
            self.spool.add(Event("munmap", args, "", pid=event.pid, recorded=0))

    # --- processes --------------------------------------------------------------------------

    def born(self, parent: Task, tid: int, pending: Pending, shared: bool) -> ThreadGroup:
        """*parent* has made process *tid*, which has not run yet."""
        process, old = parent.process, parent.process.space
        recorded = self.recording(process)
        space = old
        if not shared:
            space = AddressSpace(old.pieces.copy(), Pagemap(tid, self.page))
            space.brk = old.brk
            space.segments = dict(old.segments)
            if recorded:
                if old.threads > 1:  # what the child has got, the parent had
                    self._memory.note(process, space)
                self._memory.note_stacks(process, space if old.threads > 1 else old, tid)
            space.stacks = set(old.stacks)
        child = ThreadGroup(tid, str(tid), space)
        child.foreign = process.foreign
        child.vforked = bool(pending.birth & abi.CLONE_VFORK)
        self._userfaultfds.groups.add(child)
        if old.watchers and not shared:
            self._userfaultfds.inherit(old, space)
        if recorded or child.foreign:
            args = decode.birth(pending.name, pending.birth)
            self.spool.add(Event(pending.name, tuple(args), "", pid=process.name, recorded=tid))
        return child

    def _before_exec(self, task: Task, pending: Pending) -> None:
        memory = decode.Memory(task.tid)
        path = memory.text(pending.args[0 if pending.name == "execve" else 1])
        pending.event = Event("execve", (path,), "", pid=task.process.name, recorded=0)
        if len(task.process.space.processes) == 1:
            self._memory.note(task.process)
            pending.layout = self._memory.final(task.process, task.tid)

    def executed(self, task: Task, pending: Pending | None) -> None:
        """*task* is at the first instruction of a new image; *pending* is its execve."""
        process, old = task.process, task.process.space
        old.processes.discard(process)
        event = pending.event if pending is not None else None
        if pending is not None and pending.layout is not None:
            self.spool.expect(pending.layout, process.name, self._kernel)
        if not old.processes:
            self._drop(old)
        process.space = space = AddressSpace(Pieces(self.files.count))
        space.processes.add(process)
        layout = self._meet(process, task.tid)
        if self.root is None:
            self.begin(process, layout, start_brk(task.tid))
        else:
            if event is None:
                event = Event("execve", (exe(task.tid),), "", pid=process.name, recorded=0)
            event.maps = layout
            self.spool.add(event)

    def begin(self, root: ThreadGroup, layout: Layout, brk: int | None) -> None:
        """The trace begins here, with *root* having *layout*."""
        self.root, self.maps, self.brk = root, layout, brk
        self._userfaultfds.groups.add(root)
        root.space.brk = root.space.brk or brk

    def attached(self, process: ThreadGroup) -> None:
        """The trace begins in the middle of the life of *process*, which is stopped."""
        layout = self._meet(process, process.pid)
        self.begin(process, layout, None)
        if not self._userfaultfds.met(process, layout):
            self.not_followed(process, "several userfaultfds from before")

    def _meet(self, process: ThreadGroup, tid: int) -> Layout:
        """The layout of an address space that is new to us; *tid* is a thread in it."""
        space, layout = process.space, self._memory.layout(tid, with_pages=True)
        space.pagemap = self._pagemap(tid)
        process.foreign = is_short(tid) or space.pagemap is None
        if process.foreign:
            self.foreign.append(exe(tid) or process.name)
        self.files.describe(layout, tid)
        effects.load(space, layout)
        return layout

    def _pagemap(self, tid: int) -> Pagemap | None:
        found = Pagemap(tid, self.page)
        try:
            found.open()
        except OSError:  # it runs a program that nobody may read
            return None
        return found

    def ending(self, task: Task, status: int) -> None:
        """The last thread of a process is about to end with wait status *status*."""
        self.last(task)
        self._exit(task.process, status)

    def last(self, task: Task) -> None:
        """From here on no thread of the process makes a call; *task* still has its memory."""
        process = task.process
        if not process.expected and all(p is process or p.exited for p in process.space.processes):
            process.expected = True
            self._expect(process, task.tid)

    def _expect(self, process: ThreadGroup, tid: int) -> None:
        """Here *process* has the layout that the kernel shows for its thread *tid*."""
        if not self.recording(process):
            return
        if process.space.watchers:
            self._userfaultfds.note_released(process.space, tid)
        self._memory.note(process)
        if layout := self._memory.final(process, tid):  # empty where the memory is gone already
            self.spool.expect(layout, process.name, self._kernel)

    def frozen(self, space: AddressSpace) -> None:
        """The recording ends here for *space*, no thread of which runs."""
        for process in sorted(space.processes, key=lambda p: p.pid):
            if process.tasks and not process.exited:
                self._expect(process, min(process.tasks))
                return

    def surrender(self, process: ThreadGroup) -> None:
        """The recording of *process* ends here: all its threads are stopped, and will be let go."""
        self._userfaultfds.groups.discard(process)
        if self.recording(process):
            self.frozen(process.space)
            # Who shares its memory does not know any more what happens to it.
            for other in sorted(process.space.processes, key=lambda p: p.pid):
                alone = process.vforked and other is not process
                if not (alone or other.exited or other.foreign):
                    self.surrendered.append(other.name)
                    other.foreign = True
        process.foreign = process.exited = True
        process.close()
        process.space.processes.discard(process)
        if not process.space.processes:
            self._drop(process.space)

    def ended(self, process: ThreadGroup, status: int) -> None:
        """No thread of *process* is left."""
        self._userfaultfds.groups.discard(process)
        self._exit(process, status)
        process.close()
        process.space.processes.discard(process)
        if not process.space.processes:
            self._drop(process.space)

    def _exit(self, process: ThreadGroup, status: int) -> None:
        if process.exited or self._closed or self.root is None:
            return
        process.exited = True
        code = status >> 8 & 0xFF if not status & 0x7F else 128 + (status & 0x7F)
        self.spool.add(Event("exit_group", (code,), "", pid=process.name))

    def _drop(self, space: AddressSpace) -> None:
        space.pieces.forget()
        if space.pagemap is not None:
            space.pagemap.close()
