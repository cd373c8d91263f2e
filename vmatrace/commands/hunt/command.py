"""The command `vmatrace hunt`."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from vmatrace.commands import files, forms, options, sharing
from vmatrace.commands.inputs import BAD, DIFFERS, OK

if TYPE_CHECKING:
    from vmatrace.commands.hunt.question import Bounds, Hunted
    from vmatrace.kernels import Kernel
    from vmatrace.search.finds import Ground
    from vmatrace.search.hunting import HuntTotal, SliceResult
    from vmatrace.trace.file import Trace

_FROM, _TO = "pre-patch", "post-patch"
_SECONDS = 10.0
_INTERRUPTED = 130


@click.command(
    "hunt",
    short_help="Find the shortest programs at which two kernels part.",
    epilog="""\b
Examples:
  vmatrace hunt --from 6.12 --to 6.18
  vmatrace hunt --worse                        what the KSM series makes worse
  vmatrace hunt --from 7.3 --to 7.3 --without mseal-in-loop
  vmatrace hunt --from 7.1 --to 7.3 --calls mmap,mremap --no-files
  vmatrace hunt --from 6.12 --to 6.18 --programs 2000 --seed 7 -o finds/
  vmatrace hunt --from 6.12 --to running       what this kernel does, and 6.12 not

\b
Each kind of difference is printed once: the program is 1-minimal (no call of
it can go), and its cause is the feature without which the sides do not part.
With -o each is written as a commented trace that expects what either side
does. The same seed and number of programs find the same, with any number of
processes.

