"""The command `vmatrace verify`."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from vmatrace.commands import forms, options
from vmatrace.commands.inputs import BAD, DIFFERS, OK, each, sources

if TYPE_CHECKING:
    from vmatrace.commands.verify.question import Verified
    from vmatrace.diagnostic import TraceError
    from vmatrace.kernels import Kernel
    from vmatrace.trace.file import Trace
    from vmatrace.verify.campaign import Campaign
    from vmatrace.verify.verdict import Verdict

    Out = forms.Forms[Verified]


@click.command(
    "verify",
    short_help="Compare the model with the running kernel.",
    epilog="""\b
Examples:
  vmatrace verify trace.yaml              every VMA after every event
  vmatrace verify traces/                 all traces below a directory
  vmatrace verify --random 1000           random programs, from a fresh seed
  vmatrace verify --random 1000 --seed 7  the same programs again
  vmatrace verify --probe                 which model this kernel is
  vmatrace verify --random 300 --record kernel.jsonl.xz
  vmatrace verify --replay-recording kernel.jsonl.xz

\b
The calls run in processes of their own, which cannot touch the memory or the
files of others and do not outlive the command. Needs Linux (x86-64, aarch64)
and the right to trace one's own children; no root.
What a trace recorded or expects plays no part here (see `vmatrace check`).

\b
Exit status: 0 exact; 1 a mismatch; 2 bad usage, bad input, or nothing could be
verified because something is missing. A trace that needs what this machine has
not (a file system, a sysctl, a starting layout) is skipped, and said to be; if
all are, the exit status is 2.""",
)
@click.argument("traces", metavar="[TRACE...]", nargs=-1, shell_complete=options.complete_files)
@click.option("-k", "--kernel", metavar="MODEL", shell_complete=options.Model().shell_complete,
              help="Compare with this model.  [default: the one found by experiments]")  # fmt: skip
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
    """Run traces on the running kernel and compare every VMA after every event with the model.

    TRACE is a file, a directory (all *.yaml below it) or - for standard input.
    """
    from vmatrace.commands.verify.question import Verified
    from vmatrace.oracle import Unavailable
    from vmatrace.verify.recording import RecordingError

    tasks = bool(traces) + (programs is not None) + probe + bool(recordings)
    if tasks != 1:
        raise click.UsageError(
            "expected one of TRACE..., --random N, --probe and --replay-recording FILE"
        )
    if record is not None and (probe or recordings):
        raise click.UsageError("--record goes with TRACE... and --random N")
    model = _model(kernel)
    named = sources(traces)
    out = forms.Forms[Verified](__package__, wanted, len(named))
    try:
        if recordings:
            return _replay_recordings(recordings, model, out)
        if probe:
            return _probe(out)
        model = model or _running_kernel()
        if programs is not None:
            from vmatrace.verify.campaign import Campaign

            seed = seed if seed is not None else secrets.token_hex(4)
            campaign = Campaign(seed, programs, events, model, kernel)
            if record is not None:
                return _record_random(campaign, record, out)
            return _random(campaign, jobs, exhibit, out)
        return _traces(named, model, record, out)
    except (Unavailable, RecordingError) as error:
        sys.stdout.flush()
        click.echo(f"vmatrace: error: {error}", err=True)
        return BAD


def _model(name: str | None) -> Kernel | None:
    from vmatrace import kernels

    try:
        return None if name is None else kernels.get_kernel(name)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _running_kernel() -> Kernel:
    from vmatrace.verify import findings

    return findings.look().kernel


def _probe(out: Out) -> int:
    from vmatrace.verify import findings

    with out:
        out.write(findings.look())
    return OK


def _traces(named: Sequence[str | TraceError], kernel: Kernel, record: str | None, out: Out) -> int:
    from vmatrace.verify import verdict
    from vmatrace.verify.recording import RecordingWriter

    verdicts: list[Verdict] = []
    recorder = None if record is None else RecordingWriter(record, kernel)

    def show(trace: Trace) -> int:
        outcome = verdict.verify(trace, kernel)
        if recorder is not None and not (outcome.skipped and not outcome.events):
            verdict.record(trace, recorder)
        verdicts.append(outcome)
        out.write(outcome)
        sys.stdout.flush()
        return DIFFERS if outcome.mismatch else OK

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


def _record_random(campaign: Campaign, path: str, out: Out) -> int:
    from vmatrace.verify import campaign as campaigns

    events = campaigns.record(campaign, path)
    click.echo(f"{path}: {campaign.programs} programs, {events} events", err=True)
    return _replay_recordings((path,), None, out)


def _random(campaign: Campaign, jobs: int | None, exhibit: str | None, out: Out) -> int:
    from vmatrace.commands.verify.progress import Progress
    from vmatrace.commands.verify.question import Outcome
    from vmatrace.verify import campaign as campaigns

    with out:
        out.write(campaign)
        sys.stdout.flush()
        total = campaigns.Total(campaign)
        with Progress(campaign) as bar:
            for tally in campaigns.run(campaign, jobs):
                total.add(tally)
                bar.reached(total)
        outcome = Outcome(total)
        if total.failed is not None:
            reduced = campaigns.reduce(campaign, total.failed)
            if reduced is not None:
                written = exhibit or f"mismatch-{campaign.seed}-{total.failed}.yaml"
                _write(written, campaigns.exhibit_text(campaign, total.failed, reduced))
                outcome = Outcome(total, reduced, written)
        out.write(outcome)
    return DIFFERS if total.failed is not None else OK


def _write(path: str, text: str) -> None:
    """Raises forms.CannotWriteError."""
    from vmatrace.atomic import AtomicFile

    try:
        file = AtomicFile(path)
        file.stream.write(text)
        file.commit()
    except OSError as error:
        raise forms.CannotWriteError(path, error) from None
