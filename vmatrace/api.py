"""The functions of the Python API: what a program asks as a command line would.

Each takes a trace as a Trace, a path or an open file, and a kernel model by its name or as a
Kernel, and hands both to what the command of that name calls; nothing is computed here.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from os import PathLike
from typing import BinaryIO, TextIO, Union, cast, overload

from vmatrace import importers, kernels
from vmatrace.commands.check import question as checks
from vmatrace.commands.diff import baseline
from vmatrace.commands.diff import question as diffs
from vmatrace.commands.diff.changes import Change, Follower, mapping_of
from vmatrace.commands.explain import question as explanations
from vmatrace.commands.explain.address import parse_address
from vmatrace.commands.report import question as reports
from vmatrace.kernels import Kernel
from vmatrace.layout import Layout
from vmatrace.replayer.result import Result, Step
from vmatrace.replayer.run import Replay
from vmatrace.trace.file import Trace

#: A trace, or where one is: a path ("-": standard input) or an open file.
TraceLike = Union[Trace, str, PathLike[str], BinaryIO, TextIO]
#: A kernel model, or its name.
KernelLike = Union[str, Kernel]


def open_trace(source: TraceLike, *, assume_faulted: str | None = None) -> Trace:
    """The trace in *source*: a trace file or a log of strace, compressed or not.

    *assume_faulted* ("none" or "writable") says what of a log, which has no page faults, counts as
    written to; the default is "writable". The events are read when somebody asks for them. Raises
    TraceError.
    """
    if isinstance(source, Trace):
        return source
    if isinstance(source, (str, PathLike)):
        return importers.open_trace(os.fspath(source), assume_faulted)
    return importers.open_trace(_binary(source), assume_faulted)


def _binary(file: BinaryIO | TextIO) -> BinaryIO:
    """*file* as bytes: what lies below a text file, what there is of one in memory."""
    if isinstance(file, io.TextIOWrapper):
        return cast(BinaryIO, file.buffer)
    if isinstance(file, io.TextIOBase):
        return io.BytesIO(file.read().encode())
    return cast(BinaryIO, file)


def kernel(name: KernelLike) -> Kernel:
    """The kernel model of that name: whatever ``vmatrace replay --kernel`` takes.

    ``kernel("6.12").with_features(["ksm-before-merge"])`` switches single features. Raises
    UnknownKernel, a ValueError, with the nearest name.
    """
    return name if isinstance(name, Kernel) else kernels.get_kernel(name)


def _given(trace: TraceLike, model: KernelLike | None) -> tuple[Trace, Kernel]:
    """What to replay, and under which model: the trace's own, else post-patch, where none is."""
    opened = open_trace(trace)
    return opened, kernel(model or opened.kernel or kernels.DEFAULT)


def replay(
    trace: TraceLike, kernel: KernelLike | None = None, *, ksm: bool | None = None
) -> Result:
    """What *trace* leads to under *kernel*: layouts, merges, divergences, expectations.

    Without *kernel* it is the trace's own, else post-patch. *ksm* starts the process with KSM by
    default (PR_SET_MEMORY_MERGE) or without it, whatever the trace says. Raises TraceError, and
    UnknownKernel.
    """
    return Replay(*_given(trace, kernel), ksm).run()


def steps(
    trace: TraceLike, kernel: KernelLike | None = None, *, ksm: bool | None = None
) -> Iterator[Step]:
    """What each event of *trace* does under *kernel*, one after the other.

    Steps can be kept. ``layout`` of one that is past costs a replay up to it; all else is at hand.
    Parameters and errors are those of replay(); TraceError comes when the end has been reached.
    """
    opened, model = _given(trace, kernel)
    run = Replay(opened, model, ksm)
    follow = Following(run)

    for step in run.steps():
        follow.see(step)
        yield step
        step.past = partial(layout_after, step.index, opened, model, ksm)


