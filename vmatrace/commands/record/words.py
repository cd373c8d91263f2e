"""What is said of a recording: on standard error, and in the comment above the trace."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from signal import Signals
from typing import TYPE_CHECKING, Final

from vmatrace.calls import CALLS
from vmatrace.event import format_result
from vmatrace.render import words

if TYPE_CHECKING:
    from vmatrace.commands.record.budget import Budgeted
    from vmatrace.record.session import Recorded
    from vmatrace.render.paper import Paper
    from vmatrace.replayer.result import Result

#: So many differences are shown of each kind.
_MOST: Final = 10


def remark(command: str, kernel: str, model: str, machine: str, said: Sequence[str] = ()) -> str:
    """The comment above a trace: how it came to be. *model* is the one found by experiments.

    *said* is what a reader has to know (remarks()).
    """
    return "\n".join([_origin(command, kernel, model, machine), *said])


def _origin(command: str, kernel: str, model: str, machine: str) -> str:
    return (
        f"Recorded by\n    {command}\n"
        f"on Linux {kernel} ({machine}), which is {model} to vmatrace. Every process carries the "
        "layout that the kernel showed at its end and before each exec as an expectation. Threads "
        "are part of their process."
    )


def command_line(ksm: bool, still: bool, arguments: Sequence[str], pid: int | None) -> str:
    """The command line that makes such a recording."""
    if pid is not None:
        return f"vmatrace record -p {pid}"
    options = f"{'--ksm ' if ksm else ''}{'--no-aslr ' if still else ''}"
    return f"vmatrace record {options}-- {shlex.join(arguments)}"


def outcome(path: str, recorded: Recorded) -> str:
    """Where the trace went and what it holds."""
    text = (
        f"{path}: {words.plural(recorded.events, 'event')} of "
        f"{words.plural(recorded.processes, 'process', 'processes')}, "
        f"{words.plural(recorded.faults, 'fault')}"
    )
    if recorded.signal:
        text += f"; nothing after {Signals(recorded.signal).name} was recorded"
    return text


def remarks(recorded: Recorded) -> list[str]:
    """What a reader of the trace has to know, one sentence each."""
    said = []
    if recorded.foreign:
        said.append(
            f"{words.plural(len(recorded.foreign), 'program')} of 32 bits, or not readable to this "
            f"user, whose memory calls are not in the trace: {_some(recorded.foreign)}"
        )
    if recorded.unfollowed:
        said.append(
            f"memory was changed by what is not followed, and no event of the trace says how: "
            f"{_some(recorded.unfollowed)}"
        )
    if recorded.surrendered:
        said.append(
            f"{words.plural(len(recorded.surrendered), 'process', 'processes')} traced by another "
            "program from some point on (or sharing memory with one), and recorded up to there: "
            f"{', '.join(recorded.surrendered)}"
        )
    if recorded.forgotten:
        said.append(
            f"{words.plural(recorded.forgotten, 'open file')} too many for RLIMIT_NOFILE "
            "(ulimit -n): mapped again, such a file counts as another one"
        )
    if recorded.unknown:
        said.append(
            f"file systems unknown to the model, taken for drivers with only .mmap(): "
            f"{', '.join(recorded.unknown)}"
        )
    return said


def _some(names: Sequence[str]) -> str:
    """Each of *names* once, as many as a reader wants to see."""
    once = list(dict.fromkeys(names))
    return ", ".join(once[:_MOST]) + (f" and {len(once) - _MOST} more" * (len(once) > _MOST))


def write_differences(paper: Paper, result: Result) -> None:
    """Where the replay of a recording is not what was recorded."""
    from vmatrace.render import summary

    for divergence in result.divergences[:_MOST]:
        event = divergence.event
        kind = CALLS[event.name].result
        paper.line(
            f"  {result.path}:{event.line}: {event.text}: recorded "
            f"{format_result(divergence.recorded, kind)}, modelled ",
            (format_result(divergence.modelled, kind), "bad"),
        )
    for failure in result.failures[:_MOST]:
        summary.write_failure(paper, result.path, failure)


def write_budget(paper: Paper, budgeted: Budgeted, kernel: str) -> None:
    """The counts that are not as the budget has them."""
    from vmatrace.render import summary

    for failure in budgeted.failures:
        summary.write_failure(paper, budgeted.path, failure, (kernel,))


def budget_verdict(budgeted: Budgeted) -> str:
    """How a program kept to its budget."""
    held = budgeted.counts - len(budgeted.failures)
    return f"budget {budgeted.path}: {held} of {words.plural(budgeted.counts, 'count')} held"


def verdict(result: Result, layouts: int) -> str:
    """How the replay of a recording went."""
    if not result.failures and not result.diverged:
        refused = f" ({result.believed} refused by the machine, believed)" * bool(result.believed)
        return f"check: exact, {words.plural(layouts, 'layout')} and every result{refused}"
    return (
        f"check: {len(result.failures)} of {words.plural(layouts, 'layout')} and "
        f"{words.plural(result.diverged, 'result')} differ (- recorded, + modelled)"
    )
