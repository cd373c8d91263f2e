"""The command `vmatrace shrink`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from vmatrace.commands import files, forms, options
from vmatrace.commands.inputs import BAD, OK

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmatrace.commands.shrink.question import ShrinkWish
    from vmatrace.importers.format import Reading
    from vmatrace.kernels import Kernel
    from vmatrace.search.conditions import Condition
    from vmatrace.search.goals import Goal
    from vmatrace.trace.file import Trace

_FROM, _TO = "pre-patch", "post-patch"


@click.command(
    "shrink",
    short_help="Reduce a trace or a log to the smallest that still shows it.",
    epilog="""\b
Examples:
  vmatrace shrink run.log --keep differs -o small.yaml
  vmatrace shrink run.log --kernel 6.12 --ksm --keep 'blocked_only_by_mergeable >= 3'
  vmatrace shrink run.log --keep 'line 812 fails ENOMEM' -o small.yaml
  vmatrace shrink trace.yaml --keep expectation --kernel 6.16
  vmatrace shrink run.log --keep 'to.vmas > from.vmas' --from 6.12 --to 6.18

\b
CONDITION is one of these, or several with and, or, not and parentheses:
  differs                a call returns or leaves something else under --to
                         than under --from
  COUNT >= N             == != < <= > >= too, sums, and from.COUNT, to.COUNT;
                         COUNT is vmas, peak_vmas, mergeable, merges, splits,
                         blocked, blocked.REASON, blocked_only_by_mergeable,
                         errors, divergences or events
  limit_hit              a call fails because there are too many VMAs
  line N fails [ERRNO]   the call in that line of the input; line N succeeds
  expectation            an expectation of the trace fails as it does now
  mismatch               the running kernel, or one in QEMU (--boot), and its
                         model part

\b
What is left is the calls that it takes, with simple arguments at round
addresses, and what the models make of them as expectations. A count is met as
soon as it is after some call; what comes behind goes.