\b
Exit status: 0 nothing found; 1 a difference was found; 2 bad usage or bad
input, or a kernel that cannot be booted any more; 130 interrupted (what was
found so far is printed).""",
)
@click.option("--from", "from_", metavar="MODEL", shell_complete=options.complete_sides,
              help=f"A model, running or boot:VMLINUZ.  [default: {_FROM}]")  # fmt: skip
@click.option("--to", metavar="MODEL", shell_complete=options.complete_sides,
              help=f"A model, running or boot:VMLINUZ.  [default: {_TO}]")  # fmt: skip
@click.option("--with", "features_on", metavar="FEATURE", multiple=True,
              shell_complete=options.complete_features,
              help="Switch a feature of --to on; may be repeated.")  # fmt: skip
@click.option("--without", "features_off", metavar="FEATURE", multiple=True,
              shell_complete=options.complete_features,
              help="Switch a feature of --to off; may be repeated.")  # fmt: skip
@click.option(
    "--worse",
    is_flag=True,
    help="Only what leaves --to with more VMAs, more blocked sides or a new failure.",
)
@click.option("--calls", metavar="NAMES", help="Only these calls: mmap,mprotect,…")
@click.option("--ksm/--no-ksm", default=None, help="KSM by default in every program, or in none.")
@click.option("--files/--no-files", default=None, help="With mappings of files, or without.")
@click.option("--processes/--no-processes", default=None, help="With forks, or without.")
@click.option("--corpus", metavar="TRACE|FOLDER", multiple=True,
              shell_complete=options.complete_files,
              help="Traces to start from; may be repeated.")  # fmt: skip
@click.option("--seed", metavar="S", help="Where programs come from.  [default: a fresh one]")
@click.option("--programs", metavar="N", type=click.IntRange(1), help="Stop after N programs.")
@click.option("--seconds", metavar="S", type=options.Seconds(),
              help=f"Stop after so long.  [default: {_SECONDS:g}, without --programs]")  # fmt: skip
@click.option("--finds", metavar="N", type=click.IntRange(1), help="Stop after N kinds.")
@sharing.options
@click.option("-o", "--output", metavar="FOLDER", type=click.Path(file_okay=False),
              help="Write each find into this folder.")  # fmt: skip
@forms.option(__package__)
def command(
    from_: str | None,
    to: str | None,
    features_on: tuple[str, ...],
    features_off: tuple[str, ...],
    worse: bool,
    calls: str | None,
    ksm: bool | None,
    files: bool | None,
    processes: bool | None,
    corpus: tuple[str, ...],
    seed: str | None,
    programs: int | None,
    seconds: float | None,
    finds: int | None,
    jobs: int | None,
    on: tuple[str, bool],
    output: str | None,
    wanted: tuple[forms.Wanted, ...],
) -> int:
    """Search for the shortest programs at which two kernels part, each kind once."""
    from vmatrace.commands.hunt import question
    from vmatrace.search.finds import Ground
    from vmatrace.trace.file import TraceError

    try:
        points, skipped = question.starting_points(_opened(corpus))
    except TraceError as error:
        click.echo(str(error), err=True)
        return BAD
    seed = seed if seed is not None else secrets.token_hex(4)
    if programs is None and seconds is None:
        seconds = _SECONDS
    bounds = question.Bounds(programs, seconds, finds)
    sides = from_ or _FROM, to or _TO
    names = _calls(calls)

    def ground(older: Kernel, newer: Kernel) -> Ground:
        return Ground(older, newer, seed, names, ksm, files, processes, worse, points)

    show = partial(_show, skipped=skipped, output=output)
    if any(map(_is_real, sides)):
        if jobs is not None or on[0]:
            raise click.UsageError("--jobs, --on: a hunt on a real kernel has one process, here")
        return _on_kernel(sides, (features_on, features_off), ground, bounds, wanted, show)
    older, newer = _model("--from", sides[0]), _model("--to", sides[1])
    try:
        newer = newer.with_features(features_on, features_off)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if older.features == newer.features:
        raise click.UsageError(
            f"{older.name} and {newer.name} are the same model (expected others, --with or "
            "--without)"
        )
    return _hunt(ground(older, newer), bounds, sharing.where(jobs, on), wanted, show)


def _so_far(total: HuntTotal) -> str:
    kinds = "1 kind" if len(total.finds) == 1 else f"{len(total.finds)} kinds"
    return f"{total.programs:,} programs, {kinds} of difference"


def _is_real(name: str) -> bool:
    return name == "running" or name.startswith("boot:")


def _on_kernel(
    sides: tuple[str, str],
    switched: tuple[tuple[str, ...], tuple[str, ...]],
    ground: Callable[[Kernel, Kernel], Ground],
    bounds: Bounds,
    wanted: tuple[forms.Wanted, ...],
    show: Callable[[Hunted, forms.Forms[Hunted]], int],
) -> int:
    """A hunt with a real kernel on one side, and a model on the other."""
    from vmatrace.commands.hunt import question
    from vmatrace.oracle import KernelDied, Unavailable
    from vmatrace.render import progress

    real, other = (sides[0], sides[1]) if _is_real(sides[0]) else (sides[1], sides[0])
    if _is_real(other):
        raise click.UsageError("one side of a hunt has to be a model (expected --from or --to)")
    option = "--to" if other == sides[1] else "--from"
    model = _model(option, other)
    out = forms.Forms[question.Hunted](__package__, wanted)
    try:
        model = model.with_features(*switched)
        with out:
            with progress.telling("hunt") as tell:
                found = question.go_real(
                    ground(model, model), real, sides[0] == real, bounds,
                    lambda total: tell(_so_far(total)),
                )  # fmt: skip
            return show(found, out)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except (Unavailable, KernelDied) as error:
        click.echo(f"vmatrace: error: {real}: {error}", err=True)
        return BAD


def _show(found: Hunted, out: forms.Forms[Hunted], skipped: list[str], output: str | None) -> int:
    from vmatrace.commands.hunt import question

    found.skipped = [*skipped, *found.skipped]
    if output is not None:
        try:
            os.makedirs(output, exist_ok=True)
        except OSError as error:
            raise files.CannotWriteError(output, error) from None
        question.write(found, output, files.write_file)
    out.write(found)
    if found.interrupted:
        return _INTERRUPTED
    if found.ended:
        return BAD
    return DIFFERS if found.finds else OK


def _hunt(
    ground: Ground,
    bounds: Bounds,
    where: sharing.Where,
    wanted: tuple[forms.Wanted, ...],
    show: Callable[[Hunted, forms.Forms[Hunted]], int],
) -> int:
    from vmatrace.commands.hunt import question
    from vmatrace.render import progress

    out = forms.Forms[question.Hunted](__package__, wanted)
    with out:
        with progress.telling("hunt") as tell:
            try:
                found = question.go(
                    ground, bounds, partial(_share, where),
                    lambda total: tell(_so_far(total)),
                )  # fmt: skip
            except ValueError as error:
                raise click.UsageError(str(error)) from None
        return show(found, out)


def _share(
    where: sharing.Where, work: Callable[[str], SliceResult], inputs: Sequence[str]
) -> Iterator[SliceResult]:
    from vmatrace.search.hunting import SliceResult

    if not where.cluster and (where.processes == 1 or len(inputs) == 1):
        return map(work, inputs)
    return where.each_of(work, inputs, lambda _: SliceResult([], 0, 0))


def _model(option: str, name: str) -> Kernel:
    from vmatrace import kernels

    try:
        kernel = kernels.get_kernel(name)
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from None
    options.say_assumed(name, kernel)
    return kernel


def _calls(text: str | None) -> frozenset[str]:
    from vmatrace.calls import CALLS
    from vmatrace.diagnostic import quoted, suggestion

    names = frozenset(filter(None, (text or "").replace(",", " ").split()))
    for name in sorted(names - CALLS.keys()):
        hint = suggestion(name, CALLS) or f" (expected such as {', '.join(list(CALLS)[:4])})"
        raise click.UsageError(f"--calls: unknown call {quoted(name)}{hint}")
    return names


def _opened(corpus: tuple[str, ...]) -> list[Trace]:
    """The traces of *corpus*. Raises TraceError."""
    from vmatrace.commands.inputs import opened, sources
    from vmatrace.trace.file import TraceError

    found = []
    for source in sources(corpus):
        if isinstance(source, TraceError):
            raise source
        found.append(opened(source))
    return found
