"""The command `vmatrace diff`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import click

from vmatrace.commands import forms, options, sharing
from vmatrace.commands.inputs import BAD, DIFFERS, OK, each, each_answer, sources

if TYPE_CHECKING:
    from vmatrace.commands.diff.absent import AbsentError
    from vmatrace.commands.diff.answer import Diff
    from vmatrace.commands.diff.question import Source
    from vmatrace.diagnostic import TraceError
    from vmatrace.importers.format import Reading
    from vmatrace.trace.file import Trace

_ACROSS = f"{__package__}.across"
#: So many events that differ are on a page: of one trace, and of each of several.
_EARLY = 1000
_EARLY_OF_SEVERAL = 50


@click.command(
    "diff",
    short_help="Compare what traces lead to under two models or kernels.",
    epilog="""\b
Examples:
  vmatrace diff trace.yaml                     pre-patch against post-patch
  vmatrace diff trace.yaml --from 6.12 --to 6.18
  vmatrace diff trace.yaml --steps             every event that differs
  vmatrace diff traces/ --format markdown      a comment for a pull request
  vmatrace diff traces/ --format github        annotations for GitHub Actions
  vmatrace diff traces/ --format html=diff.html
  vmatrace baseline traces/ -o baseline.json
  vmatrace diff traces/ --from baseline.json   what changed since
  vmatrace diff trace.yaml --across 6.4..6.18  release by release
  vmatrace diff db.vmas --from 15:30 --to +2h  two samples (audit --every)

  vmatrace diff traces/ --from boot:OLD/vmlinuz --to boot:NEW/vmlinuz

\b
Of samples --from and --to say which: a number (3; -1 is the last), how long
after the first (+10m), or a time (15:34, 2026-11-27T15:34:47Z; in UTC).

\b
A side (--from, --to) is a model, what `vmatrace baseline` or `vmatrace replay
--format json` saved (a file, or a folder of them; traces are matched by path,
then by name), another recording or trace, or the text of /proc/PID/smaps or
maps. A file called like a model is written ./NAME. Beside a saved result or a
trace stands the model that is its own.
A real kernel is a side, too: `running` is the one of this machine, and
boot:VMLINUZ an x86-64 image, booted in QEMU. What it does is measured, not
modelled; where the models know why two kernels differ, the feature is named.
A trace that needs what a kernel has not is skipped, and said to be.

\b
Two sides are equal when every call returned the same and left the same VMAs
(range, flags, offset, name), whatever merges that took. Without events on
both sides (a saved result has them with --steps) the layouts at the end, the
peak and the number of failed calls are compared.

\b
Beside a saved result, a trace that it does not have, one that is gone and
expectations that are fewer than before are differences, too (see --allow).

\b
Reading the table: a VMA over several rows is drawn with a bracket. Equal VMAs
are folded.

