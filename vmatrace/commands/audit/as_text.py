"""Audits as text, and as JSON (format vmatrace-audit/1): one object on one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TextIO

from vmatrace import abi, kernels
from vmatrace.commands.audit.audit import (
    FAULTED_APART,
    FORKED,
    HIDDEN_FLAGS,
    LATE_FLAG,
    LIKELY,
    ONE_FAULTED,
    OPENED_TWICE,
    PGOFF,
    POLICY,
    POSSIBLE,
    UFFD,
    UNTRIED,
    Audit,
    Cause,
    Run,
    by_cause,
)
from vmatrace.kernels import Kernel
from vmatrace.layout import Mapping
from vmatrace.render import layouts, words
from vmatrace.render import paper as papers
from vmatrace.render.jsonform import encode, mapping_json
from vmatrace.render.paper import Paper

FORMAT: Final = "vmatrace-audit/1"
#: So many runs of each group are shown.
_RUNS: Final = 5

_SERIES: Final = kernels.KSM_BEFORE_MERGE
#: What each cause is, and what would be done about it.
SENTENCES: Final[dict[str, str]] = {
    LATE_FLAG: "VM_MERGEABLE (mg) was set after the merge had been tried without it",
    FAULTED_APART: "each was written to while they were apart, so each has an anon_vma of its own",
    ONE_FAULTED: "only one has been written to, and kernels before "
    f"{kernels.MERGE_UNFAULTED_TARGET.release} do not merge such a pair",
    OPENED_TWICE: "the file was opened twice, and each open() is a file of its own",
    FORKED: "their pages are shared with another process since a fork",
    PGOFF: "mremap() moved them here after they had been written to, which leaves them the page "
    "offset of where they were",
    POLICY: "they have different NUMA policies (mbind; /proc/PID/numa_maps shows them)",
    UFFD: "they are registered with different userfaultfds",
    HIDDEN_FLAGS: "flags differ that a maps text does not show",
    UNTRIED: "nothing separates them any more, but no call has tried to merge them",
}
#: The same in few words, for causes that are no more than possible.
BRIEFLY: Final[dict[str, str]] = {
    LATE_FLAG: "mg set late",
    FAULTED_APART: "written to while apart",
    ONE_FAULTED: "only one written to",
    OPENED_TWICE: "a file opened twice",
    FORKED: "shared with a forked process",
    PGOFF: "moved by mremap()",
    POLICY: "NUMA policies (mbind)",
    UFFD: "different userfaultfds",
    HIDDEN_FLAGS: "flags that are not shown",
    UNTRIED: "nothing, but no call tried to merge them",
}
ACTIONS: Final[dict[str, str]] = {
    LATE_FLAG: f"run a kernel with the KSM series ({_SERIES.release}, {_SERIES.commit})",
    FAULTED_APART: "map them as one, or write to them only when both are mapped",
    ONE_FAULTED: f"run a kernel of release {kernels.MERGE_UNFAULTED_TARGET.release} or later",
    OPENED_TWICE: "map both through one open()",
    HIDDEN_FLAGS: "look at /proc/PID/smaps, which shows them",
}


def write(out: TextIO, source: str, audit: Audit, assumed: bool) -> None:
    """The audit of *source*; *assumed*: max_map_count is the default, not what was read."""
    paper = papers.on(out)
    kernel = audit.kernel
    model = f"  kernel {kernel.name}" if kernel is not None else "  kernel not known"
    paper.line((source, "bold"), (model, "bold cyan"))
    paper.paragraph(_totals(audit, assumed))
    for note in _notes(audit):
        paper.paragraph(note, "yellow")
    for causes, runs in by_cause(audit.runs).items():
        paper.line("")
        _write_group(paper, causes, runs)
    paper.line("")
    paper.paragraph(_verdict(audit), "bold red" if audit.savable else "bold green")
    if audit.by_ksm:
        pairs = words.plural(audit.by_ksm, "pair of neighbours", "pairs of neighbours")
        differs = "differs" if audit.by_ksm == 1 else "differ"
        paper.paragraph(
            f"{pairs} {differs} in mg alone: one would be saved for each if both had it, or neither"
        )
    if audit.special:
        pairs = words.plural(audit.special, "pair", "pairs")
        paper.paragraph(f"{pairs} of special mappings left out: they never merge", "dim")


def _totals(audit: Audit, assumed: bool) -> str:
    layout = audit.snapshot.layout
    size = words.size(sum(m.end - m.start for m in layout))
    share = f" ({100 * audit.mergeable // len(layout)}%)" if layout else ""
    room = max(audit.max_map_count - audit.vmas, 0)
    return ", ".join(
        [
            words.plural(audit.vmas, "VMA"),
            size,
            f"{audit.mergeable} mergeable{share}" if audit.snapshot.flags_known
            else "mergeable not known",
            f"max_map_count {audit.max_map_count}{' (assumed)' if assumed else ''} leaves {room}",
        ]
    )  # fmt: skip


def _notes(audit: Audit) -> list[str]:
    """What could not be told from this snapshot."""
    notes = []
    if not audit.snapshot.flags_known:
        notes.append(
            "This is a maps text, without VmFlags: whether neighbours differ in mg, in locking or "
            "in advice cannot be told. /proc/PID/smaps has them."
        )
    elif not audit.snapshot.counted:
        notes.append("Without the Anonymous counters it cannot be told what was written to.")
    if audit.kernel is None:
        notes.append("Of which kernel this is makes a difference; --kernel says it.")
    return notes


def _write_group(paper: Paper, causes: Sequence[Cause], runs: Sequence[Run]) -> None:
    saved = sum(run.savable for run in runs)
    paper.line(
        (f"{words.plural(saved, 'VMA')} less", "bold"),
        f" if these were one each ({words.plural(len(runs), 'run')})",
    )
    for run in runs[:_RUNS]:
        _write_run(paper, run)
    if len(runs) > _RUNS:
        paper.line("  ", (f"and {len(runs) - _RUNS} more (--format json has them all)", "dim"))
    label = "  likely    "
    for name in (c.name for c in causes if c.confidence == LIKELY):
        paper.paragraph(SENTENCES[name], "yellow", label, " " * 12)
        label = " " * 12
    possible = "; ".join(BRIEFLY[c.name] for c in causes if c.confidence == POSSIBLE)
    paper.paragraph(possible, "", "  possible  ", " " * 12)
    label = "  to do     "
    for action in (ACTIONS[c.name] for c in causes if c.confidence == LIKELY and c.name in ACTIONS):
        paper.paragraph(action, "green", label, " " * 12)
        label = " " * 12


def _write_run(paper: Paper, run: Run) -> None:
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
            f"KSM by default before {_SERIES.release}, fixed by {_SERIES.commit} "
            f'("{_SERIES.subject}").'
        )
    return (
        f"{saved} This kernel has the KSM series ({_SERIES.release}, {_SERIES.commit}), so for "
        "the mg among them look at the other causes."
    )


def _before_series(kernel: Kernel) -> bool:
    return not kernel.has(_SERIES)


def write_json(out: TextIO, source: str, audit: Audit, assumed: bool) -> None:
    """The same with every run."""
    snapshot = audit.snapshot
    document = {
        "format": FORMAT,
        "source": source,
        "kernel": audit.kernel.name if audit.kernel is not None else None,
        "flags_known": snapshot.flags_known,
        "anonymous_known": snapshot.counted,
        "vmas": audit.vmas,
        "mergeable": audit.mergeable if snapshot.flags_known else None,
        "max_map_count": audit.max_map_count,
        "max_map_count_assumed": assumed,
        "headroom": max(audit.max_map_count - audit.vmas, 0),
        "savable": audit.savable,
        "differ_by_mergeable": audit.by_ksm,
        "special": audit.special,
        "runs": [_run(run) for run in audit.runs],
    }
    out.write(encode(document) + "\n")


def _run(run: Run) -> dict[str, Any]:
    return {
        "start": run.start,
        "end": run.end,
        "savable": run.savable,
        "causes": [{"cause": c.name, "confidence": c.confidence} for c in run.causes],
        "vmas": [{**mapping_json(m), "anonymous": m.faulted} for m in run.mappings],
    }
