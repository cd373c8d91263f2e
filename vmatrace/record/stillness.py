"""Which threads have to be stopped so that none writes to memory meanwhile, and that without harm.

A call that splits or merges VMAs does it by which of them were written to before; a write of
another thread while it is made may be before or after it, and no look at memory tells which. So
the others stand still for it. Knows threads and their stops; nothing of what calls do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from vmatrace.oracle.arch import native
from vmatrace.record import stops
from vmatrace.record.tasks import AddressSpace, Hold, Pending, Task

_WORD: Final = 1 << 64
#: So many tenths of a second is a thread waited for, and one that lacks nothing but a processor: a
#: busy machine takes its time.
_PATIENCE: Final = 5
_PATIENCE_WITH_READY: Final = 50
_EINTR, _ERESTARTNOHAND = -4 % _WORD, -514 % _WORD


def _may_write(task: Task, space: AddressSpace) -> bool:
    """Whether a thread of *space* runs: it does not wait for anything."""
    if task.listening:
        return False
    if task.vfork is not None:
        if task.vfork.space is space and task.vfork.tasks:
            return False
        task.vfork = None
    try:
        with open(f"/proc/{task.tid}/syscall", "rb") as table:
            # A page fault that waits is no call, but -1.
            return table.read(2) in (b"ru", b"-1")
    except OSError:
        return True


def are_too_late(tids: Iterable[int], late: int) -> bool:
    """Whether threads that so many tenths of a second were waited for need not be any more."""
    if late < _PATIENCE:
        return False
    return late >= _PATIENCE_WITH_READY or not any(map(_is_ready, tids))


def _is_ready(tid: int) -> bool:
    """Whether a thread runs, or would if it had a processor."""
    try:
        with open(f"/proc/{tid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2].startswith(b"R")
    except OSError:
        return False


def interrupt(task: Task) -> None:
    """Make a running thread stop."""
    task.interrupted = True
    stops.interrupt(task.tid)


def make_again(task: Task) -> None:
    """Where interrupt() is what ended a call of *task*, let the kernel make it again.

    Most calls it makes again by itself, but not, for example, epoll_wait(). With a signal that has
    a handler the call fails with EINTR all the same (arch_do_signal_or_restart()). Raises Gone.
    """
    arch, tid = native(), task.tid
    if not task.interrupted or arch.no_restart is None:  # without, it is decided before the stop
        return
    task.interrupted = False
    words = stops.registers(tid, arch.registers)
    if words[arch.result] == _EINTR and words[arch.no_restart] < _WORD >> 1:
        words[arch.result] = _ERESTARTNOHAND
        stops.set_registers(tid, words)


class Stillness:
    """Those of *tasks* that stand still; *settle* is told when all do, before the call is made.

    ``spaces``: where some do. *resume* lets a thread go on with a signal.
    """

    def __init__(
        self,
        tasks: dict[int, Task],
        settle: Callable[[Task, Pending], None],
        resume: Callable[[Task, int], None],
    ) -> None:
        self.spaces: set[AddressSpace] = set()
        self._tasks = tasks
        self._settle = settle
        self._resume = resume

    def hold(self, owner: Task, space: AddressSpace) -> bool:
        """Stop the other threads of *space*, if any runs: only then does *owner* make its call."""
        if space.threads == 1:
            return False
        loose = [task for task in self._others(owner, space) if not task.stopped]
        running = [task for task in loose if _may_write(task, space)]
        assert owner.pending is not None
        if loose and not running:  # but some did until just now, and have stopped unseen
            self._settle(owner, owner.pending)
        if running and space.watchers:  # they may have to fill the pages that the call waits for
            owner.pending.disturbed = True
            return False
        for task in running:
            interrupt(task)
        if running:
            space.hold = Hold({task.tid for task in running})
            self.spaces.add(space)
        return bool(running)

    def _others(self, owner: Task | None, space: AddressSpace) -> list[Task]:
        tids = (tid for process in space.processes for tid in sorted(process.tasks))
        found = (self._tasks.get(tid) for tid in tids)
        return [task for task in found if task is not None and task is not owner]

    def has_come(self, tid: int, space: AddressSpace) -> None:
        """Thread *tid* has stopped or ended, for which another may have waited."""
        hold = space.hold
        if hold is not None and not hold.still:
            hold.awaited.discard(tid)
            if not hold.awaited:
                self._make_call(space, hold)

    def _make_call(self, space: AddressSpace, hold: Hold) -> None:
        hold.still = True
        owner = self._tasks.get(space.owner or 0)
        if owner is not None and owner.pending is not None:
            self._settle(owner, owner.pending)
            self._resume(owner, 0)

    def let_run(self, space: AddressSpace, owner: Task | None) -> None:
        """End of what hold() began: *owner* has made its call, or will not."""
        space.hold = None
        self.spaces.discard(space)
        for task in self._others(owner, space):
            if task.stopped and task.asks is None:
                held, task.held = task.held, 0
                self._resume(task, held)

    def lose_patience(self) -> None:
        """A thread that cannot stop is not waited for, nor is one held that the call waits for."""
        for space in list(self.spaces):
            hold = space.hold
            assert hold is not None
            hold.late += 1
            owner = self._tasks.get(space.owner or 0)
            awaited = {owner.tid} if hold.still and owner is not None else hold.awaited
            if not are_too_late(awaited, hold.late):
                continue
            if owner is not None and owner.pending is not None:
                owner.pending.disturbed = True
            if hold.still:
                self.let_run(space, owner)
            else:
                self._make_call(space, hold)

    def end(self) -> None:
        """Nobody is held any more, and whoever can let those go on that were does so."""
        for space in self.spaces:
            space.hold = None
        self.spaces.clear()