\b
Exit status: 0 equal; 1 different; 2 bad usage or bad input.""",
)
@options.traces_or_settings
@click.option("--from", "from_", metavar="SIDE", shell_complete=options.complete_sides,
              help="What to compare with.  [default: pre-patch; of a saved --to "
              "the model]")  # fmt: skip
@click.option("--to", metavar="SIDE", shell_complete=options.complete_sides,
              help="What is compared.  [default: post-patch; of a saved --from "
              "the model]")  # fmt: skip
@click.option("--across", metavar="MODELS",
              help="Compare each of several models with the one before it: a range of releases "
              "(6.4..6.18), a list (6.12,6.12.117,post-patch), or both.")  # fmt: skip
@click.option("--relative/--absolute", default=None,
              help="Compare layouts up to where the kernel chose to put things, or address by "
              "address.  [default: --relative for recordings beside a saved result]")  # fmt: skip
@click.option("--steps", is_flag=True, help="Show all events that differ, not only the first.")
@options.ksm
@options.reading
@options.allow("new", "removed", "fewer-expectations")
@sharing.options
@forms.option(__package__)
def command(
    traces: tuple[str, ...],
    from_: str | None,
    to: str | None,
    across: str | None,
    relative: bool | None,
    steps: bool,
    ksm: bool | None,
    reading: Reading,
    allowed: tuple[str, ...],
    jobs: int | None,
    on: tuple[str, bool],
    wanted: tuple[forms.Wanted, ...],
) -> int:
    """Compare what traces lead to under two models, or across several.

    TRACE is a file, a directory (all *.yaml below it) or - for standard input. Of a file of
    samples (`vmatrace audit --every -o FILE`) the first is compared with the last, of two files
    their last ones, or those that --from and --to say.
    """
    from vmatrace.commands import config
    from vmatrace.commands.diff.absent import KINDS
    from vmatrace.importers.looks import is_database

    if any(map(is_database, traces)):
        return _samples(traces, (from_, to), wanted)
    where = sharing.where(jobs, on)
    settings = config.settings()
    traces = config.traces(traces, settings)
    if across is not None:
        if from_ is not None or to is not None:
            raise click.UsageError("--across does not go with --from and --to")
        for given, name in ((steps, "--steps"), (relative is not None, "--relative, --absolute")):
            if given:
                raise click.UsageError(f"--across does not go with {name}")
        forms.check_known(_ACROSS, wanted, "--across does not go with")
        return _across(traces, across, _Means(ksm, reading, where), wanted)
    if relative and steps:
        raise click.UsageError("--relative compares the ends, so it does not go with --steps")
    if from_ is None and to is None:
        from_, to = settings.from_, settings.to
    allowed = settings.allowed(allowed, KINDS)
    how = _How(steps, relative, allowed)
    return _two(traces, (from_, to), how, _Means(ksm, reading, where), wanted)


def _samples(
    files: tuple[str, ...],
    picks: tuple[str | None, str | None],
    wanted: tuple[forms.Wanted, ...],
) -> int:
    """What became of a process that `audit --every` has sampled."""
    from vmatrace.commands.audit.compare import asking as comparing
    from vmatrace.commands.audit.watch.asking import check_alone

    check_alone("traces", "from_", "to", "wanted")
    return comparing.show(files, None, None, wanted, picks)


class _How(NamedTuple):
    """How two sides are compared: as Comparison has it, and whether all events are shown.

    So many *early* events are kept, and with *why* the causes are asked for: a page shows both.
    """

    steps: bool
    relative: bool | None
    allowed: tuple[str, ...]
    early: int = 1
    why: bool = False


class _Means(NamedTuple):
    """How a trace is read, and by whom."""

    ksm: bool | None
    reading: Reading
    where: sharing.Where


def _two(
    traces: tuple[str, ...],
    names: tuple[str | None, str | None],
    how: _How,
    means: _Means,
    wanted: tuple[forms.Wanted, ...],
) -> int:
    from vmatrace.commands.diff.answer import Diff
    from vmatrace.diagnostic import TraceError
    from vmatrace.oracle import KernelDied, Unavailable

    named = sources(traces)
    with ExitStack() as kernels:
        try:
            from_, to = (
                None if name is None else _side(name, option, kernels)
                for name, option in zip(names, ("--from", "--to"), strict=True)
            )
        except (TraceError, Unavailable) as error:
            click.echo(str(error) if isinstance(error, TraceError) else _error(error), err=True)
            return BAD
        except KernelDied as died:
            click.echo(f"vmatrace: error: {_error(died)}", err=True)
            return DIFFERS
        _name((from_, to))
        out = forms.Forms[Diff](__package__, wanted, len(named))
        if any(form == "html" for form, _ in wanted):
            how = how._replace(early=_EARLY if len(named) == 1 else _EARLY_OF_SEVERAL, why=True)
        run = _Run((from_, to), how, means.ksm, out)
        with out:
            if run.shares:
                status = each_answer(run.shared(named, means), run.take, out.refuse)
            elif means.where.cluster:
                raise click.UsageError("--on goes with two models, and without --steps")
            else:
                status = each(named, run.show, means.reading, out.refuse)
            status = max(status, run.close())
    return BAD if run.skipped == len(named) else status


class _Run:
    """One run of the command: what is shown of each trace, and what is missing."""

    def __init__(
        self,
        sides: tuple[Source | None, Source | None],
        how: _How,
        ksm: bool | None,
        out: forms.Forms[Diff],
    ) -> None:
        from vmatrace.commands.diff.absent import Presence
        from vmatrace.commands.diff.baseline import Baseline
        from vmatrace.kernels import Kernel

        self._sides = sides
        self._how = how
        self._ksm = ksm
        self._out = out
        #: Whether the answers can be made elsewhere: they need nothing but the trace.
        self.shares = not how.steps and all(
            side is None or isinstance(side, Kernel) for side in sides
        )
        self._presence = Presence(side for side in sides if isinstance(side, Baseline))
        self._absent: Counter[str] = Counter()
        self.skipped = 0

    def shared(
        self, named: Sequence[str | TraceError], means: _Means
    ) -> Iterator[Diff | TraceError]:
        """What each trace leads to under two models, wherever that is found out."""
        work = partial(_compare, self._sides, self._ksm, self._how)
        each_one = partial(sharing.answer, reading=means.reading, of=work)
        alone = not sys.stdout.isatty()
        return sharing.each_of(each_one, named, means.where, alone, watch=True)

    def take(self, found: Diff) -> int:
        """Show how the sides of a trace differ; the exit status that it makes."""
        from vmatrace.commands.diff.absent import fewer

        self._out.write(found)
        less = fewer(found)
        return max(OK if found.equal else DIFFERS, OK if less is None else self._miss(less))

    def show(self, trace: Trace) -> int:
        """Compare one trace; the exit status that it makes."""
        from vmatrace.commands.diff.question import Comparison
        from vmatrace.commands.underway import underway
        from vmatrace.oracle import KernelDied
        from vmatrace.verify.skip import Skip

        new = self._presence.new(trace)
        if new is not None:
            self._out.pass_over()
            return self._miss(new)
        how = self._how
        try:
            comparison = Comparison(trace, *self._sides, self._ksm, how.relative)
            # The whole trace before the first line of output: one in error prints nothing.
            with underway(trace):
                found = comparison.diff(how.early, how.why)
        except Skip as reason:
            self.skipped += 1
            self._out.pass_over()
            click.echo(f"{trace.path}: skipped: {reason}", err=True)
            return OK
        except KernelDied as died:
            click.echo(f"{trace.path}: {_error(died)}", err=True)
            return DIFFERS
        found.again = comparison.events if how.steps else None
        return self.take(found)

    def close(self) -> int:
        """Say what is gone, and how much is missing in all; the exit status that this makes."""
        status = max((self._miss(gone) for gone in self._presence.removed()), default=OK)
        if self._absent:
            counts = ", ".join(f"{count} {kind}" for kind, count in self._absent.items())
            click.echo(f"vmatrace: beside what was compared: {counts}", err=True)
        return status

    def _miss(self, error: AbsentError) -> int:
        self._absent[error.kind] += 1
        sys.stdout.flush()
        if error.kind in self._how.allowed:
            click.echo(str(error).replace(": error: ", ": note: ", 1), err=True)
            return OK
        click.echo(str(error), err=True)
        self._out.refuse(error)
        return DIFFERS


def _compare(
    sides: tuple[Source | None, Source | None], ksm: bool | None, how: _How, trace: Trace
) -> Diff:
    from vmatrace.commands.diff.question import Comparison

    return Comparison(trace, *sides, ksm, how.relative).diff(how.early, how.why)


def _error(error: Exception) -> str:
    from vmatrace.oracle import KernelDied

    if not isinstance(error, KernelDied):
        return f"vmatrace: error: {error}"
    lines = "".join(f"\n    {line}" for line in error.console)
    return f"the kernel {error.how}{lines}"


def _across(
    traces: tuple[str, ...], text: str, means: _Means, wanted: tuple[forms.Wanted, ...]
) -> int:
    from vmatrace.commands.diff.across.question import Across, across, parse_models

    named = sources(traces)
    try:
        models = parse_models(text)
    except ValueError as error:
        raise click.UsageError(f"--across: {error}") from None
    out = forms.Forms[Across](_ACROSS, wanted, len(named))

    def show(found: Across) -> int:
        out.write(found)
        return OK if found.equal else DIFFERS

    work = partial(across, models=models, ksm=means.ksm)
    each_one = partial(sharing.answer, reading=means.reading, of=work)
    alone = not sys.stdout.isatty()
    with out:
        found = sharing.each_of(each_one, named, means.where, alone, watch=True)
        return each_answer(found, show, out.refuse)


def _name(sides: tuple[Source | None, Source | None]) -> None:
    """Give two real kernels of one release names that differ."""
    from vmatrace.kernels import Kernel

    if not any(side is None or isinstance(side, Kernel) for side in sides):
        from vmatrace.commands.diff.realkernel import tell_apart

        tell_apart(sides)


def _side(name: str, option: str, real: ExitStack) -> Source:
    """The source that *name* means; a real kernel is left with *real*."""
    from vmatrace.commands.diff.opening import open_side
    from vmatrace.commands.diff.realkernel import RealKernel, is_real
    from vmatrace.kernels import UnknownKernel

    if is_real(name):
        return real.enter_context(RealKernel(name))
    try:
        return open_side(name)
    except UnknownKernel as error:
        raise click.UsageError(f"{option}: {error}, and no file of that name") from None
