"""The command `vmatrace check`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from vmatrace.commands import forms, options, sharing
from vmatrace.commands.inputs import BAD, DIFFERS, OK, sources

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from vmatrace.commands.check.question import Checked
    from vmatrace.commands.config import Budget
    from vmatrace.commands.sharing import Source
    from vmatrace.diagnostic import TraceError
    from vmatrace.kernels import Kernel
    from vmatrace.trace.update import Updated


class _Models(options.Model):
    """As options.Model, or ``all`` of them: a tuple of models."""

    def convert(  # type: ignore[override]
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Kernel, ...]:
        """The models that *value* names."""
        from vmatrace.kernels import KERNELS

        return tuple(KERNELS.values()) if value == "all" else (super().convert(value, param, ctx),)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The models whose names start so, and ``all``."""
        named = super().shell_complete(ctx, param, incomplete)
        return [*options.matching(["all"], incomplete), *named]


@click.command(
    "check",
    short_help="Check what traces expect of each kernel model.",
    epilog="""\b
Examples:
  vmatrace check                              the traces of this project
  vmatrace check traces/                      all traces below a directory
  vmatrace check trace.yaml --kernel 6.12 --kernel 6.18
  vmatrace check traces/ --kernel all         under every model there is
  vmatrace check traces/ --junit report.xml   for CI servers
  vmatrace check traces/ --format github      annotations at the lines
  vmatrace check traces/ --format ktap        as kernel tests print it
  vmatrace check trace.yaml --update          expect what is there now

\b
Models, unless --kernel names them: those that an expectation names with 'on';
for one without 'on' the trace's own (its 'kernel', else post-patch); for a
range such as '>=6.12' the trace's own if it is in it, else the oldest and the
newest in it. Each expectation is checked under those of them it is about.

\b
Reading the table: a number is how many expectations held; - says that the
trace expects nothing of that model, a blank that it was not checked under it.

\b
Without TRACE the traces that the project names in vmatrace.toml or, under
[tool.vmatrace], in pyproject.toml are checked. There it can also say under
which kernels, within which budgets, and what is allowed.

\b
Nothing passes by being absent: a trace in which nothing was checked fails, and
so does an expectation that is about no model there is (see --allow).

\b
Exit status: 0 all held; 1 an expectation failed, or --update found that it
cannot hold under all its models; 2 bad usage or bad input.""",
)
@options.traces_or_settings
@click.option("-k", "--kernel", "chosen", type=_Models(), metavar="MODEL", multiple=True,
              help="Check under this model, or `all`; may be repeated (see `vmatrace "
              "kernels`).  [default: see below]")  # fmt: skip
@click.option(
    "--junit",
    metavar="FILE",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Write a JUnit report too; - is standard output, instead of the table.",
)
@sharing.options
@click.option(
    "--update",
    is_flag=True,
    help="Write what was seen into the expectations that failed, in the trace files.",
)
@click.option("--only-traces", is_flag=True,
              help="Pass over files that are no traces, such as other YAML.")  # fmt: skip
@options.allow("no-expectations", "uncovered")
@forms.option(__package__)
def command(
    traces: tuple[str, ...],
    chosen: tuple[tuple[Kernel, ...], ...],
    junit: str | None,
    jobs: int | None,
    on: tuple[str, bool],
    update: bool,
    only_traces: bool,
    allowed: tuple[str, ...],
    wanted: tuple[forms.Wanted, ...],
) -> int:
    """Check what traces expect, under every model that they name or that --kernel gives.

    TRACE is a file, a directory (all *.yaml below it) or - for standard input.
    """
    from vmatrace.commands import config
    from vmatrace.commands.check.question import ALLOWABLE

    if junit == "-" and any(path is None for _, path in wanted):
        raise click.UsageError("--junit - and --format both write to standard output")
    if junit is not None:
        wanted = (*wanted, forms.Wanted("junit", junit if junit != "-" else None))
    if update and wanted:
        raise click.UsageError("--update goes neither with --format nor with --junit")
    if update and on[0]:
        raise click.UsageError("--update rewrites files here, so it goes without --on")
    if update and "-" in traces:
        raise click.UsageError("--update cannot rewrite standard input")
    settings = config.settings()
    traces = config.traces(traces, settings)
    if not chosen:
        chosen = tuple(_Models().convert(name, None, None) for name in settings.kernels)
    kernels = list({kernel.name: kernel for group in chosen for kernel in group}.values())
    named = list(dict.fromkeys(sources(traces)))
    if only_traces:
        named = [one for one in named if not isinstance(one, str) or _is_meant(one)]
    if update:
        change = partial(_update_one, kernels=kernels)
        return _update(sharing.each_of(change, named, sharing.where(jobs, on), alone=True))
    out: forms.Forms[Checked] = forms.Forms(__package__, wanted, len(named))
    shown = [name for name, path in out.wanted if path is None]
    alone = shown == [forms.DEFAULT] or not sys.stdout.isatty()
    allowed = settings.allowed(allowed, ALLOWABLE)
    work = partial(_check_one, kernels=kernels, allowed=allowed, budgets=settings.budgets)
    return _report(sharing.each_of(work, named, sharing.where(jobs, on), alone), out)


