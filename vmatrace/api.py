"""The functions of the Python API: what a program asks as a command line would.

Each takes a trace as a Trace, a path or an open file, and a kernel model by its name or as a
Kernel, and hands both to what the command of that name calls; nothing is computed here.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from os import PathLike
from typing import BinaryIO, TextIO, Union, cast, overload

from vmatrace import importers, kernels
from vmatrace.commands.audit import question as audits
from vmatrace.commands.audit.pages import question as pages
from vmatrace.commands.audit.snapshot import SnapshotLike, open_snapshot
from vmatrace.commands.check import question as checks
from vmatrace.commands.diff import answer, opening
from vmatrace.commands.diff import question as diffs
from vmatrace.commands.explain import question as explanations
from vmatrace.commands.explain.address import parse_address
from vmatrace.commands.replay.question import outcome
from vmatrace.commands.report import question as reports
from vmatrace.importers.format import Reading
from vmatrace.kernels import Kernel
from vmatrace.layout import Layout
from vmatrace.replayer.changes import Change, Follower, mapping_of
from vmatrace.replayer.result import Result, Step
from vmatrace.replayer.run import Replay
from vmatrace.trace.file import Trace

#: A trace, or where one is: a path ("-": standard input) or an open file.
TraceLike = Union[Trace, str, PathLike[str], BinaryIO, TextIO]
#: A kernel model, or its name.
KernelLike = Union[str, Kernel]


def open_trace(
    source: TraceLike,
    *,
    assume_faulted: str | None = None,
    page_size: int | None = None,
    arch: str | None = None,
) -> Trace:
    """The trace in *source*: a trace file or a log of strace, compressed or not.

    *assume_faulted* ("none" or "writable") says what of a log, which has no page faults, counts as
    written to; the default is "writable". *page_size* in bytes and *arch* (as `uname -m` says) are
    of the machine that a log is of, where it does not show them. The events are read when somebody
    asks for them. Raises TraceError.
    """
    if isinstance(source, Trace):
        return source
    reading = Reading(assume_faulted, None, page_size, arch)
    if isinstance(source, (str, PathLike)):
        return importers.open_trace(os.fspath(source), reading)
    if not hasattr(source, "read"):
        kind = type(source).__name__
        raise TypeError(f"a trace is a Trace, a path or an open file, not {kind}")
    return importers.open_trace(_binary(source), reading)


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
    if isinstance(name, Kernel):
        return name
    if not isinstance(name, str):
        # 6.10 would be 6.1.
        raise TypeError(f"a kernel model is a name such as '6.12' or a Kernel, not {name!r}")
    return kernels.get_kernel(name)


_kernel = kernel  # where a parameter has the name


def _given(trace: TraceLike, model: KernelLike | None) -> tuple[Trace, Kernel]:
    """What to replay, and under which model: the trace's own, else post-patch, where none is."""
    opened = open_trace(trace)
    return opened, _kernel(model or opened.kernel or kernels.DEFAULT)


def replay(
    trace: TraceLike, kernel: KernelLike | None = None, *, ksm: bool | None = None
) -> Result:
    """What *trace* leads to under *kernel*: layouts, merges, divergences, expectations.

    Without *kernel* it is the trace's own, else post-patch. *ksm* starts the process with KSM by
    default (PR_SET_MEMORY_MERGE) or without it, whatever the trace says. Raises TraceError, and
    UnknownKernel.
    """
    return outcome(*_given(trace, kernel), ksm)


def steps(
    trace: TraceLike, kernel: KernelLike | None = None, *, ksm: bool | None = None
) -> Iterator[Step]:
    """What each event of *trace* does under *kernel*, one after the other.

    Steps can be kept. ``layout`` of one that is past costs a replay up to it; all else is at hand.
    Parameters and errors are those of replay(); TraceError for an event comes at the end.
    """
    opened, model = _given(trace, kernel)
    return _followed(Replay(opened, model, ksm), partial(layout_after, opened, model, ksm))


def _followed(run: Replay, layout: Callable[[int], Layout]) -> Iterator[Step]:
    follow = Following(run)
    for step in run.steps():
        follow.see(step)
        yield step
        step.past = partial(layout, step.index)


def layout_after(trace: Trace, kernel: Kernel, ksm: bool | None, index: int) -> Layout:
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
    from_: KernelLike | PathLike[str] | None = None,
    to: KernelLike | PathLike[str] | None = None,
    *,
    ksm: bool | None = None,
    steps: bool = False,
) -> answer.Diff:
    """How *trace* differs between two sides: pre-patch and post-patch, unless they are given.

    A side is a kernel model, or the path of a saved ``vmatrace replay --format json`` (beside it
    the other side is by default the model it was saved under) or of the text of /proc/PID/smaps
    or maps. *ksm* as in replay(); with *steps* ``again()`` of the answer
    gives all events that differ, and it prints them. Raises TraceError, and UnknownKernel for
    a name that is neither a model nor a file.
    """
    comparison = diffs.Comparison(open_trace(trace), _side(from_), _side(to), ksm)
    found = comparison.diff()
    found.again = comparison.events if steps else None
    return found


def _side(side: KernelLike | PathLike[str] | None) -> diffs.Source | None:
    if side is None:
        return None
    return opening.open_side(os.fspath(side)) if isinstance(side, (str, PathLike)) else kernel(side)


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
    named = kernels or ()
    if isinstance(named, (str, Kernel)) or not isinstance(named, Iterable):
        named = [named]
    return checks.check(open_trace(trace), [_kernel(name) for name in named])


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
    return reports.report(open_trace(trace), (_kernel(from_), _kernel(to)), ksm)


def audit(
    source: SnapshotLike, kernel: KernelLike | None = None, max_map_count: int | None = None
) -> audits.Audit:
    """What keeps the VMAs of a process apart, as far as one snapshot of it tells.

    *source* is the number of a running process, or the text of /proc/PID/smaps or maps as a path
    or an open file. Of a running process *kernel* and *max_map_count* are this machine's unless
    they are given; else they are not known, and 65530. Raises TraceError, and UnknownKernel.
    """
    model = None if kernel is None else _kernel(kernel)
    return audits.audit(open_snapshot(source), model, max_map_count)


def audit_pages(
    pids: int | Iterable[int],
    kernel: KernelLike | None = None,
    *,
    sample: float = 1.0,
    rate: int = pages.RATE << 20,
) -> pages.Estimate:
    """What KSM by default would save in running processes, by the contents of their pages, and what
    it would cost: in VMAs under pre-patch, post-patch and *kernel* (default: the running one).

    A share *sample* of the pages, above 0 up to 1, is read, at most *rate* bytes a second (0: no
    limit). Raises TraceError for a process that may not be read or is gone, UnknownKernel, and
    ValueError for a *sample* or *rate* out of range, and for no process.
    """
    asked = [pids] if isinstance(pids, int) else list(pids)
    if not 0 < sample <= 1 or rate < 0 or not asked:
        raise ValueError("expected a process, sample above 0 and up to 1, rate from 0 on")
    model = None if kernel is None else _kernel(kernel)
    return pages.estimate(asked, sample, rate, model)
