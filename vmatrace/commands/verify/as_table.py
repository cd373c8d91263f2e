"""Verification in words: verdicts, the mismatch with both layouts side by side, what was probed.

Knows how to say it; the values come from vmatrace.verify.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import zip_longest
from typing import Final, TextIO

from vmatrace import abi, kernels
from vmatrace.calls import CALLS
from vmatrace.commands.form import Form
from vmatrace.commands.verify.question import OfRecording, Outcome, Played, Verified
from vmatrace.escape import visible
from vmatrace.event import format_result
from vmatrace.layout import Layout, Mapping
from vmatrace.oracle import KernelDied
from vmatrace.render import words
from vmatrace.render.layouts import ORDINARY
from vmatrace.render.paper import Paper
from vmatrace.render.streams import on
from vmatrace.verify.campaign import Campaign
from vmatrace.verify.findings import Findings
from vmatrace.verify.verdict import Verdict
from vmatrace.verify.witness import Mismatch, first_difference

SUFFIXES: Final = (".txt",)
FOR_PEOPLE: Final = True
#: Columns of the two layouts where the paper has no edge.
_WIDTH: Final = 80
_STYLES: Final = {
    "exact": "good", "mismatch": "failed", "died": "failed", "skipped": "warning",
}  # fmt: skip


def form(out: TextIO, count: int) -> Form[Verified]:
    """One answer after the other, and of several traces the total."""
    return _Table(out, count)


class _Table(Form[Verified]):
    def __init__(self, out: TextIO, count: int) -> None:
        super().__init__(out, count)
        self._paper = on(out)
        self._verdicts: list[Verdict] = []

    def write(self, answer: Verified) -> None:
        paper = self._paper
        if isinstance(answer, Verdict):
            self._verdicts.append(answer)
            write(paper, answer)
        elif isinstance(answer, OfRecording):
            write_of_recording(paper, answer)
        elif isinstance(answer, Played):
            write_recording(paper, answer)
        elif isinstance(answer, Campaign):
            write_campaign(paper, answer)
        elif isinstance(answer, Outcome):
            write_outcome(paper, answer)
        else:
            write_findings(paper, answer)

    def finish(self) -> None:
        if len(self._verdicts) > 1:
            write_total(self._paper, self._verdicts)


def write(paper: Paper, verdict: Verdict) -> None:
    """One verdict: a line, and for a mismatch what differs."""
    head = f"{verdict.word:<8}  "
    events = words.plural(verdict.events, "event")
    if verdict.mismatch is not None:
        paper.line((head, _STYLES[verdict.word]), verdict.path)
        write_mismatch(paper, verdict.mismatch, verdict.kernel)
    elif verdict.died is not None:
        paper.line((head, _STYLES[verdict.word]), verdict.path)
        after = f"after {events} the" if verdict.events else "the"
        paper.paragraph(f"{after} kernel {verdict.died.how}", "bad", " " * 10, " " * 10)
        _write_console(paper, verdict.died)
    elif verdict.skipped is not None:
        paper.line((head, _STYLES[verdict.word]), verdict.path)
        after = f"after {events}: " if verdict.events else ""
        paper.paragraph(after + verdict.skipped, "quiet", " " * 10, " " * 10)
    else:
        paper.line((head, _STYLES[verdict.word]), f"{verdict.path}: {events}")


def write_of_recording(paper: Paper, answer: OfRecording) -> None:
    """The same; nothing of a trace that is exact, for there are very many."""
    if answer.verdict.word != "exact":
        write(paper, answer.verdict)


def _write_console(paper: Paper, died: KernelDied) -> None:
    """The last lines of the kernel's console."""
    paper.line("")
    for line in died.console:
        paper.line("    ", (visible(line), "quiet"))
    paper.line("")


def write_total(paper: Paper, verdicts: list[Verdict]) -> None:
    """The last line of a run over several traces, one or more."""
    count = {word: sum(v.word == word for v in verdicts) for word in _STYLES}
    events = words.plural(sum(v.events for v in verdicts), "event")
    paper.line("")
    died = f"{count['died']} ended it, " if count["died"] else ""
    paper.paragraph(
        f"{count['exact']} exact, {words.plural(count['mismatch'], 'mismatch', 'mismatches')}, "
        f"{died}{count['skipped']} skipped: {events} on {verdicts[0].where} equal "
        f"{verdicts[0].kernel}."
    )


