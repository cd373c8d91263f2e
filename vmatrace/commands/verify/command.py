"""The command `vmatrace verify`."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from vmatrace.commands import files, forms, options
from vmatrace.commands.inputs import BAD, DIFFERS, OK, each, sources

if TYPE_CHECKING:
    from vmatrace.commands.verify.question import Verified
    from vmatrace.diagnostic import TraceError
    from vmatrace.kernels import Kernel
    from vmatrace.oracle import Machine
    from vmatrace.trace.file import Trace
    from vmatrace.verify.campaign import Campaign
    from vmatrace.verify.verdict import Verdict

    Out = forms.Forms[Verified]


@click.command(
    "verify",
    short_help="Compare the model with the running kernel, or a booted one.",
    epilog="""\b
Examples:
  vmatrace verify trace.yaml              every VMA after every event
  vmatrace verify traces/                 all traces below a directory
  vmatrace verify --random 1000           random programs, from a fresh seed
  vmatrace verify --random 1000 --seed 7  the same programs again
  vmatrace verify --probe                 which model this kernel is
  vmatrace verify --random 300 --record kernel.jsonl.xz
  vmatrace verify --replay-recording kernel.jsonl.xz
  vmatrace verify --boot arch/x86/boot/bzImage --random 1000

\b
The calls run in processes of their own, which cannot touch the memory or the
files of others and do not outlive the command. Needs Linux (x86-64, aarch64)
and the right to trace one's own children; no root. With --boot they run on
another kernel, booted in QEMU (KVM where it works) with a program of vmatrace
as its init: that takes qemu-system-x86_64 and, the first time, a C compiler.
What a trace recorded or expects plays no part here (see `vmatrace check`).

