"""The loop over the stops of a process tree: who goes on when, and who has to wait.

Knows threads, stops, signals and address spaces; what a call means, the Recorder knows. Each
thread is resumed exactly once for each of its stops, with the signal that it stopped for.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Collection
from typing import Final

from vmatrace.abi import CLONE_THREAD, CLONE_UNTRACED, CLONE_VM
from vmatrace.calls import ALIASES, BIRTHS, DEATHS, EXECS
from vmatrace.oracle.arch import native
from vmatrace.oracle.errors import Unavailable
from vmatrace.record import stops, untraced
from vmatrace.record.borrow import PAGE, Borrowed
from vmatrace.record.escort import Escort
from vmatrace.record.filter import (
    BEYOND_STRICT,
    OTHER_ABI,
    STRICT,
    X32,
    SyscallTable,
    has_x32,
    is_strict,
    strict_program,
    wanted,
)
from vmatrace.record.pieces import Pieces
from vmatrace.record.recorder import Recorder
from vmatrace.record.stillness import are_too_late, interrupt, make_again
from vmatrace.record.stops import Gone, Waiter
from vmatrace.record.tasks import AddressSpace, Pending, Task, ThreadGroup
from vmatrace.record.turns import Turns

#: Job control stops the whole thread group.
_STOPPING: Final = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
#: Results of calls that were not made: the kernel makes them again after a signal (-ERESTART…), or
#: the caller was killed before (-EINTR: it did not get the lock; -ENOSYS: it never got there).
_NOT_MADE: Final = (-512, -513, -514, -516, -4)
_ENOSYS: Final = -38
#: Seconds that a stop is waited for, before who has to stop is looked at.
_AGAIN: Final = 0.1
#: SyscallTable that do not come back, if they succeed.
_FAREWELLS: Final = EXECS | DEATHS | set(ALIASES)


def _has_ended(tid: int) -> bool:
    """Whether thread *tid* is gone, or all but gone."""
    try:
        with open(f"/proc/{tid}/stat", "rb") as table:
            return table.read().rpartition(b")")[2].split()[:1] in ([b"Z"], [b"X"])
    except OSError:
        return True


class Tracer:
    """Follows a process tree and tells *recorder* of its calls.

    *every*: without a filter, all calls of all threads stop.
    """

    def __init__(
        self, recorder: Recorder, calls: SyscallTable, waiter: Waiter, every: bool
    ) -> None:
        self.tasks: dict[int, Task] = {}
        self._recorder = recorder
        self._calls = calls
        self._waiter = waiter
        self._every = every
        self._go = stops.SYSCALL if every else stops.CONT
        self._options = stops.OPTIONS if every else stops.OPTIONS | stops.EXITKILL
        #: Threads that stopped before the birth of them was reported.
        self._early: dict[int, int] = {}
        #: Wait statuses of the processes that ended, by pid.
        self.ended: dict[int, int] = {}
        #: Nothing is recorded any more: everybody just goes on.
        self.passive = False
        self._escort = Escort(calls)
        #: Whether a thread is in strict mode.
        self._strict = False
        waiter.patient = lambda: self._escort.busy
        self._turns = Turns(self.tasks, recorder, self._resume, self._options, every)
        waiter.late = self._turns.lose_patience
        spool, cpus = recorder.spool, len(os.sched_getaffinity(0))
        # With more threads than that, the time is theirs.
        blocked = self._turns.blocked
        waiter.more = lambda: bool(blocked) or (len(self.tasks) < cpus and spool.much_waits())
        waiter.meanwhile = lambda: self._turns.hurry() if blocked else spool.write_some()

    def adopt(self, process: ThreadGroup, tid: int) -> Task:
        """Note a new thread of *process*."""
        task = self.tasks[tid] = Task(tid, process)
        process.tasks.add(tid)
        space = process.space
        space.threads += 1
        if space.threads > 1 and space.pagemap is not None:
            # The thread that it would be opened by may be the first to go.
            with contextlib.suppress(OSError):
                space.pagemap.open()
        return task

    def attach(self, process: ThreadGroup) -> None:
        """Seize every thread of a running process and stop it. Raises Unavailable."""
        folder = f"/proc/{process.pid}/task"
        self._turns.frozen = True
        ended: set[int] = set()
        while True:
            try:
                found = {int(name) for name in os.listdir(folder)} - set(self.tasks) - ended
            except OSError:
                raise Unavailable(f"no process {process.pid}") from None
            if not found:
                break
            for tid in sorted(found):
                try:
                    stops.seize(tid, stops.OPTIONS)
                except Unavailable:
                    if tid == process.pid or not _has_ended(tid):
                        raise
                    ended.add(tid)
                    continue
                task = self.adopt(process, tid)
                task.stopped = False
                interrupt(task)
            self._await_stops(self.tasks.values())

    def go(self) -> None:
        """Let those go on that attach(), freeze() or _surrender() stopped."""
        self._turns.frozen = False
        self._turns.stillness.end()
        for task in list(self.tasks.values()):
            if task.stopped and task.tid not in task.process.space.waiting:
                held, task.held = task.held, 0
                self._resume(task, held)

    def run(self) -> int:
        """Until nobody is left: 0. Or a signal to us, at once: its number; call again to go on."""
        while self.tasks or self._escort.busy:
            tid, status = self._waiter.next()
            if tid == 0:
                if status:
                    return status
                break
            self.handle(tid, status)
        return 0

    def handle(self, tid: int, status: int) -> None:
        """One wait status."""
        task = self.tasks.get(tid)
        if not os.WIFSTOPPED(status):
            self._gone(tid, status)
        elif task is None and not self.passive:
            self._early[tid] = status
        else:
            task = task or self._stranger(tid)
            task.stopped, task.listening = True, False
            if task.process.space.unwatched:
                self._turns.unwatched.stopped(task, killed=status >> 16 == stops.EXIT)
            try:  # noqa: SIM105 - at every stop
                self._stopped(task, status)
            except Gone:  # killed while it was stopped: its end will be reported
                pass
            space = task.process.space
            if self._turns.stillness.spaces:
                self._turns.stillness.has_come(tid, space)
            if space.waiting and space.owner is None:
                self._turns.go_on(space)

    def _stranger(self, tid: int) -> Task:
        """A thread that nobody has to know more of than that it must go on."""
        return self.adopt(
            ThreadGroup(tid, "", AddressSpace(Pieces(lambda file, change: None))), tid
        )

    def freeze(self) -> None:
        """Bring everybody to a stop who can stop, and tell the recorder.

        The parent of a vfork cannot stop before its child is done; neither does it run.
        """
        self._halt(list(self.tasks.values()))
        for space in {task.process.space for task in self.tasks.values()}:
            self._turns.unwatched.flush(space)
            owner = self.tasks.get(space.owner) if space.owner is not None else None
            if owner is None or owner.stopped:  # or somebody is in the middle of a call
                self._recorder.frozen(space)

    def _halt(self, tasks: list[Task]) -> bool:
        """Bring *tasks* to a stop, and hold whoever stops meanwhile; whether all came."""
        self._turns.frozen = True
        for task in tasks:
            if not task.stopped:
                interrupt(task)
        return self._await_stops(tasks)

    def _await_stops(self, tasks: Collection[Task]) -> bool:
        """Go on until *tasks* have stopped; False if some do not."""
        late = 0
        while loose := [t.tid for t in tasks if t.tid in self.tasks and not t.stopped]:
            tid, status = self._waiter.next(_AGAIN)
            if tid:
                self.handle(tid, status)
                late = 0
            elif not status:
                late += 1
                if are_too_late(loose, late):
                    return False
        return True

    def thaw(self) -> None:
        """Everybody goes on, and nothing is recorded any more."""
        self.passive = True
        self._recorder.close()
        for task in self.tasks.values():
            task.pending = None
            task.process.space.waiting.clear()
            task.process.space.unwatched.clear()
        self.go()
        for tid, status in self._early.items():
            self.handle(tid, status)

    def detach(self) -> None:
        """Everybody goes on without us."""
        for task in self.tasks.values():
            stops.detach(task.tid, task.held)
        self.tasks.clear()

    # --- stops ------------------------------------------------------------------------------

    def _stopped(self, task: Task, status: int) -> None:
        ordinary = status == stops.CALL_STATUS or status == stops.FILTER_STATUS
        if ordinary and task.restore is None and not self._strict:  # nearly always
            self._at_call(task)
            return
        event, sig = status >> 16, status >> 8 & 0xFF
        if task.restore is not None and event not in stops.BIRTHS:
            untraced.restore(task)
        if event == 0 and sig == stops.AT_CALL:
            self._at_call(task)
        elif event == stops.SECCOMP:
            if self._strict and stops.message(task.tid) == BEYOND_STRICT:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(task.process.pid, signal.SIGKILL)
            else:
                self._at_call(task)
        elif self.passive and event not in (stops.STOP, 0):
            self._resume(task)
        elif event in stops.BIRTHS:
            self._birth(task)
        elif event == stops.EXEC:
            self._exec(task)
        elif event == stops.EXIT:
            self._exit(task)
        elif event == stops.STOP:
            make_again(task)
            if sig in _STOPPING and not self._turns.frozen:
                task.stopped, task.listening = False, True
                stops.listen(task.tid)
            else:
                self._resume(task)
        else:
            self._resume(task, sig)

    def _resume(self, task: Task, sig: int = 0) -> None:
        space = task.process.space
        if self._turns.frozen or (space.hold is not None and space.owner != task.tid):
            task.held = sig
            return
        task.stopped = False
        how = stops.SYSCALL if task.pending is not None else self._go
        stops.resume(task.tid, how, sig)

    def _at_call(self, task: Task) -> None:
        if task.pending is None:
            self._enter(task)
            return
        op, result = stops.result(task.tid)
        if op != stops.LEAVE:
            self._resume(task)
            return
        pending = task.pending
        task.pending = None
        space = task.process.space
        if space.unwatched and result >= 0:
            self._turns.unwatched.mapped(space, result, pending.args[1])
        self._recorder.leave(task, pending, None if result in _NOT_MADE else result)
        # What is left to do needs no look at its memory.
        self._resume(task)
        self._recorder.left(task, pending)
        self._turns.release(task)

    def _enter(self, task: Task) -> None:
        op, audit, number, args = stops.call(task.tid)
        name = self._calls.names.get(number)
        ours = op in (stops.FILTERED, stops.ENTRY) and audit == self._calls.audit
        if name == "ptrace" and ours and wanted(name, args):
            self._traces(task, args)
            return
        if name in STRICT and ours and is_strict(name, args) and not self._every:
            self._enter_strict_mode(task, name == "prctl" and args[1] != 1)
            return
        birth = 0
        if name in BIRTHS and ours:
            birth = self._recorder.clone_flags(task, name, args)
            if birth & CLONE_UNTRACED and not self._every:
                untraced.keep_traced(task, name, args, birth)
        if audit == OTHER_ABI and op == stops.FILTERED:
            self._recorder.not_followed(task.process, "calls of 32 bits (int 0x80)")
        elif number >= X32 and op == stops.FILTERED and has_x32():
            self._recorder.not_followed(task.process, "calls of the x32 ABI")
        if (
            name is None
            or not ours
            or not self._recorder.recording(task.process)
            or (self._every and not wanted(name, args))
        ):
            self._resume(task)
            return
        pending = Pending(name, args)
        if name in BIRTHS:
            pending.birth = birth
            if birth & CLONE_THREAD:
                self._resume(task)
                return
        task.asks = pending
        self._turns.ask(task)

    def _enter_strict_mode(self, task: Task, other: bool) -> None:
        """The kernel refuses strict mode where there is a filter: one of ours does the same.

        *other*: it asks for another mode.
        """
        with contextlib.suppress(OSError):
            if not other:
                arch, numbers = native(), self._calls.numbers
                thread = Borrowed(task.tid, arch)
                done, page = thread.filter(
                    strict_program(arch), 0, numbers["seccomp"], numbers["mmap"]
                )
                if page:
                    thread.call(numbers["munmap"], page, PAGE)
                self._strict = True
                thread.finish(done)
        self._resume(task)

    def _traces(self, task: Task, args: tuple[int, ...]) -> None:
        """*task* begins to trace another, or asks for it: that one is no longer ours."""
        target = task.tid if args[0] & 0xFFFFFFFF == 0 else args[1] & 0xFFFFFFFF
        found = self.tasks.get(target)
        if found is not None:
            self._surrender(found.process)
        if task.tid in self.tasks and task.stopped:
            self._resume(task)

    def _surrender(self, process: ThreadGroup) -> None:
        """Let a process go for good, calls and all; where that fails it stays ours."""
        before = self._turns.frozen
        tasks = [self.tasks[tid] for tid in sorted(process.tasks)]
        halted = self._halt(tasks)
        tasks = [task for task in tasks if task.tid in self.tasks]
        if halted and tasks:
            self._turns.unwatched.flush(process.space)
            self._recorder.surrender(process)
            with contextlib.suppress(OSError, Gone, ValueError):
                signals = [] if self._every else self._escort_threads(tasks[0])
                for task in tasks:
                    self._let_go(task, signals if task is tasks[0] else [])
        if not before:
            self.go()

    def _escort_threads(self, task: Task) -> list[int]:
        """Have the calls of *task*'s process pass without us; the signals that came meanwhile."""
        thread = Borrowed(task.tid, native())
        try:
            self._escort.take(thread, task.process.pid)
        finally:
            thread.give_back()
        return thread.signals

    def _let_go(self, task: Task, signals: list[int]) -> None:
        process, space = task.process, task.process.space
        self.tasks.pop(task.tid)
        process.tasks.discard(task.tid)
        space.threads -= 1
        self._forget(task, space)
        for sig in signals[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, sig)
        stops.detach(task.tid, task.held or (signals[0] if signals else 0))

    def _birth(self, parent: Task) -> None:
        tid = stops.message(parent.tid)
        restore, pending = parent.restore, parent.pending
        untraced.restore(parent)
        if pending is None or pending.name not in BIRTHS:
            if os.path.exists(f"/proc/{parent.process.pid}/task/{tid}"):
                self._adopt_now(parent.process, tid, restore)
                self._resume(parent)
                return
            pending = Pending("fork", ())  # of a program whose calls are not recorded
        # The parent of a vfork comes out of its call only when the child is done.
        parent.pending = None
        shared = bool(pending.birth & CLONE_VM)
        child = self._recorder.born(parent, tid, pending, shared)
        parent.vfork = child if child.vforked else None
        self._adopt_now(child, tid, restore)
        self._turns.release(parent)
        self._resume(parent)

    def _adopt_now(
        self, process: ThreadGroup, tid: int, restore: tuple[int | None, int] | None
    ) -> None:
        task = self.adopt(process, tid)
        task.stopped, task.restore = False, restore
        status = self._early.pop(tid, None)
        if status is not None:
            self.handle(tid, status)

    def _exec(self, task: Task) -> None:
        former = stops.message(task.tid)
        process, old = task.process, task.process.space
        pending = task.pending
        for tid in process.tasks - {task.tid}:
            # The others are gone; if one of them made the call, it has the leader's number now.
            other = self.tasks.pop(tid)
            old.threads -= 1
            if tid == former:
                pending = other.pending
            self._forget(other, old)
        self._forget(task, old)
        process.tasks, process.leaving = {task.tid}, set()
        task.pending = None
        old.threads -= 1
        self._recorder.executed(task, pending)
        process.space.threads += 1
        self._resume(task)

    def _forget(self, task: Task, space: AddressSpace) -> None:
        # Whatever call it was in, it does not come out of it.
        if task.tid in space.waiting:
            space.waiting.remove(task.tid)
        if space.owner == task.tid:
            self._turns.release(task)

    # --- ends -------------------------------------------------------------------------------

    def _exit(self, task: Task) -> None:
        process, space = task.process, task.process.space
        process.leaving.add(task.tid)
        status = stops.message(task.tid)
        if task.pending is not None and task.pending.name not in BIRTHS | _FAREWELLS:
            # Killed on its way out of a call, which has been made all the same.
            result = stops.register(task.tid, self._calls.result, self._calls.registers)
            made = result not in (*_NOT_MADE, _ENOSYS)
            if made and space.unwatched and result >= 0:
                self._turns.unwatched.mapped(space, result, task.pending.args[1])
            self._recorder.leave(task, task.pending, result if made else None)
            self._recorder.left(task, task.pending)
        task.pending = None
        # One that was killed while it waited does not stop at its end.
        process.leaving |= {tid for tid in space.waiting if not stops.is_stopped(tid)}
        self._forget(task, space)
        if status & 0x7F:
            self._turns.unwatched.end(space)
        if process.leaving >= process.tasks:
            self._turns.unwatched.leave(process)
            self._recorder.ending(task, status)
        elif status & 0x7F and space.owner is None:
            # All its threads die, and not each has to stop for it.
            self._recorder.last(task)
        self._resume(task)

    def _gone(self, tid: int, status: int) -> None:
        self._early.pop(tid, None)
        self.ended[tid] = status
        task = self.tasks.pop(tid, None)
        if task is None:
            return
        process, space = task.process, task.process.space
        self._turns.unwatched.stopped(task, killed=True)
        process.tasks.discard(tid)
        process.leaving.discard(tid)
        space.threads -= 1
        self._forget(task, space)
        self._turns.go_on(space)
        self._turns.stillness.has_come(tid, space)
        if not process.tasks:
            self._turns.unwatched.leave(process)
            self._recorder.ended(process, status)