# --- a mismatch -----------------------------------------------------------------------------------


def write_mismatch(paper: Paper, mismatch: Mismatch, kernel: str) -> None:
    """The event, the first field that differs, and both layouts side by side."""
    event = mismatch.event
    whose = "" if mismatch.pid == "main" else f" in process {mismatch.pid}"
    paper.line("")
    paper.paragraph(
        f"event {mismatch.index + 1}, line {event.line}{whose}: {event.text}", "title", "  ", "    "
    )
    paper.paragraph(f"{_difference(mismatch)}", "bad", "  ", "    ")
    if mismatch.model_layout or mismatch.kernel_layout:
        paper.line("")
        _write_layouts(paper, mismatch, kernel)
    paper.line("")


def _difference(mismatch: Mismatch) -> str:
    """Which field differs and how, as a sentence."""
    if mismatch.field == "result":
        kind = CALLS[mismatch.event.name].result
        modelled, actual = (format_result(r, kind) for r in (mismatch.modelled, mismatch.actual))
        return f"the result differs: the model has {modelled}, the kernel {actual}"
    row, field = first_difference(mismatch.model_layout, mismatch.kernel_layout)
    if field == "number of VMAs":
        counts = f"the model has {len(mismatch.model_layout)}, the kernel"
        return f"the number of VMAs differs: {counts} {len(mismatch.kernel_layout)}"
    ours, theirs = mismatch.model_layout[row], mismatch.kernel_layout[row]
    where = f"the {field} of VMA {row + 1} (at {theirs.start:x}) differs"
    if field in ("VmFlags", "vm_flags"):
        only_ours, only_theirs = ours.vm_flags & ~theirs.vm_flags, theirs.vm_flags & ~ours.vm_flags
        parts = [
            f"{words.flags(flags)} only in the {place}"
            for flags, place in ((only_ours, "model"), (only_theirs, "kernel"))
            if flags
        ]
        return f"{where}: {'; '.join(parts)}"
    a, b = (_field(m, field) for m in (ours, theirs))
    return f"{where}: the model has {a}, the kernel {b}"


def _field(mapping: Mapping, field: str) -> str:
    value = getattr(mapping, field)
    if isinstance(value, int):
        return f"{value:x}"
    return repr(value) if field == "name" else str(value)


