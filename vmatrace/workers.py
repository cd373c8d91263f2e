"""One function over many inputs, in several processes: ``each_of()``.

Results come in the order of the inputs, whatever finished first. Knows processes, signals and how
much work is worth a process; knows nothing of the work.

Processes are forked, because a fork has every module already and a fresh interpreter would take
longer to start than most folders take to check. It is safe here: nothing has started a thread yet.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor

_Result = TypeVar("_Result")
_PR_SET_PDEATHSIG: Final = 1
#: The most inputs that a process is given at once.
_CHUNK: Final = 16
#: Less input than this, in bytes, is done before processes have started.
_WORTH: Final = 1 << 16


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def worthwhile(paths: Sequence[str]) -> bool:
    """Whether there is enough in the files at *paths* to share it out."""
    left = _WORTH
    for path in paths:
        try:
            left -= os.stat(path).st_size
        except OSError:
            continue
        if left <= 0:
            return len(paths) > 1
    return False


def each_of(
    work: Callable[[str], _Result],
    inputs: Sequence[str],
    processes: int,
    died: Callable[[str], _Result],
) -> Iterator[_Result]:
    """*work* of each of *inputs* in order, done by *processes* of them.

    *died* makes the result of an input at which the process ended (a signal, no memory); the others
    are still done. What *work* raises is raised here. All processes end when the iterator does.
    """
    from concurrent.futures.process import BrokenProcessPool

    chunks = deque(chunked(inputs, processes))
    with _pool(processes) as pool:
        try:
            futures = deque(_submit(pool, work, chunk) for chunk in chunks)
            while futures:
                yield from futures.popleft().result()
                chunks.popleft()
        except BrokenProcessPool:
            pass
    # A process died, nobody knows at what: the rest one by one, each with a process to lose.
    yield from _one_by_one(work, [path for chunk in chunks for path in chunk], died)


def chunked(inputs: Sequence[str], processes: int) -> Iterator[Sequence[str]]:
    """*inputs* in such pieces that *processes* have several each."""
    size = max(1, min(_CHUNK, len(inputs) // (4 * processes)))
    return (inputs[i : i + size] for i in range(0, len(inputs), size))


def _one_by_one(
    work: Callable[[str], _Result], inputs: Sequence[str], died: Callable[[str], _Result]
) -> Iterator[_Result]:
    from concurrent.futures.process import BrokenProcessPool

    left = deque(inputs)
    while left:
        with _pool(1) as pool:
            while left:
                path = left.popleft()
                try:
                    (result,) = _submit(pool, work, [path]).result()
                except BrokenProcessPool:
                    yield died(path)
                    break
                yield result


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that are all gone at the end, also when that comes early."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    context = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(processes, context, begin, (os.getpid(),))
    before = set(multiprocessing.active_children())
    try:
        yield pool
        pool.shutdown()
    finally:
        left = set(multiprocessing.active_children()) - before
        for process in left:
            process.kill()
        pool.shutdown(cancel_futures=True)
        for process in left:
            process.join()


def _submit(
    pool: ProcessPoolExecutor, work: Callable[[str], _Result], inputs: Sequence[str]
) -> Future[list[_Result]]:
    """Raises BrokenProcessPool, also where no process can be started."""
    from concurrent.futures.process import BrokenProcessPool

    try:
        with undisturbed():
            return pool.submit(_all, work, inputs)
    except OSError as error:
        raise BrokenProcessPool(str(error)) from error


@contextmanager
def undisturbed() -> Iterator[None]:
    """SIGINT is blocked, also in the processes that are started here.

    Ctrl-C goes to all of them, but is for this one to handle.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin(parent: int) -> None:
    """A process ends with the one that started it, even if that is killed (prctl(2))."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _all(work: Callable[[str], _Result], inputs: Sequence[str]) -> list[_Result]:
    return [work(path) for path in inputs]
