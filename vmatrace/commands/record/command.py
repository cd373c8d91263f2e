"""The command `vmatrace record`."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import click

from vmatrace.commands.inputs import BAD, DIFFERS, OK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vmatrace.commands.record.output import Output
    from vmatrace.kernels import Kernel
    from vmatrace.record.session import Recorded, Session

_SIGNALLED: Final = 128


@click.command(
    "record",
    short_help="Record the memory calls of a program.",
    epilog="""\b
Examples:
  vmatrace record -- python3 -c pass         into python3.trace.yaml
  vmatrace record --ksm -o svc.yaml -- ./svc --port 80
  vmatrace record --check -- make -j2        is the model exact for this?
  vmatrace record --ksm --check-budget budget.yaml -- ./svc --self-test
  vmatrace record -p 1234                    until Ctrl-C

\b
The program stops only at the calls that are recorded (seccomp), so that it runs
at nearly full speed. Without root it then cannot gain privileges: setuid
programs run without them. With -p it stops at every call and is much slower,
and who shares an anon_vma or an open file from before is not known.
After Ctrl-C (SIGINT, SIGHUP, SIGQUIT, SIGTERM) nothing more is recorded: with
-p the process goes on alone; a COMMAND gets the signal as well, and vmatrace
waits for its end. If vmatrace is killed, so is COMMAND. Threads are part of
their process; 32-bit programs are not recorded, and named.