def _is_meant(path: str) -> bool:
    """Whether the file at *path* is a trace, also a broken one; what cannot be read may be."""
    from vmatrace.importers.looks import HEAD, is_meant
    from vmatrace.importers.sources import Input
    from vmatrace.trace.file import TraceError

    try:
        return path == "-" or is_meant(Input(path).head(HEAD))
    except TraceError:
        return True


# --- check ----------------------------------------------------------------------------------------


def _check_one(
    source: Source,
    watch: bool,
    kernels: Sequence[Kernel],
    allowed: Sequence[str] = (),
    budgets: Sequence[Budget] = (),
) -> Checked:
    """What came of a trace, also of one in error."""
    from vmatrace.commands.check.question import Checked, check
    from vmatrace.diagnostic import TraceError

    found = sharing.answer(
        source, watch, None, lambda trace: check(trace, kernels, allowed, budgets)
    )
    if isinstance(found, TraceError):
        path = found.diagnostics[0].path
        return Checked(path, path, error=found)
    return found


def _report(results: Iterator[Checked], out: forms.Forms[Checked]) -> int:
    """Print what came of the checks; the exit status."""
    errors = []
    status = OK
    with out:
        for checked in results:
            status = status if checked.holds else DIFFERS
            if checked.error is not None:
                errors.append(checked.error)
            try:
                out.write(checked)
            except BrokenPipeError:
                break
        sys.stdout.flush()
        for error in errors:
            click.echo(str(error), err=True)
    return BAD if errors else status


# --- update ---------------------------------------------------------------------------------------


def _update_one(source: Source, watch: bool, kernels: Sequence[Kernel]) -> Updated | TraceError:
    """Rewrite the expectations in one trace file; what was done, or why nothing could be."""
    from vmatrace.commands.check.question import update
    from vmatrace.importers import open_trace
    from vmatrace.importers.sources import Input
    from vmatrace.trace.file import Diagnostic, TraceError
    from vmatrace.trace.update import replace

    path = source if isinstance(source, str) else ""
    try:
        if isinstance(source, TraceError):
            raise source
        # No pipe is opened: it could be read, but never be written back.
        special = os.path.exists(source) and not os.path.isfile(source)
        if special or open_trace(source).notes is not None or Input(source).packed:
            what = "--update rewrites trace files only, neither logs nor compressed files"
            raise TraceError([Diagnostic(path, 0, 0, what)])
        with open(source, "rb") as file:
            data = file.read()
        done = update(source, data, kernels)
        if done.data != data:
            replace(source, done.data)
        return done
    except TraceError as error:
        return error
    except OSError as error:
        what = f"cannot be written: {error.strerror}"
        return TraceError([Diagnostic(path, 0, 0, what)])


def _update(results: Iterator[Updated | TraceError]) -> int:
    from vmatrace.commands.check.words import updated_text
    from vmatrace.trace.file import TraceError

    status, files, values = OK, 0, 0
    for done in results:
        if isinstance(done, TraceError):
            click.echo(str(done), err=True)
            status = BAD
            continue
        for problem in done.problems:
            click.echo(str(problem), err=True)
            status = max(status, DIFFERS)
        if done.rewritten:
            files, values = files + 1, values + done.rewritten
            click.echo(updated_text(done.path, done.rewritten), err=True)
    click.echo(updated_text("", values, files), err=True)
    return status
