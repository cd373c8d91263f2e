"""Calls at whose end nobody stops: an munmap() that cannot fail.

A call like that is half as dear. It is made when its thread stops the next time, or when nothing is
at its address any more; only then is it an event. Until then other threads may begin a call if
the order of the two makes no difference, or can be told from the result. Knows which calls
these are and where they work; nothing of stops.
"""

from __future__ import annotations

from collections.abc import Callable

from vmatrace.record.effects import cannot_fail, may_overtake
from vmatrace.record.recorder import Recorder
from vmatrace.record.tasks import AddressSpace, Pending, Task, ThreadGroup


class Unwatched:
    """Those that *recorder* will be told of.

    *hurry* makes a thread stop, so that its call is known to be made.
    """

    def __init__(self, recorder: Recorder, hurry: Callable[[Task], None]) -> None:
        self._recorder = recorder
        self._page = recorder.page
        self._hurry = hurry

    def take(self, task: Task, pending: Pending) -> bool:
        """Whether *task* may go on with the call that it begins, and not stop at its end."""
        space = task.process.space
        if not cannot_fail(space, pending, self._page):
            return False
        space.unwatched[task] = pending
        return True

    def stopped(self, task: Task, killed: bool = False) -> None:
        """*task* has stopped; *killed*: it ends, and has maybe not made its call.

        While another is in its call, it is not known which of the two was first.
        """
        space = task.process.space
        pending = space.unwatched.get(task)
        if pending is None or pending.made or pending.doubtful:
            return
        if killed and self._remains(space, pending):
            # Or something new is there already, of the call that another is in.
            pending.doubtful = True
            self.flush(space)
        elif space.owner is None:
            self._made(task, space)
        else:
            pending.made = True

    def must_wait(self, space: AddressSpace, pending: Pending, hurry: bool = False) -> bool:
        """Whether the call *pending* may not begin before some others have been made.

        *hurry*: nobody else has stopped, so that it is worth to make those stop.
        """
        waits = False
        if cannot_fail(space, pending, self._page):
            return False
        for task, other in list(space.unwatched.items()):
            if not self._remains(space, other):
                self._made(task, space)
            elif not (may_overtake(space, pending) and self._is_enclosed(space, other)):
                if hurry:
                    self._hurry(task)
                waits = True
        return waits

    def mapped(self, space: AddressSpace, start: int, size: int) -> None:
        """Something is mapped at [start, start + size): what was to go from there has gone."""
        for task, other in list(space.unwatched.items()):
            if other.args[0] < start + size and start < other.args[0] + other.args[1]:
                self._made(task, space)

    def flush(self, space: AddressSpace) -> None:
        """Nobody is in a call that others were made during: they may as well have been after it."""
        for task, other in list(space.unwatched.items()):
            if other.made:
                self._made(task, space)
            elif other.doubtful and space.owner is None:
                del space.unwatched[task]

    def end(self, space: AddressSpace) -> None:
        """All threads of *space* die: those that have not made their calls will not."""
        for task in list(space.unwatched):
            self.stopped(task, killed=True)
        self.flush(space)

    def leave(self, process: ThreadGroup) -> None:
        """All threads of *process* have ended or will without a stop: the rest was not made."""
        space = process.space
        for task, other in list(space.unwatched.items()):
            if task.process is process:
                if other.made:
                    self._made(task, space)
                else:
                    del space.unwatched[task]

    def _made(self, task: Task, space: AddressSpace) -> None:
        pending = space.unwatched.pop(task)
        self._recorder.leave(task, pending, 0)
        self._recorder.left(task, pending)

    @staticmethod
    def _remains(space: AddressSpace, pending: Pending) -> bool:
        """Whether what the call takes away is still there: all goes at once."""
        pagemap = space.pagemap
        return pagemap is not None and pagemap.vma_at(pending.args[0]) is not None

    def _is_enclosed(self, space: AddressSpace, pending: Pending) -> bool:
        """Whether a new mapping that leaves alone what goes may count as made before that.

        The kernel takes the top of the highest gap that is large enough. What it found with the
        range free, and not in it, it finds without, too. But what then begins at the
        range's end would have merged with it: not where something is mapped there that stays.
        """
        start, size = pending.args[:2]
        end = start + size + self._page - 1 & -self._page
        return (
            start > max(space.stacks, default=0) >> 1  # and not the lowest gap (ADDR_COMPAT_LAYOUT)
            and space.pieces.covered(end)
            and not any(
                other.args[0] <= end < other.args[0] + other.args[1]
                for other in space.unwatched.values()
            )
        )