\b
Exit status: 0 exact; 1 a mismatch, or the kernel panicked or hung; 2 bad usage,
bad input, or nothing could be verified because something is missing. A trace
that needs what this machine has not (a file system, a sysctl, a starting
layout) is skipped, and said to be; if all are, the exit status is 2.""",
)
@click.argument("traces", metavar="[TRACE...]", nargs=-1, shell_complete=options.complete_files)
@click.option("-k", "--kernel", metavar="MODEL", shell_complete=options.Model().shell_complete,
              help="Compare with this model.  [default: the one found by experiments]")  # fmt: skip
@click.option("--boot", metavar="VMLINUZ", type=click.Path(),
              help="Verify on this x86-64 kernel image, booted in QEMU, instead.")  # fmt: skip
@click.option("--probe", is_flag=True, help="Show what the experiments find, and end.")
@click.option("--random", "programs", metavar="N", type=click.IntRange(1),
              help="Verify N random programs.")  # fmt: skip
@click.option("--seed", metavar="S", help="Where they come from.  [default: a fresh one]")
@click.option("--events", metavar="K", type=click.IntRange(1), default=40, show_default=True,
              help="Events of each random program.")  # fmt: skip
@click.option("--jobs", "-j", metavar="J", type=click.IntRange(1),
              help="Processes to verify with.  [default: one for each CPU]")  # fmt: skip
@click.option("--exhibit", metavar="FILE", type=click.Path(dir_okay=False),
              help="Where the first mismatch of --random goes, reduced to the shortest trace.  "
              "[default: mismatch-SEED-INDEX.yaml]")  # fmt: skip
@click.option("--record", metavar="FILE", type=click.Path(dir_okay=False),
              help="Store what the kernel does (JSON lines; .xz and .gz compress).")  # fmt: skip
@click.option("--replay-recording", "recordings", metavar="FILE", multiple=True,
              help="Compare the model with a recording instead; may be repeated.")  # fmt: skip
@forms.option(__package__)
def command(
    traces: tuple[str, ...],
    kernel: str | None,
    boot: str | None,
    probe: bool,
    programs: int | None,
    seed: str | None,
    events: int,
    jobs: int | None,
    exhibit: str | None,
    record: str | None,
    recordings: tuple[str, ...],
    wanted: tuple[forms.Wanted, ...],
) -> int:
    """Run traces on a real kernel and compare every VMA after every event with the model.

    TRACE is a file, a directory (all *.yaml below it) or - for standard input.
    """
    from vmatrace.commands.verify.question import Verified
    from vmatrace.commands.verify.words import death
    from vmatrace.oracle import KernelDied, Unavailable
    from vmatrace.verify import findings
    from vmatrace.verify.campaign import Campaign
    from vmatrace.verify.recording import RecordingError

    tasks = bool(traces) + (programs is not None) + probe + bool(recordings)
    if tasks != 1:
        raise click.UsageError(
            "expected one of TRACE..., --random N, --probe and --replay-recording FILE"
        )
    if record is not None and (probe or recordings):
        raise click.UsageError("--record goes with TRACE... and --random N")
    if boot is not None and recordings:
        raise click.UsageError("--boot does not go with --replay-recording, which needs no kernel")
    model = _model(kernel)
    named = sources(traces)
    out = forms.Forms[Verified](__package__, wanted, len(named))
    try:
        if recordings:
            return _replay_recordings(recordings, model, out)
        with _machine(boot) as machine:
            if probe:
                return _probe(machine, out)
            model = model or findings.look(machine).kernel
            if programs is None:
                return _traces(named, model, machine, record, out)
            seed = seed if seed is not None else secrets.token_hex(4)
            campaign = Campaign(seed, programs, events, model, kernel, boot, machine.release)
            if record is not None:
                return _record_random(campaign, machine, record, out)
            return _random(campaign, machine, jobs, exhibit, out)
    except (Unavailable, RecordingError) as error:
        sys.stdout.flush()
        click.echo(f"vmatrace: error: {error}", err=True)
        return BAD
    except KernelDied as died:
        sys.stdout.flush()
        click.echo(f"vmatrace: error: {boot}: {death(died)}", err=True)
        return DIFFERS


def _model(name: str | None) -> Kernel | None:
    from vmatrace import kernels

    try:
        return None if name is None else kernels.get_kernel(name)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@contextmanager
def _machine(boot: str | None) -> Iterator[Machine]:
    """The machine to verify on. What its kernel complained about is shown at the end."""
    from vmatrace.oracle.boot import BootedKernel, open_machine

    with open_machine(boot) as machine:
        if isinstance(machine, BootedKernel) and machine.why_emulated is not None:
            said = f"no KVM ({machine.why_emulated}): the kernel is emulated (TCG), which is slower"
            click.echo(f"vmatrace: note: {said}", err=True)
        yield machine
        if isinstance(machine, BootedKernel):
            for line in machine.warnings:
                click.echo(f"vmatrace: the kernel says: {line}", err=True)


def _probe(machine: Machine, out: Out) -> int:
    from vmatrace.verify import findings

    with out:
        out.write(findings.look(machine))
    return OK


def _traces(
    named: Sequence[str | TraceError],
    kernel: Kernel,
    machine: Machine,
    record: str | None,
    out: Out,
) -> int:
    from vmatrace.verify import verdict
    from vmatrace.verify.recording import RecordingWriter

    verdicts: list[Verdict] = []
    recorder = None if record is None else RecordingWriter(record, kernel, machine)

    def show(trace: Trace) -> int:
        outcome = verdict.verify(trace, kernel, machine)
        if recorder is not None and outcome.events:
            verdict.record(trace, recorder, machine)
        verdicts.append(outcome)
        out.write(outcome)
        sys.stdout.flush()
        return DIFFERS if outcome.differs else OK

    with out:
        status = each(named, show, refuse=out.refuse)
        if recorder is not None:
            recorder.close()
    nothing = verdicts and all(v.skipped and not v.events for v in verdicts)
    return BAD if nothing else status


def _replay_recordings(paths: tuple[str, ...], kernel: Kernel | None, out: Out) -> int:
    from vmatrace.commands.verify.question import OfRecording, Played
    from vmatrace.verify import verdict
    from vmatrace.verify.recording import Recording

    verdicts: list[Verdict] = []
    with out:
        for path in paths:
            recording = Recording(path)
            model = kernel or recording.kernel()
            for trace, played in recording.traces():
                verdicts.append(verdict.replay(trace, model, played))
                out.write(OfRecording(verdicts[-1]))
            out.write(Played(recording.header, verdicts, model.name))
    return DIFFERS if any(v.mismatch for v in verdicts) else OK


def _record_random(campaign: Campaign, machine: Machine, path: str, out: Out) -> int:
    from vmatrace.verify import campaign as campaigns

    events = campaigns.record(campaign, machine, path)
    click.echo(f"{path}: {campaign.programs} programs, {events} events", err=True)
    return _replay_recordings((path,), None, out)


def _random(
    campaign: Campaign, machine: Machine, jobs: int | None, exhibit: str | None, out: Out
) -> int:
    from vmatrace.commands.verify.progress import Progress
    from vmatrace.commands.verify.question import Outcome
    from vmatrace.verify import campaign as campaigns

    with out:
        out.write(campaign)
        sys.stdout.flush()
        total = campaigns.Total(campaign)
        with Progress(campaign) as bar:
            for tally in campaigns.run(campaign, machine, jobs):
                total.add(tally)
                bar.reached(total)
        outcome = Outcome(total)
        if total.failed is not None:
            reduced = campaigns.reduce(campaign, machine, total.failed, total.died is not None)
            if reduced is not None:
                written = exhibit or f"mismatch-{campaign.seed}-{total.failed}.yaml"
                files.write_file(written, campaigns.exhibit_text(campaign, total.failed, reduced))
                outcome = Outcome(total, reduced, written)
        out.write(outcome)
    return DIFFERS if total.failed is not None else OK
