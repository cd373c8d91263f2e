"""The command `vmatrace audit`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Final

import click

from vmatrace.commands import forms, options, sharing
from vmatrace.commands.audit.pages import options as paging
from vmatrace.commands.audit.parameters import Below, BelowType, IntervalType
from vmatrace.commands.inputs import DIFFERS, OK, each_answer

if TYPE_CHECKING:
    from vmatrace.commands.audit.question import Audit
    from vmatrace.commands.audit.sources import Asked
    from vmatrace.diagnostic import TraceError
    from vmatrace.kernels import Kernel


@click.command(
    "audit",
    short_help="What fills the map of a running process, and keeps its VMAs apart.",
    epilog="""\b
Examples:
  vmatrace audit 1234                         a running process
  vmatrace audit smaps.txt --kernel 6.12      a saved /proc/PID/smaps
  vmatrace audit dumps/ app-*.smaps           several, and all in a folder
  vmatrace audit nginx                        all processes of that name
  vmatrace audit system.slice/db.service      all of a control group
  vmatrace audit --all                        every process that may be read
  ssh host cat /proc/1234/smaps | vmatrace audit - --kernel 6.6
  vmatrace audit 1234 --fail-below 10%        exit status 1 near the limit
  vmatrace audit 1234 --every 10s -o db.vmas  over time
  vmatrace audit db.vmas --format csv         what was sampled
  vmatrace audit a.smaps b.smaps --compare    before and after
  vmatrace audit 1234 --format json | jq .patterns
  vmatrace audit --pages 1234 1250            what KSM by default would save

\b
One snapshot shows less than the kernel compares. So the causes are what may
hide behind it: likely, or possible. Of a PID the kernel is the running one, by
its release; a distribution may have put later fixes into it.

