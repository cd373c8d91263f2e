"""Audits as text: the totals, what could be one VMA by cause, and what is sure of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TextIO

from vmatrace import abi
from vmatrace.commands.audit import billtable, filltable, overview
from vmatrace.commands.audit.question import (
    LIKELY,
    POSSIBLE,
    Audit,
    LookalikeRun,
    Suspicion,
    by_cause,
)
from vmatrace.commands.audit.words import ACTIONS, BRIEFLY, SENTENCES, SERIES
from vmatrace.commands.form import Form
from vmatrace.kernels import Kernel
from vmatrace.layout import Mapping
from vmatrace.render import layouts, words
from vmatrace.render.paper import Paper

#: So many runs of each group are shown.
_RUNS: Final = 5


SUFFIXES: Final = (".txt",)
FOR_PEOPLE: Final = True


def form(out: TextIO, count: int) -> Form[Audit]:
    """All of one; of several a row each."""
    return _Table(out, count)


class _Table(Form[Audit]):
    def __init__(self, out: TextIO, count: int) -> None:
        from vmatrace.render import streams

        super().__init__(out, count)
        self._paper = streams.on(out)
        self._first: Audit | None = None
        self._rows: list[overview.AuditRow] = []

    def write(self, answer: Audit) -> None:
        self._first = answer if not self._rows else None
        self._rows.append(overview.row(answer))

    def finish(self) -> None:
        if self._first is not None:
            write(self._paper, self._first)
        elif self._rows:
            overview.write(self._paper, self._rows)


def write(paper: Paper, audit: Audit) -> None:
    """One snapshot."""
    kernel = audit.kernel
    model = f"  kernel {kernel.name}" if kernel is not None else "  kernel not known"
    paper.line((audit.snapshot.source, "title"), (model, "model"))
    name = audit.snapshot.process
    paper.paragraph((f"{name}: " if name else "") + _totals(audit))
    filltable.write_headroom(paper, audit)
    for note in _notes(audit):
        paper.paragraph(note, "warning")
    filltable.write(paper, audit)
    for causes, runs in by_cause(audit.runs).items():
        paper.line("")
        _write_group(paper, causes, runs)
    billtable.write(paper, audit)
    paper.line("")
    paper.paragraph(_verdict(audit), "failed" if audit.savable else "passed")
    if audit.by_ksm:
        pairs = words.plural(audit.by_ksm, "pair of neighbours", "pairs of neighbours")
        differs = "differs" if audit.by_ksm == 1 else "differ"
        paper.paragraph(
            f"{pairs} {differs} in mg alone: one would be saved for each if both had it, or neither"
        )
    if audit.special:
        pairs = words.plural(audit.special, "pair", "pairs")
        paper.paragraph(f"{pairs} of special mappings left out: they never merge", "quiet")


def _totals(audit: Audit) -> str:
    layout = audit.snapshot.layout
    size = words.size(sum(m.end - m.start for m in layout))
    share = f" ({100 * audit.mergeable // len(layout)}%)" if layout else ""
    return ", ".join(
        [
            words.plural(audit.vmas, "VMA"),
            size,
            f"{audit.mergeable} mergeable{share}" if audit.snapshot.flags_known
            else "mergeable not known",
        ]
    )  # fmt: skip


def _notes(audit: Audit) -> list[str]:
    """What could not be told from this snapshot."""
    notes = []
    if not audit.snapshot.flags_known:
        notes.append(
            "This snapshot is without VmFlags: whether neighbours differ in mg, in locking or "
            "in advice cannot be told. /proc/PID/smaps has them."
        )
    elif not audit.snapshot.counted:
        notes.append("Without the Anonymous counters it cannot be told what was written to.")
    if audit.foreign:
        codes = ", ".join(audit.foreign)
        notes.append(f"Not known among VmFlags: {codes}; who differs there is not alike.")
    if audit.kernel is None:
        notes.append("Of which kernel this is makes a difference; --kernel says it.")
    return notes


def _write_group(paper: Paper, causes: Sequence[Suspicion], runs: Sequence[LookalikeRun]) -> None:
    saved = sum(run.savable for run in runs)
    paper.line(
        (f"{words.plural(saved, 'VMA')} less", "title"),
        f" if these were one each ({words.plural(len(runs), 'run')})",
    )
    for run in runs[:_RUNS]:
        _write_run(paper, run)
    if len(runs) > _RUNS:
        paper.line("  ", (f"and {len(runs) - _RUNS} more (--format json has them all)", "quiet"))
    label = "  likely    "
    for name in (c.name for c in causes if c.confidence == LIKELY):
        paper.paragraph(SENTENCES[name], "warning", label, " " * 12)
        label = " " * 12
    possible = "; ".join(BRIEFLY[c.name] for c in causes if c.confidence == POSSIBLE)
    paper.paragraph(possible, "", "  possible  ", " " * 12)
    label = "  to do     "
    for action in (ACTIONS[c.name] for c in causes if c.confidence == LIKELY and c.name in ACTIONS):
        paper.paragraph(action, "good", label, " " * 12)
        label = " " * 12


def _write_run(paper: Paper, run: LookalikeRun) -> None:
    first = run.mappings[0]
    whole = Mapping(run.start, run.end, first.vm_flags, first.offset, first.name)
    layouts.write_row(
        paper, layouts.Columns([whole]), whole, f"  {words.plural(len(run.mappings), 'VMA')}: "
    )


def _verdict(audit: Audit) -> str:
    if not audit.savable:
        return "No neighbours that look alike are apart."
    saved = f"{words.plural(audit.savable, 'VMA')} of {audit.vmas} could be saved."
    late = sum(run.savable for run in audit.runs if run.mappings[0].vm_flags & abi.VM_MERGEABLE)
    if audit.kernel is None or not late:
        return saved
    if _before_series(audit.kernel):
        return (
            f"{saved} {late} of them have mg and differ in nothing that shows: the fingerprint of "
            f"KSM by default before {SERIES.release}, fixed by {SERIES.commit} "
            f'("{SERIES.subject}").'
        )
    return (
        f"{saved} This kernel has the KSM series ({SERIES.release}, {SERIES.commit}), so for "
        "the mg among them look at the other causes."
    )


def _before_series(kernel: Kernel) -> bool:
    return not kernel.has(SERIES)
