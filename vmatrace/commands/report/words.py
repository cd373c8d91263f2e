"""The words of a report that its text, its JSON and its page share."""

from __future__ import annotations

import os.path
from typing import Final

from vmatrace import abi
from vmatrace.calls import CALLS
from vmatrace.commands.report.patterns import Pattern
from vmatrace.commands.report.question import Count, Landmark, ProcessReport, Report
from vmatrace.event import format_flags
from vmatrace.render import lognotes, words

#: The remark where KSM by default was never in force.
OFF: Final = (
    "KSM by default is off in this trace, so the series changes nothing; "
    "--ksm shows what it costs with it."
)


def title(process: ProcessReport) -> str:
    """A process by name: ``main (python3)``."""
    program = os.path.basename(process.program)
    return process.pid + (f" ({program})" if program else "")


def call_words(pattern: Pattern) -> str:
    """A kind of call: ``mmap 4K, rw-p, anonymous, MAP_FIXED``."""
    if pattern.merged_kinds:
        return f"{pattern.call}, kinds beyond the first thousands"
    said = [pattern.call]
    if pattern.largest:
        small, large = words.size(pattern.smallest), words.size(pattern.largest)
        said[0] += f" {small}" if small == large else f" {small}-{large}"
    params = CALLS[pattern.call].params
    flags = {params[i].name: (value, params[i].families) for i, value in pattern.flags}
    prot = flags.pop("prot", None)
    kind = flags.get("flags", (0, ()))[0] & abi.MAP_TYPE if pattern.call == "mmap" else None
    if prot is not None:
        letters = "".join(
            x if prot[0] & bit else "-" for x, bit in zip("rwx", (1, 2, 4), strict=True)
        )
        said.append(letters + ("" if kind is None else "p" if kind == abi.MAP_PRIVATE else "s"))
    if pattern.backing:
        said.append(pattern.backing)
    for value, families in flags.values():
        if pattern.call == "mmap":
            value &= ~(abi.MAP_TYPE | abi.MAP_ANONYMOUS | abi.MAP_DENYWRITE | abi.MAP_EXECUTABLE)
        if value or pattern.call != "mmap":
            said.append(format_flags(value, families))
    return ", ".join(said)


def limit_words(count: Count) -> str:
    """Where max_map_count stops the process: ``hit in line 65561``."""
    return "not hit" if count.limit_at is None else f"hit in line {count.limit_at.line}"


def at_words(moment: Landmark) -> str:
    """The place of an event: ``line 12``."""
    return f"line {moment.line}" if moment.number else "the start"


def change(before: int, after: int) -> str:
    """How a number changed: ``-4600 (-61%)``."""
    if before == after:
        return "="
    share = f" ({(after - before) / before:+.0%})" if before else ""
    return f"{after - before:+}{share}"


def share(part: int, whole: int) -> str:
    """``7 (58%)``."""
    return f"{part} ({part / whole:.0%})" if whole else "0"


def remarks(found: Report) -> list[str]:
    """What a reader has to know of how the numbers came to be."""
    said = []
    if found.forced:
        said.append("What if (--ksm): KSM by default is in force from the start.")
    elif found.forced is False:
        said.append("What if (--no-ksm): the trace starts without KSM by default.")
    if not found.ksm:
        said.append(OFF)
    if any(count.limit_at for side in (0, 1) for count in found.counts(side)):
        said.append("All counts are those without max_map_count.")
    for result in found.results:
        if result.diverged:
            differ = "differs" if result.diverged == 1 else "differ"
            diverged = words.plural(result.diverged, "recorded result")
            said.append(f"Under {result.kernel} {diverged} {differ} from the model's.")
    if found.trace.partial:
        said += _log_remarks(found)
    return said


def _log_remarks(found: Report) -> list[str]:
    notes = found.trace.notes
    said = list(notes.assumed) if notes is not None else []
    assumed = max(result.assumed for result in found.results)
    if assumed:
        said.append(f"{words.plural(assumed, 'mapping')} that the log never showed were assumed.")
    for text in lognotes.failures(found.results[0]):
        said.append(f"{text[0].upper()}{text[1:]}.")
    if notes is not None and notes.misread_count:
        said.append(f"{words.plural(notes.misread_count, 'line')} were not understood.")
    return said


def names(found: Report) -> tuple[str, str]:
    """The names of the two models."""
    return found.results[0].kernel, found.results[1].kernel
