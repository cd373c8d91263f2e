"""The command line: arguments to calls to an exit status. Opens files; no rule, no formatting.

Exit status: 0 done, nothing differs; 1 a failed expectation or (--strict) a divergence; 2 bad usage
or bad input; 130 interrupted. A closed pipe is no error. Modules are imported by the command that
needs them, so that ``vmatrace --version`` costs little.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from vmatrace.kernels import Kernel
    from vmatrace.trace import Trace

OK, DIFFERS, BAD = 0, 1, 2
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. *arguments* are those after the name."""
    try:
        status = command.main(
            list(sys.argv[1:] if arguments is None else arguments), "vmatrace", standalone_mode=False
        )
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:  # click's word for KeyboardInterrupt
        return _INTERRUPTED
    return status if isinstance(status, int) else OK


def _version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from vmatrace._version import __version__

        click.echo(f"vmatrace {__version__}")
        context.exit()


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  vmatrace replay traces/ksm-adjacent-anon.yaml --kernel pre-patch
  vmatrace replay --steps trace.yaml          what every call did, and why not more
  vmatrace kernels                            the models and what sets them apart

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
    epilog="""\b
Examples:
  vmatrace replay trace.yaml                      under the trace's kernel, or post-patch
  vmatrace replay trace.yaml --kernel 6.12        under Linux 6.12
  vmatrace replay trace.yaml --without ksm-before-merge
  vmatrace replay traces/ --strict                all traces below a directory
  vmatrace replay trace.yaml --format smaps       the final layout as the kernel prints it
  vmatrace replay - --steps --format json < trace.yaml | jq .events

\b
Reading the table: flags are the VmFlags codes of /proc/PID/smaps; those that
an ordinary mapping has (rd wr ex sh mr mw me ms ac) are left out. A line that
starts with = or != stands between two VMAs that touch and says why they are two.

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
              help="Start with or without PR_SET_MEMORY_MERGE, whatever the trace says.")  # fmt: skip
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

    if steps and form in ("maps", "smaps"):
        raise click.UsageError(f"--steps does not go with --format {form}")
    if traces.count("-") > 1:
        raise click.UsageError("standard input can be read once")

    def model(name: str | None) -> Kernel:
        base = kernels.get_kernel(name or kernels.DEFAULT)
        return base.with_features(features_on, features_off)

    try:
        model(kernel)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    printer = _Printer(form, steps)
    return _each(traces, lambda trace: printer.show(trace, model(kernel or trace.kernel), ksm, strict))


def _each(traces: Sequence[str], show: Callable[[Trace], int]) -> int:
    """The worst status of *show* over all traces; those in error are reported and passed over."""
    from vmatrace.trace import TraceError, load_trace

    status = OK
    try:
        for path in _expand(traces):
            try:
                if isinstance(path, TraceError):
                    raise path
                status = max(status, show(load_trace(path)))
            except TraceError as error:
                sys.stdout.flush()
                click.echo(str(error), err=True)
                status = BAD
        sys.stdout.flush()
    except BrokenPipeError:
        # Nobody reads on. What is buffered still would be written at exit, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def _expand(traces: Sequence[str]) -> Iterator[str | TraceError]:
    """The files that *traces* name, and an error for each that names none."""
    from vmatrace.diagnostic import Diagnostic
    from vmatrace.trace import TraceError

    for trace in traces:
        if trace == "-" or not os.path.isdir(trace):
            yield trace
            continue
        unreadable: list[OSError] = []
        found = sorted(
            os.path.join(folder, file)
            for folder, _, files in os.walk(trace, onerror=unreadable.append)
            for file in files
            if file.endswith(".yaml")
        )
        yield from found
        for error in unreadable:
            yield TraceError([Diagnostic(str(error.filename), 0, 0, f"cannot be read: {error.strerror}")])
        if not found and not unreadable:
            message = "no trace in this directory (expected at least one *.yaml file)"
            yield TraceError([Diagnostic(trace, 0, 0, message)])