def _write_layouts(paper: Paper, mismatch: Mismatch, kernel: str) -> None:
    width = paper.width if paper.width is not None else _WIDTH
    half = max((width - 7) // 2, 24)
    bar = paper.glyph("│", "|")
    paper.line("    ", (f"model ({kernel})".ljust(half)[:half], "quiet"), f" {bar} ",
               ("the kernel", "quiet"))  # fmt: skip
    for ours, theirs in _rows(mismatch.model_layout, mismatch.kernel_layout):
        differs = ours != theirs
        shown = ~_PLAIN | (ours.vm_flags ^ theirs.vm_flags if ours and theirs else 0)
        sides = [_folded(_cell(m, shown), half) for m in (ours, theirs)]
        for i, (left, right) in enumerate(zip_longest(*sides, fillvalue="")):
            mark = "  ! " if differs and i == 0 else "    "
            style = "bad" if differs else ""
            paper.line((mark, style), (left.ljust(half), style), f" {bar} ", (right, style))


def _folded(text: str, width: int) -> list[str]:
    """*text* in lines of at most *width* columns, those after the first indented."""
    return textwrap.wrap(visible(text), width, subsequent_indent="  ", break_on_hyphens=False)


def _cell(mapping: Mapping | None, shown: int) -> str:
    """One VMA in few columns: start, size, permissions, the flags in *shown*, backing."""
    if mapping is None:
        return "-"
    flags = " ".join(abi.vm_flag_codes(mapping.vm_flags & shown & ~abi.VM_SOFTDIRTY))
    offset = f"+{mapping.offset:x}" if mapping.offset else ""
    size = words.size(mapping.end - mapping.start)
    parts = [f"{mapping.start:08x}", f"{size:>5}", mapping.perms, flags, offset, mapping.name]
    return " ".join(part for part in parts if part)


#: Accounting is shown here, for two VMAs may differ in it alone.
_PLAIN: Final = ORDINARY & ~abi.VM_ACCOUNT


def _rows(ours: Layout, theirs: Layout) -> Iterator[tuple[Mapping | None, Mapping | None]]:
    """Both layouts row by row, those that start at one address beside each other."""
    left, right = {m.start: m for m in ours}, {m.start: m for m in theirs}
    for start in sorted({*left, *right}):
        yield left.get(start), right.get(start)


# --- what was probed ------------------------------------------------------------------------------


def write_findings(paper: Paper, findings: Findings) -> None:
    """What the experiments found, the nearest release, and what differs from it."""
    differing = findings.differing()
    paper.paragraph(f"This kernel is nearest to the model {findings.nearest.name}.", "title")
    if differing:
        paper.paragraph(
            f"It differs in {words.plural(len(differing), 'feature')}, marked with !; "
            f"it is compared with {findings.kernel.name}."
        )
    else:
        paper.paragraph("It differs from it in no feature that was probed.")
    paper.line("")
    width = max(map(len, kernels.FEATURES))
    for name, feature in kernels.FEATURES.items():
        found = findings.found.get(name)
        answer = "?  " if found is None else "yes" if found else "no "
        mark = "! " if name in differing else "  "
        style = "warning" if name in differing else "quiet" if found is None else ""
        start = f"{mark}{name:<{width}}  {answer}  "
        paper.paragraph(feature.summary, style, start, " " * len(start))
    paper.line("")
    paper.paragraph("?: no experiment decides it here; taken to be as in the nearest release.")


# --- random programs ------------------------------------------------------------------------------


def write_campaign(paper: Paper, campaign: Campaign) -> None:
    """What is about to be done, and how to repeat it."""
    paper.paragraph(
        f"Verifying {words.plural(campaign.programs, 'random program')} of about "
        f"{campaign.events} events against {campaign.kernel.name}, seed {campaign.seed}."
    )


def write_outcome(paper: Paper, outcome: Outcome) -> None:
    """The end of a campaign."""
    total, reduced = outcome.total, outcome.reduced
    rate = total.events / total.seconds if total.seconds else 0.0
    cut = f"; {words.plural(total.cut, 'program')} could not be run to the end" if total.cut else ""
    paper.paragraph(
        f"{total.events:,} events in {words.plural(total.programs, 'program')} are exact{cut} "
        f"({total.seconds:.1f} s, {rate:,.0f} events/s).",
        "" if total.failed is not None else "good",
    )
    if total.failed is None:
        return
    if total.died is not None:
        paper.paragraph(f"In program {total.failed} the kernel {total.died.how}.", "failed")
        _write_console(paper, total.died)
    else:
        paper.paragraph(f"Program {total.failed} is not.", "failed")
    if reduced is None:
        paper.paragraph(
            "It was exact when it was run again: what differs depends on something outside the "
            f"program. To try it again: {total.campaign.command()}"
        )
        return
    if isinstance(reduced.found, Mismatch):
        write_mismatch(paper, reduced.found, total.campaign.kernel.name)
    paper.paragraph(
        f"Reduced to {words.plural(len(reduced.events), 'event')}: {outcome.written}", "title"
    )


def write_recording(paper: Paper, played: Played) -> None:
    """The last line about a recording."""
    verdicts = played.verdicts
    differing = sum(v.mismatch is not None for v in verdicts)
    events = words.plural(sum(v.events for v in verdicts), "event")
    paper.paragraph(
        f"{words.plural(len(verdicts), 'trace')} recorded on {played.header.get('kernel')}: "
        f"{events} equal {played.kernel}, {words.plural(differing, 'mismatch', 'mismatches')}."
    )