\b
Exit status: that of COMMAND, 128+N if signal N ended it; 1 if --check finds a
difference or a budget is exceeded; 2 if nothing could be recorded. What
vmatrace says about it is on standard error, so that its 1 and 2 can be told
from those of COMMAND.""",
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
)
@click.argument("command_line", metavar="[-- COMMAND [ARG...]]", nargs=-1,
                type=click.UNPROCESSED)  # fmt: skip
@click.option("-o", "--output", metavar="TRACE",
              type=click.Path(dir_okay=False, allow_dash=True),
              help="Where the trace goes, whole or not at all; - is standard output (what COMMAND "
                   "prints then goes to standard error).  "
                   "[default: COMMAND.trace.yaml]")  # fmt: skip
@click.option("-p", "--pid", metavar="PID", type=click.IntRange(1),
              help="Record a process that runs already.")  # fmt: skip
@click.option("--ksm", is_flag=True, help="Turn KSM by default on for COMMAND first.")
@click.option("--no-aslr", "still", is_flag=True,
              help="Do not randomize COMMAND's addresses: recordings that repeat.")  # fmt: skip
@click.option("--check", is_flag=True,
              help="Replay at once; compare every layout with the kernel's.")  # fmt: skip
@click.option("--check-budget", "budgets", metavar="TRACE", multiple=True,
              type=click.Path(exists=True, dir_okay=False),
              help="Hold what COMMAND came to against the counts that TRACE expects behind its "
              "last call; may be repeated.")  # fmt: skip
def command(
    command_line: tuple[str, ...],
    output: str | None,
    pid: int | None,
    ksm: bool,
    still: bool,
    check: bool,
    budgets: tuple[str, ...],
) -> int:
    """Run COMMAND and record the memory calls of it and all its children as a trace.

    The trace holds every call with its result, first writes to memory as `fault` events, the
    layout after each exec, and the last layout of each process as an expectation, so that its
    replay is exact and checks itself.
    """
    from vmatrace.commands.record import words
    from vmatrace.commands.record.output import Output
    from vmatrace.diagnostic import TraceError

    if (pid is None) == (not command_line):
        raise click.UsageError("expected either -- COMMAND or -p PID")
    if pid is not None and (ksm or still):
        option = "--ksm" if ksm else "--no-aslr"
        raise click.UsageError(f"{option} goes with COMMAND, not with -p")
    name = os.path.basename(command_line[0]) if pid is None else f"pid-{pid}"
    path = output or _free(name)
    if budgets and not _can_be_met(budgets):
        return BAD
    try:
        out = Output(path)
    except OSError as error:
        return _cannot_write(path, error)
    with out:
        made = _record(out, command_line, pid, ksm, still)
        if made is None:
            return BAD
        session, recorded, kernel = made
        if recorded.foreign and not recorded.layouts:
            _say(f"error: nothing could be recorded: {'; '.join(words.remarks(recorded))}")
            return BAD
        repeat = words.command_line(ksm, still, command_line, pid)
        if not _write(out, session, name, repeat, words.remarks(recorded)):
            return BAD
        _say(words.outcome(out.shown, recorded))
        for text in words.remarks(recorded):
            _say(text)
        try:
            if (check or budgets) and not _check(out, recorded, kernel, check, budgets):
                return DIFFERS
        except TraceError as error:  # of this program's making
            click.echo(str(error), err=True)
            _say("error: the recording is no whole trace: please report this, with the trace")
            return BAD
    if recorded.status is not None:
        return recorded.status
    return _SIGNALLED + recorded.signal if recorded.signal else OK


def _record(
    out: Output, command_line: tuple[str, ...], pid: int | None, ksm: bool, still: bool
) -> tuple[Session, Recorded, Kernel] | None:
    """Record for *out*; None where it failed, which has been said."""
    from vmatrace.oracle import Unavailable
    from vmatrace.record.launch import CannotStart
    from vmatrace.record.session import Session
    from vmatrace.verify import remembered

    try:
        kernel = remembered.look().kernel
        session = Session(kernel.name)
        if pid is not None:
            return session, session.process(pid), kernel
        return session, session.command(command_line, ksm, still, out.standard), kernel
    except (Unavailable, CannotStart) as error:
        _say(f"error: {error}")
        return None


def _write(out: Output, session: Session, name: str, repeat: str, remarks: Sequence[str]) -> bool:
    """Write the trace that *repeat* made; False where it cannot be, which has been said."""
    from vmatrace.commands.record import words
    from vmatrace.oracle import Unavailable

    system = os.uname()
    remark = words.remark(repeat, system.release, session.model, system.machine, remarks)
    try:
        out.write(lambda stream: session.write(stream, name, remark))
    except OSError as error:
        _cannot_write(out.path, error)
    except Unavailable as error:
        _say(f"error: {error}")
    else:
        return True
    return False


def _cannot_write(path: str, error: OSError) -> int:
    _say(f"error: {path}: cannot be written: {error.strerror or error}")
    return BAD


def _say(text: str) -> None:
    click.echo(f"vmatrace: {text}", err=True)


def _free(name: str) -> str:
    """The first of NAME.trace.yaml, NAME-2.trace.yaml, … that does not exist."""
    path, number = f"{name}.trace.yaml", 1
    while os.path.lexists(path):
        number += 1
        path = f"{name}-{number}.trace.yaml"
    return path


def _can_be_met(paths: tuple[str, ...]) -> bool:
    """Whether each of *paths* has a budget, which has to be known before the command runs."""
    from vmatrace.commands.record.budget import budget
    from vmatrace.oracle import Unavailable
    from vmatrace.trace.file import TraceError
    from vmatrace.verify import remembered

    try:
        kernel = remembered.look().kernel
        for path in paths:
            budget(path, kernel)
    except (TraceError, Unavailable) as error:
        _say(f"error: {error}") if isinstance(error, Unavailable) else click.echo(error, err=True)
        return False
    return True


def _check(
    out: Output,
    recorded: Recorded,
    kernel: Kernel,
    exactly: bool = True,
    budgets: tuple[str, ...] = (),
) -> bool:
    """Whether the replay of the trace is what was recorded, if *exactly*, and within *budgets*.

    What is not is shown.
    """
    from vmatrace.commands.record import words
    from vmatrace.commands.record.budget import budget, held_against
    from vmatrace.commands.underway import underway
    from vmatrace.event import Expectation
    from vmatrace.render import streams
    from vmatrace.replayer.run import Replay

    trace = out.read()
    read = trace.read
    # Every layout in it is of this kernel, also if that is a row of the table and some switches.
    trace.read = lambda: (
        replace(item, on=()) if isinstance(item, Expectation) else item for item in read()
    )
    with underway(trace):
        result = Replay(trace, kernel).run()
    wrong = bool(result.failures or result.diverged)
    if exactly or wrong:
        if wrong:
            words.write_differences(streams.on(sys.stderr), result)
        _say(words.verdict(result, recorded.layouts))
    kept = [held_against(each, budget(each, kernel), result) for each in budgets]
    for one in kept:
        words.write_budget(streams.on(sys.stderr), one, kernel.name)
        _say(words.budget_verdict(one))
    return not (exactly and wrong) and not any(one.failures for one in kept)