def layout_after(index: int, trace: Trace, kernel: Kernel, ksm: bool | None = None) -> Layout:
    """The layout of the process that made event *index*, from 0 on, right after it."""
    return next(islice(Replay(trace, kernel, ksm).steps(), index, None)).layout


class Following:
    """Fills in what the steps of a replay changed. Each has to be shown to it, in order."""

    def __init__(self, run: Replay) -> None:
        self._follower = Follower(run)

    def see(self, step: Step) -> None:
        """Set ``came`` and ``went`` of *step*."""
        changes: list[Change] = self._follower.follow(step)
        step.went = [mapping_of(key) for _, went, _ in changes for key in went]
        step.came = [mapping_of(key) for _, _, came in changes for key in came]


def diff(
    trace: TraceLike,
    from_: KernelLike | PathLike[str] = "pre-patch",
    to: KernelLike | PathLike[str] = "post-patch",
    *,
    ksm: bool | None = None,
) -> diffs.Diff:
    """How *trace* differs between two sides.

    A side is a kernel model, or the path of a saved ``vmatrace replay --format json`` or of the
    text of /proc/PID/smaps or maps. *ksm* as in replay(). Raises TraceError, and UnknownKernel for
    a name that is neither a model nor a file.
    """
    sides = [side if isinstance(side, Kernel) else os.fspath(side) for side in (from_, to)]
    known = [baseline.open_side(side) if isinstance(side, str) else side for side in sides]
    return diffs.compare(open_trace(trace), known[0], known[1], ksm)


@overload
def explain(
    trace: TraceLike,
    address: int | str,
    kernel: KernelLike | None = None,
    *,
    process: str = "main",
    ksm: bool | None = None,
    models: bool = True,
) -> explanations.Account: ...


@overload
def explain(
    trace: TraceLike,
    address: None = None,
    kernel: KernelLike | None = None,
    *,
    process: str | None = None,
    ksm: bool | None = None,
    models: bool = True,
) -> explanations.Overview: ...


def explain(
    trace: TraceLike,
    address: int | str | None = None,
    kernel: KernelLike | None = None,
    *,
    process: str | None = None,
    ksm: bool | None = None,
    models: bool = True,
) -> explanations.Account | explanations.Overview:
    """What is at *address* at the end of *trace*, how it came to be, and why it is not one with its
    neighbours; without *address*, of every border of every process (or of *process*).

    *address* is in bytes, or as text what ``vmatrace explain`` takes: hexadecimal digits, a label,
    an expression such as ``a+0x1000``. *models* false leaves out what other models make of it,
    which costs a replay for each kind of them. Raises TraceError, UnknownKernel, and a ValueError
    for an address or a process that there is not.
    """
    opened, model = _given(trace, kernel)
    if address is None:
        return explanations.overview(opened, model, process, ksm, models)
    asked = address if isinstance(address, str) else hex(address)
    where = parse_address(address, opened.page_size) if isinstance(address, str) else address
    return explanations.explain(opened, model, asked, where, process or "main", ksm, models)


def check(
    trace: TraceLike, kernels: KernelLike | Iterable[KernelLike] | None = None
) -> checks.Checked:
    """Whether what *trace* expects holds, under each of *kernels* (``KERNELS``: under all).

    Without them it is checked under the models that its expectations name, as ``vmatrace check``
    does. Raises TraceError, and UnknownKernel.
    """
    named = [kernels] if isinstance(kernels, (str, Kernel)) else kernels or ()
    return checks.check(open_trace(trace), [kernel(name) for name in named])


def report(
    trace: TraceLike,
    from_: KernelLike = "pre-patch",
    to: KernelLike = "post-patch",
    *,
    ksm: bool | None = None,
) -> reports.Report:
    """What *trace* costs in VMAs under two models: peaks, curves, and the calls that add most.

    Both replays run without max_map_count and note where it would have been hit. *ksm* as in
    replay(). Raises TraceError, and UnknownKernel.
    """
    return reports.report(open_trace(trace), (kernel(from_), kernel(to)), ksm)
