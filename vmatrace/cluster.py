"""One function over many inputs on a Dask cluster, through its concurrent.futures interface.

A worker reads an input where it is, so paths have to mean the same there, or it gets the contents
sent. What a lost worker had is done again by others (Scheduler.transition_processing_erred()).
Workers need this package in this version. Dask is the extra vmatrace[dask].
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from vmatrace._version import __version__
from vmatrace.importers import sources
from vmatrace.workers import chunked

if TYPE_CHECKING:
    from concurrent.futures import Executor

_Result = TypeVar("_Result")
#: Seconds to find the scheduler in.
_PATIENCE: Final = 30
#: So often a scheduler is asked that is too busy to greet properly.
_TRIES: Final = 3
#: As many workers as inputs are shared out for where there are none yet, or few.
_FEWEST: Final = 8


class ClusterError(Exception):
    """The cluster cannot be used; the text says why, and what to do."""


def each_of(
    work: Callable[[str], _Result],
    inputs: Sequence[str],
    address: str,
    send: bool,
    died: Callable[[str], _Result],
) -> Iterator[_Result]:
    """*work* of each of *inputs* in order, done by the workers of the scheduler at *address*.

    *send*: the contents of the files go there; otherwise they are read there. *died* makes the
    result of an input at which one worker after the other was lost. Raises ClusterError, and what
    *work* raises.
    """
    place = _sent if send else partial(_told, os.getcwd())
    with _executor(address) as (executor, workers):
        killed = _killed()
        chunks = deque(chunked(inputs, max(workers, _FEWEST)))
        futures = deque(executor.submit(_all, work, place(chunk)) for chunk in chunks)
        try:
            while futures:
                try:
                    done = futures.popleft().result()
                except (killed, AttributeError, TypeError, ValueError):
                    # Of a result that went with its worker cfexecutor raises what comes of taking
                    # it for an error. What the work itself raises, it raises again.
                    done = []
                    for path in chunks[0]:
                        try:
                            done += executor.submit(_all, work, place([path])).result()
                        except killed:
                            done.append(died(path))
                chunks.popleft()
                yield from done
        finally:
            for future in futures:
                future.cancel()


def _killed() -> type[Exception]:
    from distributed import KilledWorker

    return KilledWorker


@contextmanager
def _executor(address: str) -> Iterator[tuple[Executor, int]]:
    """What takes work for the cluster, and how many workers it has now."""
    try:
        from distributed import Client
    except ImportError:
        raise ClusterError(
            "Dask is not installed (expected: pip install 'vmatrace[dask]')"
        ) from None
    with _connected(Client, address) as client:
        workers = _agreeing(client)
        yield client.get_executor(pure=False), workers


def _connected(connect: Any, address: str) -> Any:
    """A client of the scheduler at *address*. Raises ClusterError."""
    for _ in range(_TRIES):
        try:
            return connect(address, timeout=_PATIENCE, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise ClusterError(f"no Dask scheduler at {address}: {error}") from None
        except AssertionError:
            continue  # of a busy scheduler, whose first word came together with the next
    raise ClusterError(f"the Dask scheduler at {address} is too busy")


def _agreeing(client: Any) -> int:
    """How many workers there are. Raises ClusterError where one has another version than this."""
    try:
        versions: dict[str, str] = client.run(version)
    except Exception as error:  # whatever a worker without the package raises
        raise ClusterError(
            f"a worker cannot do it: {error} (expected vmatrace {__version__} on every worker)"
        ) from None
    for worker, found in versions.items():
        if found != __version__:
            raise ClusterError(
                f"the worker {worker} has vmatrace {found} (expected {__version__}, as here)"
            )
    return len(versions)


def version() -> str:
    """The version that a worker has."""
    return __version__


# --- on the worker --------------------------------------------------------------------------------

#: What a worker is given: its paths, and the folder they are relative to, or what is in each.
_Placed = tuple[Sequence[str], "str | Mapping[str, bytes]"]


def _told(folder: str, paths: Sequence[str]) -> _Placed:
    return paths, folder


def _sent(paths: Sequence[str]) -> _Placed:
    contents = {}
    for path in paths:
        # What cannot be read here the worker reports, as it reports any file that is not there.
        with suppress(OSError), open(path, "rb") as file:
            contents[path] = file.read()
    return paths, contents


def _all(work: Callable[[str], _Result], placed: _Placed) -> list[_Result]:
    paths, where = placed
    if isinstance(where, str):
        return _each(work, paths, partial(os.path.join, where))
    with tempfile.TemporaryDirectory(prefix="vmatrace-") as folder:
        files = {}
        for number, (path, data) in enumerate(where.items()):
            files[path] = os.path.join(folder, str(number))
            with open(files[path], "wb") as file:
                file.write(data)
        return _each(work, paths, lambda path: files.get(path, path))


def _each(
    work: Callable[[str], _Result], paths: Sequence[str], place: Callable[[str], str]
) -> list[_Result]:
    before = sources.placed.set(place)
    try:
        return [work(path) for path in paths]
    finally:
        sources.placed.reset(before)
