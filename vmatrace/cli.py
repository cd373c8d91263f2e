"""The command line: arguments to calls to an exit status. Opens files; no rule, no formatting.

Exit status: 0 done, nothing differs; 1 a failed expectation or (--strict) a divergence; 2 bad usage
or bad input; 130 interrupted. A closed pipe is no error. Modules are imported by the command that
needs them, so that ``vmatrace --version`` costs little.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from vmatrace.inputs import BAD, DIFFERS, OK, each, sources, write_nowhere

if TYPE_CHECKING:
    from vmatrace.kernels import Kernel
    from vmatrace.trace import Trace

_INTERRUPTED = 130
_COMPLETE = "_VMATRACE_COMPLETE"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. *arguments* are those after the name."""
    _replace_closed_streams()
    wanted = os.environ.get(_COMPLETE)
    if wanted is not None:
        from click.shell_completion import shell_complete

        return shell_complete(command, {}, "vmatrace", _COMPLETE, wanted)
    status = OK
    try:
        status = _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        write_nowhere()
    except OSError as error:  # input errors are TraceErrors, so this is the output's
        write_nowhere()
        click.echo(f"vmatrace: error: cannot write the output: {error.strerror}", err=True)
        return BAD
    except KeyboardInterrupt:
        return _INTERRUPTED
    return status


def _run(arguments: list[str]) -> int:
    try:
        with command.make_context("vmatrace", arguments) as context:
            status: int = command.invoke(context)
            return status
    except click.exceptions.Exit as done:  # --help and --version
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code


def _replace_closed_streams() -> None:
    # Python has None for a standard stream that is closed at the start.
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


def _version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from vmatrace._version import __version__

        click.echo(f"vmatrace {__version__}")
        context.exit()


class _Commands(click.Group):
    """The commands; verify is a part of its own, imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "verify"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "verify":
            from vmatrace.verify.command import verify

            return verify
        return super().get_command(ctx, cmd_name)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  vmatrace replay traces/ksm-adjacent-anon.yaml --kernel pre-patch
  vmatrace replay trace.yaml --steps     what every call did, and why not more
  vmatrace kernels                       the models and what sets them apart

\b
Exit status: 0 done; 1 a failed expectation or (--strict) a divergence;
2 bad usage or bad input.""",
)
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_version,
              help="Show the version and exit.")  # fmt: skip
def command() -> None:
    """Replay mmap/prctl traces against an exact model of Linux's VMA engine.

    A trace holds the memory calls of a process. vmatrace replays it under a kernel model, without
    a kernel, and shows the VMAs that come of it, which of them merged, and why the others did not.
    """


@command.command(
    short_help="Replay traces; show the layout and the merges.",
    epilog="""\b
Examples:
  vmatrace replay trace.yaml                  under its kernel, or post-patch
  vmatrace replay trace.yaml --kernel 6.12    under Linux 6.12
  vmatrace replay trace.yaml --without ksm-before-merge
  vmatrace replay traces/ --strict            all traces below a directory
  vmatrace replay trace.yaml --format smaps   the layout as /proc shows it
  vmatrace replay - --steps --format json < trace.yaml | jq .events

\b
Reading the table: flags are the VmFlags codes of /proc/PID/smaps; those that
an ordinary mapping has (rd wr ex sh mr mw me ms ac) are left out. A line with
= or != stands between two VMAs that touch and says why they are two.

\b
Exit status: 0 done; 1 a failed expectation or (--strict) a divergence;
2 bad usage or bad input.""",
)
@click.argument("traces", metavar="TRACE...", nargs=-1, required=True)
@click.option("-k", "--kernel", metavar="MODEL",
              help="Replay under this kernel model (see `vmatrace kernels`), whatever the trace "
              "says.  [default: the trace's, else post-patch]")  # fmt: skip
@click.option("--with", "features_on", metavar="FEATURE", multiple=True,
              help="Switch a feature of the model on; may be repeated.")  # fmt: skip
@click.option("--without", "features_off", metavar="FEATURE", multiple=True,
              help="Switch a feature of the model off; may be repeated.")  # fmt: skip
@click.option("--ksm/--no-ksm", default=None,
              help="Start with PR_SET_MEMORY_MERGE in force or not, whatever the trace says.",
)  # fmt: skip
@click.option("--steps", is_flag=True, help="Show what every call did (table and json).")
@click.option("--strict", is_flag=True, help="Exit 1 when a recorded result differs.")
@click.option("--format", "form", type=click.Choice(["table", "json", "maps", "smaps"]),
              default="table", show_default=True, help="How to print the results.")  # fmt: skip
def replay(
    traces: tuple[str, ...],
    kernel: str | None,
    features_on: tuple[str, ...],
    features_off: tuple[str, ...],
    ksm: bool | None,
    steps: bool,
    strict: bool,
    form: str,
) -> int:
    """Replay traces and print the layout and the merges that come of them.

    TRACE is a file, a directory (all *.yaml below it) or - for standard input.
    """
    from vmatrace import kernels
    from vmatrace.engine.replay import Replay
    from vmatrace.render import progress
    from vmatrace.render.printer import Printer

    if steps and form in ("maps", "smaps"):
        raise click.UsageError(f"--steps does not go with --format {form}")

    def model(name: str | None) -> Kernel:
        return kernels.get_kernel(name or kernels.DEFAULT).with_features(features_on, features_off)

    try:
        model(kernel)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    named = sources(traces)
    printer = Printer(form, sys.stdout, alone=len(named) == 1)

    def show(trace: Trace) -> int:
        under = model(kernel or trace.kernel)
        # The whole trace before the first line of output: a trace in error prints nothing.
        with progress.watching(trace):
            result = Replay(trace, under, ksm).run()
        printer.write(trace, result, Replay(trace, under, ksm) if steps else None)
        return DIFFERS if result.failures or (strict and result.divergences) else OK

    return each(named, show)


@command.command("kernels", short_help="List the kernel models and the features.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table",
              show_default=True, help="How to print the lists.")  # fmt: skip
def list_kernels(form: str) -> int:
    """List the kernel models and the features that set them apart.

    A model is named with --kernel; a feature is switched with --with and --without.
    """
    from vmatrace.render import models, paper

    if form == "json":
        models.write_json(sys.stdout)
    else:
        models.write(paper.on(sys.stdout))
    return OK
