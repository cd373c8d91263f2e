"""Many inputs shared out: to processes of this machine, or to a cluster (--jobs, --on)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, Union

import click

from vmatrace import workers
from vmatrace.commands.inputs import BAD

if TYPE_CHECKING:
    from vmatrace.diagnostic import TraceError
    from vmatrace.importers.format import Reading
    from vmatrace.trace.file import Trace

    #: A file, or what is wrong with one.
    Source = Union[str, TraceError]

_F = TypeVar("_F", bound=Callable[..., Any])
_Result = TypeVar("_Result")

PROCESSES: Final = "processes"
_DASK: Final = "dask:"
_SEND: Final = "dask+send:"


class _ClusterFailure(click.ClickException):
    exit_code = BAD


class Where(NamedTuple):
    """Who works: ``jobs`` processes of this machine (None: one for each core), or the Dask cluster
    whose scheduler is at the address ``cluster``, to which inputs are sent if ``send``.
    """

    jobs: int | None = None
    cluster: str = ""
    send: bool = False

    @property
    def processes(self) -> int:
        """How many processes of this machine work."""
        return self.jobs or workers.cores()

    def worthwhile(self, paths: Sequence[str]) -> bool:
        """Whether the files at *paths* are to be shared out, or done by who asks."""
        if self.cluster:
            return bool(paths)
        return min(self.processes, len(paths)) > 1 and workers.worthwhile(paths)

    def each_of(
        self,
        work: Callable[[str], _Result],
        inputs: Sequence[str],
        died: Callable[[str], _Result],
    ) -> Generator[_Result, None, None]:
        """*work* of each of *inputs* in order; see workers.each_of()."""
        if not self.cluster:
            yield from workers.each_of(work, inputs, min(self.processes, len(inputs)), died)
            return
        from vmatrace import cluster

        try:
            yield from cluster.each_of(work, inputs, self.cluster, self.send, died)
        except cluster.ClusterError as error:
            raise _ClusterFailure(f"--on: {error}") from None


def each_of(
    work: Callable[[Source, bool], _Result],
    named: Sequence[Source],
    where: Where,
    alone: bool,
    watch: bool | None = None,
) -> Generator[_Result, None, None]:
    """*work* of each of *named* in order. *alone*: nothing else is printed meanwhile.

    What *work* is given beside a source says whether it may show how far it is (as *watch*, or
    else *alone*, says); what it makes of a TraceError is the result for that.
    """
    from vmatrace.diagnostic import Diagnostic, TraceError
    from vmatrace.render import progress

    def died(path: str) -> _Result:
        what = "the process that read it died (out of memory?)"
        return work(TraceError([Diagnostic(path, 0, 0, what)]), False)

    # Errors need no work, and only this process has the standard input.
    paths = [source for source in named if isinstance(source, str) and source != "-"]
    if not where.worthwhile(paths):
        watched = alone if watch is None else watch
        yield from (work(source, watched) for source in named)
        return
    with closing(where.each_of(partial(_silently, work), paths, died)) as answers:
        done = progress.counted(answers, len(paths)) if alone else answers
        for source in named:
            shared = isinstance(source, str) and source != "-"
            yield next(done) if shared else work(source, False)


def _silently(work: Callable[[Source, bool], _Result], path: str) -> _Result:
    """*work* without progress."""
    return work(path, False)


# --- options --------------------------------------------------------------------------------------


class _On(click.ParamType):  # type: ignore[type-arg]
    name = "where"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, bool]:
        if value == PROCESSES:
            return "", False
        scheme = next((s for s in (_SEND, _DASK) if value.startswith(s) and value != s), None)
        if scheme is None:
            expected = f"{PROCESSES}, {_DASK}ADDRESS or {_SEND}ADDRESS"
            self.fail(f"unknown place {value!r} (expected {expected})", param, ctx)
        return value.removeprefix(scheme), scheme == _SEND


def options(function: _F) -> _F:
    """--jobs and --on: the parameters ``jobs`` and ``on``, of which where() makes a Where."""
    on = click.option(
        "--on", metavar="WHERE", type=_On(), default=PROCESSES, show_default=True,
        help=f"Who does the work: {PROCESSES} of this machine, or the workers of a Dask cluster "
        f"({_DASK}tcp://HOST:PORT; {_SEND}… for workers that do not have the files).",
    )  # fmt: skip
    jobs = click.option(
        "-j", "--jobs", metavar="N", type=click.IntRange(1),
        help="How many processes to use.  [default: as many as there are cores]",
    )  # fmt: skip
    return jobs(on(function))


def where(jobs: int | None, on: tuple[str, bool]) -> Where:
    """What the two options say. Raises click.UsageError where they contradict each other."""
    if jobs is not None and on[0]:
        raise click.UsageError("--jobs counts processes of this machine, so it goes without --on")
    return Where(jobs, *on)


def answer(
    source: Source, watch: bool, reading: Reading | None, of: Callable[[Trace], _Result]
) -> _Result | TraceError:
    """*of* the trace in *source*, or what is wrong with it; *watch*: show how far it is read."""
    from vmatrace.commands.inputs import opened
    from vmatrace.commands.underway import underway
    from vmatrace.diagnostic import TraceError

    if isinstance(source, TraceError):
        return source
    try:
        trace = opened(source, reading)
        # The whole trace before the first line of output: one in error prints nothing.
        with underway(trace) if watch else nullcontext():
            return of(trace)
    except TraceError as error:
        return error
