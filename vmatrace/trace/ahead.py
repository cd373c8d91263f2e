"""Reading a large trace in a process of its own, while this one does something with it.

Reading takes a third of a replay or more, so with a second processor the whole is done sooner.
Knows processes and how items go from one to the other; nothing of what they mean.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from vmatrace import workers
from vmatrace.diagnostic import TraceError
from vmatrace.event import Event
from vmatrace.trace.file import Item, Trace

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

#: A smaller file, in bytes, is read before a process has started.
WORTH: Final = 4 << 20
_BATCH: Final = 1024


@contextmanager
def ahead(trace: Trace) -> Iterator[None]:
    """Let another process read *trace* in this context, if it is a large file and there is a core.

    What is read, raised and noted is the same, and in the same order.
    """
    read = trace.read
    if workers.cores() > 1 and _size(trace.path) >= WORTH:
        trace.read = lambda: _items(trace, read)
    try:
        yield
    finally:
        trace.read = read


def _size(path: str) -> int:
    try:
        return os.path.getsize(path) if os.path.isfile(path) else 0
    except OSError:
        return 0


def _items(trace: Trace, read: Callable[[], Iterator[Item]]) -> Iterator[Item]:
    given = 0
    with _reader(trace, read) as there:
        while there is not None:
            try:
                what = pickle.loads(there.recv_bytes())
            except EOFError:  # that process was killed
                break
            if type(what) is list:
                yield from [Event(*item) if type(item) is tuple else item for item in what]
                given += len(what)
                continue
            notes, error = what
            if trace.notes is not None:
                vars(trace.notes).update(vars(notes))
            if error is not None:
                raise error
            return
    yield from islice(read(), given, None)


@contextmanager
def _reader(trace: Trace, read: Callable[[], Iterator[Item]]) -> Iterator[Connection | None]:
    """A process that sends what it reads; None where none can be started. It is gone afterwards."""
    import multiprocessing

    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    process: BaseProcess = context.Process(
        target=_send_all, args=(trace, read, receiving, sending, os.getpid()), daemon=True
    )
    try:
        with workers.undisturbed():
            process.start()
    except OSError:  # too many processes
        receiving.close()
        sending.close()
        yield None
        return
    sending.close()
    try:
        yield receiving
    finally:
        receiving.close()
        process.kill()
        process.join()
        process.close()


def _send_all(
    trace: Trace,
    read: Callable[[], Iterator[Item]],
    receiving: Connection,
    sending: Connection,
    parent: int,
) -> None:
    """Read and send: lists of items, and at the end the notes and the error, if there is one.

    Whatever else goes wrong ends this process, and is met where the rest is read.
    """
    workers.begin(parent)
    receiving.close()
    error: TraceError | None = None
    batch: list[Any] = []
    with suppress(Exception):
        try:
            for item in read():
                batch.append(_sent(item))
                if len(batch) == _BATCH:
                    sending.send_bytes(pickle.dumps(batch, pickle.HIGHEST_PROTOCOL))
                    batch = []
        except TraceError as raised:
            error = raised
        sending.send_bytes(pickle.dumps(batch, pickle.HIGHEST_PROTOCOL))
        sending.send_bytes(pickle.dumps((trace.notes, error), pickle.HIGHEST_PROTOCOL))


def _sent(item: Item) -> Any:
    """An ordinary event as what makes it, which is quicker to send; all others as they are."""
    if type(item) is Event and item.maps is None and item.caller is None:
        return (
            item.name, item.args, item.text, item.line, item.column, item.pid, item.label,
            item.recorded, item.symbolic, item.first_write,
        )  # fmt: skip
    return item