\b
Exit status: 0 no neighbours that look alike are apart (--compare: nothing
differs); 1 some are; 2 bad usage or bad input. With --fail-below, 1 is less
headroom than that. 130 Ctrl-C ended --every.""",
)
@click.argument("sources", metavar="SMAPS|PID|NAME...", nargs=-1,
                shell_complete=options.complete_files)  # fmt: skip
@click.option("--all", "-a", "everything", is_flag=True,
              help="All processes, the nearest to its limit first.")  # fmt: skip
@click.option("-k", "--kernel", type=options.Model(), metavar="MODEL",
              help="The kernel that the snapshot is of (see `vmatrace kernels`).  [default: of a "
              "PID the running one]")  # fmt: skip
@click.option("--max-map-count", type=click.IntRange(1), metavar="N",
              help="The sysctl vm.max_map_count there.  [default: of a PID what it is here, else "
              "65530]")  # fmt: skip
@click.option("--fail-below", type=BelowType(), metavar="N|PERCENT",
              help="Exit with status 1 where less headroom than that is left, and with 0 where it "
              "is not, whatever looks alike: 5000, or 10% of the limit.")  # fmt: skip
@paging.options
@click.option("--compare", is_flag=True,
              help="Of two snapshots: what came, went, was split and merged.")  # fmt: skip
@click.option("--every", type=IntervalType(), metavar="TIME",
              help="Sample a process each TIME (10s, 500ms, 2m), show how many VMAs it has and "
              "when it reaches the limit, and sum up at Ctrl-C.")  # fmt: skip
@click.option("--count", type=click.IntRange(1), metavar="N",
              help="With --every: end after N samples.")  # fmt: skip
@click.option("-o", "--output", metavar="FILE",
              help="Write there instead of to standard output; the suffix (.html, .json, .csv) "
              "says the form.  With --every: keep samples in FILE (SQLite), which audit "
              "reads.")  # fmt: skip
@sharing.options
@forms.option(__package__)
def command(
    sources: tuple[str, ...],
    everything: bool,
    kernel: Kernel | None,
    max_map_count: int | None,
    fail_below: Below | None,
    pages: bool,
    sample: float | None,
    rate: int | None,
    compare: bool,
    every: float | None,
    count: int | None,
    output: str | None,
    jobs: int | None,
    on: tuple[str, bool],
    wanted: tuple[forms.Wanted, ...],
) -> int:
    """Say what fills the map of a process: how near the limit it is, by which patterns, what
    usually makes them and what would be done; and which neighbours look alike and are two VMAs.

    The snapshot is the text of /proc/PID/smaps (or of maps, which tells less) in a file or on
    standard input (-), or a number: that of a running process. pmap -XX, an Android tombstone,
    and the maps of gdb, lldb and rr are read too; of a folder, every snapshot below it.

    What is no file is the name of processes, or a control group (cgroup). Of several the table has
    a row each, the nearest to its limit first.
    """
    from vmatrace.commands.audit.question import Audit
    from vmatrace.commands.audit.sources import named

    if not sources and not everything:
        raise click.UsageError("Missing argument 'SMAPS|PID|NAME...' (or --all).")
    _check_together({
        "--pages": pages, "--compare": compare, "--every": every is not None,
        "--fail-below": fail_below is not None, "--all": everything,
        "--max-map-count": max_map_count is not None, "--count": count is not None,
        "--output": output is not None, "--jobs": jobs is not None, "--on": bool(on[0]),
        "--sample": sample is not None, "--rate": rate is not None,
    })  # fmt: skip
    where = sharing.where(jobs, on)
    if pages:
        from vmatrace.commands.audit.pages.run import run

        return run(named(sources, everything), sample, rate, kernel, wanted)
    if compare:
        from vmatrace.commands.audit.compare import asking as comparing

        return comparing.show(sources, kernel, max_map_count, wanted)
    from vmatrace.commands.audit.watch import asking as watching

    if every is not None:
        return watching.take(
            sources, every, count, output, max_map_count, kernel, fail_below, wanted
        )
    if watching.stored(sources):
        return watching.show(sources, kernel, fail_below, wanted, output)
    otherwise: str | None = forms.DEFAULT
    if output is not None:
        wanted, otherwise = forms.to_file(__package__, wanted, output), None
    asked = named(sources, everything)
    out = forms.Forms[Audit](__package__, wanted, len(asked), otherwise)
    return _snapshots(asked, kernel, max_map_count, fail_below, where, out)


#: Options that an option does not go with, and those that go with another one alone.
_NOT_WITH: Final = {
    "--pages": (
        "--compare",
        "--every",
        "--fail-below",
        "--max-map-count",
        "--output",
        "--jobs",
        "--on",
    ),
    "--compare": ("--every", "--fail-below", "--all", "--output", "--jobs", "--on"),
    "--every": ("--all", "--jobs", "--on"),
}
_ONLY_WITH: Final = {"--count": "--every", "--sample": "--pages", "--rate": "--pages"}


def _check_together(given: dict[str, bool]) -> None:
    """Raises click.UsageError where options were *given* that make no sense together."""
    for name, others in _NOT_WITH.items():
        for other in others:
            if given[name] and given[other]:
                raise click.UsageError(f"{name} does not go with {other}")
    for name, other in _ONLY_WITH.items():
        if given[name] and not given[other]:
            raise click.UsageError(f"{name} goes with {other} alone")


def _snapshots(
    asked: Sequence[Asked | TraceError],
    kernel: Kernel | None,
    max_map_count: int | None,
    fail_below: Below | None,
    where: sharing.Where,
    out: forms.Forms[Audit],
) -> int:
    """Audit each snapshot."""
    from vmatrace.commands.audit.sources import Lost
    from vmatrace.diagnostic import TraceError

    lost = Lost(len(asked) > 1)
    work = partial(_audited, kernel=kernel, max_map_count=max_map_count)
    named = [each for each in asked if not isinstance(each, TraceError)]
    files = [each.name for each in named if not each.process]
    if where.cluster and len(files) < len(named):
        raise click.UsageError("--on takes files: a process is one of this machine")
    of_files = sharing.each_of(work, files, where, not sys.stdout.isatty())

    def show(source: Asked) -> int:
        found = work(source.name) if source.process else next(of_files)
        if isinstance(found, TraceError):
            if not lost.excuses(source, found):
                raise found
            out.pass_over()
            return OK
        out.write(found)
        lost.answered += 1
        fails = found.savable > 0 if fail_below is None else fail_below.fails(found)
        return DIFFERS if fails else OK

    with closing(of_files), out:
        status = each_answer(asked, show, out.refuse)
    return lost.close(status)


def _audited(
    source: sharing.Source, watch: bool = False, *, kernel: Kernel | None, max_map_count: int | None
) -> Audit | TraceError:
    """The audit of one snapshot, or what is wrong with it."""
    from vmatrace.commands.audit.question import audit
    from vmatrace.commands.audit.snapshot import open_snapshot
    from vmatrace.commands.underway import few_collections
    from vmatrace.diagnostic import TraceError

    if isinstance(source, TraceError):
        return source
    try:
        with few_collections():
            return audit(open_snapshot(source), kernel, max_map_count)
    except TraceError as error:
        return error
