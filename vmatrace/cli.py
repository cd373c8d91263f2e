"""The command line: arguments to calls to an exit status. Opens files; no rule, no formatting.

Exit status: 0 done, nothing differs; 1 a failed expectation or (--strict) a divergence; 2 bad usage
or bad input; 130 interrupted. A closed pipe is no error. Modules are imported by the command that
needs them, so that ``vmatrace --version`` costs little.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from vmatrace.commands.inputs import BAD, OK, write_nowhere

_INTERRUPTED = 130
_COMPLETE = "_VMATRACE_COMPLETE"
#: Each command and its room in vmatrace.commands, in the order of the help.
_COMMANDS = {
    "replay": "replay",
    "diff": "diff",
    "check": "check",
    "baseline": "baseline",
    "explain": "explain",
    "report": "report",
    "whatif": "whatif",
    "record": "record",
    "import": "import_",
    "export": "export",
    "verify": "verify",
    "audit": "audit",
    "hunt": "hunt",
    "shrink": "shrink",
    "kernels": "kernels",
    "schema": "schema",
}


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
        from vmatrace._version import __version__, is_compiled

        click.echo(f"vmatrace {__version__}" + (" (compiled)" if is_compiled() else ""))
        context.exit()


class _Commands(click.Group):
    """The commands, each imported from vmatrace.commands when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that *args* name; what is no command but a file is asked about itself."""
        if args and args[0] not in _COMMANDS and os.path.lexists(args[0]):
            from vmatrace.commands.start import command as start

            return "vmatrace", start.command, args
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        if module is None:
            if ctx.resilient_parsing or cmd_name.startswith("-"):
                return None
            from vmatrace.diagnostic import quoted, suggestion

            raise click.UsageError(
                f"no command {quoted(cmd_name)}{suggestion(cmd_name, _COMMANDS)}", ctx
            )
        found: click.Command = import_module(f"vmatrace.commands.{module}.command").command
        return found


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  vmatrace replay trace.yaml --steps     what every call did, and why not more
  vmatrace diff trace.yaml               before the KSM series and after it
  vmatrace check traces/                 in CI: do all expectations hold?
  vmatrace report strace.log --ksm       what KSM by default costs a program

\b
Exit status: 0 done, nothing differs; 1 a difference, a failed expectation, a
mismatch or (--strict) a divergence; 2 bad usage or bad input.""",
)
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_version,
              help="Show the version and exit.")  # fmt: skip
@click.pass_context
def command(context: click.Context) -> int:
    """Replay mmap/prctl traces against an exact model of Linux's VMA engine.

    A trace holds the memory calls of a process. vmatrace replays it under a kernel model, without
    a kernel, and shows the VMAs that come of it, which of them merged, and why the others did not.
    The KSM series are the patches by which Linux 6.17 lets VMAs merge again in a process that asked
    for KSM (kernel samepage merging) once for all its memory.
    """
    if context.invoked_subcommand is None:
        from vmatrace.commands.start.command import welcome

        return welcome()
    return OK
