"""A trace under several models, release by release: table, JSON, Markdown."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from typing import Any, Final, TextIO

from vmatrace.commands.diff import as_markdown
from vmatrace.commands.diff.across import Across, Row
from vmatrace.commands.diff.attribution import Cause, Parting
from vmatrace.event import CALLS, format_result
from vmatrace.render import words
from vmatrace.render.jsonform import encode, errno_name
from vmatrace.render.paper import Paper, visible

FORMAT: Final = "vmatrace-across/1"
_HEADS: Final = ("VMAs", "mergeable", "peak")
_WIDTH: Final = 100


def names(row: Row) -> str:
    """The models of a row: ``6.4 - 6.6`` for releases, else a list."""
    if len(row.models) > 1 and all(name[0].isdigit() for name in row.models):
        return f"{row.models[0]} - {row.models[-1]}"
    return ", ".join(row.models)


def write(paper: Paper, found: Across) -> None:
    """One trace as a table; below each row what made it differ from the one before."""
    equal = ("  equal", "bold green") if found.equal else ""
    paper.line((found.trace, "bold"), equal)
    if found.description:
        paper.paragraph(" ".join(found.description.split()), "dim")
    width = max(len("model"), *(len(names(row)) for row in found.rows))
    heads = "  ".join(head.rjust(9) for head in _HEADS)
    paper.line((f"  {'model':<{width}}{heads}", "dim"))
    for row in found.rows:
        counts = "  ".join(f"{n:>9}" for n in (row.vmas, row.mergeable, row.peak_vmas))
        paper.line("  ", (names(row).ljust(width), "bold" if row.first else ""), counts)
        if row.first is not None:
            paper.paragraph(_parting(row.first), "", "    ", "        ")
        for cause in row.causes:
            _write_cause(paper, row, cause)


def _parting(first: Parting) -> str:
    event = first.event
    process = "" if event.pid == "main" else f"[{event.pid}] "
    return f"from line {event.line} on: {process}{event.text}{_results(first)}"


def _results(first: Parting) -> str:
    kind = CALLS[first.event.name].result
    before, after = (format_result(result, kind) for result in first.results)
    return f" = {after}" if before == after else f" = {after}, before: {before}"


def _write_cause(paper: Paper, row: Row, cause: Cause) -> None:
    sign = "+" if cause.added else "-"
    where = ""
    if not cause.alone:
        where = " (only together with the others)"
    elif cause.first is not None and row.first is not None and cause.first.index != row.first.index:
        where = f" (from line {cause.first.event.line} on)"
    text = f"{cause.feature.name}{where}: {cause.feature.summary}"
    paper.paragraph(text, "green" if cause.added else "red", f"    {sign} ", "      ")
    paper.paragraph(source(cause), "dim", "      ", "      ")


def source(cause: Cause) -> str:
    """The commit of a feature, or why there is none, and the note about it."""
    feature = cause.feature
    parts = []
    if feature.commit is not None:
        release = f", in {feature.release}" if feature.release else ""
        came = "" if cause.added else "came with "
        parts.append(f'{came}{feature.commit} ("{feature.subject}"){release}')
    if feature.note:
        parts.append(feature.note)
    return "; ".join(parts)


# --- JSON -----------------------------------------------------------------------------------------


def write_json(out: TextIO, found: Across) -> None:
    """One trace as one object on one line."""
    document = {
        "format": FORMAT,
        "trace": found.trace,
        "path": found.path,
        "equal": found.equal,
        "rows": [_row(row) for row in found.rows],
    }
    out.write(encode(document) + "\n")


def _row(row: Row) -> dict[str, Any]:
    """``first`` and ``causes`` are about the difference from the row before."""
    return {
        "models": row.models,
        "vmas": row.vmas,
        "mergeable": row.mergeable,
        "peak_vmas": row.peak_vmas,
        "first": None if row.first is None else _first(row.first),
        "causes": [_cause(cause) for cause in row.causes],
    }


def _first(first: Parting) -> dict[str, Any]:
    event = first.event
    return {
        "index": first.index,
        "line": event.line,
        "pid": event.pid,
        "call": event.text,
        "results": [{"result": r, "errno": errno_name(r)} for r in first.results],
    }


def _cause(cause: Cause) -> dict[str, Any]:
    feature = cause.feature
    return {
        "feature": feature.name,
        "added": cause.added,
        "alone": cause.alone,
        "line": None if cause.first is None else cause.first.event.line,
        "index": None if cause.first is None else cause.first.index,
        "summary": feature.summary,
        "commit": feature.commit,
        "subject": feature.subject,
        "release": feature.release,
        "where": feature.where,
        "note": feature.note,
    }


# --- Markdown -------------------------------------------------------------------------------------


def folded(found: Across) -> str:
    """One trace, folded."""
    out = io.StringIO()
    write(Paper(out, _WIDTH), found)
    summary = f"<code>{html.escape(visible(found.trace))}</code>: "
    summary += f"<code>{html.escape(visible(found.path))}</code>"
    return as_markdown.details(summary, as_markdown.block(out.getvalue().split("\n", 1)[1]))


def comment(found: Sequence[Across], models: Sequence[str], errors: int) -> str:
    """All traces: a table of those that differ, and details."""
    differing = [one for one in found if not one.equal]
    total = (
        f"{words.plural(len(found) + errors, 'trace')}: {len(found) - len(differing)} equal, "
        f"**{len(differing)} different**"
    ) + (f", **{errors} in error**" if errors else "")
    rows = []
    if differing:
        heads = ["trace", "models", "VMAs", "mergeable", "peak", "line", "because of"]
        rows = as_markdown.table(heads, [cells for one in differing for cells in _cells(one)])
    title = f"vmatrace diff across {', '.join(as_markdown.code(name) for name in models)}"
    return as_markdown.comment(title, rows, [folded(one) for one in differing], total)


def _cells(found: Across) -> list[list[str]]:
    return [
        [
            as_markdown.cell(found.trace) if i == 0 else "",
            names(row),
            str(row.vmas),
            str(row.mergeable),
            str(row.peak_vmas),
            str(row.first.event.line) if row.first else "",
            ", ".join(as_markdown.cell(cause.feature.name) for cause in row.causes),
        ]
        for i, row in enumerate(found.rows)
    ]
