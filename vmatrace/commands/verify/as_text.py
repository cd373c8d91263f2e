"""Verification in words: verdicts, the mismatch with both layouts side by side, what was probed.

Knows how to say it; the values come from vmatrace.verify, as tables for people or JSON.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any, Final, TextIO

from vmatrace import abi, kernels
from vmatrace.event import CALLS, format_result
from vmatrace.layout import Layout, Mapping
from vmatrace.render import words
from vmatrace.render.jsonform import encode, errno_name, layout_json
from vmatrace.render.layouts import ORDINARY
from vmatrace.render.paper import Paper, visible
from vmatrace.verify.campaign import Campaign, Reduced, Total
from vmatrace.verify.findings import Findings
from vmatrace.verify.verdict import Verdict
from vmatrace.verify.witness import Mismatch, first_difference

FORMAT: Final = "vmatrace-verify/1"
#: Columns of the two layouts where the paper has no edge.
_WIDTH: Final = 80
_STYLES: Final = {"exact": "green", "mismatch": "bold red", "skipped": "yellow"}


def write(paper: Paper, verdict: Verdict) -> None:
    """One verdict: a line, and for a mismatch what differs."""
    head = f"{verdict.word:<8}  "
    events = words.plural(verdict.events, "event")
    if verdict.mismatch is not None:
        paper.line((head, _STYLES[verdict.word]), verdict.path)
        write_mismatch(paper, verdict.mismatch, verdict.kernel)
    elif verdict.skipped is not None:
        paper.line((head, _STYLES[verdict.word]), verdict.path)
        after = f"after {events}: " if verdict.events else ""
        paper.paragraph(after + verdict.skipped, "dim", " " * 10, " " * 10)
    else:
        paper.line((head, _STYLES[verdict.word]), f"{verdict.path}: {events}")


def write_total(paper: Paper, verdicts: list[Verdict], kernel: str) -> None:
    """The last line of a run over several traces."""
    count = {word: sum(v.word == word for v in verdicts) for word in _STYLES}
    events = words.plural(sum(v.events for v in verdicts), "event")
    paper.line("")
    paper.paragraph(
        f"{count['exact']} exact, {words.plural(count['mismatch'], 'mismatch', 'mismatches')}, "
        f"{count['skipped']} skipped: {events} on the running kernel equal {kernel}."
    )


# --- a mismatch -----------------------------------------------------------------------------------


def write_mismatch(paper: Paper, mismatch: Mismatch, kernel: str) -> None:
    """The event, the first field that differs, and both layouts side by side."""
    event = mismatch.event
    whose = "" if mismatch.pid == "main" else f" in process {mismatch.pid}"
    paper.line("")
    paper.paragraph(
        f"event {mismatch.index + 1}, line {event.line}{whose}: {event.text}", "bold", "  ", "    "
    )
    paper.paragraph(f"{_difference(mismatch)}", "red", "  ", "    ")
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
    paper.line("    ", (f"model ({kernel})".ljust(half)[:half], "dim"), f" {bar} ",
               ("the running kernel", "dim"))  # fmt: skip
    for ours, theirs in _rows(mismatch.model_layout, mismatch.kernel_layout):
        differs = ours != theirs
        shown = ~_PLAIN | (ours.vm_flags ^ theirs.vm_flags if ours and theirs else 0)
        sides = [_folded(_cell(m, shown), half) for m in (ours, theirs)]
        for i, (left, right) in enumerate(zip_longest(*sides, fillvalue="")):
            mark = "  ! " if differs and i == 0 else "    "
            style = "red" if differs else ""
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
    paper.paragraph(f"This kernel is nearest to the model {findings.nearest.name}.", "bold")
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
        style = "yellow" if name in differing else "dim" if found is None else ""
        start = f"{mark}{name:<{width}}  {answer}  "
        paper.paragraph(feature.summary, style, start, " " * len(start))
    paper.line("")
    paper.paragraph("?: no experiment decides it here; taken to be as in the nearest release.")


def write_findings_json(out: TextIO, findings: Findings) -> None:
    """The same as one object on one line."""
    document = {
        "format": "vmatrace-probe/1",
        "nearest": findings.nearest.name,
        "kernel": findings.kernel.name,
        "differing": findings.differing(),
        "features": {name: findings.found.get(name) for name in kernels.FEATURES},
    }
    out.write(encode(document) + "\n")


# --- random programs ------------------------------------------------------------------------------


def write_campaign(paper: Paper, campaign: Campaign) -> None:
    """What is about to be done, and how to repeat it."""
    paper.paragraph(
        f"Verifying {words.plural(campaign.programs, 'random program')} of about "
        f"{campaign.events} events against {campaign.kernel.name}, seed {campaign.seed}."
    )


def write_outcome(paper: Paper, total: Total, reduced: Reduced | None, written: str | None) -> None:
    """The end of a campaign. *written*: where the exhibit of the mismatch is."""
    rate = total.events / total.seconds if total.seconds else 0.0
    cut = f"; {words.plural(total.cut, 'program')} could not be run to the end" if total.cut else ""
    paper.paragraph(
        f"{total.events:,} events in {words.plural(total.programs, 'program')} are exact{cut} "
        f"({total.seconds:.1f} s, {rate:,.0f} events/s).",
        "" if total.failed is not None else "green",
    )
    if total.failed is None:
        return
    paper.paragraph(f"Program {total.failed} is not.", "bold red")
    if reduced is None:
        paper.paragraph(
            "It was exact when it was run again: what differs depends on something outside the "
            f"program. To try it again: {total.campaign.command()}"
        )
        return
    write_mismatch(paper, reduced.mismatch, total.campaign.kernel.name)
    paper.paragraph(f"Reduced to {words.plural(len(reduced.events), 'event')}: {written}", "bold")


def write_recording(
    paper: Paper, header: dict[str, Any], verdicts: list[Verdict], kernel: str
) -> None:
    """The last line about a recording."""
    differing = sum(v.mismatch is not None for v in verdicts)
    events = words.plural(sum(v.events for v in verdicts), "event")
    paper.paragraph(
        f"{words.plural(len(verdicts), 'trace')} recorded on {header.get('kernel')}: {events} "
        f"equal {kernel}, {words.plural(differing, 'mismatch', 'mismatches')}."
    )


class Progress:
    """A bar on standard error while a campaign runs: on a terminal only, after a second."""

    def __init__(self, campaign: Campaign) -> None:
        self._campaign = campaign
        self._wanted = sys.stderr.isatty()
        self._bar: Any = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def reached(self, total: Total) -> None:
        """Show how far it is."""
        if not self._wanted or total.seconds < 1:
            return
        if self._bar is None:
            self._bar = self._open()
        rate = f"{total.events / total.seconds:,.0f} events/s"
        task = self._bar.task_ids[0]
        self._bar.update(task, completed=total.programs, description=rate, refresh=True)

    def _open(self) -> Any:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        bar = Bar(
            TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
            TimeRemainingColumn(), console=Console(stderr=True), transient=True,
            auto_refresh=False,
        )  # fmt: skip
        bar.add_task("", total=self._campaign.programs)
        bar.start()
        return bar


# --- JSON -----------------------------------------------------------------------------------------


def write_json(out: TextIO, verdict: Verdict) -> None:
    """One verdict as one object on one line."""
    document = {
        "format": FORMAT,
        "trace": verdict.trace,
        "path": verdict.path,
        "kernel": verdict.kernel,
        "verdict": verdict.word,
        "events": verdict.events,
        "skipped": verdict.skipped,
        "mismatch": None if verdict.mismatch is None else mismatch_json(verdict.mismatch),
    }
    out.write(encode(document) + "\n")


def mismatch_json(mismatch: Mismatch) -> dict[str, Any]:
    """Results as in vmatrace-replay: -errno and its name."""
    return {
        "index": mismatch.index,
        "line": mismatch.event.line,
        "pid": mismatch.pid,
        "call": mismatch.event.text,
        "field": mismatch.field,
        "modelled": mismatch.modelled,
        "modelled_errno": errno_name(mismatch.modelled),
        "actual": mismatch.actual,
        "actual_errno": errno_name(mismatch.actual),
        "model_layout": layout_json(mismatch.model_layout),
        "kernel_layout": layout_json(mismatch.kernel_layout),
    }


def write_total_json(
    out: TextIO, total: Total, reduced: Reduced | None, written: str | None
) -> None:
    """A campaign as one object on one line."""
    document = {
        "format": FORMAT,
        "kernel": total.campaign.kernel.name,
        "seed": total.campaign.seed,
        "programs": total.programs,
        "events": total.events,
        "cut": total.cut,
        "seconds": round(total.seconds, 3),
        "verdict": "exact" if total.failed is None else "mismatch",
        "program": total.failed,
        "exhibit": written,
        "mismatch": None if reduced is None else mismatch_json(reduced.mismatch),
    }
    out.write(encode(document) + "\n")
