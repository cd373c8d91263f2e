"""Whose turn it is: which thread of an address space may make its call, and which have to wait.

The recorded order is the real one because a call begins when the one before has ended, but for
those of which it makes no difference (unwatched), and the others stand still for a call where it
matters what they do (stillness). Knows threads and their calls; nothing of stops.
"""

from __future__ import annotations

from collections.abc import Callable

from vmatrace.record import stops
from vmatrace.record.recorder import Recorder
from vmatrace.record.stillness import Stillness, interrupt
from vmatrace.record.tasks import AddressSpace, Task
from vmatrace.record.unwatched import Unwatched


class Turns:
    """Those of *tasks*; *resume* lets one go on with a signal, *options* are what it stops at.

    *all_stop*: every call does so at its end. ``frozen``: nobody begins anything new. ``blocked``:
    where one waits for calls that nobody stops at the end of.
    """

    def __init__(
        self,
        tasks: dict[int, Task],
        recorder: Recorder,
        resume: Callable[[Task, int], None],
        options: int,
        all_stop: bool,
    ) -> None:
        self.frozen = False
        self.blocked: set[AddressSpace] = set()
        self._hurried: set[AddressSpace] = set()
        self.stillness = Stillness(tasks, recorder.settle, resume)
        self.unwatched = Unwatched(recorder, interrupt)
        self._tasks = tasks
        self._recorder = recorder
        self._resume = resume
        self._options = options
        self._all_stop = all_stop

    def ask(self, task: Task) -> None:
        """*task* has stopped at the call that it asks for: it is made as soon as may be."""
        space = task.process.space
        if space.owner is None and not space.waiting and not space.unwatched:
            self._begin(task)
            return
        space.waiting.append(task.tid)
        self.go_on(space)

    def go_on(self, space: AddressSpace, hurry: bool = False) -> None:
        """The next threads that wait for this address space make their calls, if they may."""
        while space.waiting and space.owner is None:
            task = self._tasks.get(space.waiting[0])
            asks = task.asks if task is not None else None
            if (
                asks is not None
                and space.unwatched
                and self.unwatched.must_wait(space, asks, hurry)
            ):
                (self._hurried if hurry else self.blocked).add(space)
                return
            space.waiting.popleft()
            if task is not None and asks is not None:
                self._begin(task)

    def _begin(self, task: Task) -> None:
        space, pending = task.process.space, task.asks
        assert pending is not None
        name, task.asks, task.pending = pending.name, None, pending
        space.owner = task.tid
        if self._recorder.enter(task, pending):
            if self.stillness.hold(task, space):
                return
        elif not (self._all_stop or self.frozen) and self.unwatched.take(task, pending):
            task.pending = space.owner = None
        if name == "exit_group" and task.process.expected and space.threads == 1:
            stops.set_options(task.tid, self._options & ~stops.AT_EXIT)  # it is all known
        self._resume(task, 0)

    def hurry(self) -> None:
        """Nobody stops: those may be waited for that others wait for."""
        while self.blocked:
            self.go_on(self.blocked.pop(), hurry=True)

    def lose_patience(self) -> None:
        """A tenth of a second has passed: who still waits for others tries again."""
        self.stillness.lose_patience()
        self.blocked |= self._hurried
        self._hurried.clear()

    def release(self, task: Task) -> None:
        """*task* has made its call, or will not."""
        space = task.process.space
        if space.owner != task.tid:
            return
        space.owner = None
        self.unwatched.flush(space)
        if space.hold is not None:
            self.stillness.let_run(space, task)
        self.go_on(space)