\b
Exit status: 0 done; 2 bad usage or bad input, such as a trace that does not
meet the condition.""",
)
@click.argument("trace", metavar="TRACE|LOG", shell_complete=options.complete_files)
@click.option("--keep", metavar="CONDITION", required=True, help="What the result has to show.")
@click.option("-o", "--output", metavar="OUT", default="-",
              help="Where to write the trace.  [default: standard output]")  # fmt: skip
@click.option("--from", "from_", metavar="MODEL", type=options.Model(),
              help=f"Of conditions on two sides, the one.  [default: {_FROM}]")  # fmt: skip
@click.option("--to", metavar="MODEL", type=options.Model(),
              help=f"Of conditions on two sides, the other.  [default: {_TO}]")  # fmt: skip
@options.model
@click.option("--boot", metavar="VMLINUZ", type=click.Path(),
              help="Of mismatch: on this x86-64 kernel image, booted in QEMU.")  # fmt: skip
@options.ksm
@click.option("--anonymize", is_flag=True, help="Leave no path, name or address of the input.")
@click.option("--seconds", metavar="S", type=options.Seconds(),
              help="Stop after so long with the smallest found.  [default: until it is minimal]"
              )  # fmt: skip
@options.reading
@forms.option(__package__)
def command(
    trace: str,
    keep: str,
    output: str,
    from_: Kernel | None,
    to: Kernel | None,
    kernel: Kernel | None,
    features_on: tuple[str, ...],
    features_off: tuple[str, ...],
    boot: str | None,
    ksm: bool | None,
    anonymize: bool,
    seconds: float | None,
    reading: Reading,
    wanted: tuple[forms.Wanted, ...],
) -> int:
    """Reduce a trace, or the log of a program, to the smallest that still meets CONDITION."""
    from vmatrace.commands.inputs import opened
    from vmatrace.commands.shrink import question
    from vmatrace.search import conditions
    from vmatrace.trace.file import TraceError

    try:
        condition = conditions.parse(keep)
    except conditions.ConditionError as error:
        raise click.UsageError(f"--keep: column {error.column}: {error}") from None
    choose = options.choice(kernel, features_on, features_off)
    files.refuse_input(output, trace)
    try:
        source = opened(trace, reading)
        switched = features_on, features_off
        models = _models(condition, (from_, to), choose, kernel, switched, source.kernel)
        wish = question.ShrinkWish(keep, condition, models, ksm, anonymize, seconds)
        if not conditions.has(condition, "mismatch"):
            if boot is not None:
                raise click.UsageError("--boot goes with --keep mismatch")
            return _write(source, wish, output, wanted)
        if condition != conditions.Named("mismatch"):
            raise click.UsageError("--keep: mismatch stands alone (expected no and, or, not)")
        return _on_kernel(source, wish, boot, kernel, output, wanted)
    except TraceError as error:
        click.echo(str(error), err=True)
        return BAD


def _models(
    condition: Condition,
    sides: tuple[Kernel | None, Kernel | None],
    choose: Callable[[str | None], Kernel],
    kernel: Kernel | None,
    switched: tuple[tuple[str, ...], tuple[str, ...]],
    name: str | None,
) -> tuple[Kernel, ...]:
    """The model, or the two, that the condition is about."""
    from vmatrace import kernels
    from vmatrace.search.conditions import two_sided

    from_, to = sides
    if not two_sided(condition):
        if from_ is not None or to is not None:
            raise click.UsageError(
                "--from and --to go with a condition on two sides, such as 'differs' or "
                "'to.vmas > from.vmas' (expected --kernel)"
            )
        return (choose(name),)
    if kernel is not None:
        raise click.UsageError("--kernel does not go with a condition on two sides (expected "
                               "--from and --to)")  # fmt: skip
    first = from_ or kernels.get_kernel(_FROM)
    if to is None:
        to = kernels.get_kernel(_TO)
    return first, options.choice(to, *switched)(None)


def _on_kernel(
    source: Trace,
    wish: ShrinkWish,
    boot: str | None,
    kernel: Kernel | None,
    output: str,
    wanted: tuple[forms.Wanted, ...],
) -> int:
    """What a real kernel and its model part on."""
    from dataclasses import replace

    from vmatrace.oracle import KernelDied, Unavailable
    from vmatrace.oracle.boot import open_machine
    from vmatrace.verify import findings
    from vmatrace.verify.mismatch import MismatchGoal
    from vmatrace.verify.skip import Skip

    if wish.ksm is not None:
        raise click.UsageError("--ksm does not go with --keep mismatch (the trace says it)")
    try:
        with open_machine(boot) as machine:
            model = kernel or findings.look(machine).kernel
            with MismatchGoal(model, machine, source) as goal:
                return _write(source, replace(wish, models=(model,)), output, wanted, goal)
    except (Unavailable, Skip, KernelDied) as reason:
        click.echo(f"{source.path}: error: it cannot be run: {reason}", err=True)
        return BAD


def _write(
    source: Trace,
    wish: ShrinkWish,
    output: str,
    wanted: tuple[forms.Wanted, ...],
    goal: Goal | None = None,
) -> int:
    from vmatrace.commands.shrink import question
    from vmatrace.render import progress, streams

    out = forms.Forms[question.Shrunk](
        __package__, wanted, otherwise=None if output == "-" else forms.DEFAULT
    )
    with out:
        with progress.telling("shrink") as tell:
            found = question.shrink(
                source, wish, lambda n, tries: tell(f"{n:,} calls left, {tries:,} tries"), goal
            )
        if output != "-":
            found.path = output
            files.write_file(output, found.text)
        elif all(path is not None for _, path in out.wanted):  # a form there has it too
            streams.set_encoding(sys.stdout, people=False)
            sys.stdout.write(found.text)
            sys.stdout.flush()
        out.write(found)
    return OK
